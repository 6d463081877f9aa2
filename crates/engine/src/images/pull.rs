//! Fetching images: a name, its manifest, the platform's image, its layers, and the names at last.
//!
//! ```text
//! resolve (HEAD) ── is here ──────────────────────────────────────► "up to date"
//!    └► manifest or index ► platform ► config ► layers (job.rs) ► publish ► names ► settle
//! ```
//!
//! Nothing has a name before all of it is here and verified. What a failed or cancelled pull
//! brought of its layers is kept by the store and found by the next one.

mod job;
mod layers;
mod sink;
mod space;
mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use registry::{Repository, Version};
use spec::image::ImageConfig;
use spec::manifest::{Descriptor, Document, Index, InvalidManifest, MAX_NESTING, Manifest, Parsed};
use spec::{Classify, DiffId, ErrorKind, ImageId, Platform, Reference};
use store::{Lease, NewImage};

pub(super) use job::Downloads;
pub(super) use layers::short;

use super::hub::Hub;
use super::platform;
use super::progress::Sayer;
use super::{ProgressSender, PullRequest};
use crate::{Error, Result};

/// How often numbers are reported.
const TICK: Duration = Duration::from_millis(100);
/// Longest config that is fetched.
const MAX_CONFIG: usize = 8 << 20;

/// Fetches what is asked for.
pub(super) async fn pull(hub: &Hub, request: PullRequest, progress: ProgressSender) -> Result<()> {
    let reference = &request.reference;
    if reference.familiar_repository() == "scratch" {
        return Err(Error::invalid("'scratch' is a reserved name"));
    }
    let pull = Pull {
        hub,
        repository: hub.repository(reference, &request.auth, &request.headers),
        platform: request.platform.as_ref(),
        say: Sayer::new(progress),
    };
    let news = if reference.tag().is_some() || reference.digest().is_some() {
        pull.one(reference).await?
    } else {
        pull.all(reference).await?
    };
    let name = reference.familiar();
    let status = match news {
        News::Downloaded => format!("Status: Downloaded newer image for {name}"),
        News::UpToDate => format!("Status: Image is up to date for {name}"),
    };
    pull.say.message(None, status).await?;
    pull.warn_of_mismatch().await?;
    hub.emit_named(reference, "pull");
    Ok(())
}

/// Whether a pull changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Downloaded,
    UpToDate,
}

/// One pull of one client.
struct Pull<'a> {
    hub: &'a Hub,
    repository: Repository,
    platform: Option<&'a Platform>,
    say: Sayer,
}

/// What a name turned out to be.
#[derive(Debug)]
struct Found {
    /// The outermost index, if there is one.
    index: Option<Document>,
    document: Document,
    manifest: Manifest,
}

impl Found {
    /// What the name stands for.
    fn target(&self) -> Descriptor {
        self.index.as_ref().unwrap_or(&self.document).descriptor()
    }
}

