//! Which images an archive holds: Docker's `manifest.json`, an OCI index, or both.
//!
//! Both come down to the same thing, a config and the paths of its layers, lowest first; an OCI
//! index also tells the exact manifests, so it is asked first, and `manifest.json` adds what the
//! index does not have. Archives older than both are read by [`super::legacy`].

use serde::Deserialize;
use spec::manifest::{Descriptor, Document};
use spec::{Digest, Platform, Reference};

use super::archive::Contents;
use super::{check_config, legacy, oci};
use crate::{Error, Result};

const DOCKER_MANIFEST: &str = "manifest.json";
const OCI_INDEX: &str = "index.json";
const LEGACY: &str = "repositories";

/// An image as an archive describes it.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) config: Vec<u8>,
    /// Its manifest, in an OCI layout.
    pub(super) manifest: Option<Document>,
    /// The index that it belongs to.
    pub(super) index: Option<Document>,
    /// What its names stand for: the index, or else the manifest.
    pub(super) target: Option<Descriptor>,
    pub(super) layers: Vec<DescribedLayer>,
    pub(super) references: Vec<Reference>,
    /// It is another platform of an image that has the name.
    pub(super) is_companion: bool,
}

/// A layer as an archive describes it.
#[derive(Debug)]
pub(super) struct DescribedLayer {
    pub(super) path: String,
    /// What the file must be, where it is told.
    pub(super) blob: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images of an archive.
pub(super) fn describe(contents: &Contents, platform: Option<&Platform>) -> Result<Vec<Described>> {
    let docker = contents.small(DOCKER_MANIFEST);
    let index = contents.small(OCI_INDEX);
    let mut found = oci::Found::default();
    if let Some(bytes) = index {
        // An index that leaves something out is no reason to fail where Docker's own list has it:
        // some of Docker's archives are so.
        let gaps = match docker {
            Some(_) => oci::Gaps::Skip,
            None => oci::Gaps::Refuse,
        };
        found = oci::describe(contents, bytes, platform, gaps)?;
    }
    if let Some(bytes) = docker {
        for image in docker_images(contents, bytes)? {
            add(&mut found, image, platform)?;
        }
    } else if index.is_none() && contents.small(LEGACY).is_some() {
        found.images = legacy::describe(contents)?;
    }
    if !found.images.is_empty() {
        return Ok(found.images);
    }
    Err(match (platform, docker, index) {
        (_, None, None) => bad(
            "the archive holds no image: it has neither manifest.json nor index.json (a root file \
             system is imported, not loaded)",
        ),
        (Some(wanted), _, _) if !found.platforms.is_empty() => {
            let has: Vec<String> = found.platforms.into_iter().collect();
            let has = has.join(", ");
            bad(&format!(
                "the archive has no image for platform {wanted}, only for {has}"
            ))
        }
        (_, Some(_), _) => bad("manifest.json names no image"),
        (_, None, Some(_)) => bad("index.json names no image"),
    })
}

/// Adds an image of `manifest.json` to those of the index, or its tags to the one that it is.
fn add(found: &mut oci::Found, image: Described, platform: Option<&Platform>) -> Result<()> {
    let images = &mut found.images;
    if let Some(known) = images.iter_mut().find(|known| known.config == image.config) {
        for reference in image.references {
            if !known.references.contains(&reference) {
                known.references.push(reference);
            }
            known.is_companion = false;
        }
        return Ok(());
    }
    let is_named = |name: &Reference| images.iter().any(|known| known.references.contains(name));
    if !image.references.is_empty() && image.references.iter().all(is_named) {
        return Ok(());
    }
    if let Some(wanted) = platform {
        let config = check_config(&image.config)?;
        let has = config.platform();
        if !wanted.runs(&has) {
            found.platforms.insert(has.to_string());
            return Ok(());
        }
    }
    images.push(image);
    Ok(())
}

fn docker_images(contents: &Contents, bytes: &[u8]) -> Result<Vec<Described>> {
    let images: Vec<DockerImage> = json(DOCKER_MANIFEST, bytes)?;
    images
        .into_iter()
        .map(|image| docker_image(contents, image))
        .collect()
}

fn docker_image(contents: &Contents, image: DockerImage) -> Result<Described> {
    let config = contents
        .small(&image.config)
        .ok_or_else(|| bad(&format!("the archive has no config `{}`", image.config)))?;
    check_path(&image.config, config)?;
    let mut references = Vec::new();
    for tag in image.repo_tags.unwrap_or_default() {
        let reference = name("tag", &tag)?;
        if reference.digest().is_some() {
            return Err(bad(&format!("invalid tag `{tag}`")));
        }
        references.push(reference);
    }
    let layers = image.layers.unwrap_or_default().into_iter();
    Ok(Described {
        config: config.to_vec(),
        manifest: None,
        index: None,
        target: None,
        layers: layers
            .map(|path| DescribedLayer { path, blob: None })
            .collect(),
        references,
        is_companion: false,
    })
}

/// Reads a name that an archive gives to an image.
pub(super) fn name(what: &str, text: &str) -> Result<Reference> {
    text.parse().map_err(|error| Error::BadArchive {
        what: format!(
            "invalid {what} `{}`",
            text.chars().take(300).collect::<String>()
        ),
        source: Some(Box::<dyn std::error::Error + Send + Sync>::from(error)),
    })
}

/// A blob that is named by its digest must have it.
fn check_path(path: &str, bytes: &[u8]) -> Result<()> {
    let Some(hex) = path.strip_prefix("blobs/sha256/") else {
        return Ok(());
    };
    if Digest::of(bytes).hex() != hex {
        return Err(mismatch(path, Digest::of(bytes)));
    }
    Ok(())
}

pub(super) fn json<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::BadArchive {
        what: format!("`{name}` cannot be read"),
        source: Some(Box::new(error)),
    })
}

pub(super) fn mismatch(path: &str, actual: Digest) -> Error {
    bad(&format!(
        "digest mismatch: `{path}` has the bytes of {actual}"
    ))
}

pub(super) fn bad(what: &str) -> Error {
    Error::BadArchive {
        what: what.to_owned(),
        source: None,
    }
}
