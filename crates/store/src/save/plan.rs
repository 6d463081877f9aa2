//! Deciding what an archive holds: which manifests, indexes and forms of layers.

use std::collections::BTreeMap;

use spec::manifest::{Descriptor, Manifest, media, oci_index};
use spec::{DiffId, Digest, ImageId, Platform, Reference};

use super::documents::{DockerImage, LayerSource, line, named, plain_manifest};
use super::{BLOBS, Content, SaveOptions, SavePlan};
use crate::{Error, How, Image, Lease, Result, Store};

/// An image that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    image: ImageId,
    /// The tag it goes out under.
    name: Option<Reference>,
    /// The name whose record tells what it was pulled as.
    pulled_as: Option<Reference>,
}

/// Finds what is to be saved, and holds it.
pub(super) fn plan(store: &Store, lease: &Lease, options: &SaveOptions) -> Result<SavePlan> {
    let mut builder = Builder {
        store,
        lease,
        platforms: &options.platforms,
        blobs: BTreeMap::new(),
        tops: Vec::new(),
        docker: Vec::new(),
        repositories: BTreeMap::new(),
    };
    for wanted in wanted(store, &options.names)? {
        builder.add(&wanted)?;
    }
    Ok(builder.finish())
}

/// What the user's texts stand for: a name, all tags of a repository, or an image by its id.
fn wanted(store: &Store, texts: &[String]) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for text in texts {
        let bare = match text.starts_with("sha256:") {
            true => None,
            false => Reference::parse_bare(text).ok(),
        };
        let mut found = match &bare {
            Some(bare) if bare.tag().is_none() && bare.digest().is_none() => {
                of_repository(store, bare)
            }
            _ => Vec::new(),
        };
        if found.is_empty() {
            let missing = |error| match (error, &bare) {
                (Error::NoSuchImage { .. }, Some(bare)) if bare.tag().is_none() => {
                    Error::NoSuchImage { text: text.clone() }
                }
                (error, _) => error,
            };
            let image = store.find(text).map_err(missing)?.id;
            let pulled_as = bare.filter(|name| store.image_of(name) == Some(image));
            found.push(Wanted {
                image,
                name: pulled_as.clone().filter(|name| name.digest().is_none()),
                pulled_as,
            });
        }
        for wanted in found {
            if !all.contains(&wanted) {
                all.push(wanted);
            }
        }
    }
    Ok(all)
}

fn of_repository(store: &Store, bare: &Reference) -> Vec<Wanted> {
    let repository = bare.repository();
    let mut found: Vec<Wanted> = Vec::new();
    let mut names: Vec<(Reference, ImageId)> = Vec::new();
    for image in store.images() {
        let all = image.references.into_iter().chain(image.repo_digests);
        names.extend(all.map(|name| (name, image.id)));
    }
    names.retain(|(name, _)| name.repository() == repository);
    names.sort();
    let (digests, tags): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|(name, _)| name.digest().is_some());
    for (name, image) in tags.into_iter().chain(digests) {
        let is_tag = name.digest().is_none();
        // A digest alone only adds the image where no tag does.
        if is_tag || found.iter().all(|known| known.image != image) {
            found.push(Wanted {
                image,
                name: is_tag.then(|| name.clone()),
                pulled_as: Some(name),
            });
        }
    }
    found
}

/// An image whose manifest can go out as it came.
struct Exact {
    image: Image,
    manifest: Descriptor,
    bytes: Vec<u8>,
    layers: Vec<(DiffId, Descriptor)>,
}

