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
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use spec::image::ImageConfig;
use spec::manifest::{Descriptor, Document, Index, Manifest};
use spec::{DiffId, Digest, ImageId, Reference};
use sys::fs::Durability;

use crate::images::remove_file;
use crate::layout::VERSION;
use crate::partial::{self, Claim};
use crate::record::{self, ImageRecord, LayerRecord, ManifestRecord};
use crate::store::{ImageEntry, NameEntry, State, io};
use crate::trash::Scratch;
use crate::{Error, Lease, Result, Store};

/// A layer that is complete and verified, but not visible yet; clones are the same layer.
///
/// What is not published vanishes with its last clone; of a layer that was received the blob stays
/// for a later attempt.
#[derive(Debug, Clone)]
pub struct StagedLayer {
    pub(crate) inner: Arc<Staged>,
}

/// What a [`StagedLayer`] consists of.
#[derive(Debug)]
pub(crate) struct Staged {
    /// Holds `diff/` and `tar-map`.
    pub(crate) dir: PathBuf,
    pub(crate) record: LayerRecord,
    /// A compressed form that is to be kept until it is settled.
    pub(crate) blob: Option<StagedBlob>,
    /// The number of the lease that it was received under.
    pub(crate) lease: Option<u64>,
    /// Whether its record is written.
    pub(crate) recorded: Mutex<bool>,
    /// Removed when this is dropped.
    pub(crate) _scratch: Option<Scratch>,
    /// Ends when this is dropped, last.
    pub(crate) _claim: Option<Claim>,
}

/// A file that is to become a blob.
#[derive(Debug)]
pub(crate) struct StagedBlob {
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

impl StagedLayer {
    /// A layer in a directory that belongs to the caller.
    pub(crate) fn new(dir: PathBuf, record: LayerRecord) -> Self {
        Self::from(Staged {
            dir,
            record,
            blob: None,
            lease: None,
            recorded: Mutex::default(),
            _scratch: None,
            _claim: None,
        })
    }

    /// Digest of its uncompressed archive.
    pub fn diff_id(&self) -> DiffId {
        self.inner.record.diff_id
    }

    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.inner.record.size
    }
}

impl From<Staged> for StagedLayer {
    fn from(staged: Staged) -> Self {
        Self {
            inner: Arc::new(staged),
        }
    }
}

/// An image that was pulled.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Bytes of its config.
    pub config: Vec<u8>,
    /// Its manifest.
    pub manifest: Document,
    /// The index that it was chosen from.
    pub index: Option<Document>,
    /// Its layers that were not in the store, in any order.
    pub layers: Vec<StagedLayer>,
    /// Names that shall point to it: the tag, and `repository@digest` of the target.
    pub names: Vec<Reference>,
    /// The index, or else the manifest, that the names stand for.
    pub target: Descriptor,
}

/// An image whose layers are staged or in the store.
#[derive(Debug)]
pub(crate) struct StagedImage {
    pub(crate) config: Arc<ImageConfig>,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) manifest: Option<(String, Vec<u8>)>,
    /// The index that it was chosen from.
    pub(crate) index: Option<Document>,
    /// What the references stand for: the index or the manifest.
    pub(crate) target: Option<Descriptor>,
    pub(crate) references: Vec<Reference>,
    /// The image that it was made of.
    pub(crate) parent: Option<ImageId>,
}

/// An image that is now visible, and which names it took from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: ImageId,
    /// Its new names.
    pub references: Vec<Reference>,
    /// Names that pointed to another image before, and to which one.
    pub replaced: Vec<(Reference, ImageId)>,
}

