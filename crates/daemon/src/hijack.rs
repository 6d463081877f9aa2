//! Turning a request's connection into the plain stream of an attachment.
//!
//! A client that asks for an upgrade gets `101 UPGRADED` and the raw connection, with whatever it
//! sent early; half-closing it ends the container's input only. A client that does not ask gets a
//! 200 answer whose body is the output, and its request's body is the input.

use engine::streams::Attached;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use tracing::debug;

use crate::call::Call;
use crate::reply::{self, Reply};

/// Bytes between the engine and a body; one pipe's worth.
pub const BUFFER: usize = 64 * 1024;
const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The content type of a container's output.
pub fn content_type(call: &Call, tty: bool) -> &'static str {
    if !tty && call.at_least("1.42") {
        MULTIPLEXED
    } else {
        RAW
    }
}

/// Whether a client asks for its connection to become a plain stream.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| {
        let values = headers
            .get_all(name)
            .into_iter()
            .filter_map(|v: &HeaderValue| v.to_str().ok());
        values
            .flat_map(|v| v.split(','))
            .any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    has(CONNECTION, "upgrade") && headers.contains_key(UPGRADE)
}

/// What flows once the connection is a plain stream.
#[derive(Debug)]
pub enum Flow {
    /// An attachment.
    Attached(Box<Attached>),
    /// A last message; it is already framed as the client expects.
    Text(Vec<u8>),
}

impl Flow {
    async fn run<R, W>(self, reader: R, mut writer: W)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        match self {
            Self::Attached(attached) => match attached.run(reader, writer).await {
                Ok(ended) => debug!(?ended, "attachment ended"),
                Err(error) => debug!(error = spec::error::chain(&error), "attachment failed"),
            },
            Self::Text(text) => {
                if writer.write_all(&text).await.is_ok() {
                    // Nobody waits for the answer to a shutdown of a connection that is dropped next.
                    writer.shutdown().await.ok();
                }
            }
        }
    }
}

/// Answers with a stream of either kind.
pub fn answer(mut call: Call, flow: Flow, tty: bool) -> Reply {
    let kind = content_type(&call, tty);
    if wants_upgrade(call.request.headers()) {
        let upgrade = hyper::upgrade::on(&mut call.request);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(connection) => {
                    let (reader, writer) = tokio::io::split(TokioIo::new(connection));
                    flow.run(reader, writer).await;
                }
                Err(error) => debug!(%error, "client left before its connection was upgraded"),
            }
        });
        return switching(kind);
    }
    let (writer, output) = tokio::io::duplex(BUFFER);
    let input = call.reader();
    tokio::spawn(flow.run(input, writer));
    reply::stream(kind, ReaderStream::with_capacity(output, BUFFER))
}

fn switching(content_type: &'static str) -> Reply {
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    reply
        .extensions_mut()
        .insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    reply
}

/// Frames a text as Docker's multiplexed stream does: kind of stream, length, bytes.
pub fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut framed = vec![stream, 0, 0, 0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(text);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_are_asked_for_with_both_headers() {
        let headers = |list: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in list {
                map.append(*name, HeaderValue::from_static(value));
            }
            map
        };
        assert!(wants_upgrade(&headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "tcp")
        ])));
        assert!(wants_upgrade(&headers(&[
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "tcp")
        ])));
        assert!(!wants_upgrade(&headers(&[("connection", "Upgrade")])));
        assert!(!wants_upgrade(&headers(&[("upgrade", "tcp")])));
    }

    #[test]
    fn frames() {
        assert_eq!(frame(1, b"hi"), [1, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
    }
}
