//! The JSON files of an archive, in the bytes that Docker's daemon writes.

use std::collections::BTreeMap;

use serde::Serialize;
use spec::manifest::{Descriptor, media, oci_manifest};
use spec::{DiffId, Digest, Reference};

/// An image in `manifest.json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    pub(super) config: String,
    /// `null` for an image without a tag.
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) layer_sources: BTreeMap<DiffId, LayerSource>,
}

/// A layer as it is without compression.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerSource {
    pub(super) media_type: &'static str,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// The manifest that Docker makes of an image: its layers are not compressed.
pub(crate) fn plain_manifest(config: (Digest, u64), layers: &[(DiffId, u64)]) -> Vec<u8> {
    let config = Descriptor::new(media::OCI_CONFIG, config.0, config.1);
    let layers: Vec<Descriptor> = layers
        .iter()
        .map(|(diff, size)| Descriptor::new(media::OCI_LAYER, diff.digest(), *size))
        .collect();
    oci_manifest(&config, &layers).bytes
}

/// An entry of `index.json` under a name.
pub(super) fn named(descriptor: &Descriptor, name: &Reference) -> Descriptor {
    let mut named = descriptor.clone();
    let texts = [
        ("io.containerd.image.name", Some(name.to_string())),
        (
            "org.opencontainers.image.ref.name",
            name.tag().map(str::to_owned),
        ),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            named.annotations.insert(key.to_owned(), text);
        }
    }
    named
}

/// A line of JSON, as Go's encoder writes it.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("structs of texts and numbers serialise");
    bytes.push(b'\n');
    bytes
}
