//! Where the bytes are.

use std::collections::{BTreeMap, BTreeSet};

use spec::{DiffId, ImageId};

use crate::{Result, Store};

/// What `system df` says about images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Unpacked bytes of all layers, each counted once.
    pub layers_size: u64,
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
}

impl Store {
    /// Counts what images take.
    ///
    /// # Errors
    ///
    /// None today: all sizes are known since the layers were unpacked.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let state = self.inner.state();
        let layers_of = |diffs: &[DiffId]| diffs.iter().copied().collect::<BTreeSet<_>>();
        let mut users: BTreeMap<DiffId, usize> = BTreeMap::new();
        for image in state.images.values() {
            for diff in layers_of(&image.config.rootfs.diff_ids) {
                *users.entry(diff).or_default() += 1;
            }
        }
        let size_of = |diff: &DiffId| state.layers.get(diff).map_or(0, |layer| layer.size);
        let images = state.images.iter().map(|(id, image)| {
            let layers = layers_of(&image.config.rootfs.diff_ids);
            let size: u64 = layers.iter().map(size_of).sum();
            let unique = layers
                .iter()
                .filter(|diff| users[diff] == 1)
                .map(size_of)
                .sum();
            ImageUsage {
                id: *id,
                size,
                shared: size - unique,
                unique,
            }
        });
        Ok(DiskUsage {
            layers_size: state.layers.values().map(|layer| layer.size).sum(),
            images: images.collect(),
        })
    }
}
