//! Bodies on their way out, and waiting for what comes back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use tokio::time::timeout;

use super::Payload;
use super::failure::Failure;
use crate::{Timeouts, TransportError};

/// How far a body got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    done: AtomicBool,
}

/// Moves a payload into a request. A stream is gone afterwards, the others stay.
pub(super) fn attach(request: &mut reqwest::Request, payload: &mut Payload) -> Arc<Progress> {
    let progress = Arc::new(Progress::default());
    match payload {
        Payload::Empty => {
            progress.done.store(true, Ordering::Relaxed);
            let method = request.method();
            if method != reqwest::Method::GET && method != reqwest::Method::HEAD {
                // Servers that insist on a length get one.
                request
                    .headers_mut()
                    .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Payload::Bytes(bytes) => {
            progress.done.store(true, Ordering::Relaxed);
            *request.body_mut() = Some(bytes.clone().into());
        }
        Payload::Stream(stream, length) => {
            let empty: crate::Body = Box::pin(futures_util::stream::empty());
            let stream = std::mem::replace(stream, empty);
            if let Some(length) = length {
                request
                    .headers_mut()
                    .insert(CONTENT_LENGTH, HeaderValue::from(*length));
            }
            let counted = Arc::clone(&progress);
            let ended = Arc::clone(&progress);
            let stream = stream
                .inspect(move |chunk| {
                    if let Ok(chunk) = chunk {
                        counted
                            .bytes
                            .fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    }
                })
                .chain(futures_util::stream::poll_fn(move |_| {
                    ended.done.store(true, Ordering::Relaxed);
                    std::task::Poll::Ready(None)
                }));
            *request.body_mut() = Some(reqwest::Body::wrap_stream(stream));
        }
    }
    progress
}

/// Waits for the head of an answer, as long as the body goes on or the patience lasts.
pub(super) async fn supervise(
    waiting: impl Future<Output = reqwest::Result<Response>>,
    progress: &Progress,
    patience: Duration,
    timeouts: &Timeouts,
) -> Result<Response, Failure> {
    tokio::pin!(waiting);
    let mut before = 0;
    loop {
        let done = progress.done.load(Ordering::Relaxed);
        let window = if done { patience } else { timeouts.stall };
        match timeout(window, &mut waiting).await {
            Ok(answer) => return answer.map_err(Failure::Library),
            Err(_) => {
                let now = progress.bytes.load(Ordering::Relaxed);
                let moved = now != before || done != progress.done.load(Ordering::Relaxed);
                if moved {
                    before = now;
                    continue;
                }
                let what = if done {
                    "the registry does not answer"
                } else {
                    "the registry takes nothing"
                };
                return Err(Failure::Other(TransportError::Stalled {
                    what,
                    seconds: window.as_secs(),
                }));
            }
        }
    }
}
