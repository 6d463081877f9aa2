//! Which images an archive holds: Docker's `manifest.json` or an OCI index.
//!
//! Both come down to the same thing, a config and the paths of its layers, lowest first.

use serde::Deserialize;
use spec::{Digest, Platform, Reference};

use super::archive::Contents;
use crate::{Error, Result};

const DOCKER_MANIFEST: &str = "manifest.json";
const OCI_INDEX: &str = "index.json";
/// Indexes in indexes; one level is in use.
const MAX_NESTING: usize = 4;

/// An image as an archive describes it.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) config: Vec<u8>,
    /// Media type and bytes of its manifest, in an OCI layout.
    pub(super) manifest: Option<(String, Vec<u8>)>,
    pub(super) layers: Vec<DescribedLayer>,
    pub(super) references: Vec<Reference>,
}

/// A layer as an archive describes it.
#[derive(Debug)]
pub(super) struct DescribedLayer {
    pub(super) path: String,
    /// Digest and length that the file must have, where they are told.
    pub(super) blob: Option<(Digest, u64)>,
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

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<DescribedPlatform>,
}

#[derive(Debug, Clone, Deserialize)]
struct DescribedPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// Finds the images of an archive.
pub(super) fn describe(contents: &Contents, platform: Option<&Platform>) -> Result<Vec<Described>> {
    if let Some(bytes) = contents.small(DOCKER_MANIFEST) {
        return docker(contents, bytes);
    }
    if let Some(bytes) = contents.small(OCI_INDEX) {
        return oci(contents, bytes, platform);
    }
    if contents.small("repositories").is_some() {
        return Err(Error::Unsupported {
            what:
                "the archive was made by a Docker older than 1.10: load it there and save it again"
                    .to_owned(),
        });
    }
    Err(bad(
        "the archive holds no image: it has neither manifest.json nor index.json (a root file \
         system is imported, not loaded)",
    ))
}

fn docker(contents: &Contents, bytes: &[u8]) -> Result<Vec<Described>> {
    let images: Vec<DockerImage> = json(DOCKER_MANIFEST, bytes)?;
    if images.is_empty() {
        return Err(bad("manifest.json names no image"));
    }
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
        let reference: Reference = tag.parse().map_err(|error| Error::BadArchive {
            what: format!(
                "invalid tag `{}`",
                tag.chars().take(300).collect::<String>()
            ),
            source: Some(Box::new(error)),
        })?;
        if reference.digest().is_some() {
            return Err(bad(&format!("invalid tag `{tag}`")));
        }
        references.push(reference);
    }
    let layers = image.layers.unwrap_or_default().into_iter();
    Ok(Described {
        config: config.to_vec(),
        manifest: None,
        layers: layers
            .map(|path| DescribedLayer { path, blob: None })
            .collect(),
        references,
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

fn oci(contents: &Contents, bytes: &[u8], platform: Option<&Platform>) -> Result<Vec<Described>> {
    let index: Index = json(OCI_INDEX, bytes)?;
    let manifests = index.manifests.unwrap_or_default();
    // Entries of one name are one image for several platforms; those without a name are only
    // that when they differ in platform.
    let mut groups: Vec<(Option<Reference>, Vec<Descriptor>)> = Vec::new();
    for descriptor in manifests
        .into_iter()
        .filter(|descriptor| !is_attestation(descriptor))
    {
        let name = name_of(&descriptor)?;
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(descriptor),
            None => groups.push((name, vec![descriptor])),
        }
    }
    let mut images: Vec<Described> = Vec::new();
    for (name, group) in groups {
        for chosen in choose(group, platform)? {
            let (descriptor, bytes) = resolve(contents, chosen, platform)?;
            let mut image = oci_image(contents, &descriptor, &bytes)?;
            image.references.extend(name.clone());
            match images.iter_mut().find(|known| known.config == image.config) {
                Some(known) => known.references.append(&mut image.references),
                None => images.push(image),
            }
        }
    }
    if images.is_empty() {
        return Err(bad("index.json names no image"));
    }
    Ok(images)
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    let kind = descriptor
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("vnd.docker.reference.type"));
    kind.is_some_and(|kind| kind == "attestation-manifest")
}

fn name_of(descriptor: &Descriptor) -> Result<Option<Reference>> {
    let Some(annotations) = &descriptor.annotations else {
        return Ok(None);
    };
    let invalid = |name: &str, error| Error::BadArchive {
        what: format!(
            "invalid image name `{}`",
            name.chars().take(300).collect::<String>()
        ),
        source: Some(Box::new(error) as Box<dyn std::error::Error + Send + Sync>),
    };
    if let Some(name) = annotations.get("io.containerd.image.name") {
        return name.parse().map(Some).map_err(|error| invalid(name, error));
    }
    match annotations.get("org.opencontainers.image.ref.name") {
        // Alone it is a tag of a repository that the archive does not name.
        Some(name) if name.contains([':', '/']) => {
            name.parse().map(Some).map_err(|error| invalid(name, error))
        }
        _ => Ok(None),
    }
}

