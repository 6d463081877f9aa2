//! What volumes can fail with, in Docker's words where Docker has some.

use std::path::PathBuf;

use spec::{Classify, ErrorKind};

use crate::VolumeName;

/// Result of a volume operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed volume operation; the class is [`Classify::kind`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No volume has this name.
    #[error("get {name}: no such volume")]
    NoSuchVolume {
        /// What was asked for.
        name: String,
    },
    /// A text that no volume can be called.
    #[error("create {text}")]
    InvalidName {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: crate::InvalidName,
    },
    /// Driver options that do not fit together.
    #[error("create {name}")]
    InvalidOptions {
        /// The volume.
        name: VolumeName,
        /// What is wrong with them.
        source: crate::InvalidOptions,
    },
    /// Another driver has a volume of this name.
    #[error(
        "create {name}: driver '{driver}' already has volume '{name}': volume name must be unique"
    )]
    DriverConflict {
        /// The name.
        name: VolumeName,
        /// Whose it is.
        driver: String,
    },
    /// Nobody can tell whether its plugin still has a volume.
    #[error(
        "create {name}: found reference to volume '{name}' in driver '{driver}', but got an error while checking the driver: {what}: volume name must be unique"
    )]
    Unclear {
        /// The name.
        name: VolumeName,
        /// Whose it is.
        driver: String,
        /// The plugin's failure.
        what: String,
    },
    /// A plugin is not there or failed.
    #[error("{action}")]
    Plugin {
        /// What was tried: `create data`.
        action: String,
        /// What the plugin said.
        source: crate::PluginFailure,
    },
    /// A plugin could not mount a volume.
    #[error("error while mounting volume '{}'", path.display())]
    PluginMount {
        /// Where the volume is, if it is known.
        path: PathBuf,
        /// What the plugin said.
        source: crate::PluginFailure,
    },
    /// A volume of this name is there, and must not be.
    #[error("a volume named {name} already exists")]
    Exists {
        /// The name.
        name: VolumeName,
    },
    /// Containers use it.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    InUse {
        /// The volume.
        name: VolumeName,
        /// Who uses it.
        users: Vec<String>,
    },
    /// It is protected from removal.
    #[error("remove {name}: volume is protected: take the protection away first")]
    Protected {
        /// The volume.
        name: VolumeName,
    },
    /// What the options name could not be mounted.
    #[error(
        "error while mounting volume '{}': failed to mount local volume: mount {device}:{}{options}: {why}",
        path.display(), path.display()
    )]
    Mount {
        /// Where it was to be mounted.
        path: PathBuf,
        /// What was to be mounted.
        device: String,
        /// How: `, flags: 0x1000, data: a=b`, or nothing.
        options: String,
        /// The kernel's reason.
        why: String,
    },
    /// A host in the options has no address.
    #[error(
        "error while mounting volume '{}': error resolving passed in network volume address: {why}",
        path.display()
    )]
    Host {
        /// Where it was to be mounted.
        path: PathBuf,
        /// Why it has none.
        why: String,
    },
    /// Its size could not be bounded.
    #[error("failed to bound volume {name}")]
    Bound {
        /// The volume.
        name: VolumeName,
        /// The cause.
        source: bound::Error,
    },
    /// The volume's files are damaged.
    #[error("volume {name} is damaged: {what}")]
    Damaged {
        /// The volume.
        name: VolumeName,
        /// What is wrong.
        what: String,
    },
    /// Something that this host or build cannot do.
    #[error("{what}")]
    Unsupported {
        /// What, and what to do instead.
        what: String,
    },
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
    /// The kernel refused a call.
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
            Self::NoSuchVolume { .. } => ErrorKind::NotFound,
            Self::InvalidName { .. } | Self::InvalidOptions { .. } => ErrorKind::InvalidArgument,
            Self::DriverConflict { .. }
            | Self::Unclear { .. }
            | Self::Exists { .. }
            | Self::InUse { .. }
            | Self::Protected { .. } => ErrorKind::Conflict,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Bound { source, .. } => source.kind(),
            Self::Plugin { source, .. } | Self::PluginMount { source, .. } => source.kind(),
            Self::Mount { .. } | Self::Host { .. } | Self::Damaged { .. } => ErrorKind::Internal,
            Self::Io { source, .. } => match source.raw_os_error() {
                Some(code) => exhausted(rustix::io::Errno::from_raw_os_error(code)),
                None => ErrorKind::Internal,
            },
            Self::Sys { source, .. } => exhausted(source.errno()),
        }
    }
}

fn exhausted(errno: rustix::io::Errno) -> ErrorKind {
    match errno {
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT => ErrorKind::Exhausted,
        _ => ErrorKind::Internal,
    }
}

/// Wraps a failed call on a path.
pub(crate) fn io(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}

/// Wraps a failed call of `sys`.
pub(crate) fn failed(action: impl Into<String>) -> impl FnOnce(sys::Error) -> Error {
    let action = action.into();
    move |source| Error::Sys { action, source }
}