impl Pull<'_> {
    /// All tags of a repository, one after the other; they share layers.
    async fn all(&self, repository: &Reference) -> Result<News> {
        let mut news = News::UpToDate;
        for tag in self.repository.tags().await? {
            let reference = repository
                .with_tag(&tag)
                .map_err(|error| Error::internal(format!("tag {tag:?}: {error}")))?;
            if self.one(&reference).await? == News::Downloaded {
                news = News::Downloaded;
            }
        }
        Ok(news)
    }

    /// One tag or digest.
    async fn one(&self, reference: &Reference) -> Result<News> {
        let (version, known) = match self.known(reference).await? {
            Known::Complete(target) => {
                self.pulling_from(reference).await?;
                let digest = format!("Digest: {}", target.digest);
                self.say.message(None, digest).await?;
                return Ok(News::UpToDate);
            }
            Known::Moved(now) => (Version::Digest(now.digest), Some(now)),
            Known::Nothing => (Version::of(reference), None),
        };
        let top = self.repository.manifest(&version, known.as_ref()).await?;
        if let Parsed::Manifest(manifest) = top.parse()? {
            refuse_other_classes(&manifest)?;
        }
        // What is wrong with it from here on, Docker tells below this line.
        self.pulling_from(reference).await?;
        let found = self.choose(top).await?;
        let target = found.target();
        let news = self.image(reference, found).await?;
        self.say
            .message(None, format!("Digest: {}", target.digest))
            .await?;
        Ok(news)
    }

    async fn pulling_from(&self, reference: &Reference) -> Result<()> {
        let id = match (reference.digest(), reference.tag()) {
            (Some(_), _) => reference.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        let text = format!("Pulling from {}", reference.path());
        self.say.message(Some(&id), text).await
    }

    /// What of a name is here, by the word of the registry where the name is a tag.
    async fn known(&self, reference: &Reference) -> Result<Known> {
        let (store, name) = (self.hub.store().clone(), reference.clone());
        let Some(target) = store.target(&name) else {
            return Ok(Known::Nothing);
        };
        let now = match reference.digest() {
            Some(_) => target.clone(),
            None => {
                let version = Version::of(reference);
                self.repository.resolve(&version).await?
            }
        };
        if now.digest != target.digest {
            return Ok(Known::Moved(now));
        }
        let wanted = self.platform.cloned();
        let points = move || platform::points_to(&store, &name, wanted.as_ref());
        let complete = match self.hub.quick(points).await {
            // Somebody has removed it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            points => points?,
        };
        Ok(match complete {
            true => Known::Complete(target),
            false => Known::Moved(now),
        })
    }

    /// Goes down from an index to the manifest for the platform.
    async fn choose(&self, top: Document) -> Result<Found> {
        let host = Platform::host();
        let wanted = self.platform.unwrap_or(&host);
        let mut index = None;
        let mut document = top;
        for _ in 0..=MAX_NESTING {
            match document.parse()? {
                Parsed::Manifest(manifest) => {
                    manifest.check_image()?;
                    return Ok(Found {
                        index,
                        document,
                        manifest,
                    });
                }
                Parsed::Index(list) => {
                    let next = chosen(&list, wanted)?;
                    let version = Version::Digest(next.digest);
                    let below = self.repository.manifest(&version, Some(&next)).await?;
                    // The name stands for the outermost one.
                    index.get_or_insert(std::mem::replace(&mut document, below));
                }
            }
        }
        Err(Error::invalid(format!(
            "an index within more than {MAX_NESTING} others is not followed"
        )))
    }

    /// Brings an image here and gives it its names.
    async fn image(&self, reference: &Reference, found: Found) -> Result<News> {
        let lease = self.hub.store().lease("pull");
        let config = self.config(&found.manifest).await?;
        let layers = stack(&found.manifest, &config)?;
        let id = ImageId::new(found.manifest.config.digest);
        let before = self.hub.store().image_of(reference);
        // Held by the lease, so that nobody removes them before the image has its names.
        let has = |(form, diff): &(Descriptor, DiffId)| {
            self.hub.store().has_form(&lease, *diff, form.digest)
        };
        let is_here = layers.iter().all(has) && self.hub.store().image(id).is_some();
        let arrived = if is_here {
            layers::Arrived::default()
        } else {
            let fetch = layers::Layers {
                downloads: &self.hub.downloads,
                lease: &lease,
                repository: &self.repository,
                origin: reference,
                say: &self.say,
            };
            let root = self.hub.root().to_owned();
            let name = reference.familiar();
            let fits = move |bytes| space::check(&root, bytes, &name);
            let fetched = fetch.fetch(&layers, fits).await;
            fetched.inspect_err(|error| self.after(error))?
        };
        let published = self.publish(lease, reference, found, config, arrived).await;
        published.inspect_err(|error| self.after(error))?;
        self.hub.upkeep.settle_soon();
        Ok(match before == Some(id) {
            true => News::UpToDate,
            false => News::Downloaded,
        })
    }

    /// A full disk is worth looking for what can go.
    fn after(&self, error: &Error) {
        if error.kind() == ErrorKind::Exhausted {
            self.hub.upkeep.collect_soon();
        }
    }

    /// The config's bytes: what is here already is not fetched.
    async fn config(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let (store, digest) = (self.hub.store().clone(), manifest.config.digest);
        let here = self.hub.quick(move || Ok(store.document(digest)?)).await?;
        match here {
            Some(bytes) => Ok(bytes),
            None => Ok(self
                .repository
                .small_blob(&manifest.config, MAX_CONFIG)
                .await?),
        }
    }

    async fn publish(
        &self,
        lease: Lease,
        reference: &Reference,
        found: Found,
        config: Vec<u8>,
        arrived: layers::Arrived,
    ) -> Result<()> {
        let target = found.target();
        let mut names = vec![reference.with_digest(target.digest)];
        if reference.digest().is_none() {
            names.push(reference.clone());
        }
        let image = NewImage {
            config,
            manifest: found.document,
            index: found.index,
            layers: arrived.staged(),
            names,
            target,
        };
        let store = self.hub.store().clone();
        let publish = move || {
            let published = store.publish_image(&lease, image)?;
            // Until here the jobs keep the layers from being fetched by anybody else.
            drop(arrived);
            Ok(published)
        };
        self.hub.heavy(publish).await.map(drop)
    }

    /// A single image of another platform than asked for is not refused but told of, as in Docker.
    async fn warn_of_mismatch(&self) -> Result<()> {
        let reference = self.repository.reference();
        let Some(wanted) = self.platform else {
            return Ok(());
        };
        let Some(image) = self.hub.store().image_of(reference) else {
            return Ok(());
        };
        let Some(image) = self.hub.store().image(image) else {
            return Ok(());
        };
        let have = platform::of_config(&image.config);
        if wanted.runs(&have) {
            return Ok(());
        }
        let text = platform::mismatch(&reference.familiar(), &have, wanted);
        self.say.message(None, format!("WARNING: {text}")).await
    }
}

