//! Images: names and contents in the store, and who uses them.

mod list;
mod remove;
mod transfer;

use std::collections::BTreeMap;

use spec::{ImageId, Platform, Reference, Timestamp};
use store::Image;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::container::Config;
use crate::containers::{Containers, Pruned, of_image};
use crate::{Error, Filters, Result};

/// The images of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    containers: Containers,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListImages {
    /// Also intermediate ones; there are none here.
    pub all: bool,
    /// Compute shared sizes.
    pub shared_size: bool,
    /// Docker's filters: before, dangling, label, reference, since, until.
    pub filters: Filters,
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// Identity.
    pub id: ImageId,
    /// The image it was built on, if known.
    pub parent: Option<ImageId>,
    /// Names as users write them: `busybox:latest`.
    pub repo_tags: Vec<String>,
    /// `busybox@sha256:…`.
    pub repo_digests: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Bytes of its layers.
    pub size: u64,
    /// Bytes shared with other images; `None` unless asked.
    pub shared_size: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Containers made of it.
    pub containers: u64,
}

/// An image in full.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageView {
    /// What a list shows.
    pub summary: ImageSummary,
    /// Comment of its last step.
    pub comment: String,
    /// Author.
    pub author: String,
    /// `amd64`.
    pub architecture: String,
    /// `v8`.
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Version of the operating system.
    pub os_version: String,
    /// Settings for containers of it; `None` when the image has none.
    pub config: Option<Config>,
    /// Version of Docker that made it.
    pub docker_version: String,
    /// Diff ids, lowest first.
    pub layers: Vec<String>,
    /// Storage driver and where its layers are.
    pub graph: BTreeMap<String, String>,
    /// When it last got a name.
    pub last_tag_time: Option<Timestamp>,
}

/// A step that made an image, newest first in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Id on the newest step, `None` (`<missing>`) on others.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// What made it.
    pub created_by: String,
    /// Names of the image, on the newest step.
    pub tags: Vec<String>,
    /// Bytes it added.
    pub size: u64,
    /// Comment.
    pub comment: String,
}

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveImage {
    /// Remove even if several names or stopped containers use it.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// What a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name went.
    Untagged(String),
    /// An image or a layer went, by digest.
    Deleted(String),
}

/// What happened while loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadProgress {
    /// Bytes of a layer were unpacked.
    Layer {
        /// Short name of the layer.
        id: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// An image has this name now.
    Loaded(String),
    /// An image without a name has arrived.
    LoadedId(ImageId),
}

/// What to import.
#[derive(Debug, Clone, Default)]
pub struct ImportImage {
    /// Name for it, `repository[:tag]`; empty leaves it without.
    pub reference: String,
    /// Comment.
    pub message: String,
    /// Changes in Dockerfile form.
    pub changes: Vec<String>,
    /// Platform.
    pub platform: Option<Platform>,
}

impl Images {
    /// Makes the service.
    pub(crate) fn new(containers: Containers) -> Self {
        Self { containers }
    }

    /// Images that match, newest first.
    pub async fn list(&self, options: ListImages) -> Result<Vec<ImageSummary>> {
        list::list(self, options).await
    }

    /// One image in full; id, prefix or reference.
    pub async fn inspect(&self, key: &str) -> Result<ImageView> {
        let image = self.find(key)?;
        let config = &image.config;
        let of_config = of_image(&config.config);
        Ok(ImageView {
            summary: self.summary(&image),
            comment: config.comment.clone(),
            author: config.author.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            config: Some(of_config),
            docker_version: config.docker_version.clone(),
            layers: config
                .rootfs
                .diff_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
            graph: BTreeMap::new(),
            last_tag_time: image.last_tagged,
        })
    }

    /// The steps that made it, newest first.
    pub async fn history(&self, key: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.find(key)?;
        let steps = self.containers.shared().store.history(image.id)?;
        Ok(steps
            .into_iter()
            .map(|step| HistoryEntry {
                id: step.id,
                created: step.created,
                created_by: step.created_by,
                tags: step.tags.iter().map(Reference::familiar).collect(),
                size: step.size,
                comment: step.comment,
            })
            .collect())
    }

    /// Gives it a further name.
    pub async fn tag(&self, key: &str, repository: &str, tag: &str) -> Result<()> {
        let image = self.find(key)?;
        let reference = reference(repository, tag)?;
        let shared = self.containers.shared();
        let (store, named) = (shared.store.clone(), reference.clone());
        shared
            .blocking
            .heavy(move || Ok(store.tag(image.id, &named)?))
            .await?;
        self.emit(image.id, "tag", &reference.familiar());
        Ok(())
    }

    /// Removes a name, and the image with its last name.
    pub async fn remove(&self, key: &str, options: RemoveImage) -> Result<Vec<ImageRemoval>> {
        remove::remove(self, key, options).await
    }

    /// Loads images of an archive; returns what arrived. Progress is dropped when nobody reads it.
    pub async fn load<R>(&self, reader: R, progress: mpsc::Sender<LoadProgress>) -> Result<()>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        transfer::load(self, reader, progress).await
    }

    /// Makes an image of a root file system's tar.
    pub async fn import<R>(&self, reader: R, options: ImportImage) -> Result<ImageId>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        transfer::import(self, reader, options).await
    }

    /// Removes images that nobody uses (`dangling=false`) or that have no name (default).
    pub async fn prune(&self, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
        remove::prune(self, filters).await
    }

    fn find(&self, key: &str) -> Result<Image> {
        Ok(self.containers.shared().store.find(key)?)
    }

    fn summary(&self, image: &Image) -> ImageSummary {
        let users = self
            .containers
            .all()
            .iter()
            .filter(|c| c.image == image.id)
            .count();
        ImageSummary {
            id: image.id,
            parent: None,
            repo_tags: image.references.iter().map(Reference::familiar).collect(),
            repo_digests: image.repo_digests.iter().map(Reference::familiar).collect(),
            created: image.config.created,
            size: image.size,
            shared_size: None,
            labels: image.config.config.labels.clone(),
            containers: u64::try_from(users).unwrap_or(u64::MAX),
        }
    }

    /// Tells that something happened to an image.
    fn emit(&self, id: ImageId, action: &str, name: &str) {
        let shared = self.containers.shared();
        let mut attributes = shared
            .store
            .image(id)
            .map(|i| i.config.config.labels.clone())
            .unwrap_or_default();
        attributes.insert("name".to_owned(), name.to_owned());
        shared
            .events
            .emit("image", action, id.to_string(), attributes);
    }
}

/// A name of repository and tag as users give them apart.
fn reference(repository: &str, tag: &str) -> Result<Reference> {
    let refuse = |e: spec::reference::InvalidReference| Error::invalid(e.to_string());
    let bare = Reference::parse_bare(repository).map_err(refuse)?;
    if bare.digest().is_some() {
        return Err(Error::invalid(
            "refusing to create a tag with a digest reference",
        ));
    }
    if tag.is_empty() {
        Ok(bare.or_latest())
    } else {
        bare.with_tag(tag).map_err(refuse)
    }
}
