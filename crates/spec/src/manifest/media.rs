//! Media types of images, in OCI's family and in Docker's.

use super::{InvalidManifest, Manifest};

/// OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI's uncompressed layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI's layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI's layer, Zstandard.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI's empty JSON object, the config of artifacts.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's uncompressed layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer, Zstandard.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Docker's layer that is had elsewhere.
pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

const SCHEMA1: &[&str] = &[
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
/// Types that servers give who know none.
const GENERIC: &[&str] = &[
    "",
    "application/json",
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
];
/// Config types that Docker takes for an image; the last four are found on old images.
const IMAGE_CONFIGS: &[&str] = &[
    DOCKER_CONFIG,
    OCI_CONFIG,
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

/// What a client that takes everything here says in `Accept`, one header each.
pub const ACCEPT: &[&str] = &[DOCKER_MANIFEST, DOCKER_LIST, OCI_INDEX, OCI_MANIFEST];

/// How the bytes of a layer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// The media type does not say; the bytes do.
    Unknown,
}

/// Tells whether a type is a manifest's.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Tells whether a type is an index's.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Tells whether a type is that of Docker's old format.
pub fn is_schema1(media_type: &str) -> bool {
    SCHEMA1.contains(&media_type)
}

/// Tells whether a type says nothing about the content.
pub fn is_generic(media_type: &str) -> bool {
    GENERIC.contains(&media_type)
}

/// Tells whether a layer of this type may not be handed on.
pub fn is_nondistributable(media_type: &str) -> bool {
    media_type == DOCKER_FOREIGN
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar"
}

/// Tells how a layer of this type is packed.
pub fn packing(media_type: &str) -> Packing {
    let layer = media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.");
    match media_type {
        _ if !layer => Packing::Unknown,
        text if text.ends_with("gzip") => Packing::Gzip,
        text if text.ends_with("zstd") => Packing::Zstd,
        text if text.ends_with("tar") => Packing::Plain,
        _ => Packing::Unknown,
    }
}

/// Cuts parameters (`; charset=utf-8`) off a `Content-Type`.
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

pub(super) fn check_image(manifest: &Manifest) -> Result<(), InvalidManifest> {
    let config = manifest.config.media_type.as_str();
    if manifest.media_type == DOCKER_MANIFEST && !IMAGE_CONFIGS.contains(&config) {
        let is_plugin = config == "application/vnd.docker.plugin.v1+json";
        return Err(InvalidManifest::Artifact {
            media_type: config.to_owned(),
            class: if is_plugin { "plugin" } else { "unknown" },
        });
    }
    check_supported(config)?;
    manifest
        .layers
        .iter()
        .try_for_each(|layer| check_supported(&layer.media_type))
}

/// Docker's rule: these types and everything below them.
fn check_supported(media_type: &str) -> Result<(), InvalidManifest> {
    let lower = media_type.to_lowercase();
    if lower.starts_with("application/vnd.docker.ai.") {
        return Err(InvalidManifest::Model);
    }
    let image = ["application/vnd.oci.image.", "application/vnd.docker."];
    if image.iter().any(|family| lower.starts_with(family))
        || IMAGE_CONFIGS.contains(&lower.as_str())
    {
        return Ok(());
    }
    Err(InvalidManifest::MediaType {
        media_type: media_type.to_owned(),
    })
}
