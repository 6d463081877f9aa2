//! What can go wrong in the engine, in the texts that Docker's clients know.

use spec::{Classify, ErrorKind, WireError};

/// A failure of the engine; `Display` of what a user caused is Docker's text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has this id, prefix or name.
    #[error("No such container: {key}")]
    NoSuchContainer {
        /// What the user wrote.
        key: String,
    },
    /// No exec has this id.
    #[error("No such exec instance: {key}")]
    NoSuchExec {
        /// What the user wrote.
        key: String,
    },
    /// No image has this id, prefix or reference.
    #[error("No such image: {key}")]
    NoSuchImage {
        /// What the user wrote, as Docker prints it.
        key: String,
    },
    /// No network has this id or name.
    #[error("network {key} not found")]
    NoSuchNetwork {
        /// What the user wrote.
        key: String,
    },
    /// A refusal with its full text.
    #[error("{message}")]
    Refused {
        /// The class.
        kind: ErrorKind,
        /// The whole text.
        message: String,
    },
    /// The container could not be started.
    #[error("failed to create task for container")]
    Start {
        /// What the supervisor or the runtime said.
        source: WireError,
    },
    /// The container was stopped, if it ran, and could not be started again.
    #[error("Cannot restart container {key}")]
    Restart {
        /// What the user wrote.
        key: String,
        /// Why.
        source: Box<Error>,
    },
    /// A supervisor answered with an error.
    #[error("{what}")]
    Task {
        /// What was asked of it.
        what: String,
        /// Its answer.
        source: WireError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A registry refused or failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] spec::manifest::InvalidManifest),
    /// Work that several waited for failed for all of them.
    #[error(transparent)]
    Shared(#[from] std::sync::Arc<Error>),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A container's networks could not be set up.
    #[error("failed to set up container networking")]
    Networking {
        /// Why.
        source: Box<Error>,
    },
    /// A volume failed.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The kernel refused a call.
    #[error("{what}")]
    System {
        /// What was being done.
        what: String,
        /// The kernel's answer.
        source: sys::Error,
    },
    /// Reading or writing failed.
    #[error("{what}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file of ours does not parse.
    #[error("{what}")]
    Decode {
        /// Which file.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Error {
    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::InvalidArgument, message)
    }

    /// The state does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::Conflict, message)
    }

    /// This build or host cannot do it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::Unsupported, message)
    }

    /// Something below failed in a way nobody caused.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::Internal, message)
    }

    /// Nothing had to be done.
    pub fn not_modified(message: impl Into<String>) -> Self {
        Self::refused(ErrorKind::NotModified, message)
    }

    /// A refusal of any class.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Refused {
            kind,
            message: message.into(),
        }
    }

    /// Wraps an I/O failure.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// Exit code that the failure stands for in Docker's client, where it defines one.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Start { source } | Self::Task { source, .. } => exit_code(source),
            Self::Restart { source, .. } => source.exit_code(),
            _ => None,
        }
    }
}

fn exit_code(error: &WireError) -> Option<i32> {
    error
        .exit_code
        .or_else(|| error.source.as_deref().and_then(exit_code))
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchContainer { .. }
            | Self::NoSuchExec { .. }
            | Self::NoSuchImage { .. }
            | Self::NoSuchNetwork { .. } => ErrorKind::NotFound,
            Self::Refused { kind, .. } => *kind,
            // A program that cannot be executed is the request's fault, and no missing container.
            Self::Start { .. } | Self::Task { .. } | Self::Restart { .. }
                if self.exit_code().is_some() =>
            {
                ErrorKind::InvalidArgument
            }
            Self::Start { source } | Self::Task { source, .. } => source.kind,
            Self::Store(error) => error.kind(),
            Self::Network(error) => error.kind(),
            Self::Networking { source } | Self::Restart { source, .. } => source.kind(),
            Self::Volume(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Manifest(error) => error.kind(),
            Self::Shared(error) => error.kind(),
            Self::System { .. } | Self::Io { .. } | Self::Decode { .. } => ErrorKind::Internal,
        }
    }
}