impl Store {
    /// Makes a pulled image visible with its layers, documents and names; durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::BadArchive`] when config, manifest, index and layers do not belong together,
    /// [`Error::LayerGone`] when a layer that was here has been removed meanwhile, or the disk
    /// failed. Nothing is visible then.
    pub fn publish_image(&self, lease: &Lease, image: NewImage) -> Result<Published> {
        let config = check_new(&image)?;
        let scratch = Scratch::create(self.layout())?;
        let staged = StagedImage {
            config: Arc::new(config),
            config_bytes: image.config,
            manifest: Some((image.manifest.media_type, image.manifest.bytes)),
            index: image.index,
            target: Some(image.target),
            references: image.names,
            parent: None,
        };
        // Held until the end: a full disk is to be known before the last of them goes.
        let layers = image.layers.clone();
        let published = self.publish(lease, &scratch, layers, vec![staged]);
        let mut published = published.inspect_err(|error| partial::note(&self.inner, error))?;
        Ok(published.remove(0))
    }

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
            let index = image.index.as_ref().map(|index| &index.bytes);
            let manifest = image.manifest.as_ref().map(|(_, bytes)| bytes);
            for bytes in [Some(&image.config_bytes), manifest, index] {
                blobs.extend(bytes.map(|bytes| stage_blob(scratch, bytes)).transpose()?);
            }
        }
        for layer in &layers {
            Self::write_layer_record(layer)?;
        }
        self.sync_staged(&layers, &blobs)?;
        let _writer = self.inner.writer();
        let published = self.make_visible(lease, &layers, &blobs, images);
        published.inspect_err(|_| {
            // Forms that no manifest names now are to go with the lease.
            if let Some(held) = self.inner.state().leases.get_mut(&lease.number) {
                held.keeps_forms = true;
            }
        })
    }

    /// The part of [`Store::publish`] for which the caller holds the writer's lock.
    fn make_visible(
        &self,
        lease: &Lease,
        layers: &[StagedLayer],
        blobs: &[StagedBlob],
        images: Vec<StagedImage>,
    ) -> Result<Vec<Published>> {
        self.move_in(lease, layers, blobs)?;
        self.sync_dir("layers")?;
        self.sync_dir("blobs/sha256")?;
        self.add_forms(layers)?;
        for diff in images
            .iter()
            .flat_map(|image| &image.config.rootfs.diff_ids)
        {
            if !self.inner.state().layers.contains_key(diff) {
                return Err(Error::LayerGone { diff: *diff });
            }
        }
        images
            .into_iter()
            .map(|image| self.write_image(image))
            .collect()
    }

    /// Syncs what was staged: everything at once, or the few documents where there is no layer.
    fn sync_staged(&self, layers: &[StagedLayer], blobs: &[StagedBlob]) -> Result<()> {
        if layers.is_empty() {
            let sync = |path: &Path| std::fs::File::open(path)?.sync_all();
            return blobs
                .iter()
                .try_for_each(|blob| sync(&blob.path).map_err(io("sync", &blob.path)));
        }
        sys::fs::sync_file_system(self.layout().root()).map_err(|source| Error::Sys {
            action: "sync the store".to_owned(),
            source,
        })
    }

    /// Writes the record of a staged layer, once: its clones may be in the store already.
    fn write_layer_record(layer: &StagedLayer) -> Result<()> {
        let recorded = layer.inner.recorded.lock();
        let mut recorded = recorded.unwrap_or_else(PoisonError::into_inner);
        if *recorded {
            return Ok(());
        }
        let path = layer.inner.dir.join("meta.json");
        std::fs::write(&path, record::encode(&layer.inner.record)).map_err(io("write", &path))?;
        *recorded = true;
        Ok(())
    }

    fn move_in(&self, lease: &Lease, layers: &[StagedLayer], blobs: &[StagedBlob]) -> Result<()> {
        let mut state = self.inner.state();
        for layer in layers {
            let diff = layer.diff_id();
            if let Entry::Vacant(place) = state.layers.entry(diff) {
                let target = self.layout().layer(diff);
                std::fs::rename(&layer.inner.dir, &target).map_err(io("publish", &target))?;
                place.insert(layer.inner.record.clone());
            }
            state.hold(lease, layer, |held| held.layers.insert(diff));
        }
        for blob in blobs {
            self.move_in_blob(&mut state, blob)?;
            if let Some(held) = state.leases.get_mut(&lease.number) {
                held.blobs.insert(blob.digest);
            }
        }
        for layer in layers {
            if let Some(blob) = &layer.inner.blob {
                if state.needs(layer.diff_id(), blob.digest) {
                    self.move_in_blob(&mut state, blob)?;
                } else {
                    partial::remove(&blob.path);
                }
                state.hold(lease, layer, |held| held.blobs.insert(blob.digest));
            }
        }
        Ok(())
    }

    fn move_in_blob(&self, state: &mut State, blob: &StagedBlob) -> Result<()> {
        let mapped = state.layers.get(&DiffId::new(blob.digest));
        if mapped.is_some_and(LayerRecord::is_mapped) {
            // The plain archive of a layer: the unpacked layer is all that is needed of it.
            partial::remove(&blob.path);
            return Ok(());
        }
        let Entry::Vacant(place) = state.blobs.entry(blob.digest) else {
            // What was received in vain would be taken for an interrupted download.
            partial::remove(&blob.path);
            return Ok(());
        };
        let target = self.layout().blob(blob.digest);
        let read_only = std::fs::Permissions::from_mode(0o400);
        std::fs::set_permissions(&blob.path, read_only)
            .and_then(|()| std::fs::rename(&blob.path, &target))
            .map_err(io("publish", &target))?;
        place.insert(blob.size);
        Ok(())
    }

    /// Tells layers that were there already of the forms that they have come in now.
    fn add_forms(&self, layers: &[StagedLayer]) -> Result<()> {
        for layer in layers {
            let known = self.inner.state().layers.get(&layer.diff_id()).cloned();
            let Some(mut known) = known else { continue };
            let forms = layer.inner.record.forms.iter();
            let news: Vec<_> = forms
                .filter(|form| !known.forms.iter().any(|old| old.digest == form.digest))
                .cloned()
                .collect();
            if !news.is_empty() {
                known.forms.extend(news);
                self.replace_layer_record(known)?;
            }
        }
        Ok(())
    }

    /// Replaces the record of a layer; the caller holds the writer's lock.
    pub(crate) fn replace_layer_record(&self, layer: LayerRecord) -> Result<()> {
        let path = self.layout().layer(layer.diff_id).join("meta.json");
        record::write(&path, &layer, Durability::Synced)?;
        self.inner.state().layers.insert(layer.diff_id, layer);
        Ok(())
    }

    /// Writes an image and its names, which become visible together: an image that nobody named
    /// would be taken for one that may be pruned. The caller holds the writer's lock.
    fn write_image(&self, image: StagedImage) -> Result<Published> {
        let id = ImageId::new(Digest::of(&image.config_bytes));
        let manifest = image.manifest.map(|(media_type, bytes)| ManifestRecord {
            media_type,
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        });
        let known = self.inner.state().images.get(&id).cloned();
        let mut entry = known.clone().unwrap_or_else(|| ImageEntry {
            config: image.config,
            manifest: None,
            manifests: Vec::new(),
            parent: image.parent,
        });
        // An image that is there keeps the manifest it came with first in the first place.
        let changed = entry.add_manifest(manifest) || known.is_none();
        let name = NameEntry::now(id, image.target.as_ref());
        let write = || {
            if changed {
                self.write_image_record(id, &entry, Durability::Synced)?;
            }
            let mut names = image.references.iter();
            names.try_for_each(|reference| {
                self.write_name_record(reference, &name, Durability::Synced)
            })
        };
        if let Err(error) = write() {
            self.unwrite_image(id, known.as_ref(), &image.references);
            return Err(error);
        }
        let index = image.index.and_then(|index| {
            let parsed = Index::parse(&index.media_type, &index.bytes).ok()?;
            Some((index.digest, Arc::new(parsed)))
        });
        let mut state = self.inner.state();
        state.images.insert(id, entry);
        state.indexes.extend(index);
        let mut replaced = Vec::new();
        for reference in &image.references {
            let old = state.set_name(reference, name.clone());
            replaced.extend(old.map(|old| (reference.clone(), old)));
        }
        Ok(Published {
            id,
            references: image.references,
            replaced,
        })
    }

    fn write_image_record(
        &self,
        id: ImageId,
        entry: &ImageEntry,
        durability: Durability,
    ) -> Result<()> {
        let record = ImageRecord {
            version: VERSION,
            id,
            manifest: entry.manifest.clone(),
            manifests: entry.manifests.clone(),
            parent: entry.parent,
        };
        record::write(&self.layout().image(id), &record, durability)
    }

    /// Brings the records back to what memory knows, as [`Store::unwrite_name`]; what cannot be
    /// undone is logged.
    fn unwrite_image(&self, id: ImageId, known: Option<&ImageEntry>, references: &[Reference]) {
        let image = match known {
            Some(known) => self.write_image_record(id, known, Durability::Unsynced),
            None => remove_file(&self.layout().image(id)),
        };
        let names = references
            .iter()
            .map(|reference| self.unwrite_name(reference));
        for error in std::iter::once(image).chain(names).filter_map(Result::err) {
            let error = spec::error::chain(&error);
            tracing::error!(image = %id, error, "records of an image that was not published stay");
        }
    }
}

