//! Attaching over a WebSocket: each message is raw bytes, as Docker does it.
//!
//! The engine frames output of containers without a terminal; [`Unframe`] takes the frames off.

use engine::streams::Attached;
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tracing::debug;

use crate::call::Call;
use crate::error::ApiError;
use crate::hijack::BUFFER;
use crate::reply::{self, Reply};

/// Largest message taken from a client; terminals and pipes send far less.
const MAX_MESSAGE: usize = 1024 * 1024;

/// The key of a client's handshake.
///
/// # Errors
///
/// The request is no WebSocket handshake of version 13.
pub fn handshake_key(call: &Call) -> Result<String, ApiError> {
    let key = call.header("sec-websocket-key");
    let asks = call.header("upgrade").eq_ignore_ascii_case("websocket");
    if asks && !key.is_empty() && call.header("sec-websocket-version") == "13" {
        return Ok(key.to_owned());
    }
    Err(ApiError::bad_request(
        "bad request: not a WebSocket handshake of version 13",
    ))
}

/// Answers the handshake and lets the attachment flow.
pub fn answer(mut call: Call, key: &str, attached: Attached) -> Reply {
    let tty = attached.tty;
    let upgrade = hyper::upgrade::on(&mut call.request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => flow(connection, attached, tty).await,
            Err(error) => debug!(%error, "client left before its connection was upgraded"),
        }
    });
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert("sec-websocket-accept", accept);
    }
    reply
}

async fn flow(connection: Upgraded, attached: Attached, tty: bool) {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket =
        WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(limits))
            .await;
    let (mut to_client, mut from_client) = socket.split();
    let (engine_side, ours) = tokio::io::duplex(BUFFER);
    let (engine_reads, engine_writes) = tokio::io::split(engine_side);
    let (mut output, mut input) = tokio::io::split(ours);
    let attachment = tokio::spawn(attached.run(engine_reads, engine_writes));
    let send = async {
        let mut frames = Unframe::default();
        let mut chunk = vec![0; BUFFER];
        while let Ok(len @ 1..) = output.read(&mut chunk).await {
            let bytes = if tty {
                chunk[..len].to_vec()
            } else {
                frames.push(&chunk[..len])
            };
            if !bytes.is_empty() && to_client.send(Message::Binary(bytes.into())).await.is_err() {
                return;
            }
        }
        to_client.close().await.ok();
    };
    let receive = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Text(text) => text.as_bytes().to_vec(),
                Message::Binary(bytes) => bytes.to_vec(),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if input.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
    attachment.abort();
}

/// Takes the frames off a multiplexed stream that arrives in pieces.
#[derive(Debug, Default)]
struct Unframe {
    header: Vec<u8>,
    left: usize,
}

impl Unframe {
    fn push(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left > 0 {
                let take = self.left.min(bytes.len());
                out.extend_from_slice(&bytes[..take]);
                self.left -= take;
                bytes = &bytes[take..];
                continue;
            }
            let take = (8 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if let [_, _, _, _, a, b, c, d] = self.header[..] {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.header.clear();
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hijack::frame;

    #[test]
    fn frames_come_off_however_they_are_cut() {
        let mut stream = frame(1, b"hello ");
        stream.extend(frame(2, b""));
        stream.extend(frame(2, b"world"));
        for size in 1..=stream.len() {
            let mut unframe = Unframe::default();
            let got: Vec<u8> = stream.chunks(size).flat_map(|c| unframe.push(c)).collect();
            assert_eq!(got, b"hello world", "pieces of {size}");
        }
    }
}
