//! Images by id and by name.

use std::path::Path;
use std::sync::Arc;

use spec::image::ImageConfig;
use spec::manifest::Descriptor;
use spec::{ChainId, Digest, ImageId, Platform, Reference, Resolution, Timestamp};
use sys::fs::Durability;

use crate::gc::Piece;
use crate::layout::VERSION;
use crate::record::{self, ManifestRecord, NameRecord};
use crate::store::{ImageEntry, NameEntry, State, io};
use crate::{Error, Result, Store};

/// An image as it was when asked for.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the config.
    pub id: ImageId,
    /// The config, parsed.
    pub config: Arc<ImageConfig>,
    /// Its tags (references with a tag), sorted.
    pub references: Vec<Reference>,
    /// `repository@digest` names it was pulled by or pushed as, sorted; none for loaded images.
    pub repo_digests: Vec<Reference>,
    /// Sum of its layers' unpacked bytes.
    pub size: u64,
    /// When a tag was last put on it.
    pub last_tagged: Option<Timestamp>,
    /// The manifests it came with, the first one first; their bytes are documents of the store.
    pub manifests: Vec<Descriptor>,
    /// A tag stands for an index that has it for another platform than the image with the tag.
    pub is_companion: bool,
    /// The image that it was made of by a commit, while that is here.
    pub parent: Option<ImageId>,
    /// Images that were made of it are here.
    pub has_children: bool,
}

/// One platform of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformImage {
    /// What it runs on, as the index says, or else its config.
    pub platform: Option<Platform>,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The image, where it is here.
    pub image: Option<ImageId>,
    /// Unpacked bytes of its layers, 0 where it is not here.
    pub size: u64,
}

impl Image {
    /// Tells whether no tag leads to it and no image was made of it; as with Docker, a digest alone
    /// is no reason to keep it.
    pub fn is_dangling(&self) -> bool {
        self.references.is_empty() && !self.is_companion && !self.has_children
    }

    /// Tells whether no name leads to it and no image was made of it.
    pub fn is_left_over(&self) -> bool {
        self.is_nameless() && !self.has_children
    }

    /// Tells whether no name leads to it.
    pub fn is_nameless(&self) -> bool {
        self.references.is_empty() && self.repo_digests.is_empty() && !self.is_companion
    }

    /// What it runs on, as its config says.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// Identity of its stack of layers; `None` for an image without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(&self.config.rootfs.diff_ids)
    }
}

/// One step of an image's making, newest first, as `history` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's id on its newest step, its parents' on those below, else `None` (`<missing>`).
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// A note.
    pub comment: String,
    /// Unpacked bytes of its layer, 0 for an empty one.
    pub size: u64,
    /// The tags of the image with that id.
    pub tags: Vec<Reference>,
}

/// What a removal did, in the order that Docker reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names taken away.
    pub untagged: Vec<Reference>,
    /// Ids gone: the image's, then its layers' chain ids, topmost first.
    pub deleted: Vec<Digest>,
    /// Bytes given back.
    pub bytes: u64,
}

impl Store {
    /// All images, newest first.
    pub fn images(&self) -> Vec<Image> {
        let state = self.inner.state();
        let mut images: Vec<Image> = state
            .images
            .keys()
            .filter_map(|id| state.image(*id))
            .collect();
        images.sort_by(|a, b| {
            b.config
                .created
                .cmp(&a.config.created)
                .then(a.id.cmp(&b.id))
        });
        images
    }

    /// An image by its id.
    pub fn image(&self, id: ImageId) -> Option<Image> {
        self.inner.state().image(id)
    }

