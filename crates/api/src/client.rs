//! The client of the Engine API: one daemon address, HTTP/1.1 over a unix socket or TCP.
//!
//! Runs on whatever tokio runtime it is called on, spawns one task per connection and keeps one
//! idle connection for the next call. The version is negotiated with `/_ping` before the first
//! call, as Docker's own client does.

mod connect;
mod endpoint;
mod error;
mod query;
mod response;

use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

pub use connect::Stream;
pub use endpoint::{Endpoint, InvalidHost};
pub use error::ClientError;
pub use query::{Query, escape};
pub use response::{Hijacked, JsonStream, Response};

use connect::Sender;

/// The newest API version this client speaks.
pub const MAX_VERSION: &str = "1.51";
/// The oldest API version this client speaks.
pub const MIN_VERSION: &str = "1.24";

/// The body of a request.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// What the daemon said to a ping.
#[derive(Debug, Clone, Default)]
pub struct Ping {
    /// The newest API version of the daemon.
    pub api_version: String,
    /// The operating system of the daemon.
    pub os_type: String,
    /// Whether the daemon has experimental features on.
    pub experimental: bool,
}

/// A client of one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    fixed_version: Option<String>,
    negotiated: Arc<OnceLock<(String, Ping)>>,
    idle: Arc<Mutex<Option<Sender>>>,
    headers: HeaderMap,
}

/// One request: a method, a path with its query, a body and extra headers.
#[derive(Debug)]
pub struct Request {
    method: Method,
    path: String,
    body: Body,
    headers: HeaderMap,
    versioned: bool,
}

impl Request {
    /// Makes a request without a body.
    ///
    /// Names may have a slash in front, as inspect shows those of containers: it is left out, or the
    /// daemon would answer with a redirect to the path without it.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let mut path = path.into();
        // What stands in the query is the user's.
        let end = |path: &str| path.find('?').unwrap_or(path.len());
        while let Some(at) = path[..end(&path)].find("/%2F") {
            path.replace_range(at..at + "/%2F".len(), "/");
        }
        Self {
            method,
            path,
            body: empty_body(),
            headers: HeaderMap::new(),
            versioned: true,
        }
    }

    /// Makes a GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes a POST without a body.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// Makes a DELETE.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Makes a HEAD.
    pub fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// Sends this JSON as the body.
    #[must_use]
    pub fn json(mut self, value: &Value) -> Self {
        self.body = full_body(Bytes::from(value.to_string()));
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// Sends this body, of this content type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: Body) -> Self {
        self.body = body;
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self
    }

    /// Adds the query.
    #[must_use]
    pub fn query(mut self, query: &Query) -> Self {
        self.path.push_str(&query.to_string());
        self
    }

    /// Adds a header; a value that is no header value is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    fn unversioned(mut self) -> Self {
        self.versioned = false;
        self
    }
}

