//! Garbage collection: what neither an image, a snapshot nor a lease refers to.
//!
//! Garbage is decided on and renamed into `trash/` while the tables are held, so nobody can begin to
//! use it meanwhile; the deleting takes its time afterwards.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use spec::{ChainId, DiffId, Digest, ImageId};

use crate::images::{Removed, no_such};
use crate::layout::Layout;
use crate::snapshots::init_name;
use crate::store::{ImageEntry, State};
use crate::{Error, Result, Store, trash};

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

/// Which images `image prune` would remove.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Images that go, chosen by the caller's filters, in this order.
    pub images: Vec<ImageId>,
}

/// What a removal would give back, without doing it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prunable {
    /// Per image what `remove_image` would report, in the order given.
    pub removed: Vec<Removed>,
    /// Bytes given back in all.
    pub bytes: u64,
}

/// Something that can be garbage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    Layer(DiffId),
    Blob(Digest),
    Init(String),
    Base(String),
}

/// Garbage that is out of sight but still takes space.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    pub(crate) layers: HashSet<DiffId>,
    hidden: Vec<PathBuf>,
    swept: Swept,
    /// Why something is not among it.
    failed: Option<Error>,
}

impl Garbage {
    /// Deletes all of it that can be deleted; the first failure is told.
    pub(crate) fn delete(self) -> Result<Swept> {
        let deleted = self.hidden.iter().map(|path| trash::delete(path));
        let failures: Vec<Error> = deleted.filter_map(Result::err).collect();
        let failed = self.failed.into_iter().chain(failures).next();
        failed.map_or(Ok(self.swept), Err)
    }

    /// Takes one piece out of sight and out of the tables.
    fn hide(&mut self, layout: &Layout, state: &mut State, piece: &Piece) -> Result<()> {
        let path = match piece {
            Piece::Layer(diff) => layout.layer(*diff),
            Piece::Blob(digest) => layout.blob(*digest),
            Piece::Init(name) => layout.init(name),
            Piece::Base(name) => layout.base(name),
        };
        self.hidden.push(trash::hide(layout, &path)?);
        match piece {
            Piece::Layer(diff) => {
                let record = state.layers.remove(diff);
                self.swept.layers += 1;
                self.swept.bytes += record.map_or(0, |record| record.size);
                self.layers.insert(*diff);
            }
            Piece::Blob(digest) => {
                self.swept.blobs += 1;
                self.swept.bytes += state.blobs.remove(digest).unwrap_or(0);
            }
            Piece::Init(name) => {
                state.inits.remove(name);
            }
            Piece::Base(name) => {
                state.bases.remove(name);
            }
        }
        Ok(())
    }
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
            self.hide_garbage()
        };
        garbage.delete()
    }

    /// Takes all garbage out of sight; the caller holds the writer's lock.
    pub(crate) fn hide_garbage(&self) -> Garbage {
        self.hide_garbage_if(|_| true)
    }

    /// Takes garbage of a choice out of sight; the caller holds the writer's lock.
    pub(crate) fn hide_garbage_if(&self, chosen: impl Fn(&Piece) -> bool) -> Garbage {
        let layout = self.layout();
        let mut garbage = Garbage::default();
        let mut state = self.inner.state();
        for piece in unreferenced(&state) {
            if chosen(&piece)
                && let Err(error) = garbage.hide(layout, &mut state, &piece)
            {
                // What is hidden already is to be deleted all the same.
                garbage.failed = Some(error);
                break;
            }
        }
        garbage
    }

    /// What removing images in this order would do: the dry run of `image prune`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NoSuchImage`].
    pub fn plan_prune(&self, request: &PruneRequest) -> Result<Prunable> {
        let state = self.inner.state();
        let mut uses = Uses::of(&state);
        let mut plan = Prunable::default();
        for id in &request.images {
            let image = state.images.get(id).ok_or_else(|| no_such(*id))?;
            let (layers, blobs) = uses.release(&state, *id, image);
            let diffs = &image.config.rootfs.diff_ids;
            let chains = (1..=diffs.len())
                .rev()
                .filter(|count| layers.contains(&diffs[count - 1]))
                .filter_map(|count| ChainId::of(&diffs[..count]))
                .map(|chain| chain.digest());
            let of_layers = layers.iter().filter_map(|diff| state.layers.get(diff));
            let of_blobs = blobs.iter().filter_map(|blob| state.blobs.get(blob));
            let bytes = of_layers.map(|layer| layer.size).sum::<u64>() + of_blobs.sum::<u64>();
            plan.bytes += bytes;
            plan.removed.push(Removed {
                untagged: state.references_of(*id),
                deleted: std::iter::once(id.digest()).chain(chains).collect(),
                bytes,
            });
        }
        Ok(plan)
    }
}

