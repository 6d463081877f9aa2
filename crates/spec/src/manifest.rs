//! What registries and archives say an image consists of: descriptors, manifests, indexes.
//!
//! Both families are read, OCI's and Docker's (schema 2); they differ in media types only. The
//! identity of a document is the digest of its *bytes*, so a [`Document`] keeps them exactly and
//! what is parsed from it is never written back.
//!
//! ```text
//! Document (media type, digest, bytes)
//! ├── Index      -> Descriptor per platform -> Document …
//! └── Manifest   -> config Descriptor, layer Descriptors (lowest first)
//! ```
//!
//! Invariant: a document that two programs could read as two different things is not parsed at
//! all (keys twice, `layers` beside `manifests`, a `mediaType` other than the registry told).
//!
//! See the OCI image-spec, [manifest](https://github.com/opencontainers/image-spec/blob/main/manifest.md)
//! and [index](https://github.com/opencontainers/image-spec/blob/main/image-index.md).

mod choose;
pub mod media;
mod parse;
mod strict;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Classify, Digest, ErrorKind, Platform};

/// Longest document that is read, as registries bound what they take.
pub const MAX_DOCUMENT: usize = 4 << 20;
/// Most layers of a manifest; Docker's own bound for images is 125.
pub const MAX_LAYERS: usize = 1000;
/// Most entries of an index.
pub const MAX_MANIFESTS: usize = 10_000;
/// Indexes within indexes that are followed.
pub const MAX_NESTING: usize = 4;

/// Names content: what it is, its digest and its length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of bytes, as many as Go's signed integers can count.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Where else the content can be had ("foreign" layers).
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Free-form keys and values.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What the content runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescribedPlatform>,
    /// Type of the artifact, in an index.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub artifact_type: String,
}

/// The platform of an index entry, as it is written there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedPlatform {
    /// Processor, Go's name.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// Operating system, Go's name.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// Windows' version.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// What the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The processor's variant.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
    /// What the processor must have (Docker's lists).
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub features: Vec<String>,
}

/// A manifest or an index as the exact bytes it came as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub media_type: String,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What a [`Document`] turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and taken apart at once"
)]
pub enum Parsed {
    /// An image or an artifact.
    Manifest(Manifest),
    /// A list of manifests.
    Index(Index),
}

/// One image (or artifact): its config and its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its own media type.
    pub media_type: String,
    /// The config blob.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// What the artifact is, if it says so.
    pub artifact_type: Option<String>,
    /// The manifest that this one is about, if any.
    pub subject: Option<Descriptor>,
    /// Free-form keys and values.
    pub annotations: BTreeMap<String, String>,
}

/// Manifests of one name for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its own media type.
    pub media_type: String,
    /// The entries in the order they are written.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about, if any.
    pub subject: Option<Descriptor>,
    /// Free-form keys and values.
    pub annotations: BTreeMap<String, String>,
}

/// Why a document is not a usable manifest or index.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// Longer than [`MAX_DOCUMENT`].
    #[error("the manifest has {size} bytes, at most {MAX_DOCUMENT} are read")]
    TooLong {
        /// Its length, as far as it is known.
        size: u64,
    },
    /// Not JSON, or not of the form.
    #[error("the manifest cannot be read")]
    Json {
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// It could be read as two different things.
    #[error("the manifest is ambiguous: {why}")]
    Ambiguous {
        /// What contradicts what.
        why: String,
    },
    /// More entries than are read.
    #[error("the manifest has {count} {what}, at most {most} are read")]
    TooMany {
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// Docker's format before 2016.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been \
         removed. More information at https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1,
    /// Neither a manifest nor an index of a known family.
    #[error("unsupported manifest format")]
    Format {
        /// The media type.
        media_type: String,
    },
    /// A manifest whose config is not that of an image.
    #[error("Encountered remote {media_type:?}({class}) when fetching")]
    Artifact {
        /// Media type of the config.
        media_type: String,
        /// What Docker calls such things: `plugin` or `unknown`.
        class: &'static str,
    },
    /// A layer or config that is no part of an image.
    #[error("unsupported media type {media_type}")]
    MediaType {
        /// The media type.
        media_type: String,
    },
    /// Docker's format of language models.
    #[error(
        "AI models are not yet supported by the Engine, please use \"docker model pull/run\" instead"
    )]
    Model,
    /// An index without a manifest for the platform.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoMatch {
        /// What was looked for.
        platform: Platform,
    },
}

