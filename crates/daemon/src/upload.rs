//! What a client uploads, read to its end even where nobody wants the rest.
//!
//! A client that is still sending when it gets an answer often looks at the answer only after its
//! last byte: closing the connection on it would hide why its upload was refused.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;

/// How long the rest of an upload is taken after its answer.
const LINGER: Duration = Duration::from_secs(5);

/// The body of an upload.
#[derive(Debug)]
pub struct Upload<S: Stream + Send + Unpin + 'static> {
    /// Taken when this is dropped.
    inner: Option<S>,
    ended: bool,
}

impl<S: Stream + Send + Unpin + 'static> Upload<S> {
    /// Takes a body.
    pub fn new(inner: S) -> Self {
        Self {
            inner: Some(inner),
            ended: false,
        }
    }
}

impl<T, E, S> Stream for Upload<S>
where
    S: Stream<Item = Result<T, E>> + Send + Unpin + 'static,
{
    type Item = Result<T, E>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, E>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let next = ready!(inner.poll_next_unpin(context));
        // A failure is an end too.
        self.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl<S: Stream + Send + Unpin + 'static> Drop for Upload<S> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Without a runtime the connection is gone too.
        if let (Some(inner), Ok(runtime)) = (self.inner.take(), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LINGER, drain(inner)));
        }
    }
}

async fn drain(mut rest: impl Stream + Unpin) {
    while rest.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn the_rest_is_taken() {
        let (taken, all) = (
            Arc::new(AtomicUsize::new(0)),
            tokio_util::sync::CancellationToken::new(),
        );
        let (count, end) = (Arc::clone(&taken), all.clone().drop_guard());
        let pieces = futures_util::stream::iter(0..1000).map(move |number| {
            let _kept = &end;
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, ()>(number)
        });
        let mut upload = Upload::new(pieces);
        assert_eq!(upload.next().await, Some(Ok(0)));
        drop(upload);
        all.cancelled().await;
        assert_eq!(taken.load(Ordering::Relaxed), 1000);
    }
}