/// How often layers and blobs are referred to; layers' own blobs count with their layers.
#[derive(Debug, Default)]
struct Uses {
    layers: HashMap<DiffId, usize>,
    blobs: HashMap<Digest, usize>,
}

impl Uses {
    fn of(state: &State) -> Self {
        let mut uses = Self::default();
        for (id, image) in &state.images {
            for diff in distinct(&image.config.rootfs.diff_ids) {
                *uses.layers.entry(diff).or_default() += 1;
            }
            for blob in blobs_of(state, *id, image) {
                *uses.blobs.entry(blob).or_default() += 1;
            }
        }
        for snapshot in state.snapshots.values() {
            for diff in distinct(&snapshot.layers) {
                *uses.layers.entry(diff).or_default() += 1;
            }
        }
        for held in state.leases.values() {
            for diff in &held.layers {
                *uses.layers.entry(*diff).or_default() += 1;
            }
            for blob in &held.blobs {
                *uses.blobs.entry(*blob).or_default() += 1;
            }
        }
        let kept = state.layers.values();
        for blob in kept.flat_map(|layer| layer.kept_blobs()) {
            *uses.blobs.entry(blob).or_default() += 1;
        }
        uses
    }

    /// Takes an image away; what nothing refers to any more.
    fn release(
        &mut self,
        state: &State,
        id: ImageId,
        image: &ImageEntry,
    ) -> (HashSet<DiffId>, HashSet<Digest>) {
        let mut layers = HashSet::new();
        let mut blobs = HashSet::new();
        for diff in distinct(&image.config.rootfs.diff_ids) {
            if drop_use(&mut self.layers, &diff) {
                layers.insert(diff);
            }
        }
        let of_layers = layers.iter().filter_map(|diff| state.layers.get(diff));
        let kept: Vec<Digest> = of_layers.flat_map(|layer| layer.kept_blobs()).collect();
        for blob in blobs_of(state, id, image).into_iter().chain(kept) {
            if drop_use(&mut self.blobs, &blob) {
                blobs.insert(blob);
            }
        }
        (layers, blobs)
    }
}

/// Counts down; tells whether that was the last use.
fn drop_use<K: std::hash::Hash + Eq>(uses: &mut HashMap<K, usize>, key: &K) -> bool {
    match uses.get_mut(key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            *count == 0
        }
        _ => false,
    }
}

fn distinct(diffs: &[DiffId]) -> BTreeSet<DiffId> {
    diffs.iter().copied().collect()
}

/// Documents that an image needs: its config, its manifests, and what its names stand for.
fn blobs_of(state: &State, id: ImageId, image: &ImageEntry) -> HashSet<Digest> {
    let names = state.names.values().filter(|name| name.image == id);
    let targets = names.filter_map(|name| name.target.as_ref());
    let manifests = image.manifests().chain(targets);
    std::iter::once(id.digest())
        .chain(manifests.map(|manifest| manifest.digest))
        .collect()
}

/// Everything that neither an image, a snapshot nor a lease refers to.
pub(crate) fn unreferenced(state: &State) -> Vec<Piece> {
    let mut layers: HashSet<DiffId> = HashSet::new();
    let mut blobs: HashSet<Digest> = HashSet::new();
    let mut inits: HashSet<String> = HashSet::new();
    for (id, image) in &state.images {
        blobs.insert(id.digest());
        blobs.extend(image.manifests().map(|manifest| manifest.digest));
        layers.extend(&image.config.rootfs.diff_ids);
        inits.insert(init_name(&image.config.rootfs.diff_ids));
    }
    let targets = state.names.values().filter_map(|name| name.target.as_ref());
    blobs.extend(targets.map(|target| target.digest));
    for snapshot in state.snapshots.values() {
        layers.extend(&snapshot.layers);
        inits.insert(snapshot.init.clone());
    }
    for held in state.leases.values() {
        layers.extend(&held.layers);
        blobs.extend(&held.blobs);
    }
    let needed = layers.iter().filter_map(|diff| state.layers.get(diff));
    blobs.extend(needed.flat_map(|layer| layer.kept_blobs()));
    let mut pieces = Vec::new();
    let layers = state.layers.keys().filter(|diff| !layers.contains(diff));
    pieces.extend(layers.map(|diff| Piece::Layer(*diff)));
    let blobs = state.blobs.keys().filter(|blob| !blobs.contains(blob));
    pieces.extend(blobs.map(|blob| Piece::Blob(*blob)));
    let unused = state.inits.iter().filter(|init| !inits.contains(*init));
    pieces.extend(unused.map(|init| Piece::Init(init.clone())));
    let bases = state.bases.iter().filter(|base| !inits.contains(*base));
    pieces.extend(bases.map(|base| Piece::Base(base.clone())));
    pieces
}
