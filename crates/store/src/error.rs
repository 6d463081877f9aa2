//! What the store can fail with.

use std::path::PathBuf;

use spec::{Classify, ErrorKind};

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed store operation; the class is [`Classify::kind`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image has this name or id.
    #[error("No such image: {text}")]
    NoSuchImage {
        /// What was asked for, completed with a tag as Docker prints it.
        text: String,
    },
    /// The image is there, but not for this platform.
    #[error(
        "image with reference {image} was found but does not provide the specified platform \
         ({platform})"
    )]
    NoSuchPlatform {
        /// The image as the user named it.
        image: String,
        /// What was asked for.
        platform: String,
    },
    /// A name that no image can have.
    #[error(transparent)]
    InvalidReference {
        /// What is wrong with it, in Docker's words.
        source: spec::reference::InvalidReference,
    },
    /// A prefix fits several images.
    #[error("image id prefix `{text}` is ambiguous: {matches} images begin with it")]
    Ambiguous {
        /// The prefix.
        text: String,
        /// How many.
        matches: usize,
    },
    /// There is nothing at a path of a tree.
    #[error("Could not find the file {path}")]
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// A path of a tree cannot be written.
    #[error("cannot write `{path}`: it is on a read-only file system")]
    ReadOnly {
        /// The path.
        path: String,
    },
    /// No snapshot has this key.
    #[error("no snapshot `{key}`")]
    NoSuchSnapshot {
        /// The key.
        key: String,
    },
    /// A snapshot with this key is there already.
    #[error("snapshot `{key}` already exists")]
    SnapshotExists {
        /// The key.
        key: String,
    },
    /// A key that cannot be a directory name.
    #[error("invalid snapshot key `{key}`: want 1 to 128 of [a-zA-Z0-9_-]")]
    InvalidKey {
        /// The key.
        key: String,
    },
    /// An image record or its layers are damaged.
    #[error("image `{id}` is damaged: {what}")]
    Damaged {
        /// The image.
        id: spec::ImageId,
        /// What is wrong.
        what: String,
    },
    /// A form of a layer that is neither kept nor can be made again.
    #[error("layer {diff} is not here in the form {digest}: pull or load its image again")]
    NoSuchForm {
        /// The layer.
        diff: spec::DiffId,
        /// Digest of the form.
        digest: spec::Digest,
    },
    /// A layer that was here when the operation began.
    #[error("layer {diff} was removed meanwhile")]
    LayerGone {
        /// The layer.
        diff: spec::DiffId,
    },
    /// Somebody takes the same blob in.
    #[error("layer {digest} is being received by another operation")]
    LayerBusy {
        /// Digest of the blob.
        digest: spec::Digest,
    },
    /// What arrived is not what was announced.
    #[error("filesystem layer verification failed for digest {digest}: {what}")]
    LayerMismatch {
        /// Digest of the blob.
        digest: spec::Digest,
        /// What is wrong with it.
        what: String,
    },
    /// Bytes of the store that are not those of their digest any more.
    #[error("content {digest} is damaged: {what}")]
    DamagedContent {
        /// The digest.
        digest: spec::Digest,
        /// What is wrong.
        what: String,
    },
    /// The archive is not an image, or lies.
    #[error("{what}")]
    BadArchive {
        /// What is wrong, with the entry's name.
        what: String,
        /// The cause, if it lies below.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A layer of an archive could not be unpacked.
    #[error("failed to unpack layer `{path}`")]
    Layer {
        /// Its path in the archive.
        path: String,
        /// The cause.
        source: spec::WireError,
    },
    /// A limit against decompression bombs was reached.
    #[error("{what}")]
    LimitExceeded {
        /// Which limit, with its value.
        what: String,
    },
    /// A form that this build cannot read.
    #[error("{what}")]
    Unsupported {
        /// What, and what to do instead.
        what: String,
    },
    /// An option is wrong.
    #[error("{what}")]
    InvalidOption {
        /// What is wrong.
        what: String,
    },
    /// Another process has the store open.
    #[error("the store is in use by another process: `{}` is locked", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The image of a layer could not be made.
    #[error("failed to make the image of layer {diff}")]
    LayerImage {
        /// The layer.
        diff: spec::DiffId,
        /// The cause.
        source: erofs::Error,
    },
    /// An image to try the kernel with could not be made.
    #[error("failed to make an image")]
    Erofs {
        /// The cause.
        source: erofs::Error,
    },
    /// A writable layer could not be bounded.
    #[error(transparent)]
    Bound(#[from] bound::Error),
    /// The operation was cancelled by its caller.
    #[error("cancelled")]
    Cancelled,
    /// The disk or the kernel failed.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The kernel refused a call in a layer.
    #[error("failed to {action}")]
    Sys {
        /// What was tried.
        action: String,
        /// The cause.
        source: sys::Error,
    },
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage { .. }
            | Self::NoSuchPath { .. }
            | Self::NoSuchPlatform { .. }
            | Self::NoSuchSnapshot { .. }
            | Self::NoSuchForm { .. } => ErrorKind::NotFound,
            Self::InvalidReference { .. }
            | Self::Ambiguous { .. }
            | Self::InvalidKey { .. }
            | Self::BadArchive { .. }
            | Self::ReadOnly { .. }
            | Self::LimitExceeded { .. }
            | Self::LayerMismatch { .. }
            | Self::InvalidOption { .. } => ErrorKind::InvalidArgument,
            Self::SnapshotExists { .. }
            | Self::InUse { .. }
            | Self::LayerBusy { .. }
            | Self::LayerGone { .. } => ErrorKind::Conflict,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Bound(error) => error.kind(),
            Self::Damaged { .. } | Self::DamagedContent { .. } => ErrorKind::Internal,
            Self::Layer { source, .. } => source.kind,
            Self::LayerImage { source, .. } | Self::Erofs { source } => match source {
                erofs::Error::Write { source } => exhausted_io(source),
                erofs::Error::Copy { source, .. } => exhausted(source.errno()),
                _ => ErrorKind::Internal,
            },
            Self::Io { source, .. } => exhausted_io(source),
            Self::Sys { source, .. } => exhausted(source.errno()),
        }
    }
}

fn exhausted_io(error: &std::io::Error) -> ErrorKind {
    let code = error.raw_os_error();
    code.map_or(ErrorKind::Internal, |code| {
        exhausted(rustix::io::Errno::from_raw_os_error(code))
    })
}

fn exhausted(errno: rustix::io::Errno) -> ErrorKind {
    match errno {
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    }
}