impl State {
    /// Tells whether the blob of a layer has to be kept: not when a clone of it was published, and
    /// settled since.
    fn needs(&self, diff: DiffId, blob: Digest) -> bool {
        let layer = self.layers.get(&diff);
        layer.is_none_or(|layer| {
            let is_known = layer.forms.iter().any(|form| form.digest == blob);
            !is_known || layer.kept_blobs().any(|kept| kept == blob)
        })
    }
}

impl ImageEntry {
    /// Adds a manifest unless it is known; answers whether it did.
    fn add_manifest(&mut self, manifest: Option<ManifestRecord>) -> bool {
        let Some(manifest) = manifest else {
            return false;
        };
        match &self.manifest {
            None => self.manifest = Some(manifest),
            Some(first) if first.digest == manifest.digest => return false,
            _ if self.manifests.iter().any(|m| m.digest == manifest.digest) => return false,
            Some(_) => self.manifests.push(manifest),
        }
        true
    }
}

/// Checks that the parts of an image belong together.
fn check_new(image: &NewImage) -> Result<ImageConfig> {
    let bad = |what: String| Error::BadArchive { what, source: None };
    let config = ImageConfig::from_json(&image.config).map_err(|error| Error::BadArchive {
        what: "the config of the image cannot be read".to_owned(),
        source: Some(Box::new(error)),
    })?;
    let (media_type, bytes) = (&image.manifest.media_type, &image.manifest.bytes);
    let manifest = Manifest::parse(media_type, bytes).map_err(|error| Error::BadArchive {
        what: format!("manifest {} cannot be read", image.manifest.digest),
        source: Some(Box::new(error)),
    })?;
    let got = Digest::of(&image.config);
    if got != manifest.config.digest {
        let want = manifest.config.digest;
        return Err(bad(format!(
            "image config verification failed for digest {want}: its bytes are those of {got}"
        )));
    }
    if manifest.layers.len() != config.rootfs.diff_ids.len() {
        return Err(bad(format!(
            "layers from manifest don't match image configuration: {} layers, {} diff ids",
            manifest.layers.len(),
            config.rootfs.diff_ids.len()
        )));
    }
    for document in std::iter::once(&image.manifest).chain(&image.index) {
        let got = Digest::of(&document.bytes);
        if got != document.digest {
            return Err(bad(format!(
                "manifest verification failed for digest {}: its bytes are those of {got}",
                document.digest
            )));
        }
    }
    let target = image.index.as_ref().unwrap_or(&image.manifest);
    if image.target.digest != target.digest {
        return Err(bad(format!(
            "the names stand for {}, the document is {}",
            image.target.digest, target.digest
        )));
    }
    Ok(config)
}

fn stage_blob(scratch: &Scratch, bytes: &[u8]) -> Result<StagedBlob> {
    let digest = Digest::of(bytes);
    let path = scratch.path().join(digest.hex());
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        std::io::Write::write_all(&mut file, bytes)
    };
    write().map_err(io("write", &path))?;
    Ok(StagedBlob {
        digest,
        path,
        size: bytes.len() as u64,
    })
}
