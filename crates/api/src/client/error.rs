//! What can go wrong between a client and a daemon.

use std::io;

use hyper::StatusCode;

/// A call that failed.
///
/// The texts are Docker's: people and scripts match on them.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not talk to it.
    #[error("{}", connect_text(host, source))]
    Connect {
        /// The daemon's address.
        host: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The daemon refused.
    #[error("Error response from daemon: {message}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The daemon's words.
        message: String,
    },
    /// The connection broke.
    #[error("error during connect: {}", root(source))]
    Transport {
        /// The cause.
        #[source]
        source: hyper::Error,
    },
    /// A body could not be read or written.
    #[error("{source}")]
    Body {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The answer was no JSON.
    #[error("error reading the daemon's answer: {source}")]
    Decode {
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A path or header that HTTP cannot carry.
    #[error("the request `{path}` cannot be sent: {source}")]
    BadRequest {
        /// The path.
        path: String,
        /// The cause.
        #[source]
        source: hyper::http::Error,
    },
    /// The daemon answered an attach without turning the connection into a stream.
    #[error("unable to upgrade to tcp, received {status}")]
    NotUpgraded {
        /// The HTTP status.
        status: StatusCode,
    },
    /// An answer larger than any sane one.
    #[error("the daemon's answer is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
}

impl ClientError {
    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Whether the daemon said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether no daemon could be reached.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }

    /// The daemon's words, or the error's own.
    pub fn message(&self) -> String {
        match self {
            Self::Status { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

fn connect_text(host: &str, source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "permission denied while trying to connect to the Docker daemon socket at {host}: {}",
            plain(source)
        );
    }
    format!("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "connect: permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn root(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    spec::error::chain(error)
}
