//! Answers: whole, as JSON, as a stream of JSON values, or hijacked.

use std::io::{self, Cursor};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use hyper::{StatusCode, upgrade};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, Chain, ReadHalf, WriteHalf};

use super::ClientError;
use super::connect::{Sender, Stream};

/// The most that is read of an answer which is wanted whole: far above any list.
const MAX_WHOLE: usize = 1 << 30;

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub struct Response {
    inner: hyper::Response<Incoming>,
    sender: Option<Sender>,
    idle: Arc<Mutex<Option<Sender>>>,
}

/// A connection that became a plain stream.
#[derive(Debug)]
pub struct Hijacked {
    /// What the daemon sends.
    pub reader: Chain<Cursor<Bytes>, ReadHalf<Stream>>,
    /// What the daemon gets; shutting it down is the end of its input.
    pub writer: WriteHalf<Stream>,
    /// Whether the daemon says that stdout and stderr are framed.
    pub multiplexed: Option<bool>,
}

impl Response {
    pub(super) fn new(
        inner: hyper::Response<Incoming>,
        sender: Sender,
        idle: Arc<Mutex<Option<Sender>>>,
    ) -> Self {
        Self {
            inner,
            sender: Some(sender),
            idle,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Reads the whole body.
    pub async fn bytes(mut self) -> Result<Bytes, ClientError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > MAX_WHOLE {
                return Err(ClientError::TooLarge { limit: MAX_WHOLE });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Reads the whole body as JSON; an empty one is `null`.
    pub async fn json(self) -> Result<Value, ClientError> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Decode { source })
    }

    /// Reads the next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.inner.body_mut().frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(source)) => return Err(ClientError::Transport { source }),
                None => {
                    self.recycle();
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the body as one JSON value after another.
    pub fn json_stream(self) -> JsonStream {
        JsonStream {
            response: self,
            buffer: BytesMut::new(),
            ended: false,
        }
    }

    /// Turns an answer of 400 and above into an error.
    pub(super) async fn checked(self) -> Result<Self, ClientError> {
        let status = self.status();
        if status.is_redirection() && self.headers().contains_key(LOCATION) {
            // Nothing was done; followed, a POST would become a GET.
            let message = "unexpected redirect in response".to_owned();
            return Err(ClientError::Status { status, message });
        }
        if status.as_u16() < 400 {
            return Ok(self);
        }
        let bytes = self.bytes().await?;
        let message = serde_json::from_slice::<Value>(&bytes)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned());
        let message = if message.is_empty() {
            format!(
                "request returned {status}; check if the server supports the requested API version"
            )
        } else {
            message
        };
        Err(ClientError::Status { status, message })
    }

    pub(super) async fn hijack(self) -> Result<Hijacked, ClientError> {
        if self.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NotUpgraded {
                status: self.status(),
            });
        }
        let media = self.headers().get(CONTENT_TYPE);
        let multiplexed = media
            .and_then(|v| v.to_str().ok())
            .map(|v| v == "application/vnd.docker.multiplexed-stream");
        let upgraded = upgrade::on(self.inner).await;
        let upgraded = upgraded.map_err(|source| ClientError::Transport { source })?;
        let parts = upgraded
            .downcast::<TokioIo<Stream>>()
            .map_err(|_| ClientError::Body {
                source: io::Error::other("the upgraded connection is of another kind"),
            })?;
        let (read, writer) = tokio::io::split(parts.io.into_inner());
        Ok(Hijacked {
            reader: Cursor::new(parts.read_buf).chain(read),
            writer,
            multiplexed,
        })
    }

    // The connection is free again once the body has been read to its end.
    fn recycle(&mut self) {
        if let (Some(sender), Ok(mut slot)) = (self.sender.take(), self.idle.lock()) {
            *slot = Some(sender);
        }
    }
}

/// A body of JSON values, one after another, with or without line ends.
#[derive(Debug)]
pub struct JsonStream {
    response: Response,
    buffer: BytesMut,
    ended: bool,
}

impl JsonStream {
    /// Reads the next value; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            if let Some(value) = self.buffered()? {
                return Ok(Some(value));
            }
            if self.ended {
                return Ok(None);
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Value>, ClientError> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let used = values.byte_offset();
                let _ = self.buffer.split_to(used);
                Ok(Some(value))
            }
            Some(Err(source)) if source.is_eof() && !self.ended => Ok(None),
            Some(Err(source)) => Err(ClientError::Decode { source }),
            None => Ok(None),
        }
    }
}
