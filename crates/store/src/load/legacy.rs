//! Archives of Docker before 1.10: a directory per layer, and `repositories` with the tags.
//!
//! ```text
//! repositories         {"name": {"tag": "<id>"}}
//! <id>/json            the image as it was then, with the id of its parent
//! <id>/layer.tar       its layer
//! ```
//!
//! Each tagged image gets the config that Docker makes of such an image.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::archive::Contents;
use super::manifest::{Described, DescribedLayer, bad, json as read_json, name};
use crate::Result;

/// Images on top of each other; Docker had 127 layers at most.
const MAX_ANCESTORS: usize = 1000;
/// Keys of an old image that a config does not have.
const DROPPED: &[&str] = &["id", "parent", "Size", "parent_id", "layer_id", "throwaway"];

/// Finds the tagged images.
pub(super) fn describe(contents: &Contents) -> Result<Vec<Described>> {
    let bytes = contents.small("repositories").unwrap_or_default();
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        read_json("repositories", bytes)?;
    let mut images: Vec<(String, Described)> = Vec::new();
    for (repository, tags) in repositories {
        for (tag, id) in tags {
            let reference = name("tag", &format!("{repository}:{tag}"))?;
            match images.iter_mut().find(|(known, _)| *known == id) {
                Some((_, image)) => image.references.push(reference),
                None => {
                    let mut image = image(contents, &id)?;
                    image.references.push(reference);
                    images.push((id, image));
                }
            }
        }
    }
    Ok(images.into_iter().map(|(_, image)| image).collect())
}

fn image(contents: &Contents, id: &str) -> Result<Described> {
    let mut seen = HashSet::new();
    let mut chain: Vec<(Map<String, Value>, String)> = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next {
        if !seen.insert(id.clone()) || chain.len() >= MAX_ANCESTORS {
            return Err(bad(&format!("image `{id}` is its own ancestor")));
        }
        let path = format!("{id}/json");
        let bytes = contents
            .small(&path)
            .ok_or_else(|| bad(&format!("the archive has no file `{path}`")))?;
        let fields: Map<String, Value> = read_json(&path, bytes)?;
        next = fields
            .get("parent")
            .and_then(Value::as_str)
            .filter(|parent| !parent.is_empty())
            .map(str::to_owned);
        chain.push((fields, format!("{id}/layer.tar")));
    }
    chain.reverse();
    let mut diffs = Vec::new();
    let mut history = Vec::new();
    let mut layers = Vec::new();
    for (fields, path) in &chain {
        let layer = contents.layer(path).map_err(|what| bad(&what))?;
        // A layer that could not be unpacked is told of when it is staged.
        diffs.extend(layer.diff_id());
        history.push(step(fields));
        layers.push(DescribedLayer {
            path: path.clone(),
            blob: None,
        });
    }
    let (mut config, _) = chain.pop().unwrap_or_default();
    config.retain(|key, _| !DROPPED.contains(&key.as_str()));
    config.insert("history".to_owned(), Value::Array(history));
    config.insert(
        "rootfs".to_owned(),
        json!({ "type": "layers", "diff_ids": diffs }),
    );
    let sorted: BTreeMap<String, Value> = config.into_iter().collect();
    Ok(Described {
        config: json!(sorted).to_string().into_bytes(),
        manifest: None,
        index: None,
        target: None,
        layers,
        references: Vec::new(),
        is_companion: false,
    })
}

/// What an old image tells of how it was made.
fn step(fields: &Map<String, Value>) -> Value {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let command = fields
        .get("container_config")
        .and_then(|config| config.get("Cmd"));
    let command: Vec<&str> = match command {
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut step = Map::new();
    if let Some(created) = fields.get("created") {
        step.insert("created".to_owned(), created.clone());
    }
    for (key, text) in [
        ("created_by", command.join(" ")),
        ("author", text(fields.get("author"))),
        ("comment", text(fields.get("comment"))),
    ] {
        if !text.is_empty() {
            step.insert(key.to_owned(), Value::from(text));
        }
    }
    Value::Object(step)
}
