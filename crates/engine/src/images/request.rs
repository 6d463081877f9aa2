//! What callers say to [`super::Images`] and what they get back.

use std::collections::BTreeMap;

use spec::manifest::{DescribedPlatform, Descriptor};
use spec::{ImageId, Platform, Reference, Timestamp};

use crate::container::Config;
use crate::{Error, Filters, Result};

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListImages {
    /// Also those without a name that others were made of.
    pub all: bool,
    /// Compute shared sizes.
    pub shared_size: bool,
    /// Docker's filters: before, dangling, label, reference, since, until.
    pub filters: Filters,
    /// Also list the manifests of each index.
    pub manifests: ManifestsWanted,
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
    /// The manifest or index it came as, where one is known.
    pub target: Option<Descriptor>,
    /// Manifests of its index; `None` unless asked.
    pub manifests: Option<Vec<ManifestSummary>>,
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
    /// Storage driver of new containers.
    pub driver: &'static str,
    /// Where its layers are.
    pub graph: BTreeMap<String, String>,
    /// When it last got a name.
    pub last_tag_time: Option<Timestamp>,
}

/// A step that made an image, newest first in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Id on the newest step and on those of parents that are here, else `None` (`<missing>`).
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
#[derive(Debug, Clone, Default)]
pub struct RemoveImage {
    /// Remove even if several names or stopped containers use it.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
    /// Only the images of these platforms of a name's index.
    pub platforms: Vec<Platform>,
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

/// Who asks a registry: what clients send as `X-Registry-Auth`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// Name of the user.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// Token to get other tokens with, from a login.
    pub identity_token: String,
    /// Bearer token, used as it is.
    pub registry_token: String,
    /// The registry that the rest is for; empty is Docker Hub for a login, else the image's.
    pub server_address: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// An image to fetch.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// What; without tag and digest all tags of the repository. See [`pull_reference`].
    pub reference: Reference,
    /// For which platform; the host's by default.
    pub platform: Option<Platform>,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
    /// Headers that the client wants sent to the registry (`X-Meta-…`).
    pub headers: Vec<(String, String)>,
}

impl PullRequest {
    /// A pull for the host's platform by nobody in particular.
    pub fn new(reference: Reference) -> Self {
        Self {
            reference,
            platform: None,
            auth: None,
            headers: Vec::new(),
        }
    }
}

/// Reads what a pull names, `fromImage` and `tag` of the API; the tag may be a digest.
///
/// # Errors
///
/// Docker's text for a name out of its grammar.
pub fn pull_reference(image: &str, tag: &str) -> Result<Reference> {
    let refuse = |e: spec::reference::InvalidReference| Error::invalid(e.to_string());
    let bare = Reference::parse_bare(image).map_err(refuse)?;
    if tag.is_empty() {
        return Ok(bare);
    }
    match tag.parse::<spec::Digest>() {
        Ok(digest) => Ok(bare.with_digest(digest)),
        Err(_) => bare.with_tag(tag).map_err(refuse),
    }
}

/// An image to send to its registry.
#[derive(Debug, Clone, Default)]
pub struct PushRequest {
    /// Name with or without tag; without both tags all of the repository are sent.
    pub name: String,
    /// Tag, where `name` has none.
    pub tag: String,
    /// Only the image of this platform.
    pub platform: Option<Platform>,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
    /// Headers that the client wants sent to the registry (`X-Meta-…`).
    pub headers: Vec<(String, String)>,
}

/// A line of a pull's or push's report, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A sentence, with the name it is about where Docker gives one.
    Message {
        /// Tag (`Pulling from library/busybox`) or layer.
        id: Option<String>,
        /// The sentence.
        text: String,
    },
    /// The state of one layer; an empty `progressDetail` on the wire while both numbers are 0.
    Step {
        /// Short id of the layer.
        id: String,
        /// `Downloading`, `Pull complete`, ….
        action: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Something for programs: `aux` on the wire.
    Aux(PushAux),
}

/// Where the lines of a report go: bounded; dropped when nobody reads is the same as leaving.
pub type ProgressSender = tokio::sync::mpsc::Sender<Progress>;