impl Classify for InvalidManifest {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoMatch { .. } => ErrorKind::NotFound,
            Self::Format { .. }
            | Self::Artifact { .. }
            | Self::MediaType { .. }
            | Self::Model
            | Self::Schema1 => ErrorKind::InvalidArgument,
            Self::TooLong { .. }
            | Self::Json { .. }
            | Self::Ambiguous { .. }
            | Self::TooMany { .. } => ErrorKind::Internal,
        }
    }
}

impl Descriptor {
    /// Makes a descriptor of the three things every one has.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: String::new(),
        }
    }

    /// The platform of an index entry, normalised; `None` where it has none.
    pub fn platform(&self) -> Option<Platform> {
        self.platform
            .as_ref()
            .filter(|told| !told.is_empty())
            .map(DescribedPlatform::normalised)
    }

    /// Tells whether the content may not be handed on ("foreign" layers of Windows).
    pub fn is_nondistributable(&self) -> bool {
        media::is_nondistributable(&self.media_type)
    }

    /// Tells whether an index entry is a statement about another one (provenance, SBOM) rather
    /// than an image.
    pub fn is_attestation(&self) -> bool {
        self.annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|kind| kind == "attestation-manifest")
    }
}

impl DescribedPlatform {
    /// The normal form.
    pub fn normalised(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, &self.variant)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&Platform> for DescribedPlatform {
    fn from(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }
}

impl Document {
    /// Takes bytes and computes their digest.
    pub fn new(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(&bytes),
            bytes,
        }
    }

    /// The descriptor of this document.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type.clone(),
            self.digest,
            self.bytes.len() as u64,
        )
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`], for everything that is not exactly one of the known forms.
    pub fn parse(&self) -> Result<Parsed, InvalidManifest> {
        parse::parse(&self.media_type, &self.bytes)
    }
}

impl Manifest {
    /// Reads a manifest that must not be an index.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`].
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        match parse::parse(media_type, bytes)? {
            Parsed::Manifest(manifest) => Ok(manifest),
            Parsed::Index(index) => Err(InvalidManifest::Format {
                media_type: index.media_type,
            }),
        }
    }

    /// Refuses what is not an image that can be pulled, with Docker's texts.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest::Artifact`], [`InvalidManifest::MediaType`], [`InvalidManifest::Model`].
    pub fn check_image(&self) -> Result<(), InvalidManifest> {
        media::check_image(self)
    }
}

impl Index {
    /// Reads an index that must not be a manifest.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`].
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        match parse::parse(media_type, bytes)? {
            Parsed::Index(index) => Ok(index),
            Parsed::Manifest(manifest) => Err(InvalidManifest::Format {
                media_type: manifest.media_type,
            }),
        }
    }

    /// The entries that are images: neither attestations nor of unknown type.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| {
            !entry.is_attestation()
                && (media::is_manifest(&entry.media_type) || media::is_index(&entry.media_type))
        })
    }

    /// The entries that run on a platform, best first: the platform itself, then its older
    /// variants, then what it runs besides (32-bit), then entries that name no platform.
    pub fn candidates(&self, wanted: &Platform) -> Vec<&Descriptor> {
        choose::candidates(self, wanted)
    }

    /// The best entry for a platform.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest::NoMatch`] with Docker's text.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, InvalidManifest> {
        self.candidates(wanted)
            .first()
            .copied()
            .ok_or_else(|| InvalidManifest::NoMatch {
                platform: wanted.clone(),
            })
    }
}

/// Writes a manifest of Docker's family with the very bytes that Docker would push.
pub fn docker_manifest(config: &Descriptor, layers: &[Descriptor]) -> Document {
    write::docker_manifest(config, layers)
}

/// Writes a manifest list of Docker's family, or an index of OCI's where the first entry is OCI's,
/// with the very bytes that `docker manifest push` would send.
pub fn docker_list(entries: &[Descriptor]) -> Document {
    write::docker_list(entries)
}

/// Writes an OCI manifest, compact, keys in the order of the specification.
pub fn oci_manifest(config: &Descriptor, layers: &[Descriptor]) -> Document {
    write::oci_manifest(config, layers)
}

/// Writes an OCI index, compact, keys in the order of the specification.
pub fn oci_index(entries: &[Descriptor]) -> Document {
    write::oci_index(entries)
}

/// Reads a length; larger ones would overflow where lengths are summed up.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    let refuse = |_| D::Error::custom(format!("a content of {size} bytes"));
    u64::try_from(size).map_err(refuse)
}

/// Reads `null` as the empty value, as Go does.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
