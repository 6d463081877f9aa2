//! What can go wrong with a registry, in Docker's words.
//!
//! Each `Display` is one layer; `spec::error::chain` gives the text that Docker shows, such as
//! `manifest for x:y not found: manifest unknown: manifest unknown`.

use std::fmt;

use spec::manifest::InvalidManifest;
use spec::{Classify, Digest, ErrorKind};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry refuses; Docker cannot tell "not there" from "not for you".
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login'"
    )]
    PullDenied {
        /// The repository as people see it.
        name: String,
        /// What the registry said.
        source: ApiErrors,
    },
    /// There is no such tag or digest.
    #[error("manifest for {reference} not found")]
    ManifestUnknown {
        /// The reference as people see it.
        reference: String,
        /// What the registry said.
        source: ApiErrors,
    },
    /// There is no such repository.
    #[error("repository {name} not found")]
    NameUnknown {
        /// The repository as people see it.
        name: String,
        /// What the registry said.
        source: ApiErrors,
    },
    /// Any other answer that lists errors.
    #[error(transparent)]
    Api(#[from] ApiErrors),
    /// An answer that nobody foresaw.
    #[error("received unexpected HTTP status: {status}")]
    Status {
        /// Number and name: `502 Bad Gateway`.
        status: String,
    },
    /// An answer that breaks the protocol.
    #[error("unexpected answer from `{url}`: {why}")]
    Protocol {
        /// What was asked, without query and secrets.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// An answer that says no, but not why, or not in a way that can be read.
    #[error("error parsing HTTP {status} response body: {why}: {body:?}")]
    Unreadable {
        /// Number of the answer's status.
        status: u16,
        /// What is wrong with its text.
        why: String,
        /// The beginning of its text.
        body: String,
    },
    /// No answer, or half of one.
    #[error("{method} \"{url}\"")]
    Request {
        /// `Get`, `Head`, as Go writes methods.
        method: String,
        /// What was asked, without secrets.
        url: String,
        /// Why there is none.
        source: TransportError,
    },
    /// The request was not sent because the user could not be identified.
    #[error("{method} \"{url}\"")]
    Authorization {
        /// `Get`, `Head`, as Go writes methods.
        method: String,
        /// What was to be asked, without secrets.
        url: String,
        /// Why.
        source: Box<Error>,
    },
    /// A token server that gives no token.
    #[error("{why}")]
    Token {
        /// What is wrong with its answer.
        why: String,
    },
    /// The registry wants a name and a password, and there are none.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// The registry does not let the user in.
    #[error("login attempt to {url} failed with status: {status}")]
    Login {
        /// What was asked.
        url: String,
        /// Number and name.
        status: String,
    },
    /// An index that does not search.
    #[error("Unexpected status code {status}")]
    Search {
        /// The number.
        status: u16,
    },
    /// A server that does not give a file.
    #[error("failed to GET {url} with status {status}: {body}")]
    Download {
        /// What was asked, without secrets.
        url: String,
        /// The status' number.
        code: u16,
        /// Number and name.
        status: String,
        /// The beginning of what it says.
        body: String,
    },
    /// The manifest is none, or more than one thing.
    #[error("manifest of {reference}")]
    Manifest {
        /// Tag or digest.
        reference: String,
        /// What is wrong.
        source: InvalidManifest,
    },
    /// The manifest is of a kind that is not used here.
    #[error(transparent)]
    Unsupported(#[from] InvalidManifest),
    /// Docker's format before 2016.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been \
         removed. Suggest the author of {reference} to upgrade the image to the OCI Format or \
         Docker Image manifest v2, schema 2. More information at \
         https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1 {
        /// The reference in full.
        reference: String,
    },
    /// The bytes are not those that were asked for.
    #[error("manifest verification failed for digest {expected}: its bytes have {actual}")]
    ManifestDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The manifest is longer or shorter than it was announced.
    #[error("manifest {digest} has {actual} bytes, its descriptor says {expected}")]
    ManifestSize {
        /// The manifest.
        digest: Digest,
        /// By the descriptor.
        expected: u64,
        /// By counting.
        actual: u64,
    },
    /// The registry has no such blob.
    #[error("unknown blob")]
    BlobUnknown {
        /// What the registry said.
        source: ApiErrors,
    },
    /// The bytes of a blob are others.
    #[error("blob verification failed for digest {expected}: its bytes have {actual}")]
    BlobDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The blob is longer or shorter than its descriptor says.
    #[error("blob {digest} has {actual} bytes at the registry, its descriptor says {expected}")]
    BlobSize {
        /// The blob.
        digest: Digest,
        /// By the descriptor.
        expected: u64,
        /// By the registry, as far as it was read.
        actual: u64,
    },
    /// Credentials would go, or would have to go, where they must not.
    #[error("{why}")]
    Credentials {
        /// What was asked for and why it is refused.
        why: String,
    },
    /// What was asked for or configured cannot be used.
    #[error("{what}")]
    Invalid {
        /// What and why.
        what: String,
    },
}

/// Why a request had no (whole) answer; the texts are those of Go's network library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection.
    #[error("{text}")]
    Connect {
        /// Go's text.
        text: String,
    },
    /// A certificate that is not to be trusted.
    #[error("tls: failed to verify certificate: x509: {text}")]
    Certificate {
        /// Go's text.
        text: String,
    },
    /// The other side speaks no TLS or another one.
    #[error("{text}")]
    Tls {
        /// Go's text.
        text: String,
    },
    /// Nothing came in time.
    #[error("{what}: no progress for {seconds} seconds")]
    Stalled {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The connection ended early.
    #[error("{text}")]
    Cut {
        /// How.
        text: String,
    },
    /// A redirect that is not followed.
    #[error("{text}")]
    Redirect {
        /// Which and why.
        text: String,
    },
    /// An answer longer than is taken.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
}

/// The errors of one answer; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiErrors {
    /// Status of the answer.
    pub status: u16,
    /// The errors in the order of the answer.
    pub errors: Vec<ApiError>,
}

/// One error as the distribution-spec has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// `MANIFEST_UNKNOWN` and the like; `UNKNOWN` for what the specification does not have.
    pub code: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.to_lowercase().replace('_', " "))?;
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for ApiErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [one] => one.fmt(f),
            many => {
                f.write_str("errors:\n")?;
                many.iter().try_for_each(|error| writeln!(f, "{error}"))
            }
        }
    }
}