    /// Raw bytes of an image's config.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn config_bytes(&self, id: ImageId) -> Result<Vec<u8>> {
        if !self.inner.state().images.contains_key(&id) {
            return Err(no_such(id));
        }
        let path = self.layout().blob(id.digest());
        let bytes = match std::fs::read(&path) {
            // It was removed since the look at the table.
            Err(_) if !self.inner.state().images.contains_key(&id) => return Err(no_such(id)),
            read => read.map_err(io("read", &path))?,
        };
        if Digest::of(&bytes) != id.digest() {
            return Err(Error::Damaged {
                id,
                what: "its config was changed on disk".to_owned(),
            });
        }
        Ok(bytes)
    }

    /// What a user's text stands for: a name, `name@digest`, an id, or a prefix of an id (with or
    /// without `sha256:`). A name wins over a prefix, as in Docker.
    pub fn resolve(&self, text: &str) -> Resolution<ImageId> {
        let state = self.inner.state();
        let bare = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(digest) = format!("sha256:{bare}").parse::<Digest>() {
            let id = ImageId::new(digest);
            return match state.images.contains_key(&id) {
                true => Resolution::One(id),
                false => Resolution::None,
            };
        }
        if let Ok(reference) = text.parse::<Reference>() {
            // With a digest the tag only decorates.
            let reference = match reference.digest() {
                Some(digest) => reference.with_digest(digest),
                None => reference,
            };
            if let Some(name) = state.names.get(&reference) {
                return Resolution::One(name.image);
            }
        }
        if bare.is_empty() || !bare.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Resolution::None;
        }
        let mut found: Vec<ImageId> = state
            .images
            .keys()
            .filter(|id| id.digest().hex().starts_with(bare))
            .copied()
            .collect();
        match found.len() {
            0 => Resolution::None,
            1 => Resolution::One(found.remove(0)),
            _ => Resolution::Ambiguous(found),
        }
    }

    /// The one image that a user's text stands for.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`] with Docker's text, [`Error::InvalidReference`],
    /// [`Error::Ambiguous`].
    pub fn find(&self, text: &str) -> Result<Image> {
        let missing = || {
            let is_id = text.strip_prefix("sha256:").unwrap_or(text).len() == 64;
            match text.parse::<Reference>() {
                Ok(name) => Error::NoSuchImage {
                    text: name.familiar(),
                },
                Err(_) if is_id => Error::NoSuchImage {
                    text: text.to_owned(),
                },
                Err(source) => Error::InvalidReference { source },
            }
        };
        match self.resolve(text) {
            Resolution::One(id) => self.image(id).ok_or_else(missing),
            Resolution::None => Err(missing()),
            Resolution::Ambiguous(ids) => Err(Error::Ambiguous {
                text: text.to_owned(),
                matches: ids.len(),
            }),
        }
    }

    /// The image that a name points to.
    pub fn image_of(&self, reference: &Reference) -> Option<ImageId> {
        self.inner
            .state()
            .names
            .get(reference)
            .map(|name| name.image)
    }

    /// The manifest or index that a name stands for, as it was pulled or pushed.
    pub fn target(&self, reference: &Reference) -> Option<Descriptor> {
        let state = self.inner.state();
        let name = state.names.get(reference)?;
        name.target.as_ref().map(ManifestRecord::descriptor)
    }

    /// All platforms that a name has, those that are not here too, in the order of its index.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the index cannot be read.
    pub fn platforms_of(&self, reference: &Reference) -> Result<Vec<PlatformImage>> {
        let state = self.inner.state();
        let missing = || Error::NoSuchImage {
            text: reference.familiar(),
        };
        let name = state.names.get(reference).ok_or_else(missing)?;
        let index = name
            .target
            .as_ref()
            .and_then(|target| state.indexes.get(&target.digest));
        let Some(index) = index else {
            let image = state.image(name.image).ok_or_else(missing)?;
            let target = name.target.as_ref().map(ManifestRecord::descriptor);
            let manifest = target.or_else(|| image.manifests.first().cloned());
            return Ok(manifest
                .map(|manifest| PlatformImage {
                    platform: Some(image.config.platform()),
                    manifest,
                    image: Some(image.id),
                    size: image.size,
                })
                .into_iter()
                .collect());
        };
        let children = index.images().map(|manifest| {
            let image = state.image_of_manifest(manifest.digest);
            let config = image.as_ref().map(|image| image.config.platform());
            PlatformImage {
                platform: manifest.platform().or(config),
                manifest: manifest.clone(),
                size: image.as_ref().map_or(0, |image| image.size),
                image: image.map(|image| image.id),
            }
        });
        Ok(children.collect())
    }

    /// All names of an image, sorted.
    pub fn references_of(&self, id: ImageId) -> Vec<Reference> {
        self.inner.state().references_of(id)
    }

    /// Points a name to an image; returns the image it pointed to before, if another.
    ///
    /// Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn tag(&self, id: ImageId, reference: &Reference) -> Result<Option<ImageId>> {
        self.tag_as(id, reference, None)
    }

    /// As [`Store::tag`], and the name stands for a manifest or index that is in the store: that of
    /// the name which the user gave ([`Store::target`]), or the one that was pushed.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn tag_as(
        &self,
        id: ImageId,
        reference: &Reference,
        target: Option<&Descriptor>,
    ) -> Result<Option<ImageId>> {
        let _writer = self.inner.writer();
        {
            let state = self.inner.state();
            if !state.images.contains_key(&id) {
                return Err(no_such(id));
            }
        }
        self.write_name(reference, NameEntry::now(id, target))
    }

    /// Writes a name while the caller holds the writer's lock and knows that the image is there.
    fn write_name(&self, reference: &Reference, entry: NameEntry) -> Result<Option<ImageId>> {
        let written = self.write_name_record(reference, &entry, Durability::Synced);
        written.inspect_err(|_| {
            if let Err(error) = self.unwrite_name(reference) {
                let error = spec::error::chain(&error);
                tracing::error!(name = %reference, error, "a name that was refused stays");
            }
        })?;
        Ok(self.inner.state().set_name(reference, entry))
    }

    /// Brings the record of a name back to what memory knows, when a write of it failed: it may
    /// have failed at its last step, and what was refused must not turn up later. Nothing is synced,
    /// which just failed.
    pub(crate) fn unwrite_name(&self, reference: &Reference) -> Result<()> {
        let known = self.inner.state().names.get(reference).cloned();
        match known {
            Some(known) => self.write_name_record(reference, &known, Durability::Unsynced),
            None => remove_file(&self.layout().name(reference)),
        }
    }

    /// Writes the record of a name alone; memory does not know of it then.
    pub(crate) fn write_name_record(
        &self,
        reference: &Reference,
        entry: &NameEntry,
        durability: Durability,
    ) -> Result<()> {
        let record = NameRecord {
            version: VERSION,
            reference: reference.clone(),
            image: entry.image,
            tagged: entry.tagged,
            target: entry.target.clone(),
        };
        record::write(&self.layout().name(reference), &record, durability)
    }

    /// Takes a name away; returns the image it pointed to. The image stays.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn untag(&self, reference: &Reference) -> Result<Option<ImageId>> {
        let writer = self.inner.writer();
        let removed = self.remove_name(reference)?;
        if removed.is_none() {
            return Ok(None);
        }
        self.sync_dir("names")?;
        // The index or manifest that only this name pointed to.
        let garbage = self.hide_garbage_if(|piece| matches!(piece, Piece::Blob(_)));
        drop(writer);
        garbage.delete()?;
        Ok(removed)
    }

    fn remove_name(&self, reference: &Reference) -> Result<Option<ImageId>> {
        if self.image_of(reference).is_none() {
            return Ok(None);
        }
        remove_file(&self.layout().name(reference))?;
        Ok(self
            .inner
            .state()
            .names
            .remove(reference)
            .map(|name| name.image))
    }

    /// Removes an image with all its names, and the layers that nothing else needs.
    ///
    /// Whether a container forbids it is the caller's to know; a snapshot keeps its layers anyway.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn remove_image(&self, id: ImageId) -> Result<Removed> {
        let removed = self.remove_image_if(id, |_| true)?;
        Ok(removed.unwrap_or_default())
    }

    /// Removes an image if no tag points to it; one that got a tag since it was looked at stays.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn remove_dangling(&self, id: ImageId) -> Result<Option<Removed>> {
        self.remove_image_if(id, Image::is_dangling)
    }

    /// Removes an image if it has no name of its own: an index of another's may name it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn remove_nameless(&self, id: ImageId) -> Result<Option<Removed>> {
        self.remove_image_if(id, |image| {
            image.references.is_empty() && image.repo_digests.is_empty() && !image.has_children
        })
    }

    /// Removes an image if no name at all points to it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], or the disk failed.
    pub fn remove_left_over(&self, id: ImageId) -> Result<Option<Removed>> {
        self.remove_image_if(id, Image::is_left_over)
    }

    fn remove_image_if(
        &self,
        id: ImageId,
        chosen: impl FnOnce(&Image) -> bool,
    ) -> Result<Option<Removed>> {
        let writer = self.inner.writer();
        let image = self.image(id).ok_or_else(|| no_such(id))?;
        if !chosen(&image) {
            return Ok(None);
        }
        let untagged = self.references_of(id);
        for reference in &untagged {
            self.remove_name(reference)?;
        }
        remove_file(&self.layout().image(id))?;
        self.inner.state().images.remove(&id);
        self.sync_dir("names")?;
        self.sync_dir("images")?;
        // Where it fails all else goes nevertheless.
        let forgotten = self.forget_forms(&image.config.rootfs.diff_ids);
        let garbage = self.hide_garbage();
        drop(writer);
        let diffs = &image.config.rootfs.diff_ids;
        let chains = (1..=diffs.len())
            .rev()
            .filter(|n| garbage.layers.contains(&diffs[n - 1]));
        let chains = chains
            .filter_map(|n| ChainId::of(&diffs[..n]))
            .map(|chain| chain.digest());
        let deleted = std::iter::once(id.digest()).chain(chains).collect();
        let swept = garbage.delete()?;
        forgotten?;
        Ok(Some(Removed {
            untagged,
            deleted,
            bytes: swept.bytes,
        }))
    }

    /// Images that no tag points to: what `image prune` without `-a` removes.
    pub fn dangling(&self) -> Vec<Image> {
        self.images()
            .into_iter()
            .filter(Image::is_dangling)
            .collect()
    }

    /// How an image was made, newest step first.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`].
    pub fn history(&self, id: ImageId) -> Result<Vec<HistoryEntry>> {
        let image = self.image(id).ok_or_else(|| no_such(id))?;
        let state = self.inner.state();
        let mut layers = image.config.rootfs.diff_ids.iter();
        let mut entries: Vec<HistoryEntry> = Vec::new();
        for step in &image.config.history {
            let layer = if step.empty_layer {
                None
            } else {
                layers.next()
            };
            entries.push(HistoryEntry {
                id: None,
                created: step.created,
                created_by: step.created_by.clone(),
                comment: step.comment.clone(),
                size: layer
                    .and_then(|diff| state.layers.get(diff))
                    .map_or(0, |layer| layer.size),
                tags: Vec::new(),
            });
        }
        entries.reverse();
        let mut image = Some(image);
        for entry in &mut entries {
            let Some(known) = image else { break };
            entry.id = Some(known.id);
            entry.tags = known.references;
            // Docker gives each step to one parent, however many steps that has.
            image = known.parent.and_then(|parent| state.image(parent));
        }
        Ok(entries)
    }

    pub(crate) fn sync_dir(&self, name: &str) -> Result<()> {
        sys::fs::sync_dir(&self.layout().dir(name)).map_err(|source| Error::Sys {
            action: format!("sync the directory of {name}"),
            source,
        })
    }
}

