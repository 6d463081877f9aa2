//! Sending images: what of a name goes (plan.rs), its layers at once (layer.rs), then config,
//! manifests and at last the tag, so that a name at the registry never stands for half an image.

mod body;
mod layer;
mod plan;

use std::collections::HashSet;
use std::sync::Arc;

use registry::{Repository, Version};
use spec::manifest::{Descriptor, Document, docker_manifest, media};
use spec::{DiffId, Reference};
use store::{Image, Lease, NewImage};

use super::hub::Hub;
use super::platform;
use super::progress::Sayer;
use super::{ProgressSender, PushAux, PushRequest};
use crate::{Error, Result};
use layer::{Layer, Sender};
use plan::{Content, Single};

/// Sends what is asked for.
pub(super) async fn push(hub: &Hub, request: PushRequest, progress: ProgressSender) -> Result<()> {
    let repository = named(&request)?;
    if request.platform.is_some() {
        let name = repository.clone().or_latest().familiar();
        platform::find(hub.store(), &name, request.platform.as_ref())?;
    }
    let say = Sayer::new(progress);
    let text = format!(
        "The push refers to repository [{}]",
        repository.repository()
    );
    say.message(None, text).await?;
    let push = Push {
        hub,
        repository: hub.repository(&repository, &request.auth, &request.headers),
        say,
    };
    for reference in references(hub, &repository)? {
        push.one(&reference, &request).await?;
    }
    hub.emit_named(&repository, "push");
    Ok(())
}

/// What a request names: a tag, or a repository with all its tags.
fn named(request: &PushRequest) -> Result<Reference> {
    let refuse = |e: spec::reference::InvalidReference| Error::invalid(e.to_string());
    let reference = Reference::parse_bare(&request.name).map_err(refuse)?;
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    match request.tag.as_str() {
        "" => Ok(reference),
        tag => reference.with_tag(tag).map_err(refuse),
    }
}

/// The names that go, sorted; there is at least one. Docker asks for any name of the repository
/// before it looks for the tag.
fn references(hub: &Hub, repository: &Reference) -> Result<Vec<Reference>> {
    let all = hub.store().images();
    let mut names: Vec<Reference> = all
        .into_iter()
        .flat_map(|image| image.references)
        .filter(|name| name.repository() == repository.repository())
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return Err(Error::refused(
            spec::ErrorKind::NotFound,
            format!(
                "An image does not exist locally with the tag: {}",
                repository.familiar_repository()
            ),
        ));
    }
    match repository.tag() {
        Some(_) => Ok(vec![repository.clone()]),
        None => Ok(names),
    }
}

/// One push of one client.
struct Push<'a> {
    hub: &'a Hub,
    repository: Repository,
    say: Sayer,
}

