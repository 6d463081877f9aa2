//! The body of a request, shared between its handler and the end of the request.
//!
//! A client that is answered while it still sends would see a broken connection instead of the
//! answer: what the handler did not read is read here, up to a bound.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Bytes read after a handler is done; a client that sends more sees its connection end.
const MAX_DRAINED: usize = 4 * 1024 * 1024;
/// Time for that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of a request; clones read the same bytes.
#[derive(Debug, Clone)]
pub struct SharedBody(Arc<Mutex<Incoming>>);

impl SharedBody {
    /// Shares a body.
    pub fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads and forgets what is left, within bounds.
    pub async fn drain(mut self) {
        let discard = async {
            let mut left = MAX_DRAINED;
            while let Some(Ok(frame)) = self.frame().await {
                let len = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(len) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // A slow sender sees its connection end.
        tokio::time::timeout(DRAIN_TIMEOUT, discard).await.ok();
    }
}

impl Body for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock().expect("no panics while held");
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().expect("no panics while held").is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().expect("no panics while held").size_hint()
    }
}
