//! One request on its way to its handler, and what handlers need to read it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::auth::{AUTH_HEADER, AuthConfig};
use api::gojson::DecodeError;
use bytes::Bytes;
use engine::Engine;
use engine::images::RegistryAuth;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use crate::body::SharedBody;
use crate::convert::registry;
use crate::error::ApiError;
use crate::query::Query;
use crate::router::compare_versions;
use crate::upload::Upload;

/// Largest JSON body: the largest environment that the kernel lets a program start with.
pub const MAX_JSON: usize = 2 * 1024 * 1024;

/// What all requests share.
#[derive(Debug)]
pub struct Context {
    /// The engine.
    pub engine: Engine,
    /// Experimental features are on; only reported.
    pub experimental: bool,
    /// The daemon logs at debug level; only reported.
    pub debug: AtomicBool,
}

impl Context {
    /// Whether the daemon logs at debug level now.
    pub fn debug(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }
}

/// A request with its route's variables.
#[derive(Debug)]
pub struct Call {
    /// What all requests share.
    pub context: Arc<Context>,
    /// Values of the pattern's variables.
    pub params: Vec<String>,
    /// Parameters.
    pub query: Query,
    /// API version in use.
    pub version: String,
    /// The request itself.
    pub request: Request<SharedBody>,
}

impl Call {
    /// The engine.
    pub fn engine(&self) -> Engine {
        self.context.engine.clone()
    }

    /// The first variable of the pattern.
    pub fn key(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    /// Whether the version in use is at least this one.
    pub fn at_least(&self, version: &str) -> bool {
        compare_versions(&self.version, version).is_ge()
    }

    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.request.headers().get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// Credentials of a registry, if any are sent. Secret.
    pub fn registry_auth(&self) -> Option<RegistryAuth> {
        let auth = AuthConfig::from_header(self.header(AUTH_HEADER));
        (!auth.is_empty()).then(|| registry::auth(auth))
    }

    /// Headers that the client wants sent on to a registry.
    pub fn meta_headers(&self) -> Vec<(String, String)> {
        let headers = self.request.headers().iter();
        let meta = headers.filter(|(name, _)| name.as_str().starts_with("x-meta-"));
        meta.filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
    }

    /// Whether the request announces a body.
    pub fn has_body(&self) -> bool {
        !self.request.body().is_end_stream()
    }

    /// Reads the whole body of a JSON request, which must say that it is one.
    ///
    /// # Errors
    ///
    /// Wrong or missing content type, more than [`MAX_JSON`] bytes, broken connection.
    pub async fn json_body(&mut self) -> Result<Bytes, ApiError> {
        check_content_type(
            self.request
                .headers()
                .get(CONTENT_TYPE)
                .map(|v| v.to_str().unwrap_or("")),
        )?;
        self.whole_body().await
    }

    /// Like [`Call::json_body`] where a body may be missing; an empty one needs no content type.
    pub async fn optional_json_body(&mut self) -> Result<Bytes, ApiError> {
        if self.has_body() {
            self.json_body().await
        } else {
            Ok(Bytes::new())
        }
    }

    /// Reads the whole body of a request, whatever it says it is.
    ///
    /// # Errors
    ///
    /// More than [`MAX_JSON`] bytes, broken connection.
    pub async fn whole_body(&mut self) -> Result<Bytes, ApiError> {
        let body = Limited::new(self.request.body_mut(), MAX_JSON);
        match body.collect().await {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("request body is larger than {MAX_JSON} bytes"),
            )),
            Err(_) => Err(DecodeError::Truncated.into()),
        }
    }

    /// The body in pieces, of any length.
    fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        let frames = self.request.into_body().into_data_stream();
        frames.map_err(io::Error::other)
    }

    /// The body as a stream of bytes, of any length.
    pub fn reader(self) -> impl AsyncRead + Send + Unpin + 'static {
        StreamReader::new(self.pieces())
    }

    /// The body in pieces, of any length, for what may be refused before its end.
    pub fn upload(self) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        Upload::new(self.pieces())
    }

    /// Like [`Call::upload`], as a stream of bytes.
    pub fn upload_reader(self) -> impl AsyncRead + Send + Unpin + 'static {
        StreamReader::new(self.upload())
    }
}

/// Docker's rule for JSON bodies.
fn check_content_type(header: Option<&str>) -> Result<(), ApiError> {
    let given = header.unwrap_or("");
    let media = given.split(';').next().unwrap_or("").trim();
    if media.is_empty() {
        return Err(ApiError::bad_request(format!(
            "malformed Content-Type header ({given}): mime: no media type"
        )));
    }
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "unsupported Content-Type header ({given}): must be 'application/json'"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        assert!(check_content_type(Some("application/json")).is_ok());
        assert!(check_content_type(Some("Application/JSON; charset=utf-8")).is_ok());
        let text = |h: Option<&str>| check_content_type(h).unwrap_err().message;
        assert_eq!(
            text(Some("text/plain")),
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        assert_eq!(
            text(None),
            "malformed Content-Type header (): mime: no media type"
        );
    }
}