impl NameEntry {
    /// A name that is given now.
    pub(crate) fn now(image: ImageId, target: Option<&Descriptor>) -> Self {
        Self {
            image,
            tagged: Timestamp::from(std::time::SystemTime::now()),
            target: target.map(ManifestRecord::of),
        }
    }
}

impl State {
    pub(crate) fn references_of(&self, id: ImageId) -> Vec<Reference> {
        let names = self.names.iter().filter(|(_, name)| name.image == id);
        names.map(|(reference, _)| reference.clone()).collect()
    }

    /// Points a name to an image; tells which other image it pointed to before.
    pub(crate) fn set_name(&mut self, reference: &Reference, entry: NameEntry) -> Option<ImageId> {
        let image = entry.image;
        let old = self.names.insert(reference.clone(), entry);
        old.map(|old| old.image).filter(|old| *old != image)
    }

    fn image_of_manifest(&self, manifest: Digest) -> Option<Image> {
        let mut images = self.images.iter();
        let (id, _) = images.find(|(_, image)| image.manifests().any(|m| m.digest == manifest))?;
        self.image(*id)
    }

    /// Tells whether an index that a name stands for has an image among its platforms.
    fn is_among(&self, name: &NameEntry, image: &ImageEntry) -> bool {
        let target = name.target.as_ref();
        let index = target.and_then(|target| self.indexes.get(&target.digest));
        index.is_some_and(|index| {
            let mut own = image.manifests();
            own.any(|own| {
                index
                    .manifests
                    .iter()
                    .any(|child| child.digest == own.digest)
            })
        })
    }

