//! Where the bytes are.
//!
//! Two measures. *Apparent* sizes are sums over files, as Docker counts images and as `docker images`
//! shows them; they are known since the layers were unpacked. *Allocated* sizes are what the file
//! system took for everything that belongs to an image or layer (directories, tar maps, records,
//! kept blobs): what `du` says. Layers never change, so each is measured once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use spec::{DiffId, Digest, ImageId};

use crate::snapshots::tree_size;
use crate::store::State;
use crate::{Driver, Error, Result, Store};

/// What `system df` says about images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Unpacked bytes of all layers, each counted once.
    pub layers_size: u64,
    /// What images and layers take on the disk in all: their share of the store's `du`.
    pub allocated: u64,
    /// What interrupted downloads take on the disk.
    pub partial: u64,
    /// Each image's share.
    pub images: Vec<ImageUsage>,
}

/// An image's share of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: ImageId,
    /// Unpacked bytes of its layers.
    pub size: u64,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// Bytes that removing it would give back.
    pub unique: u64,
    /// The same as the disk has them.
    pub allocated: Allocated,
}

/// Bytes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocated {
    /// All of it.
    pub size: u64,
    /// What other images need too.
    pub shared: u64,
    /// What removing it would give back.
    pub unique: u64,
}

/// What layers take, measured once each.
#[derive(Debug, Default)]
pub(crate) struct Measured(Mutex<HashMap<DiffId, u64>>);

impl Measured {
    /// A layer got something more.
    pub(crate) fn forget(&self, diff: DiffId) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(&diff);
    }
}

/// How many images have something.
#[derive(Default)]
struct Users {
    layers: BTreeMap<DiffId, usize>,
    blobs: BTreeMap<Digest, usize>,
}

struct ImageParts {
    id: ImageId,
    layers: BTreeSet<DiffId>,
    blobs: BTreeSet<Digest>,
}

impl Store {
    /// Counts what images take.
    ///
    /// Walks layers that were not measured before; blocks for that long.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let (parts, sizes, blobs) = {
            let state = self.inner.state();
            let sizes: BTreeMap<DiffId, u64> = state
                .layers
                .iter()
                .map(|(diff, layer)| (*diff, layer.size))
                .collect();
            let blobs: Vec<Digest> = state.blobs.keys().copied().collect();
            (parts(&state), sizes, blobs)
        };
        let mut users = Users::default();
        for image in &parts {
            for diff in &image.layers {
                *users.layers.entry(*diff).or_default() += 1;
            }
            for blob in &image.blobs {
                *users.blobs.entry(*blob).or_default() += 1;
            }
        }
        let layers = self.measure_layers(sizes.keys().copied())?;
        let layout = self.layout();
        let blobs: BTreeMap<Digest, u64> = blobs
            .into_iter()
            .map(|digest| (digest, allocated(&layout.blob(digest))))
            .collect();
        let records: &[&str] = match sizes.is_empty() && blobs.is_empty() {
            // Nothing at all takes nothing, as with Docker, although the directories are there.
            true => &[],
            false => &["images", "names", "init", "layers", "blobs"],
        };
        let records: u64 = records
            .iter()
            .map(|name| match *name {
                // Their content is counted by itself.
                "layers" | "blobs" => Ok(allocated(&layout.dir(name))),
                name => self.measure(&layout.dir(name)),
            })
            .sum::<Result<u64>>()?;
        let images = parts
            .iter()
            .map(|image| image.usage(&users, &sizes, &layers, &blobs))
            .collect();
        Ok(DiskUsage {
            layers_size: sizes.values().sum(),
            allocated: layers.values().sum::<u64>() + blobs.values().sum::<u64>() + records,
            partial: self.measure(&layout.dir("partial"))?,
            images,
        })
    }

    /// What a container's writable layer takes on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`], or the disk failed.
    pub fn usage_on_disk(&self, key: &str) -> Result<u64> {
        let record = self.snapshot_record(key)?;
        match record.driver {
            // The rest is the image's: it is on the disk once.
            Driver::Btrfs => self.written(&record).map(|written| written.allocated),
            _ => self.measure(&self.layout().snapshot(key)),
        }
    }

    fn measure_layers(&self, diffs: impl Iterator<Item = DiffId>) -> Result<BTreeMap<DiffId, u64>> {
        let known = |cache: &Measured| {
            let table = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
            table.clone()
        };
        let before = known(&self.inner.measured);
        let mut now = BTreeMap::new();
        for diff in diffs {
            let size = match before.get(&diff) {
                Some(size) => *size,
                None => self.measure(&self.layout().layer(diff))?,
            };
            now.insert(diff, size);
        }
        let mut table = self.inner.measured.0.lock();
        if let Ok(table) = &mut table {
            // Layers that are gone are forgotten, and measured again should they come back.
            **table = now.iter().map(|(diff, size)| (*diff, *size)).collect();
        }
        Ok(now)
    }

    fn measure(&self, path: &Path) -> Result<u64> {
        match tree_size(path) {
            Ok(size) => Ok(size.allocated),
            // Removed meanwhile.
            Err(error) if error.errno() == rustix::io::Errno::NOENT => Ok(0),
            Err(source) => Err(Error::Sys {
                action: format!("measure `{}`", path.display()),
                source,
            }),
        }
    }
}

fn parts(state: &State) -> Vec<ImageParts> {
    let parts = state.images.iter().map(|(id, image)| {
        let layers: BTreeSet<DiffId> = image.config.rootfs.diff_ids.iter().copied().collect();
        let names = state.names.values().filter(|name| name.image == *id);
        let targets = names.filter_map(|name| name.target.as_ref());
        let documents = image.manifests().chain(targets);
        let records = layers.iter().filter_map(|diff| state.layers.get(diff));
        let kept = records.flat_map(|layer| layer.kept_blobs());
        ImageParts {
            id: *id,
            blobs: std::iter::once(id.digest())
                .chain(documents.map(|document| document.digest))
                .chain(kept)
                .collect(),
            layers,
        }
    });
    parts.collect()
}

impl ImageParts {
    fn usage(
        &self,
        users: &Users,
        sizes: &BTreeMap<DiffId, u64>,
        layers: &BTreeMap<DiffId, u64>,
        blobs: &BTreeMap<Digest, u64>,
    ) -> ImageUsage {
        let alone = |diff: &&DiffId| users.layers.get(diff) == Some(&1);
        let of = |table: &BTreeMap<DiffId, u64>, diff: &DiffId| table.get(diff).map_or(0, |n| *n);
        let size: u64 = self.layers.iter().map(|diff| of(sizes, diff)).sum();
        let unique: u64 = self
            .layers
            .iter()
            .filter(alone)
            .map(|diff| of(sizes, diff))
            .sum();
        let mut allocated = Allocated::default();
        for diff in &self.layers {
            allocated.add(of(layers, diff), users.layers.get(diff));
        }
        for blob in &self.blobs {
            let size = blobs.get(blob).copied().unwrap_or(0);
            allocated.add(size, users.blobs.get(blob));
        }
        ImageUsage {
            id: self.id,
            size,
            shared: size - unique,
            unique,
            allocated,
        }
    }
}

impl Allocated {
    fn add(&mut self, bytes: u64, users: Option<&usize>) {
        self.size += bytes;
        match users {
            Some(1) => self.unique += bytes,
            _ => self.shared += bytes,
        }
    }
}

/// What one file or directory takes by itself; nothing when it is gone.
fn allocated(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |found| found.blocks() * 512)
}
