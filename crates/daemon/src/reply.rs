//! Building answers: JSON, plain text, streams, errors, and the headers that all of them carry.

use std::convert::Infallible;
use std::io;

use api::gojson::encode_plain_line;
use api::message::ErrorBody;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, SERVER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::error::ApiError;

/// Body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub type Reply = Response<Body>;

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    respond(status, Empty::new().map_err(never).boxed_unsync())
}

/// An answer of JSON, ended by a line feed and with markup as it is, as Docker's.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Reply {
    typed(status, "application/json", encode_plain_line(value))
}

/// JSON with status 200.
pub fn ok<T: Serialize + ?Sized>(value: &T) -> Reply {
    json(StatusCode::OK, value)
}

/// An answer of these bytes.
pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = respond(status, Full::new(body.into()).map_err(never).boxed_unsync());
    set_type(&mut reply, content_type);
    reply
}

/// An answer whose chunks are sent as they come; it ends when the stream does.
///
/// The stream is dropped when the client goes away.
pub fn stream<S>(content_type: &'static str, chunks: S) -> Reply
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data)));
    let mut reply = respond(StatusCode::OK, body.boxed_unsync());
    set_type(&mut reply, content_type);
    reply
}

/// The answer to a failure.
pub fn error(error: &ApiError) -> Reply {
    if error.status == StatusCode::NOT_MODIFIED {
        return empty(error.status);
    }
    json(
        error.status,
        &ErrorBody {
            message: error.message.clone(),
        },
    )
}

fn never(never: Infallible) -> io::Error {
    match never {}
}

fn respond(status: StatusCode, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
}

fn set_type(reply: &mut Reply, content_type: &'static str) {
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// Adds the headers that every answer of Docker carries.
pub fn add_common_headers(headers: &mut HeaderMap, experimental: bool) {
    headers.insert("api-version", HeaderValue::from_static(api::MAX_VERSION));
    headers.insert(
        "docker-experimental",
        HeaderValue::from_static(if experimental { "true" } else { "false" }),
    );
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(
        SERVER,
        HeaderValue::from_static(concat!("Corten/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
}