impl std::error::Error for ApiErrors {}

impl ApiErrors {
    /// The first code, which decides.
    pub fn code(&self) -> &str {
        self.errors.first().map_or("UNKNOWN", |error| &error.code)
    }
}

impl Error {
    /// Tells whether the same request may succeed when it is repeated.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Request { source, .. } => matches!(
                source,
                TransportError::Connect { .. }
                    | TransportError::Stalled { .. }
                    | TransportError::Cut { .. }
            ),
            Self::Status { status } => status.starts_with('5'),
            Self::Api(errors) => errors.status == 408,
            Self::Authorization { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// Whether the connection ended in the middle.
    pub(crate) fn is_cut(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(source, TransportError::Cut { .. })
    }

    /// The error without what a pull adds to it, for those who only asked.
    #[must_use]
    pub fn plain(self) -> Self {
        match self {
            Self::PullDenied { source, .. }
            | Self::ManifestUnknown { source, .. }
            | Self::NameUnknown { source, .. } => Self::Api(source),
            other => other,
        }
    }

    /// Tells whether the registry said that the thing is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::ManifestUnknown { .. } | Self::NameUnknown { .. } | Self::BlobUnknown { .. } => {
                true
            }
            Self::Api(errors) => errors.status == 404,
            Self::Status { status } => status.starts_with("404"),
            _ => false,
        }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::PullDenied { .. } | Self::ManifestUnknown { .. } | Self::NameUnknown { .. } => {
                ErrorKind::NotFound
            }
            Self::Manifest { source, .. } | Self::Unsupported(source) => source.kind(),
            Self::Invalid { .. } | Self::Schema1 { .. } => ErrorKind::InvalidArgument,
            Self::Api(errors) => errors.kind(),
            Self::Download { code, .. } => match code {
                400 => ErrorKind::InvalidArgument,
                401 => ErrorKind::Unauthorized,
                403 => ErrorKind::Forbidden,
                404 => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            },
            Self::Authorization { source, .. } => match source.as_ref() {
                Self::Api(errors) => errors.kind(),
                _ => ErrorKind::Internal,
            },
            _ => ErrorKind::Internal,
        }
    }
}

impl Classify for ApiErrors {
    /// What Docker passes on to its own client.
    fn kind(&self) -> ErrorKind {
        match self.code() {
            "UNAUTHORIZED" => ErrorKind::Unauthorized,
            "DENIED" => ErrorKind::Forbidden,
            "UNAVAILABLE" => ErrorKind::Unavailable,
            "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        }
    }
}
