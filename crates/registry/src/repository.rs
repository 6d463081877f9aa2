//! One repository: what can be asked of it and given to it.
//!
//! Every operation walks over the endpoints in order until one settles it:
//!
//! ```text
//! mirror         any error            -> next
//! the registry   it answered with an error -> that is the result
//!                no (usable) answer        -> next, but never plain http after https answered
//! ```
//!
//! Endpoints that could not be reached or that gave wrong bytes are asked last from then on.

mod blobs;
mod listings;
mod manifests;
mod uploads;
mod walk;

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use spec::{Digest, Reference};
use tokio::sync::OnceCell;

pub use blobs::BlobStream;
pub use uploads::{Sent, UploadSession};

use crate::endpoint::endpoints;
use crate::registry::Shared;
use crate::scope::Scopes;
use crate::session::Session;
use crate::{Credentials, Error, Result};

/// Content on its way to a registry.
pub type Body = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Opens content from its start, once for each attempt to send it.
pub type Open<'a> = &'a (dyn Fn() -> Body + Send + Sync);

/// What names a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Version {
    /// A tag, which may point to something else tomorrow.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

/// One of the places a repository is had from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndpointId(pub(crate) usize);

/// What came of asking to take a blob over from another repository.
#[derive(Debug)]
pub enum Mount {
    /// It is there now.
    Mounted,
    /// It has to be sent; the registry opened an upload for it.
    Upload(UploadSession),
}

/// A repository on a registry, with its mirrors; clones share what they learned.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    name: Reference,
    credentials: Option<Arc<Credentials>>,
    meta: HeaderMap,
    sessions: OnceCell<Vec<Arc<Session>>>,
    /// Endpoints that are asked last.
    bad: Mutex<HashSet<usize>>,
}

impl From<Digest> for Version {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Version {
    /// What a reference names: its digest, else its tag.
    pub fn of(reference: &Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest),
            (None, tag) => Self::Tag(tag.unwrap_or("latest").to_owned()),
        }
    }
}

impl Repository {
    pub(crate) fn new(shared: Arc<Shared>, name: Reference, auth: Option<Credentials>) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared,
                name,
                credentials: auth.map(Arc::new),
                meta: HeaderMap::new(),
                sessions: OnceCell::new(),
                bad: Mutex::default(),
            }),
        }
    }

    /// The name it was made for.
    pub fn reference(&self) -> &Reference {
        &self.inner.name
    }

    /// Adds headers (`X-Meta-*`) to all requests to the registry itself. Those that cannot be
    /// sent are left out, as are those that the client has to say itself.
    #[must_use]
    pub fn with_headers(self, headers: Vec<(String, String)>) -> Self {
        let mut meta = self.inner.meta.clone();
        for (name, value) in headers {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            else {
                continue;
            };
            if name.as_str().starts_with("x-") {
                meta.append(name, value);
            }
        }
        Self {
            inner: Arc::new(Inner {
                shared: Arc::clone(&self.inner.shared),
                name: self.inner.name.clone(),
                credentials: self.inner.credentials.clone(),
                meta,
                sessions: OnceCell::new(),
                bad: Mutex::default(),
            }),
        }
    }

    /// Notes that an endpoint gave wrong bytes: from now on it is asked last.
    pub fn blame(&self, endpoint: EndpointId) {
        let mut bad = self
            .inner
            .bad
            .lock()
            .expect("nothing panics while it holds");
        bad.insert(endpoint.0);
    }

    /// Tells whether any of its endpoints has ever answered.
    pub fn is_reached(&self) -> bool {
        let sessions = self.inner.sessions.get();
        sessions.is_some_and(|all| all.iter().any(|session| session.is_reached()))
    }

    async fn sessions(&self) -> Result<&[Arc<Session>]> {
        let inner = &*self.inner;
        let make = || async {
            let endpoints = endpoints(&inner.shared, inner.name.domain()).await?;
            let session = |endpoint| {
                Arc::new(Session::new(
                    Arc::clone(&inner.shared),
                    endpoint,
                    inner.credentials.clone(),
                    inner.meta.clone(),
                ))
            };
            Ok::<_, Error>(endpoints.into_iter().map(session).collect())
        };
        inner
            .sessions
            .get_or_try_init(make)
            .await
            .map(Vec::as_slice)
    }

    fn path(&self) -> &str {
        self.inner.name.path()
    }

    fn pull_scope(&self) -> Scopes {
        Scopes::repository(self.path(), &["pull"])
    }

    fn push_scope(&self) -> Scopes {
        Scopes::repository(self.path(), &["pull", "push"])
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }
}