/// Chooses among the descriptors of one name.
fn choose(group: Vec<Descriptor>, platform: Option<&Platform>) -> Result<Vec<Descriptor>> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let told = |descriptor: &Descriptor| {
        descriptor.platform.as_ref().map(|platform| {
            let variant = platform.variant.as_deref().unwrap_or_default();
            Platform::new(&platform.os, &platform.architecture, variant)
        })
    };
    let several = group.len() > 1 && group.iter().all(|descriptor| told(descriptor).is_some());
    if platform.is_none() && !several {
        return Ok(group);
    }
    let exact = group
        .iter()
        .find(|found| told(found).is_some_and(|found| found == *wanted));
    let runs = || {
        group
            .iter()
            .find(|found| told(found).is_none_or(|found| wanted.runs(&found)))
    };
    match exact.or_else(runs) {
        Some(found) => Ok(vec![found.clone()]),
        None => {
            let has: Vec<String> = group
                .iter()
                .filter_map(told)
                .map(|platform| platform.to_string())
                .collect();
            Err(bad(&format!(
                "the archive has no image for platform {wanted}, only for {}",
                has.join(", ")
            )))
        }
    }
}

/// Follows nested indexes to a manifest.
fn resolve(
    contents: &Contents,
    descriptor: Descriptor,
    platform: Option<&Platform>,
) -> Result<(Descriptor, Vec<u8>)> {
    let mut descriptor = descriptor;
    for _ in 0..MAX_NESTING {
        let bytes = blob(contents, &descriptor)?.to_vec();
        if !is_index(&descriptor, &bytes) {
            return Ok((descriptor, bytes));
        }
        let index: Index = json(&descriptor.digest.to_string(), &bytes)?;
        let below = index.manifests.unwrap_or_default();
        let below: Vec<Descriptor> = below
            .into_iter()
            .filter(|descriptor| !is_attestation(descriptor))
            .collect();
        if below.is_empty() {
            return Err(bad(&format!("index {} names no image", descriptor.digest)));
        }
        let chosen = choose_present(contents, below, platform)?;
        descriptor = chosen;
    }
    Err(bad("indexes are nested too deeply"))
}

/// Chooses by platform; where only one manifest is in the archive, that one.
fn choose_present(
    contents: &Contents,
    below: Vec<Descriptor>,
    platform: Option<&Platform>,
) -> Result<Descriptor> {
    let present: Vec<Descriptor> = below
        .iter()
        .filter(|found| blob(contents, found).is_ok())
        .cloned()
        .collect();
    let group = if present.is_empty() { below } else { present };
    let mut chosen = choose(group, platform)?;
    Ok(chosen.swap_remove(0))
}

fn is_index(descriptor: &Descriptor, bytes: &[u8]) -> bool {
    match descriptor.media_type.as_str() {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => true,
        "" => serde_json::from_slice::<Index>(bytes).is_ok_and(|index| index.manifests.is_some()),
        _ => false,
    }
}

fn oci_image(contents: &Contents, descriptor: &Descriptor, bytes: &[u8]) -> Result<Described> {
    let manifest: Manifest = json(&descriptor.digest.to_string(), bytes)?;
    match manifest.config.media_type.as_str() {
        ""
        | "application/vnd.oci.image.config.v1+json"
        | "application/vnd.docker.container.image.v1+json" => {}
        other => {
            return Err(Error::Unsupported {
                what: format!("the archive holds an artifact of type `{other}`, not an image"),
            });
        }
    }
    let config = blob(contents, &manifest.config)?.to_vec();
    let layers = manifest.layers.unwrap_or_default().into_iter();
    let layers = layers.map(|layer| DescribedLayer {
        path: blob_path(layer.digest),
        blob: Some((layer.digest, layer.size)),
    });
    let media_type = match descriptor.media_type.as_str() {
        "" => "application/vnd.oci.image.manifest.v1+json".to_owned(),
        given => given.to_owned(),
    };
    Ok(Described {
        config,
        manifest: Some((media_type, bytes.to_vec())),
        layers: layers.collect(),
        references: Vec::new(),
    })
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob<'c>(contents: &'c Contents, descriptor: &Descriptor) -> Result<&'c [u8]> {
    let path = blob_path(descriptor.digest);
    let bytes = contents
        .small(&path)
        .ok_or_else(|| bad(&format!("the archive has no blob {}", descriptor.digest)))?;
    if Digest::of(bytes) != descriptor.digest {
        return Err(mismatch(&path, Digest::of(bytes)));
    }
    if bytes.len() as u64 != descriptor.size {
        return Err(bad(&format!(
            "blob {} has {} bytes, its descriptor says {}",
            descriptor.digest,
            bytes.len(),
            descriptor.size
        )));
    }
    Ok(bytes)
}

fn json<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
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

fn bad(what: &str) -> Error {
    Error::BadArchive {
        what: what.to_owned(),
        source: None,
    }
}