/// What of a name is here.
#[derive(Debug)]
enum Known {
    /// Everything: the registry's answer and ours are the same.
    Complete(Descriptor),
    /// The name is here; it stands for this now, of which something is missing.
    Moved(Descriptor),
    /// The name is not here.
    Nothing,
}

/// Refuses what Docker's own family has besides images (plugins): known before anything is said.
fn refuse_other_classes(manifest: &Manifest) -> Result<()> {
    match manifest.check_image() {
        Err(other @ InvalidManifest::Artifact { .. }) => Err(other.into()),
        _ => Ok(()),
    }
}

/// The entry of an index for a platform.
fn chosen(index: &Index, wanted: &Platform) -> Result<Descriptor> {
    Ok(index.choose(wanted)?.clone())
}

/// Pairs the manifest's layers with the diff ids of the config.
fn stack(manifest: &Manifest, config: &[u8]) -> Result<Vec<(Descriptor, DiffId)>> {
    let refuse = |text: String| Error::refused(ErrorKind::InvalidArgument, text);
    let digest = manifest.config.digest;
    let config: ImageConfig = serde_json::from_slice(config).map_err(|source| Error::Decode {
        what: format!("image config {digest} cannot be read"),
        source,
    })?;
    if !matches!(config.os.as_str(), "" | "linux") {
        return Err(refuse(format!(
            "image operating system {:?} cannot be used on this platform: operating system is not supported",
            config.os
        )));
    }
    let diffs = &config.rootfs.diff_ids;
    if diffs.is_empty() && !manifest.layers.is_empty() {
        return Err(refuse("invalid rootfs in image configuration".to_owned()));
    }
    if diffs.len() != manifest.layers.len() {
        return Err(refuse(format!(
            "layers from manifest don't match image configuration: {} layers, {} diff ids in {digest}",
            manifest.layers.len(),
            diffs.len()
        )));
    }
    let pairs = manifest.layers.iter().cloned().zip(diffs.iter().copied());
    let mut by_digest = BTreeMap::new();
    for (layer, diff) in pairs.clone() {
        if *by_digest.entry(layer.digest).or_insert(diff) != diff {
            return Err(refuse(format!(
                "layer {} cannot have two diff ids, as image config {digest} says",
                layer.digest
            )));
        }
    }
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use spec::Digest;

    use super::*;

    fn manifest(layers: &[&[u8]]) -> Manifest {
        let layer = |bytes: &&[u8]| Descriptor::new("layer", Digest::of(bytes), 1);
        Manifest {
            media_type: String::new(),
            config: Descriptor::new("config", Digest::of(b"config"), 1),
            layers: layers.iter().map(layer).collect(),
            artifact_type: None,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    fn config(os: &str, diffs: &[&[u8]]) -> Vec<u8> {
        let diffs: Vec<String> = diffs.iter().map(|d| Digest::of(d).to_string()).collect();
        serde_json::to_vec(&serde_json::json!({
            "os": os, "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": diffs},
        }))
        .unwrap()
    }

    #[test]
    fn layers_and_diff_ids_must_fit() {
        let pairs = stack(&manifest(&[b"a", b"b"]), &config("linux", &[b"x", b"y"])).unwrap();
        assert_eq!(pairs[1].1, DiffId::new(Digest::of(b"y")));
        for (layers, config, text) in [
            (
                vec![&b"a"[..], b"b"],
                config("linux", &[b"x"]),
                "layers from manifest don't match image configuration",
            ),
            (
                vec![&b"a"[..]],
                config("linux", &[]),
                "invalid rootfs in image configuration",
            ),
            (
                vec![&b"a"[..]],
                config("windows", &[b"x"]),
                "image operating system \"windows\" cannot be used on this platform",
            ),
            (
                vec![&b"a"[..], b"a"],
                config("linux", &[b"x", b"y"]),
                "cannot have two diff ids",
            ),
            (vec![&b"a"[..]], b"{".to_vec(), "cannot be read"),
        ] {
            let error = stack(&manifest(&layers), &config).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