impl Push<'_> {
    /// Sends one tag.
    async fn one(&self, reference: &Reference, request: &PushRequest) -> Result<()> {
        let lease = self.hub.store().lease("push");
        let (store, name) = (self.hub.store().clone(), reference.clone());
        let platform = request.platform.clone();
        let plan = move || plan::plan(&store, &name, platform.as_ref());
        let sent = match self.hub.quick(plan).await? {
            Content::Index { index, singles } => {
                for single in &singles {
                    self.single(&lease, single).await?;
                    let version = Version::Digest(single.document.digest);
                    self.repository
                        .put_manifest(&version, &single.document)
                        .await?;
                }
                Sent::Original(index)
            }
            Content::Single { single, instead_of } => {
                match self.single(&lease, &single).await {
                    Ok(()) => {
                        self.tell_of_index(instead_of, &single.document).await?;
                        Sent::Original(single.document)
                    }
                    // Its layers were dropped for good; the same files go in another packing.
                    Err(Error::Store(store::Error::NoSuchForm { .. })) => {
                        let text = format!(
                            "The layers of {} are no longer here as they came: they are compressed anew, its digest changes",
                            reference.familiar()
                        );
                        self.say.message(None, text).await?;
                        self.made(&lease, &single.image).await?
                    }
                    Err(error) => return Err(error),
                }
            }
            Content::Bare(image) => self.made(&lease, &image).await?,
        };
        self.name(reference, sent).await
    }

    /// Puts the tag, tells of it, and keeps the new name.
    async fn name(&self, reference: &Reference, sent: Sent) -> Result<()> {
        let document = sent.document();
        let version = Version::of(reference);
        let digest = self.repository.put_manifest(&version, document).await?;
        let size = document.bytes.len() as u64;
        let tag = reference.tag().unwrap_or_default().to_owned();
        let text = format!("{tag}: digest: {digest} size: {size}");
        self.say.message(None, text).await?;
        self.remember(reference, sent).await?;
        self.say.aux(PushAux::Pushed { tag, digest, size }).await
    }

    /// Layers and config of an image that has a manifest.
    async fn single(&self, lease: &Lease, single: &Single) -> Result<()> {
        let diffs = &single.image.config.rootfs.diff_ids;
        if diffs.len() != single.manifest.layers.len() {
            return Err(Error::internal(format!(
                "manifest {} and its image do not have the same number of layers",
                single.document.digest
            )));
        }
        let layers = single.manifest.layers.iter().zip(diffs);
        let layers =
            layers.map(|(descriptor, diff)| Layer::Known(Box::new(descriptor.clone()), *diff));
        self.layers(lease, layers.collect()).await?;
        self.config(&single.image, &single.manifest.config).await
    }

    /// Everything but the tag of an image that has no manifest: it gets one as Docker makes them.
    async fn made(&self, lease: &Lease, image: &Image) -> Result<Sent> {
        let diffs = &image.config.rootfs.diff_ids;
        let layers = diffs.iter().map(|diff| self.layer_of(*diff)).collect();
        let descriptors = self.layers(lease, layers).await?;
        let store = self.hub.store().clone();
        let id = image.id;
        let bytes = self.hub.quick(move || Ok(store.config_bytes(id)?)).await?;
        let config = Descriptor::new(media::DOCKER_CONFIG, id.digest(), bytes.len() as u64);
        self.config(image, &config).await?;
        Ok(Sent::Made {
            document: docker_manifest(&config, &descriptors),
            config: bytes,
        })
    }

    /// A layer in a packing that Docker would push: one that is known, or a new one.
    fn layer_of(&self, diff: DiffId) -> Layer {
        let forms = self.hub.store().forms(diff);
        match plan::gzip(&forms) {
            Some(form) => {
                let descriptor = Descriptor::new(media::DOCKER_LAYER_GZIP, form.digest, form.size);
                Layer::Known(Box::new(descriptor), diff)
            }
            None => Layer::New(diff),
        }
    }

    /// Sends layers at once, topmost first as Docker; gives their descriptors, lowest first.
    async fn layers(&self, lease: &Lease, layers: Vec<Layer>) -> Result<Vec<Descriptor>> {
        let store = self.hub.store();
        for layer in layers.iter().rev() {
            if !store.has_layer(lease, layer.diff()) {
                return Err(store::Error::LayerGone { diff: layer.diff() }.into());
            }
            if let Layer::Known(form, diff) = layer {
                // Whether it is there still is found out where it is read.
                let _held = store.has_form(lease, *diff, form.digest);
            }
        }
        let sender = Sender {
            hub: self.hub,
            repository: &self.repository,
            say: &self.say,
            uploads: self.hub.uploads(),
            attempts: self.hub.config().max_download_attempts,
        };
        let mut seen = HashSet::new();
        let unique: Vec<&Layer> = layers.iter().filter(|l| seen.insert(l.diff())).collect();
        for layer in unique.iter().rev() {
            self.say.step(&layer.id(), "Preparing").await?;
        }
        let sending = unique.iter().rev().map(|layer| sender.send(layer));
        let sent = futures_util::future::try_join_all(sending).await?;
        let of = |layer: &Layer| {
            let found = unique.iter().rev().zip(&sent);
            found
                .filter(|(other, _)| other.diff() == layer.diff())
                .map(|(_, descriptor)| descriptor.clone())
                .next()
        };
        Ok(layers.iter().filter_map(of).collect())
    }

    async fn config(&self, image: &Image, descriptor: &Descriptor) -> Result<()> {
        if self.repository.has_blob(descriptor.digest).await?.is_some() {
            return Ok(());
        }
        let (store, id) = (self.hub.store().clone(), image.id);
        let bytes = self.hub.quick(move || Ok(store.config_bytes(id)?)).await?;
        let open = || body::bytes(bytes.clone());
        self.repository
            .upload(descriptor, None, &open, Arc::new(|_| {}))
            .await?;
        Ok(())
    }

    async fn tell_of_index(
        &self,
        instead_of: Option<Descriptor>,
        document: &Document,
    ) -> Result<()> {
        let Some(index) = instead_of else {
            return Ok(());
        };
        let (index, manifest) = (Box::new(index), Box::new(document.descriptor()));
        self.say
            .aux(PushAux::ManifestInsteadOfIndex { index, manifest })
            .await
    }

    /// What was pushed is known by its digest from now on.
    async fn remember(&self, reference: &Reference, sent: Sent) -> Result<()> {
        let store = self.hub.store().clone();
        let Some(id) = store.image_of(reference) else {
            // The name was taken away meanwhile; the registry has it nevertheless.
            return Ok(());
        };
        let digest = reference.with_digest(sent.document().digest);
        match sent {
            Sent::Original(document) => {
                let target = document.descriptor();
                let tag = move || Ok(store.tag_as(id, &digest, Some(&target))?);
                self.hub.heavy(tag).await.map(drop)
            }
            Sent::Made { document, config } => {
                let image = NewImage {
                    config,
                    target: document.descriptor(),
                    manifest: document,
                    index: None,
                    layers: Vec::new(),
                    names: vec![reference.clone(), digest],
                };
                // The layers are held by the push, which waits for this.
                let publish = move || {
                    let lease = store.lease("pushed");
                    Ok(store.publish_image(&lease, image)?)
                };
                self.hub.heavy(publish).await.map(drop)
            }
        }
    }
}

/// What the tag stands for at the registry.
#[derive(Debug)]
enum Sent {
    /// What is in the store.
    Original(Document),
    /// Something new.
    Made { document: Document, config: Vec<u8> },
}

impl Sent {
    fn document(&self) -> &Document {
        match self {
            Self::Original(document) | Self::Made { document, .. } => document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_dockers() {
        let request = |name: &str, tag: &str| PushRequest {
            name: name.to_owned(),
            tag: tag.to_owned(),
            ..PushRequest::default()
        };
        let read = |name, tag| named(&request(name, tag)).map(|r| r.familiar());
        assert_eq!(read("a", "b").unwrap(), "a:b");
        assert_eq!(read("r.io/a:c", "").unwrap(), "r.io/a:c");
        assert_eq!(read("a", "").unwrap(), "a");
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(
            read(&digest, "").unwrap_err().to_string(),
            "cannot push a digest reference"
        );
        assert!(read("A", "").is_err());
    }
}
