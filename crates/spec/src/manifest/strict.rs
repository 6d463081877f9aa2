//! Refuses JSON that two readers could understand differently.
//!
//! Readers differ in which of two equal keys they take, and Go also takes keys in other case. So
//! no object may have a key twice, and no key of a document or of a descriptor may be one of the
//! known ones in other case.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Keys of the document itself.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) config: bool,
    pub(super) layers: bool,
    pub(super) manifests: bool,
    /// Marks of Docker's old format: `fsLayers`, `history`, `signatures`.
    pub(super) schema1: bool,
    pub(super) blobs: bool,
}

const KNOWN: &[&str] = &[
    "annotations",
    "artifactType",
    "blobs",
    "config",
    "data",
    "digest",
    "fsLayers",
    "layers",
    "manifests",
    "mediaType",
    "platform",
    "schemaVersion",
    "signatures",
    "size",
    "subject",
    "urls",
];

/// Reads a whole text and tells which of the telling keys its object has.
pub(super) fn shape(bytes: &[u8]) -> Result<Shape, serde_json::Error> {
    serde_json::from_slice::<Top>(bytes).map(|top| top.0)
}

struct Top(Shape);

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TopVisitor)
    }
}

struct TopVisitor;

impl<'de> Visitor<'de> for TopVisitor {
    type Value = Top;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top, A::Error> {
        let mut seen = HashSet::new();
        let mut shape = Shape::default();
        while let Some(key) = map.next_key::<String>()? {
            check_key(&key)?;
            let there = map.next_value::<Checked>()?.0 != Value::Null;
            match key.as_str() {
                "config" => shape.config = there,
                "layers" => shape.layers = there,
                "manifests" => shape.manifests = there,
                "blobs" => shape.blobs = there,
                "fsLayers" | "signatures" => shape.schema1 |= there,
                _ => {}
            }
            once(&mut seen, key)?;
        }
        Ok(Top(shape))
    }
}

#[derive(PartialEq, Eq)]
enum Value {
    Null,
    Other,
}

/// Any value, read for its keys only.
struct Checked(Value);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckedVisitor)
    }
}

struct CheckedVisitor;

impl<'de> Visitor<'de> for CheckedVisitor {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
        let mut seen = HashSet::new();
        let mut descriptor = false;
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Checked>()?;
            descriptor |= matches!(key.as_str(), "digest" | "mediaType");
            once(&mut seen, key)?;
        }
        // Free-form keys (annotations) may look like anything; those of a descriptor may not.
        if descriptor {
            for key in &seen {
                check_key(key)?;
            }
        }
        Ok(Checked(Value::Other))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
        while seq.next_element::<Checked>()?.is_some() {}
        Ok(Checked(Value::Other))
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked(Value::Null))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked(Value::Other))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked(Value::Other))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked(Value::Other))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked(Value::Other))
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked(Value::Other))
    }
}

fn once<E: de::Error>(seen: &mut HashSet<String>, key: String) -> Result<(), E> {
    if let Some(twice) = seen.replace(key) {
        return Err(E::custom(format_args!(
            "key `{}` is there twice",
            short(&twice)
        )));
    }
    Ok(())
}

fn check_key<E: de::Error>(key: &str) -> Result<(), E> {
    let other_case = |known: &&&str| known.eq_ignore_ascii_case(key) && **known != key;
    match KNOWN.iter().find(other_case) {
        Some(known) => Err(E::custom(format_args!(
            "key `{}` is not written `{known}`",
            short(key)
        ))),
        None => Ok(()),
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
