//! The images of an OCI layout, with the exact manifests and indexes that they come with.
//!
//! An entry of `index.json` is a manifest, or an index of one image for several platforms. All
//! platforms that are in the archive are taken; the name goes to the one that runs here best.

use std::collections::BTreeSet;

use spec::image::ImageConfig;
use spec::manifest::{Descriptor, Document, Index, MAX_NESTING, Manifest, Parsed, media};
use spec::{DiffId, Digest, Platform, Reference};

use super::archive::Contents;
use super::manifest::{Described, DescribedLayer, bad, json, mismatch, name};
use crate::save::plain_manifest;
use crate::{Error, Result};

/// What is done about images of which the archive lacks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gaps {
    Refuse,
    Skip,
}

#[derive(serde::Deserialize)]
struct Layout {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// A manifest that an entry leads to.
struct Leaf {
    /// As the index says.
    told: Option<Platform>,
    /// As the index or else the config says.
    platform: Option<Platform>,
    document: Document,
    manifest: Manifest,
    index: Option<Document>,
}

/// What an index holds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) images: Vec<Described>,
    /// All platforms that were seen.
    pub(super) platforms: BTreeSet<String>,
}

/// Finds the images of `index.json`.
pub(super) fn describe(
    contents: &Contents,
    bytes: &[u8],
    platform: Option<&Platform>,
    gaps: Gaps,
) -> Result<Found> {
    let layout: Layout = json("index.json", bytes)?;
    let mut groups: Vec<(Option<Reference>, Vec<Leaf>)> = Vec::new();
    for entry in layout.manifests.unwrap_or_default() {
        if entry.is_attestation() {
            continue;
        }
        let name = name_of(&entry)?;
        let leaves = leaves(contents, &entry, gaps)?;
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.extend(leaves),
            None => groups.push((name, leaves)),
        }
    }
    let mut found = Found::default();
    for (name, group) in groups {
        let seen = group.iter().filter_map(|leaf| leaf.platform.as_ref());
        found.platforms.extend(seen.map(Platform::to_string));
        for mut image in choose(contents, group, platform, gaps)? {
            if !image.is_companion {
                image.references.extend(name.clone());
            }
            let mut images = found.images.iter_mut();
            match images.find(|known| known.config == image.config) {
                Some(known) => {
                    known.is_companion &= image.is_companion;
                    known.references.append(&mut image.references);
                }
                None => found.images.push(image),
            }
        }
    }
    Ok(found)
}

fn name_of(entry: &Descriptor) -> Result<Option<Reference>> {
    if let Some(text) = entry.annotations.get("io.containerd.image.name") {
        return name("image name", text).map(Some);
    }
    match entry.annotations.get("org.opencontainers.image.ref.name") {
        // Alone it is a tag of a repository that the archive does not name.
        Some(text) if text.contains([':', '/']) => name("image name", text).map(Some),
        _ => Ok(None),
    }
}

/// Follows an entry to the manifests in the archive.
fn leaves(contents: &Contents, entry: &Descriptor, gaps: Gaps) -> Result<Vec<Leaf>> {
    let mut leaves = Vec::new();
    let mut todo = vec![(entry.clone(), None::<Document>, 0)];
    while let Some((entry, index, depth)) = todo.pop() {
        let is_listed = index.is_some();
        let bytes = match blob(contents, &entry) {
            Ok(bytes) => bytes.to_vec(),
            // An index may list platforms that were left out.
            Err(Missing::Absent(_)) if is_listed || gaps == Gaps::Skip => continue,
            Err(Missing::Absent(error) | Missing::Wrong(error)) => return Err(error),
        };
        let document = Document {
            digest: entry.digest,
            media_type: entry.media_type.clone(),
            bytes,
        };
        match document
            .parse()
            .map_err(|error| unread(entry.digest, error))?
        {
            Parsed::Manifest(manifest) => leaves.push(Leaf {
                told: entry.platform(),
                platform: entry
                    .platform()
                    .or_else(|| platform_of(contents, &manifest)),
                document: Document {
                    media_type: manifest.media_type.clone(),
                    ..document
                },
                manifest,
                index,
            }),
            Parsed::Index(_) if depth >= MAX_NESTING => {
                return Err(bad("indexes are nested too deeply"));
            }
            Parsed::Index(parsed) => {
                let document = Document {
                    media_type: parsed.media_type.clone(),
                    ..document
                };
                // The outermost index is what a name stands for.
                let whole = index.unwrap_or(document);
                let below: Vec<_> = parsed.images().cloned().collect();
                if below.is_empty() {
                    return Err(bad(&format!("index {} names no image", entry.digest)));
                }
                // The last one is taken first.
                let below = below.into_iter().rev();
                todo.extend(below.map(|entry| (entry, Some(whole.clone()), depth + 1)));
            }
        }
    }
    if leaves.is_empty() && gaps == Gaps::Refuse {
        return Err(bad(&format!("the archive has no blob {}", entry.digest)));
    }
    Ok(leaves)
}

