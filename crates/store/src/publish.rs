//! Making what was unpacked visible, durably: sync, rename, sync the names.
//!
//! ```text
//! 1. layers and blobs lie in ingest/<random>/, complete
//! 2. syncfs                      one for all of them
//! 3. rename into layers/, blobs/ under the tables' lock, held by the lease
//! 4. fsync of those directories
//! 5. image records, then names   each replaced atomically and synced
//! ```
//!
//! A crash before 5 leaves garbage that no record refers to.

use std::collections::btree_map::Entry;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use spec::image::ImageConfig;
use spec::{Digest, ImageId, Reference};
use sys::fs::Durability;

use crate::layout::VERSION;
use crate::record::{self, ImageRecord, LayerRecord, ManifestRecord};
use crate::store::{ImageEntry, io};
use crate::trash::Scratch;
use crate::{Error, Lease, Result, Store};

/// A layer that is unpacked in a scratch directory: `<dir>/diff`.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    pub(crate) dir: PathBuf,
    pub(crate) record: LayerRecord,
}

/// An image whose layers are staged or in the store.
#[derive(Debug)]
pub(crate) struct StagedImage {
    pub(crate) config: Arc<ImageConfig>,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) manifest: Option<(String, Vec<u8>)>,
    pub(crate) references: Vec<Reference>,
}

/// An image that is now visible, and which names it took from others.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) id: ImageId,
    pub(crate) references: Vec<Reference>,
    pub(crate) replaced: Vec<(Reference, ImageId)>,
}

impl Store {
    /// Publishes layers and images; durable when it returns.
    pub(crate) fn publish(
        &self,
        lease: &Lease,
        scratch: &Scratch,
        layers: Vec<StagedLayer>,
        images: Vec<StagedImage>,
    ) -> Result<Vec<Published>> {
        let mut blobs = Vec::new();
        for image in &images {
            blobs.push(stage_blob(scratch, &image.config_bytes)?);
            if let Some((_, bytes)) = &image.manifest {
                blobs.push(stage_blob(scratch, bytes)?);
            }
        }
        for layer in &layers {
            let path = layer.dir.join("meta.json");
            std::fs::write(&path, record::encode(&layer.record)).map_err(io("write", &path))?;
        }
        sys::fs::sync_file_system(self.layout().root()).map_err(|source| Error::Sys {
            action: "sync the store".to_owned(),
            source,
        })?;
        let _writer = self.inner.writer();
        self.move_in(lease, layers, &blobs)?;
        self.sync_dir("layers")?;
        self.sync_dir("blobs/sha256")?;
        images
            .into_iter()
            .map(|image| self.publish_image(image))
            .collect()
    }

    fn move_in(
        &self,
        lease: &Lease,
        layers: Vec<StagedLayer>,
        blobs: &[(Digest, PathBuf, u64)],
    ) -> Result<()> {
        let mut state = self.inner.state();
        for layer in layers {
            let diff = layer.record.diff_id;
            if let Entry::Vacant(place) = state.layers.entry(diff) {
                let target = self.layout().layer(diff);
                std::fs::rename(&layer.dir, &target).map_err(io("publish", &target))?;
                place.insert(layer.record);
            }
            if let Some(held) = state.leases.get_mut(&lease.number) {
                held.layers.insert(diff);
            }
        }
        for (digest, path, size) in blobs {
            if let Entry::Vacant(place) = state.blobs.entry(*digest) {
                let target = self.layout().blob(*digest);
                std::fs::rename(path, &target).map_err(io("publish", &target))?;
                place.insert(*size);
            }
            if let Some(held) = state.leases.get_mut(&lease.number) {
                held.blobs.insert(*digest);
            }
        }
        Ok(())
    }

    /// The caller holds the writer's lock.
    fn publish_image(&self, image: StagedImage) -> Result<Published> {
        let id = ImageId::new(Digest::of(&image.config_bytes));
        let manifest = image.manifest.map(|(media_type, bytes)| ManifestRecord {
            media_type,
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        });
        let known = self.inner.state().images.get(&id).cloned();
        // An image that is there keeps the manifest it came with first.
        if known
            .as_ref()
            .is_none_or(|known| known.manifest.is_none() && manifest.is_some())
        {
            let record = ImageRecord {
                version: VERSION,
                id,
                manifest: manifest.clone(),
            };
            record::write(&self.layout().image(id), &record, Durability::Synced)?;
            let entry = ImageEntry {
                config: image.config,
                manifest,
            };
            self.inner.state().images.insert(id, entry);
        }
        let mut replaced = Vec::new();
        for reference in &image.references {
            if let Some(old) = self.write_name(id, reference)? {
                replaced.push((reference.clone(), old));
            }
        }
        Ok(Published {
            id,
            references: image.references,
            replaced,
        })
    }

    /// Keeps layers that are in the store already, while a lease lasts; tells which are.
    pub(crate) fn hold_layers(&self, lease: &Lease, diffs: &[spec::DiffId]) -> Vec<bool> {
        let mut state = self.inner.state();
        let known: Vec<bool> = diffs
            .iter()
            .map(|diff| state.layers.contains_key(diff))
            .collect();
        if let Some(held) = state.leases.get_mut(&lease.number) {
            let known = diffs.iter().zip(&known).filter(|(_, known)| **known);
            held.layers.extend(known.map(|(diff, _)| *diff));
        }
        known
    }
}

fn stage_blob(scratch: &Scratch, bytes: &[u8]) -> Result<(Digest, PathBuf, u64)> {
    let digest = Digest::of(bytes);
    let path = scratch.path().join(digest.hex());
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o400)
            .open(&path)?;
        std::io::Write::write_all(&mut file, bytes)
    };
    write().map_err(io("write", &path))?;
    Ok((digest, path, bytes.len() as u64))
}
