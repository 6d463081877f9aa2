//! Registries: what the distribution-spec and Docker's registry API call pull, push and login.
//!
//! Exists because the engine and tests consume it (C) and because it has its own dependency
//! budget (B): the HTTP client and TLS are here and nowhere else. Knows nothing of the store:
//! bytes come as streams, documents as values, and whoever takes them verifies what he keeps.
//!
//! ```text
//! Registry ──► Repository ──► Endpoint (mirror …, upstream) ──► Session (auth) ──► Transport
//! settings     one name       order, capabilities, rewrite      challenges,        TLS, proxy,
//! hot reload   fall-over      from hosts.toml and settings      tokens per scope   redirects
//! ```
//!
//! Invariant: credentials belong to one scheme, host and port. No redirect, `Location` or realm
//! takes them elsewhere.
#![forbid(unsafe_code)]

mod challenge;
mod credentials;
mod download;
mod endpoint;
mod error;
mod hosts;
mod insecure;
mod origin;
mod proxy;
mod realm;
mod registry;
mod reply;
mod repository;
mod resolver;
mod scope;
mod search;
mod session;
mod settings;
mod tls;
mod token;
mod transport;

pub use credentials::{Credentials, Secret};
pub use download::Download;
pub use error::{ApiError, ApiErrors, Error, Result, TransportError};
pub use registry::{LoginOutcome, Registry};
pub use repository::{
    BlobStream, Body, EndpointId, Mount, Open, Repository, Sent, UploadSession, Version,
};
pub use search::SearchResult;
pub use settings::{Limits, Settings, Timeouts};