/// What a push tells programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAux {
    /// `{"Tag","Digest","Size"}`: a tag was sent.
    Pushed {
        /// The tag.
        tag: String,
        /// Digest of its manifest or index.
        digest: spec::Digest,
        /// Bytes of the manifest or index.
        size: u64,
    },
    /// `{"manifestPushedInsteadOfIndex":true,"originalIndex":…,"selectedManifest":…}`.
    ManifestInsteadOfIndex {
        /// The index the image was pulled as.
        index: Box<Descriptor>,
        /// The manifest that was sent in its place.
        manifest: Box<Descriptor>,
    },
}

/// What to write into an archive.
#[derive(Debug, Clone, Default)]
pub struct SaveRequest {
    /// Names, ids, or repositories (all their tags).
    pub names: Vec<String>,
    /// Only these platforms; everything that is present by default.
    pub platforms: Vec<Platform>,
}

/// How to load an archive.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// Only these platforms; all by default.
    pub platforms: Vec<Platform>,
}

/// A container to make an image of.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The container.
    pub container: String,
    /// Name for the image; empty leaves it without.
    pub repository: String,
    /// Tag of it.
    pub tag: String,
    /// A note.
    pub comment: String,
    /// Who made it.
    pub author: String,
    /// Whether processes are halted meanwhile.
    pub pause: PauseDuringCommit,
    /// Instructions in Dockerfile form.
    pub changes: Vec<String>,
    /// Settings that replace the container's where given.
    pub config: Option<Config>,
}

/// Whether a commit halts the container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PauseDuringCommit {
    /// They are halted: files are consistent among each other.
    #[default]
    Pause,
    /// They go on.
    Run,
}

/// What a registry says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionInspect {
    /// What the name stands for.
    pub descriptor: Descriptor,
    /// What it runs on.
    pub platforms: Vec<DescribedPlatform>,
}

/// How a login ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginStatus {
    /// `Login Succeeded`.
    pub status: String,
    /// Token to keep instead of the password, if the registry gave one.
    pub identity_token: String,
}

/// What to look for on Docker Hub or on a registry that can search.
#[derive(Debug, Clone, Default)]
pub struct SearchRequest {
    /// Words, with the registry's name before a slash.
    pub term: String,
    /// Most results; 25 by default.
    pub limit: Option<u32>,
    /// `is-automated`, `is-official`, `stars`.
    pub filters: Filters,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
    /// Headers that the client wants sent to the registry.
    pub headers: Vec<(String, String)>,
}

/// A repository found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchResult {
    /// Name.
    pub name: String,
    /// What it says about itself.
    pub description: String,
    /// Stars.
    pub star_count: i64,
    /// Of Docker's curated set.
    pub is_official: bool,
    /// Built automatically; always false nowadays.
    pub is_automated: bool,
}

/// One manifest of an image's index, or its only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSummary {
    /// What names it.
    pub descriptor: Descriptor,
    /// Everything it refers to is here.
    pub available: bool,
    /// Bytes of its content (manifest, config, compressed layers) as the manifest counts them.
    pub content_size: u64,
    /// What it is.
    pub kind: ManifestKind,
}

/// What a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image.
    Image {
        /// The image, if it is here.
        id: Option<ImageId>,
        /// What it runs on.
        platform: DescribedPlatform,
        /// Containers made of it.
        containers: Vec<spec::ContainerId>,
        /// Bytes of its layers unpacked; 0 if it is not here.
        unpacked_size: u64,
    },
    /// A statement about another one.
    Attestation {
        /// The other one.
        about: Option<spec::Digest>,
    },
    /// Something else.
    Unknown,
}

/// How to look at an image.
#[derive(Debug, Clone, Default)]
pub struct InspectImage {
    /// Of this platform; the one the name points to by default.
    pub platform: Option<Platform>,
    /// Also list the manifests of its index.
    pub manifests: ManifestsWanted,
}

/// Whether the manifests of an index are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ManifestsWanted {
    /// Left out.
    #[default]
    No,
    /// Listed.
    Yes,
}