struct Builder<'s> {
    store: &'s Store,
    lease: &'s Lease,
    platforms: &'s [Platform],
    blobs: BTreeMap<Digest, Content>,
    tops: Vec<Descriptor>,
    docker: Vec<(ImageId, DockerImage)>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Builder<'_> {
    fn add(&mut self, wanted: &Wanted) -> Result<()> {
        let (top, shown) = match self.whole_index(wanted)? {
            Some(done) => done,
            None => self.single(wanted)?,
        };
        let top = match &wanted.name {
            Some(name) => named(&top, name),
            None => top,
        };
        self.tops.push(top);
        let Some(name) = &wanted.name else {
            return Ok(());
        };
        let item = self.docker.iter_mut().find(|(image, _)| *image == shown);
        if let Some((_, item)) = item {
            let tags = item.repo_tags.get_or_insert_default();
            tags.push(name.familiar());
        }
        let image = self.image(shown)?;
        if let (Some(tag), Some(diff)) = (name.tag(), image.config.rootfs.diff_ids.last()) {
            let tags = self.repositories.entry(name.familiar_repository());
            tags.or_default()
                .insert(tag.to_owned(), diff.digest().hex());
        }
        Ok(())
    }

    /// Adds the index that a name stands for with the images of it that are here and wanted; `None`
    /// where it stands for none, or one of the images cannot go out as it came.
    fn whole_index(&mut self, wanted: &Wanted) -> Result<Option<(Descriptor, ImageId)>> {
        let Some(name) = &wanted.pulled_as else {
            return Ok(None);
        };
        let Some(target) = self.store.target(name) else {
            return Ok(None);
        };
        if !media::is_index(&target.media_type) {
            return Ok(None);
        }
        let Some(bytes) = self.store.document(target.digest)? else {
            return Ok(None);
        };
        let mut chosen = Vec::new();
        for entry in self.store.platforms_of(name)? {
            let Some(image) = entry.image else { continue };
            if !self.is_wanted(entry.platform.as_ref()) {
                continue;
            }
            match self.exact(image, &entry.manifest)? {
                Some(exact) => chosen.push(exact),
                None => return Ok(None),
            }
        }
        let Some(first) = chosen.first() else {
            return Ok(None);
        };
        let shown = match chosen.iter().any(|exact| exact.image.id == wanted.image) {
            true => wanted.image,
            false => first.image.id,
        };
        let top = match self.platforms {
            [_] => first.manifest.clone(),
            _ => {
                self.blobs.insert(target.digest, Content::Bytes(bytes));
                target
            }
        };
        for exact in chosen {
            self.put_exact(exact, shown)?;
        }
        Ok(Some((top, shown)))
    }

    /// Adds one image, with a manifest that it came with where that is possible.
    fn single(&mut self, wanted: &Wanted) -> Result<(Descriptor, ImageId)> {
        let image = self.image(self.of_platform(wanted)?)?;
        let id = image.id;
        let target = wanted
            .pulled_as
            .as_ref()
            .and_then(|name| self.store.target(name));
        let manifests = target.into_iter().chain(image.manifests.clone());
        for manifest in manifests {
            if media::is_index(&manifest.media_type) {
                continue;
            }
            if let Some(exact) = self.exact(id, &manifest)? {
                self.put_exact(exact, id)?;
                return Ok((manifest, id));
            }
        }
        self.put_plain(&image).map(|manifest| (manifest, id))
    }

    /// The image of a name that is for a wanted platform.
    fn of_platform(&self, wanted: &Wanted) -> Result<ImageId> {
        let image = self.image(wanted.image)?;
        if self.is_wanted(Some(&image.config.platform())) {
            return Ok(wanted.image);
        }
        if let Some(name) = &wanted.pulled_as {
            for entry in self.store.platforms_of(name)? {
                if let Some(image) = entry.image
                    && self.is_wanted(entry.platform.as_ref())
                {
                    return Ok(image);
                }
            }
        }
        let platforms: Vec<String> = self.platforms.iter().map(Platform::to_string).collect();
        let shown = wanted.pulled_as.as_ref().map(Reference::familiar);
        Err(Error::NoSuchPlatform {
            image: shown.unwrap_or_else(|| wanted.image.to_string()),
            platform: platforms.join(", "),
        })
    }

    fn is_wanted(&self, platform: Option<&Platform>) -> bool {
        self.platforms.is_empty() || platform.is_some_and(|found| self.platforms.contains(found))
    }

    fn image(&self, id: ImageId) -> Result<Image> {
        let missing = || Error::NoSuchImage {
            text: id.to_string(),
        };
        self.store.image(id).ok_or_else(missing)
    }

    /// Reads a manifest and finds the layers that it names; `None` where one is not here.
    fn exact(&self, id: ImageId, manifest: &Descriptor) -> Result<Option<Exact>> {
        let Some(bytes) = self.store.document(manifest.digest)? else {
            return Ok(None);
        };
        let image = self.image(id)?;
        let Ok(parsed) = Manifest::parse(&manifest.media_type, &bytes) else {
            return Ok(None);
        };
        let diffs = &image.config.rootfs.diff_ids;
        if parsed.config.digest != id.digest() || parsed.layers.len() != diffs.len() {
            return Ok(None);
        }
        self.store.hold_layers(self.lease, diffs);
        let mut layers = Vec::new();
        for (diff, layer) in diffs.iter().zip(parsed.layers) {
            let forms = self.store.forms(*diff);
            if forms.iter().all(|form| form.digest != layer.digest) {
                return Ok(None);
            }
            layers.push((*diff, layer));
        }
        Ok(Some(Exact {
            image,
            manifest: manifest.clone(),
            bytes,
            layers,
        }))
    }

    /// Adds an image as it came; the others of its index are not in `manifest.json`, whose readers
    /// know one image per tag.
    fn put_exact(&mut self, exact: Exact, shown: ImageId) -> Result<()> {
        let id = exact.image.id;
        self.put_config(id)?;
        self.blobs
            .insert(exact.manifest.digest, Content::Bytes(exact.bytes));
        let mut paths = Vec::new();
        for (diff, layer) in &exact.layers {
            let (diff, size) = (*diff, layer.size);
            self.blobs
                .insert(layer.digest, Content::Layer { diff, size });
            self.store.hold_blob(self.lease, layer.digest);
            paths.push(blob_path(layer.digest));
        }
        if id == shown {
            self.put_docker(id, paths, BTreeMap::new());
        }
        Ok(())
    }

    /// Adds an image with uncompressed layers and a manifest made for them.
    fn put_plain(&mut self, image: &Image) -> Result<Descriptor> {
        let config_size = self.put_config(image.id)?;
        let diffs = &image.config.rootfs.diff_ids;
        let known = self.store.hold_layers(self.lease, diffs);
        let mut layers = Vec::new();
        let mut sources = BTreeMap::new();
        for (diff, known) in diffs.iter().zip(known) {
            if !known {
                let what = format!("layer {diff} is missing: load or pull it again");
                return Err(Error::Damaged { id: image.id, what });
            }
            let digest = diff.digest();
            let forms = self.store.forms(*diff);
            let plain = forms.iter().find(|form| form.how == How::Plain);
            let size = plain.map(|form| form.size).ok_or(Error::NoSuchForm {
                diff: *diff,
                digest,
            })?;
            let source = LayerSource {
                media_type: media::OCI_LAYER,
                size,
                digest,
            };
            self.blobs
                .insert(digest, Content::Layer { diff: *diff, size });
            sources.insert(*diff, source);
            layers.push((*diff, size));
        }
        let bytes = plain_manifest((image.id.digest(), config_size), &layers);
        let digest = Digest::of(&bytes);
        let manifest = Descriptor::new(media::OCI_MANIFEST, digest, bytes.len() as u64);
        self.blobs.insert(digest, Content::Bytes(bytes));
        let paths = diffs.iter().map(|diff| blob_path(diff.digest())).collect();
        self.put_docker(image.id, paths, sources);
        Ok(manifest)
    }

    fn put_config(&mut self, id: ImageId) -> Result<u64> {
        let bytes = self.store.config_bytes(id)?;
        let size = bytes.len() as u64;
        self.blobs.insert(id.digest(), Content::Bytes(bytes));
        self.store.hold_blob(self.lease, id.digest());
        Ok(size)
    }

    fn put_docker(
        &mut self,
        id: ImageId,
        layers: Vec<String>,
        layer_sources: BTreeMap<DiffId, LayerSource>,
    ) {
        if self.docker.iter().any(|(known, _)| *known == id) {
            return;
        }
        let image = DockerImage {
            config: blob_path(id.digest()),
            repo_tags: None,
            layers,
            layer_sources,
        };
        self.docker.push((id, image));
    }

    fn finish(mut self) -> SavePlan {
        let tagged: Vec<Digest> = self
            .tops
            .iter()
            .filter(|top| !top.annotations.is_empty())
            .map(|top| top.digest)
            .collect();
        self.tops
            .retain(|top| !top.annotations.is_empty() || !tagged.contains(&top.digest));
        let docker: Vec<&DockerImage> = self.docker.iter().map(|(_, image)| image).collect();
        let repositories = (!self.repositories.is_empty()).then(|| line(&self.repositories));
        SavePlan {
            index: oci_index(&self.tops).bytes,
            manifest: line(&docker),
            images: self.docker.iter().map(|(id, _)| *id).collect(),
            blobs: self.blobs,
            repositories,
        }
    }
}

fn blob_path(digest: Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}
