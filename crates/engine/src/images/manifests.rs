//! The manifests of an image's index, here or not, for lists and inspect.

use std::sync::Arc;

use spec::manifest::{DescribedPlatform, Descriptor, Document, Manifest, Parsed};
use spec::{ContainerId, Digest, ImageId};
use store::{Image, Store};

use super::{ManifestKind, ManifestSummary};
use crate::Result;
use crate::container::Container;

/// What an image came as: what one of its names stands for, else its first manifest.
pub(super) fn target(store: &Store, image: &Image) -> Option<Descriptor> {
    let names = image.references.iter().chain(&image.repo_digests);
    let named = names.filter_map(|name| store.target(name)).next();
    named.or_else(|| image.manifests.first().cloned())
}

/// The manifests behind a target, in the order of its index.
pub(super) fn summaries(
    store: &Store,
    target: &Descriptor,
    containers: &[Arc<Container>],
) -> Result<Vec<ManifestSummary>> {
    let Some(document) = read(store, target)? else {
        return Ok(Vec::new());
    };
    match document.parse()? {
        Parsed::Manifest(_) => Ok(vec![summary(store, target, containers)?]),
        Parsed::Index(index) => index
            .manifests
            .iter()
            .map(|entry| summary(store, entry, containers))
            .collect(),
    }
}

fn summary(
    store: &Store,
    entry: &Descriptor,
    containers: &[Arc<Container>],
) -> Result<ManifestSummary> {
    let manifest = match read(store, entry)? {
        Some(document) => Manifest::parse(&document.media_type, &document.bytes).ok(),
        None => None,
    };
    let image = manifest
        .as_ref()
        .and_then(|manifest| store.image(ImageId::new(manifest.config.digest)));
    Ok(ManifestSummary {
        available: image.is_some(),
        content_size: manifest.as_ref().map_or(0, |m| content_size(entry, m)),
        kind: kind(entry, image.as_ref(), manifest.as_ref(), containers),
        descriptor: entry.clone(),
    })
}

/// Bytes of what a manifest refers to, as it counts them itself.
fn content_size(entry: &Descriptor, manifest: &Manifest) -> u64 {
    let layers = manifest.layers.iter().map(|layer| layer.size);
    layers.fold(
        entry.size.saturating_add(manifest.config.size),
        u64::saturating_add,
    )
}

fn kind(
    entry: &Descriptor,
    image: Option<&Image>,
    manifest: Option<&Manifest>,
    containers: &[Arc<Container>],
) -> ManifestKind {
    if entry.is_attestation() {
        let about = entry.annotations.get("vnd.docker.reference.digest");
        return ManifestKind::Attestation {
            about: about.and_then(|text| text.parse::<Digest>().ok()),
        };
    }
    if manifest.is_some_and(|manifest| manifest.check_image().is_err()) {
        return ManifestKind::Unknown;
    }
    let of_config = image.map(|image| DescribedPlatform {
        os: image.config.os.clone(),
        architecture: image.config.architecture.clone(),
        variant: image.config.variant.clone(),
        ..DescribedPlatform::default()
    });
    let Some(platform) = entry.platform.clone().or(of_config) else {
        return ManifestKind::Unknown;
    };
    let id = image.map(|image| image.id);
    let users = containers.iter().filter(|c| Some(c.image) == id);
    let users: Vec<ContainerId> = users.map(|container| container.id).collect();
    ManifestKind::Image {
        id,
        platform,
        containers: users,
        unpacked_size: image.map_or(0, |image| image.size),
    }
}

fn read(store: &Store, descriptor: &Descriptor) -> Result<Option<Document>> {
    let bytes = store.document(descriptor.digest)?;
    Ok(bytes.map(|bytes| Document {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest,
        bytes,
    }))
}
