//! From values to bytes: the manifests we make ourselves.
//!
//! Docker writes with an indent of three spaces and the size before the digest; a push of the
//! same image must give the same bytes, hence the same digest.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{DescribedPlatform, Descriptor, Document, media};

/// A descriptor in the order of Docker's fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerDescriptor<'d> {
    #[serde(skip_serializing_if = "str::is_empty")]
    media_type: &'d str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    digest: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    urls: &'d [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'d BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<DockerPlatform<'d>>,
}

/// A platform in the order of Docker's fields.
#[derive(Serialize)]
struct DockerPlatform<'d> {
    architecture: &'d str,
    os: &'d str,
    #[serde(rename = "os.version", skip_serializing_if = "str::is_empty")]
    os_version: &'d str,
    #[serde(rename = "os.features", skip_serializing_if = "<[String]>::is_empty")]
    os_features: &'d [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'d str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    features: &'d [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestOut<D> {
    schema_version: u8,
    media_type: &'static str,
    config: D,
    layers: Vec<D>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexOut<D> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<D>,
}

pub(super) fn docker_manifest(config: &Descriptor, layers: &[Descriptor]) -> Document {
    let out = ManifestOut {
        schema_version: 2,
        media_type: media::DOCKER_MANIFEST,
        config: docker(config),
        layers: layers.iter().map(docker).collect(),
    };
    Document::new(media::DOCKER_MANIFEST, indented(&out))
}

pub(super) fn docker_list(entries: &[Descriptor]) -> Document {
    let oci = entries
        .first()
        .is_some_and(|entry| entry.media_type == media::OCI_MANIFEST);
    let media_type = if oci {
        media::OCI_INDEX
    } else {
        media::DOCKER_LIST
    };
    let unknown = DescribedPlatform::default();
    let out = IndexOut {
        schema_version: 2,
        media_type,
        manifests: entries
            .iter()
            .map(|entry| DockerDescriptor {
                platform: Some(docker_platform(entry.platform.as_ref().unwrap_or(&unknown))),
                ..docker(entry)
            })
            .collect(),
    };
    Document::new(media_type, indented(&out))
}

pub(super) fn oci_manifest(config: &Descriptor, layers: &[Descriptor]) -> Document {
    let out = ManifestOut {
        schema_version: 2,
        media_type: media::OCI_MANIFEST,
        config,
        layers: layers.iter().collect(),
    };
    Document::new(media::OCI_MANIFEST, compact(&out))
}

pub(super) fn oci_index(entries: &[Descriptor]) -> Document {
    let out = IndexOut {
        schema_version: 2,
        media_type: media::OCI_INDEX,
        manifests: entries.iter().collect(),
    };
    Document::new(media::OCI_INDEX, compact(&out))
}

fn docker(descriptor: &Descriptor) -> DockerDescriptor<'_> {
    DockerDescriptor {
        media_type: &descriptor.media_type,
        size: descriptor.size,
        digest: descriptor.digest.to_string(),
        urls: &descriptor.urls,
        annotations: &descriptor.annotations,
        platform: descriptor.platform.as_ref().map(docker_platform),
    }
}

fn docker_platform(platform: &DescribedPlatform) -> DockerPlatform<'_> {
    DockerPlatform {
        architecture: &platform.architecture,
        os: &platform.os,
        os_version: &platform.os_version,
        os_features: &platform.os_features,
        variant: &platform.variant,
        features: &platform.features,
    }
}

fn compact<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of texts and numbers serialise")
}

fn indented<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut out = serde_json::Serializer::with_formatter(&mut bytes, format);
    value
        .serialize(&mut out)
        .expect("structs of texts and numbers serialise");
    html_safe(bytes)
}

/// Writes `<`, `>` and `&` as Go's encoder does.
fn html_safe(bytes: Vec<u8>) -> Vec<u8> {
    let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&');
    if !bytes.iter().any(special) {
        return bytes;
    }
    let mut safe = Vec::with_capacity(bytes.len() + 16);
    for byte in bytes {
        if special(&byte) {
            safe.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            safe.push(byte);
        }
    }
    safe
}

fn is_zero(size: &u64) -> bool {
    *size == 0
}
