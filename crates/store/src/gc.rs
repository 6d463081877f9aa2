//! Garbage collection: what neither an image, a snapshot nor a lease refers to.
//!
//! Garbage is decided on and renamed into `trash/` while the tables are held, so nobody can begin to
//! use it meanwhile; the deleting takes its time afterwards.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use spec::{DiffId, Digest};

use crate::layout::Layout;
use crate::snapshots::init_name;
use crate::store::State;
use crate::{Result, Store, trash};

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number of layers.
    pub layers: usize,
    /// Number of blobs.
    pub blobs: usize,
    /// Bytes given back.
    pub bytes: u64,
}

/// Garbage that is out of sight but still takes space.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    pub(crate) layers: HashSet<DiffId>,
    hidden: Vec<PathBuf>,
    swept: Swept,
}

impl Garbage {
    pub(crate) fn delete(self) -> Result<Swept> {
        for path in &self.hidden {
            trash::delete(path)?;
        }
        Ok(self.swept)
    }
}

#[derive(Debug, Default)]
struct Roots {
    layers: HashSet<DiffId>,
    blobs: HashSet<Digest>,
    inits: BTreeSet<String>,
}

impl Store {
    /// Removes every blob and layer that neither an image, a snapshot nor a lease refers to.
    ///
    /// # Errors
    ///
    /// The disk failed; what was removed until then stays removed.
    pub fn gc(&self) -> Result<Swept> {
        let garbage = {
            let _writer = self.inner.writer();
            self.hide_garbage()?
        };
        garbage.delete()
    }

    /// Takes garbage out of sight; the caller holds the writer's lock.
    pub(crate) fn hide_garbage(&self) -> Result<Garbage> {
        let layout = self.layout();
        let mut garbage = Garbage::default();
        let mut state = self.inner.state();
        let roots = roots(&state);
        let layers: Vec<DiffId> = state
            .layers
            .keys()
            .filter(|diff| !roots.layers.contains(diff))
            .copied()
            .collect();
        for diff in layers {
            garbage
                .hidden
                .push(trash::hide(layout, &layout.layer(diff))?);
            let record = state.layers.remove(&diff);
            garbage.swept.layers += 1;
            garbage.swept.bytes += record.map_or(0, |record| record.size);
            garbage.layers.insert(diff);
        }
        let blobs: Vec<Digest> = state
            .blobs
            .keys()
            .filter(|blob| !roots.blobs.contains(blob))
            .copied()
            .collect();
        for blob in blobs {
            garbage
                .hidden
                .push(trash::hide(layout, &layout.blob(blob))?);
            garbage.swept.blobs += 1;
            garbage.swept.bytes += state.blobs.remove(&blob).unwrap_or(0);
        }
        hide_inits(layout, &mut state, &roots, &mut garbage)?;
        Ok(garbage)
    }
}

fn hide_inits(
    layout: &Layout,
    state: &mut State,
    roots: &Roots,
    garbage: &mut Garbage,
) -> Result<()> {
    let inits: Vec<String> = state.inits.difference(&roots.inits).cloned().collect();
    for init in inits {
        garbage
            .hidden
            .push(trash::hide(layout, &layout.init(&init))?);
        state.inits.remove(&init);
    }
    Ok(())
}

fn roots(state: &State) -> Roots {
    let mut roots = Roots::default();
    for (id, image) in &state.images {
        roots.blobs.insert(id.digest());
        roots
            .blobs
            .extend(image.manifest.as_ref().map(|manifest| manifest.digest));
        roots.layers.extend(&image.config.rootfs.diff_ids);
        roots.inits.insert(init_name(&image.config.rootfs.diff_ids));
    }
    for snapshot in state.snapshots.values() {
        roots.layers.extend(&snapshot.layers);
        roots.inits.insert(snapshot.init.clone());
    }
    for held in state.leases.values() {
        roots.layers.extend(&held.layers);
        roots.blobs.extend(&held.blobs);
    }
    roots
}
