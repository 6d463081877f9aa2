//! Images: names and contents in the store, who uses them, and their ways in and out.

pub(crate) mod archive;
mod commit;
mod hub;
mod list;
mod manifests;
pub(crate) mod platform;
mod progress;
mod prune;
mod pull;
mod push;
mod remote;
mod remove;
mod request;
mod retry;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::image::ImageConfig;
use spec::{ImageId, Platform, Reference};
use store::{Image, Store};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::config::ImagesConfig;
use crate::containers::{Containers, Pruned, of_image};
use crate::{Error, Filters, Result};

pub use archive::ArchiveStream;
pub(crate) use hub::Hub;
pub use request::*;

/// The images of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    containers: Containers,
    hub: Arc<Hub>,
}

impl Images {
    /// Makes the service.
    pub(crate) fn new(containers: Containers, hub: Hub) -> Self {
        Self {
            containers,
            hub: Arc::new(hub),
        }
    }

    /// Ends the background work; clients' pulls and pushes are over by then.
    pub(crate) async fn close(&self) {
        self.hub.close().await;
    }

    /// Images that match, newest first.
    pub async fn list(&self, options: ListImages) -> Result<Vec<ImageSummary>> {
        list::list(self, options).await
    }

    /// One image in full; id, prefix or reference.
    pub async fn inspect(&self, key: &str, options: InspectImage) -> Result<ImageView> {
        let image = platform::find(self.store(), key, options.platform.as_ref())?;
        let config = &image.config;
        let of_config = of_image(&config.config);
        let mut summary = self.summary(&image);
        if options.manifests == ManifestsWanted::Yes {
            summary = self.with_manifests(summary).await?;
        }
        Ok(ImageView {
            summary,
            comment: comment(config),
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
            driver: self.store().driver().as_str(),
            graph: match self.store().driver().has_whole_trees() {
                true => BTreeMap::new(),
                false => graph(self.store().image_directories(image.id)),
            },
            last_tag_time: image.last_tagged,
        })
    }

    /// The steps that made it, newest first.
    pub async fn history(
        &self,
        key: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryEntry>> {
        let image = platform::find(self.store(), key, platform)?;
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
        // A further name of an index is a name of the whole index.
        let target = platform::named(self.store(), key).and_then(|name| self.store().target(&name));
        let (store, named) = (self.store().clone(), reference.clone());
        self.heavy(move || Ok(store.tag_as(image.id, &named, target.as_ref())?))
            .await?;
        self.emit(image.id, "tag", &reference.familiar());
        Ok(())
    }

    /// Removes a name, and the image with its last name.
    pub async fn remove(&self, key: &str, options: RemoveImage) -> Result<Vec<ImageRemoval>> {
        remove::remove(self, key, options).await
    }

    /// Loads images of an archive; returns what arrived. Progress is dropped when nobody reads it.
    pub async fn load<R>(
        &self,
        reader: R,
        request: LoadRequest,
        progress: mpsc::Sender<LoadProgress>,
    ) -> Result<()>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        transfer::load(self, reader, request, progress).await
    }

