//! One image of a list, as Docker's client keeps it in a file and shows it.
//!
//! ```text
//! {"Ref": name, "Descriptor": {mediaType, digest, size, platform}, "Raw": base64 of the bytes,
//!  "SchemaV2Manifest" or "OCIManifest": the manifest as JSON}
//! ```

use serde_json::{Map, Value, json};
use spec::Reference;
use spec::manifest::{DescribedPlatform, Descriptor, Document, Manifest, media};

use super::whole;
use crate::base64;
use crate::commands::inspect::layout;
use crate::exit::Failure;

/// An image and what it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the image is.
    pub(super) reference: Reference,
    /// Its manifest.
    pub(super) document: Document,
    /// What it runs on.
    pub(super) platform: DescribedPlatform,
}

impl Entry {
    /// What stands for the image in a list.
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor {
            platform: Some(self.platform.clone()),
            ..self.document.descriptor()
        }
    }

    /// The digests of all that the manifest needs: config and layers.
    pub(super) fn manifest(&self) -> Result<Manifest, Failure> {
        Manifest::parse(&self.document.media_type, &self.document.bytes)
            .map_err(|error| Failure::new(format!("{}: {error}", whole(&self.reference))))
    }

    /// The JSON of the file, and of what `--verbose` shows.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let parsed: Value = serde_json::from_slice(&self.document.bytes)
            .map_err(|error| Failure::new(format!("{}: {error}", whole(&self.reference))))?;
        let kind = match self.document.media_type.as_str() {
            media::OCI_MANIFEST => "OCIManifest",
            _ => "SchemaV2Manifest",
        };
        // A platform without a name is none, but it is always written.
        let platform = serde_json::to_value(&self.platform).unwrap_or_default();
        let mut out = Map::new();
        out.insert("Ref".to_owned(), whole(&self.reference).into());
        out.insert(
            "Descriptor".to_owned(),
            json!({
                "mediaType": self.document.media_type,
                "digest": self.document.digest.to_string(),
                "size": self.document.bytes.len(),
                "platform": platform,
            }),
        );
        out.insert(
            "Raw".to_owned(),
            base64::encode(&self.document.bytes).into(),
        );
        out.insert(kind.to_owned(), parsed);
        Ok(out.into())
    }

    /// Reads a file's JSON back.
    ///
    /// # Errors
    ///
    /// What is wrong with it; the bytes must be those of the digest.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let name = value.get("Ref").and_then(Value::as_str).unwrap_or_default();
        let reference = Reference::parse_bare(name).map_err(|error| error.to_string())?;
        let descriptor: Descriptor = value
            .get("Descriptor")
            .cloned()
            .ok_or_else(|| "there is no descriptor".to_owned())
            .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()))?;
        let bytes = match value.get("Raw").and_then(Value::as_str) {
            Some(raw) => base64::decode(raw)?,
            None => rebuilt(&value)?,
        };
        let document = Document::new(descriptor.media_type, bytes);
        if document.digest != descriptor.digest {
            return Err(format!(
                "internal digest mismatch for {name}: expected {}, got {}",
                descriptor.digest, document.digest
            ));
        }
        Ok(Self {
            reference,
            document,
            platform: descriptor.platform.unwrap_or_default(),
        })
    }
}

// Docker's older clients did not keep the bytes; they are had by writing the manifest as it
// usually is written.
fn rebuilt(value: &Value) -> Result<Vec<u8>, String> {
    for (kind, indent) in [("SchemaV2Manifest", "   "), ("OCIManifest", "  ")] {
        if let Some(manifest) = value.get(kind).filter(|m| m.is_object()) {
            return Ok(layout(&manifest.to_string(), Some(indent)).into_bytes());
        }
    }
    Err("there is no manifest".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "{\n\t\"schemaVersion\": 2,\n\t\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n\t\"annotations\": {\"u\": \"a&b\"}\n}\n";

    fn entry() -> Entry {
        Entry {
            reference: "localhost:5000/team/x:1".parse().unwrap(),
            document: Document::new(media::OCI_MANIFEST, RAW.as_bytes().to_vec()),
            platform: DescribedPlatform {
                architecture: "arm".to_owned(),
                os: "linux".to_owned(),
                variant: "v7".to_owned(),
                ..DescribedPlatform::default()
            },
        }
    }

    #[test]
    fn files_are_dockers_and_read_back() {
        let text = api::gojson::encode(&entry().json().unwrap());
        let shown = String::from_utf8(text.clone()).unwrap();
        assert!(shown.starts_with(r#"{"Ref":"localhost:5000/team/x:1","Descriptor":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:"#), "{shown}");
        assert!(shown.contains(r#""size":114,"platform":{"architecture":"arm","os":"linux","variant":"v7"}},"Raw":"ewo"#), "{shown}");
        assert!(shown.ends_with(r#""OCIManifest":{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"u":"a\u0026b"}}}"#), "{shown}");
        assert_eq!(Entry::read(&text).unwrap(), entry());
    }

    #[test]
    fn other_bytes_than_the_digests_are_refused() {
        let mut value = entry().json().unwrap();
        value["Raw"] = base64::encode(b"{}").into();
        let error = Entry::read(value.to_string().as_bytes()).unwrap_err();
        assert!(
            error.starts_with(
                "internal digest mismatch for localhost:5000/team/x:1: expected sha256:"
            ),
            "{error}"
        );
        assert!(Entry::read(b"{}").is_err());
    }

    #[test]
    fn bytes_that_were_not_kept_are_written_again() {
        let bytes = b"{\n   \"schemaVersion\": 2,\n   \"layers\": []\n}";
        let mut entry = entry();
        entry.document = Document::new(media::DOCKER_MANIFEST, bytes.to_vec());
        let mut value = entry.json().unwrap();
        value.as_object_mut().unwrap().shift_remove("Raw");
        assert_eq!(Entry::read(value.to_string().as_bytes()).unwrap(), entry);
    }
}