/// Takes the images of one name, or of none: all of them, or those for a platform.
///
/// Entries of one name, or without any, are one image where the index tells them apart by platform.
fn choose(
    contents: &Contents,
    group: Vec<Leaf>,
    platform: Option<&Platform>,
    gaps: Gaps,
) -> Result<Vec<Described>> {
    let told: BTreeSet<&Platform> = group.iter().filter_map(|leaf| leaf.told.as_ref()).collect();
    let is_one = group.len() > 1 && told.len() == group.len();
    let host = Platform::host();
    let best = best_of(&group, platform.unwrap_or(&host));
    let mut images = Vec::new();
    for (number, leaf) in group.into_iter().enumerate() {
        let runs = |wanted: &Platform| leaf.platform.as_ref().is_none_or(|has| wanted.runs(has));
        let is_wanted = match is_one {
            true => platform.is_none() || best == Some(number),
            false => platform.is_none_or(runs),
        };
        if !is_wanted {
            continue;
        }
        let is_companion = is_one && number != best.unwrap_or(0);
        match image(contents, leaf, is_companion) {
            Ok(image) if gaps == Gaps::Skip && lacks_layers(contents, &image) => {}
            Ok(image) => images.push(image),
            Err(Missing::Absent(_)) if gaps == Gaps::Skip || is_companion => {}
            Err(Missing::Absent(error) | Missing::Wrong(error)) => return Err(error),
        }
    }
    Ok(images)
}

fn lacks_layers(contents: &Contents, image: &Described) -> bool {
    let mut layers = image.layers.iter();
    layers.any(|layer| contents.layer(&layer.path).is_err())
}

/// The platform that a manifest's config tells.
fn platform_of(contents: &Contents, manifest: &Manifest) -> Option<Platform> {
    let bytes = contents.small(&blob_path(manifest.config.digest))?;
    let config = ImageConfig::from_json(bytes).ok()?;
    Some(config.platform())
}

/// Number of the image that runs best on a platform.
fn best_of(group: &[Leaf], wanted: &Platform) -> Option<usize> {
    let entry = |leaf: &Leaf| Descriptor {
        platform: leaf.platform.as_ref().map(Into::into),
        media_type: media::OCI_MANIFEST.to_owned(),
        ..leaf.document.descriptor()
    };
    let index = Index {
        media_type: media::OCI_INDEX.to_owned(),
        manifests: group.iter().map(entry).collect(),
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    };
    let chosen = index.choose(wanted).ok()?;
    group
        .iter()
        .position(|leaf| leaf.document.digest == chosen.digest)
}

fn image(
    contents: &Contents,
    leaf: Leaf,
    is_companion: bool,
) -> std::result::Result<Described, Missing> {
    let manifest = leaf.manifest;
    match manifest.config.media_type.as_str() {
        "" | media::OCI_CONFIG | media::DOCKER_CONFIG => {}
        other => {
            return Err(Missing::Wrong(Error::Unsupported {
                what: format!("the archive holds an artifact of type `{other}`, not an image"),
            }));
        }
    }
    let config = blob(contents, &manifest.config)?.to_vec();
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        layers.push(DescribedLayer {
            path: blob_path(layer.digest),
            blob: Some(layer.clone()),
        });
    }
    let is_made_up = is_plain(&manifest, &leaf.document.bytes);
    let target = leaf.index.as_ref().unwrap_or(&leaf.document).descriptor();
    Ok(Described {
        config,
        target: (!is_made_up || leaf.index.is_some()).then_some(target),
        manifest: (!is_made_up || leaf.index.is_some()).then_some(leaf.document),
        index: leaf.index,
        layers,
        references: Vec::new(),
        is_companion,
    })
}

/// Whether a manifest is one that `save` makes for lack of another: it tells nothing.
fn is_plain(manifest: &Manifest, bytes: &[u8]) -> bool {
    let layers: Vec<(DiffId, u64)> = manifest
        .layers
        .iter()
        .map(|layer| (DiffId::new(layer.digest), layer.size))
        .collect();
    plain_manifest((manifest.config.digest, manifest.config.size), &layers) == bytes
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Why there is no blob.
enum Missing {
    /// It is not in the archive.
    Absent(Error),
    /// What is there is something else.
    Wrong(Error),
}

fn blob<'c>(
    contents: &'c Contents,
    descriptor: &Descriptor,
) -> std::result::Result<&'c [u8], Missing> {
    let path = blob_path(descriptor.digest);
    let absent = || bad(&format!("the archive has no blob {}", descriptor.digest));
    let bytes = contents
        .small(&path)
        .ok_or_else(|| Missing::Absent(absent()))?;
    if Digest::of(bytes) != descriptor.digest {
        return Err(Missing::Wrong(mismatch(&path, Digest::of(bytes))));
    }
    if bytes.len() as u64 != descriptor.size {
        return Err(Missing::Wrong(bad(&format!(
            "blob {} has {} bytes, its descriptor says {}",
            descriptor.digest,
            bytes.len(),
            descriptor.size
        ))));
    }
    Ok(bytes)
}

fn unread(digest: Digest, error: spec::manifest::InvalidManifest) -> Error {
    Error::BadArchive {
        what: format!("`{digest}` cannot be read"),
        source: Some(Box::new(error)),
    }
}