    pub(crate) fn image(&self, id: ImageId) -> Option<Image> {
        let entry = self.images.get(&id)?;
        // Another platform may have been pulled by the same name since: `repository@digest` of the
        // index is this one's too.
        let mine = self.names.iter().filter(|(reference, name)| {
            name.image == id || reference.digest().is_some() && self.is_among(name, entry)
        });
        let (repo_digests, references) = mine
            .map(|(reference, _)| reference.clone())
            .partition(|name| name.digest().is_some());
        let size_of = |diff| self.layers.get(diff).map_or(0, |layer| layer.size);
        Some(Image {
            id,
            config: Arc::clone(&entry.config),
            references,
            repo_digests,
            size: entry.config.rootfs.diff_ids.iter().map(size_of).sum(),
            last_tagged: self
                .names
                .values()
                .filter(|name| name.image == id)
                .map(|name| name.tagged)
                .max(),
            manifests: entry.manifests().map(ManifestRecord::descriptor).collect(),
            is_companion: self.names.iter().any(|(reference, name)| {
                name.image != id && reference.digest().is_none() && self.is_among(name, entry)
            }),
            parent: entry
                .parent
                .filter(|parent| self.images.contains_key(parent)),
            has_children: self.images.values().any(|other| other.parent == Some(id)),
        })
    }
}

pub(crate) fn no_such(id: ImageId) -> Error {
    Error::NoSuchImage {
        text: id.to_string(),
    }
}

pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(io("remove", path)),
    }
}
