//! Turning a request's connection into the plain stream of an attachment.
//!
//! A client that asks for an upgrade gets `101 UPGRADED` and the raw connection, with whatever it
//! sent early; half-closing it ends the container's input only. A client that does not ask gets a
//! 200 answer and then the same plain stream, as from Docker: the connection is seized from the HTTP
//! machinery. Only one that sends its input as a chunked body gets the output as one, too.

use std::pin::Pin;

use bytes::Bytes;
use engine::streams::Attached;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
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

/// A flow that is still to be made.
pub struct Later(Pin<Box<dyn Future<Output = Flow> + Send>>);

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

/// What flows once the connection is a plain stream.
#[derive(Debug)]
pub enum Flow {
    /// An attachment.
    Attached(Box<Attached>),
    /// What a task makes once the client has been told that its stream begins.
    Later(Later),
    /// A last message; it is already framed as the client expects.
    Text(Vec<u8>),
}

impl Flow {
    /// A flow that `make` makes after the head of the answer was sent.
    ///
    /// Clients that read the head with a buffer of their own and the stream without it (docker-py)
    /// lose what arrives together with the head.
    pub fn later(make: impl Future<Output = Self> + Send + 'static) -> Self {
        Self::Later(Later(Box::pin(make)))
    }

    /// The flow itself, made now if it was still to be made.
    async fn made(mut self) -> Self {
        while let Self::Later(Later(make)) = self {
            self = make.await;
        }
        self
    }

    async fn run<R, W>(self, reader: R, mut writer: W)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        match self.made().await {
            Self::Later(_) => {}
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

/// A connection's way out of HTTP; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Seizer(mpsc::Sender<Seizure>);

impl Seizer {
    /// Makes the two ends: for requests, and for whoever drives the connection.
    pub fn new() -> (Self, mpsc::Receiver<Seizure>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }
}

/// What a seized connection is to carry.
#[derive(Debug)]
pub struct Seizure {
    flow: Flow,
}

impl Seizure {
    /// Answers and carries the flow; `early` are bytes that were read behind the request.
    pub async fn run<S>(self, mut stream: S, early: Bytes)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() {
            drop(self.flow.made().await);
            return;
        }
        let (reader, writer) = tokio::io::split(stream);
        self.flow
            .run(std::io::Cursor::new(early).chain(reader), writer)
            .await;
    }
}

/// Answers with a stream of either kind.
pub async fn answer(mut call: Call, flow: Flow, tty: bool) -> Reply {
    let kind = content_type(&call, tty);
    if wants_upgrade(call.request.headers()) {
        let upgrade = hyper::upgrade::on(&mut call.request);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(connection) => {
                    let (reader, writer) = tokio::io::split(TokioIo::new(connection));
                    flow.run(reader, writer).await;
                }
                Err(error) => {
                    debug!(%error, "client left before its connection was upgraded");
                    // What it asked for is done all the same, as for a client that leaves later.
                    drop(flow.made().await);
                }
            }
        });
        return switching(kind);
    }
    let chunked = call.request.headers().contains_key(TRANSFER_ENCODING);
    let seizer = call
        .request
        .extensions()
        .get::<Seizer>()
        .filter(|_| !chunked);
    let flow = match seizer {
        Some(seizer) => match seizer.0.try_send(Seizure { flow }) {
            // The connection is taken away under this request.
            Ok(()) => std::future::pending().await,
            Err(refused) => refused.into_inner().flow,
        },
        None => flow,
    };
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
