//! From bytes to a manifest or an index.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::strict::{self, Shape};
use super::{
    Descriptor, Index, InvalidManifest, MAX_DOCUMENT, MAX_LAYERS, MAX_MANIFESTS, Manifest, Parsed,
    media, or_default,
};

/// Both forms at once; which one it is, the media type and the keys say together.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<i64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(PartialEq, Eq)]
enum Form {
    Manifest,
    Index,
}

pub(super) fn parse(told: &str, bytes: &[u8]) -> Result<Parsed, InvalidManifest> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(InvalidManifest::TooLong {
            size: bytes.len() as u64,
        });
    }
    let told = media::essence(told);
    if media::is_schema1(told) {
        return Err(InvalidManifest::Schema1);
    }
    let json = |source| InvalidManifest::Json { source };
    let shape = strict::shape(bytes).map_err(json)?;
    if shape.schema1 {
        return Err(InvalidManifest::Schema1);
    }
    // The keys come first: what does not even claim to be one of ours need not have our fields.
    let form = form(&shape)?;
    let raw: Raw = serde_json::from_slice(bytes).map_err(json)?;
    if raw.schema_version == Some(1) {
        return Err(InvalidManifest::Schema1);
    }
    if let Some(version) = raw.schema_version.filter(|version| *version != 2) {
        return Err(ambiguous(format!("schemaVersion is {version}, not 2")));
    }
    let media_type = agreed(told, raw.media_type.as_deref(), &form)?;
    match form {
        Form::Manifest => manifest(media_type, raw).map(Parsed::Manifest),
        Form::Index => index(media_type, raw).map(Parsed::Index),
    }
}

fn form(shape: &Shape) -> Result<Form, InvalidManifest> {
    if shape.manifests && (shape.layers || shape.config || shape.blobs) {
        return Err(ambiguous(
            "it has the keys of an index (manifests) and of a manifest (config, layers)".to_owned(),
        ));
    }
    match (shape.manifests, shape.config) {
        (true, _) => Ok(Form::Index),
        (false, true) => Ok(Form::Manifest),
        (false, false) => Err(InvalidManifest::Format {
            media_type: String::new(),
        }),
    }
}

/// The media type on which the sender and the document itself agree.
fn agreed(told: &str, own: Option<&str>, form: &Form) -> Result<String, InvalidManifest> {
    let own = own.unwrap_or_default();
    let generic = media::is_generic(told);
    if !own.is_empty() && !generic && own != told {
        return Err(ambiguous(format!(
            "it was sent as `{}` and says of itself that it is `{}`",
            short(told),
            short(own)
        )));
    }
    let media_type = match (own.is_empty(), generic) {
        (false, _) => own,
        (true, false) => told,
        (true, true) if *form == Form::Index => media::OCI_INDEX,
        (true, true) => media::OCI_MANIFEST,
    };
    let fits = match form {
        Form::Manifest => media::is_manifest(media_type),
        Form::Index => media::is_index(media_type),
    };
    let known = media::is_manifest(media_type) || media::is_index(media_type);
    match (fits, known) {
        (true, _) => Ok(media_type.to_owned()),
        (false, true) => Err(ambiguous(format!(
            "its keys are not those of a `{media_type}`"
        ))),
        (false, false) if media::is_schema1(media_type) => Err(InvalidManifest::Schema1),
        (false, false) => Err(InvalidManifest::Format {
            media_type: short(media_type),
        }),
    }
}

fn manifest(media_type: String, raw: Raw) -> Result<Manifest, InvalidManifest> {
    let layers = raw.layers.unwrap_or_default();
    bounded(layers.len(), "layers", MAX_LAYERS)?;
    let config = raw.config.ok_or_else(|| InvalidManifest::Format {
        media_type: media_type.clone(),
    })?;
    Ok(Manifest {
        media_type,
        config,
        layers,
        artifact_type: raw.artifact_type.filter(|text| !text.is_empty()),
        subject: raw.subject,
        annotations: raw.annotations,
    })
}

fn index(media_type: String, raw: Raw) -> Result<Index, InvalidManifest> {
    let manifests = raw.manifests.unwrap_or_default();
    bounded(manifests.len(), "manifests", MAX_MANIFESTS)?;
    Ok(Index {
        media_type,
        manifests,
        subject: raw.subject,
        annotations: raw.annotations,
    })
}

fn bounded(count: usize, what: &'static str, most: usize) -> Result<(), InvalidManifest> {
    if count > most {
        return Err(InvalidManifest::TooMany { count, what, most });
    }
    Ok(())
}

fn ambiguous(why: String) -> InvalidManifest {
    InvalidManifest::Ambiguous { why }
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