/// An empty request body.
pub fn empty_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A request body of these bytes.
pub fn full_body(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

impl Client {
    /// Makes a client for a daemon's address; nothing is connected yet.
    ///
    /// A given version is used as it is, else the first call negotiates one.
    pub fn new(endpoint: Endpoint, version: Option<String>) -> Self {
        Self {
            endpoint,
            fixed_version: version,
            negotiated: Arc::default(),
            idle: Arc::default(),
            headers: HeaderMap::new(),
        }
    }

    /// Adds a header to every request; one that is no valid header is left out.
    pub fn add_header(&mut self, name: &str, value: &str) {
        if let (Ok(name), Ok(value)) = (
            hyper::header::HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            self.headers.insert(name, value);
        }
    }

    /// The daemon's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The version in use: the fixed one, the negotiated one, or the newest before negotiation.
    pub fn version(&self) -> &str {
        match (&self.fixed_version, self.negotiated.get()) {
            (Some(fixed), _) => fixed,
            (None, Some((version, _))) => version,
            (None, None) => MAX_VERSION,
        }
    }

    /// Pings the daemon and settles the version; later calls answer from memory.
    pub async fn negotiate(&self) -> Result<Ping, ClientError> {
        if let Some((_, ping)) = self.negotiated.get() {
            return Ok(ping.clone());
        }
        let ping = self.ping().await?;
        let server = if ping.api_version.is_empty() {
            MIN_VERSION
        } else {
            &ping.api_version
        };
        let version = older(server, MAX_VERSION).to_owned();
        let _ = self.negotiated.set((version, ping.clone()));
        Ok(ping)
    }

    /// Pings the daemon: HEAD first, GET for daemons that refuse it.
    pub async fn ping(&self) -> Result<Ping, ClientError> {
        let head = self.raw(Request::head("/_ping").unversioned()).await?;
        let headers = if head.status().is_success() {
            let headers = head.headers().clone();
            head.bytes().await?;
            headers
        } else {
            let get = self.raw(Request::get("/_ping").unversioned()).await?;
            let headers = get.headers().clone();
            get.bytes().await?;
            headers
        };
        let text = |name: &str| {
            let value = headers.get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Ok(Ping {
            api_version: text("api-version"),
            os_type: text("ostype"),
            experimental: text("docker-experimental") == "true",
        })
    }

    /// Sends a request; an answer of 400 and above is an error.
    pub async fn send(&self, request: Request) -> Result<Response, ClientError> {
        if self.fixed_version.is_none() && request.versioned {
            self.negotiate().await?;
        }
        self.raw(request).await?.checked().await
    }

    /// Sends a request and reads the JSON of the answer; `null` where there is none.
    pub async fn json(&self, request: Request) -> Result<Value, ClientError> {
        self.send(request).await?.json().await
    }

    /// Sends a request whose answer turns the connection into a plain stream.
    pub async fn hijack(&self, request: Request) -> Result<Hijacked, ClientError> {
        let request = request
            .header("connection", "Upgrade")
            .header("upgrade", "tcp");
        self.send(request).await?.hijack().await
    }

    async fn raw(&self, request: Request) -> Result<Response, ClientError> {
        let path = if request.versioned {
            format!("/v{}{}", self.version(), request.path)
        } else {
            request.path
        };
        let mut builder = hyper::Request::builder()
            .method(request.method)
            .uri(self.endpoint.path(&path))
            .header("host", self.endpoint.http_host());
        if let Some(headers) = builder.headers_mut() {
            for (name, value) in self.headers.iter().chain(&request.headers) {
                headers.insert(name, value.clone());
            }
        }
        let request = builder
            .body(request.body)
            .map_err(|source| ClientError::BadRequest { path, source })?;
        let idle = self.idle.lock().ok().and_then(|mut slot| slot.take());
        let mut sender = match idle {
            // A pooled connection that the daemon has closed meanwhile fails `ready`.
            Some(mut sender) => match sender.ready().await {
                Ok(()) => sender,
                Err(_) => connect::open(&self.endpoint).await?,
            },
            None => connect::open(&self.endpoint).await?,
        };
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|source| ClientError::Transport { source })?;
        Ok(Response::new(answer, sender, Arc::clone(&self.idle)))
    }
}

/// Compares two `major.minor` versions; an odd one counts as zero.
pub fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    let parts =
        |text: &str| -> Vec<u64> { text.split('.').map(|p| p.parse().unwrap_or(0)).collect() };
    parts(a).cmp(&parts(b))
}

fn older<'a>(a: &'a str, b: &'a str) -> &'a str {
    if compare_versions(a, b).is_lt() { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_in_front_of_a_name_is_left_out() {
        for (name, path) in [
            ("web", "/containers/web/json"),
            ("/web", "/containers/web/json"),
            ("//web/db", "/containers/web%2Fdb/json"),
        ] {
            let request = Request::get(format!("/containers/{}/json", escape(name)));
            assert_eq!(request.path, path);
        }
        let query = "/images/json?filters=a/%2Fb";
        assert_eq!(Request::get(query).path, query);
    }

    #[test]
    fn the_older_version_wins() {
        assert_eq!(older("1.9", "1.51"), "1.9");
        assert_eq!(older("1.53", "1.51"), "1.51");
        assert_eq!(older("1.51", "1.51"), "1.51");
    }
}