    /// Makes an image of a root file system's tar.
    pub async fn import<R>(&self, reader: R, options: ImportImage) -> Result<ImageId>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        transfer::import(self, reader, options).await
    }

    /// As [`Images::import`], of an archive that is fetched from a web server. The last message is
    /// the new image's id.
    pub async fn import_from(
        &self,
        address: &str,
        options: ImportImage,
        progress: ProgressSender,
    ) -> Result<()> {
        transfer::import_from(self, address, options, progress).await
    }

    /// Removes images that nobody uses (`dangling=false`) or that have no name (default).
    pub async fn prune(&self, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
        prune::prune(self, filters).await
    }

    /// Removes nothing and tells what [`Images::prune`] would.
    pub async fn plan_prune(&self, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
        prune::plan_prune(self, filters).await
    }

    /// Fetches an image, or all tags of a repository. Dropping the future leaves the pull; what
    /// arrived is kept for the next. Nothing is reported before the registry has answered.
    pub async fn pull(&self, request: PullRequest, progress: ProgressSender) -> Result<()> {
        pull::pull(&self.hub, request, progress).await
    }

    /// Sends an image, or all tags of a repository, to its registry. Dropping the future ends it.
    pub async fn push(&self, request: PushRequest, progress: ProgressSender) -> Result<()> {
        push::push(&self.hub, request, progress).await
    }

    /// Writes images into an archive; what is not there is told before the first byte.
    pub async fn save(&self, request: SaveRequest) -> Result<ArchiveStream> {
        transfer::save(self, request).await
    }

    /// Makes an image of a container.
    pub async fn commit(&self, request: CommitRequest) -> Result<ImageId> {
        commit::commit(self, request).await
    }

    /// Asks the registry what a name stands for, without fetching it.
    pub async fn distribution(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<DistributionInspect> {
        remote::distribution(&self.hub, name, auth).await
    }

    /// Tries a login.
    pub async fn login(&self, auth: RegistryAuth) -> Result<LoginStatus> {
        remote::login(&self.hub, auth).await
    }

    /// Looks for repositories.
    pub async fn search(&self, request: SearchRequest) -> Result<Vec<SearchResult>> {
        remote::search(&self.hub, request).await
    }

    /// Takes new settings for registries and collection; running pulls go on with the old ones.
    ///
    /// # Errors
    ///
    /// A setting that is no URL, host or network; the old ones stay.
    pub fn reload(&self, config: ImagesConfig) -> Result<()> {
        self.hub.reload(config)
    }

    /// The settings in force.
    pub fn config(&self) -> ImagesConfig {
        self.hub.config()
    }

    fn store(&self) -> &Store {
        self.hub.store()
    }

    /// Runs a short job that reads files.
    async fn quick<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.hub.quick(job).await
    }

    /// Runs a job of any length.
    async fn heavy<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.hub.heavy(job).await
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
            parent: image.parent,
            repo_tags: image.references.iter().map(Reference::familiar).collect(),
            repo_digests: image.repo_digests.iter().map(Reference::familiar).collect(),
            created: image.config.created,
            size: image.size,
            shared_size: None,
            labels: image.config.config.labels.clone(),
            containers: u64::try_from(users).unwrap_or(u64::MAX),
            target: manifests::target(self.store(), image),
            manifests: None,
        }
    }

    /// Adds the manifests to a summary, which reads files.
    async fn with_manifests(&self, mut summary: ImageSummary) -> Result<ImageSummary> {
        let Some(target) = summary.target.clone() else {
            return Ok(summary);
        };
        let (store, containers) = (self.store().clone(), self.containers.all());
        let read = move || manifests::summaries(&store, &target, &containers);
        summary.manifests = Some(self.quick(read).await?);
        Ok(summary)
    }

    /// Tells that something happened to an image.
    fn emit(&self, id: ImageId, action: &str, name: &str) {
        self.hub.emit(Some(id), action, &id.to_string(), name);
    }
}

/// The note of an image: its own, or else that of its last step, where a commit leaves it.
fn comment(config: &ImageConfig) -> String {
    match (config.comment.as_str(), config.history.last()) {
        ("", Some(last)) => last.comment.clone(),
        (own, _) => own.to_owned(),
    }
}

/// The directories of a file system under the names of Docker's storage driver.
pub(crate) fn graph(directories: store::Directories) -> BTreeMap<String, String> {
    let text = |path: &std::path::PathBuf| path.display().to_string();
    let lowers: Vec<String> = directories.lowers.iter().map(text).collect();
    let lowers = (!lowers.is_empty()).then(|| lowers.join(":"));
    let images: Vec<String> = directories.images.iter().map(text).collect();
    let images = (!images.is_empty()).then(|| images.join(":"));
    [
        ("LowerDir", lowers),
        ("UpperDir", directories.upper.as_ref().map(text)),
        ("WorkDir", directories.work.as_ref().map(text)),
        ("Images", images),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
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
