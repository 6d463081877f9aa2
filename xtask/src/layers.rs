//! The crate edges that are allowed, compared with those that are there.
//!
//! A new edge is an architectural change: it needs a line here and a paragraph in `docs/adr/`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// Every crate, and which others of the workspace it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("sys", &[]),
    ("runtime", &["spec", "sys"]),
    ("helper", &["spec", "sys"]),
    ("relay", &["helper", "spec", "sys"]),
    ("resolver", &["helper", "spec", "sys"]),
    (
        "shim",
        &["helper", "relay", "resolver", "spec", "sys", "runtime"],
    ),
    ("deflate", &[]),
    ("bound", &["spec", "sys"]),
    ("erofs", &["sys"]),
    ("store", &["bound", "deflate", "erofs", "spec", "sys"]),
    ("registry", &["spec"]),
    ("plugin", &["spec"]),
    ("volume", &["bound", "plugin", "spec", "sys"]),
    ("network", &["plugin", "relay", "spec", "sys"]),
    (
        "engine",
        &[
            "bound", "deflate", "network", "registry", "resolver", "shim", "spec", "store", "sys",
            "volume",
        ],
    ),
    ("api", &["spec"]),
    ("daemon", &["spec", "sys", "api", "engine"]),
    ("cli", &["spec", "api", "registry"]),
    ("hello", &[]),
    ("tests", &["deflate", "spec", "store", "sys"]),
    ("xtask", &[]),
];

/// Third-party crates that some crates must not know.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "tokio",
        &[
            "spec", "sys", "runtime", "helper", "relay", "resolver", "shim", "deflate", "bound",
            "store", "plugin", "volume", "network", "tests", "xtask",
        ],
    ),
    (
        "hyper",
        &[
            "spec", "sys", "runtime", "helper", "relay", "resolver", "shim", "deflate", "bound",
            "store", "plugin", "volume", "network", "engine", "xtask",
        ],
    ),
    (
        "libc",
        &[
            "spec", "runtime", "helper", "relay", "resolver", "shim", "deflate", "bound", "store",
            "plugin", "volume", "registry", "network", "engine", "api", "daemon", "cli",
        ],
    ),
    (
        "anyhow",
        &[
            "spec", "sys", "helper", "relay", "resolver", "shim", "deflate", "bound", "store",
            "plugin", "volume", "registry", "network", "engine", "api",
        ],
    ),
];

/// Says every edge that is there and not allowed.
pub(crate) fn check() -> Result<Vec<String>> {
    let text = run::read(&mut run::cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("metadata without packages")?;
    Ok(compare(&edges(packages)))
}

/// For every package, what it depends on, by kind: `(name, kind)`.
fn edges(packages: &[Value]) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    packages
        .iter()
        .map(|package| {
            let list = package["dependencies"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let dependencies = list.iter().map(|d| {
                (
                    text(&d["name"]),
                    d["kind"].as_str().unwrap_or("normal").to_owned(),
                )
            });
            (text(&package["name"]), dependencies.collect())
        })
        .collect()
}

fn compare(found: &BTreeMap<String, BTreeSet<(String, String)>>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, dependencies) in found {
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| known == name) else {
            problems.push(format!(
                "crate `{name}` is not in the table of xtask/src/layers.rs"
            ));
            continue;
        };
        for (dependency, kind) in dependencies {
            let ours = EDGES.iter().any(|(known, _)| known == dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                problems.push(format!(
                    "the edge {name} → {dependency} ({kind}) is not allowed"
                ));
            }
            let ban = FORBIDDEN.iter().find(|(banned, _)| banned == dependency);
            if kind == "normal" && ban.is_some_and(|(_, crates)| crates.contains(&name.as_str())) {
                problems.push(format!("crate `{name}` must not know `{dependency}`"));
            }
        }
    }
    for (name, _) in EDGES {
        if !found.contains_key(*name) {
            problems.push(format!(
                "crate `{name}` is in the table but not in the workspace"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> BTreeMap<String, BTreeSet<(String, String)>> {
        EDGES
            .iter()
            .map(|(name, _)| ((*name).to_owned(), BTreeSet::new()))
            .collect()
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_told() {
        let mut found = workspace();
        let edge = ("engine".to_owned(), "normal".to_owned());
        found
            .get_mut("cli")
            .expect("it is in the table")
            .insert(edge);
        assert_eq!(
            compare(&found),
            ["the edge cli → engine (normal) is not allowed"]
        );
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_told() {
        let mut found = workspace();
        found.insert("utils".into(), BTreeSet::new());
        assert_eq!(
            compare(&found),
            ["crate `utils` is not in the table of xtask/src/layers.rs"]
        );
    }

    #[test]
    fn the_table_has_no_cycle() {
        for (index, (name, allowed)) in EDGES.iter().enumerate() {
            // Written in reading order: every crate uses only those above it, except the clients.
            let above: Vec<&str> = EDGES[..index].iter().map(|(name, _)| *name).collect();
            assert!(allowed.iter().all(|edge| above.contains(edge)), "{name}");
        }
    }
}
