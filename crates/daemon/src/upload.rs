//! What a client uploads, read to its end even where nobody wants the rest.
//!
//! A client that is still sending when it gets an answer often looks at the answer only after its
//! last byte: closing the connection on it would hide why its upload was refused.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::runtime::Handle;

/// How long the rest of an upload is taken after its answer.
const LINGER: Duration = Duration::from_secs(5);
const CHUNK: usize = 64 * 1024;

/// The body of an upload.
#[derive(Debug)]
pub struct Upload<R: AsyncRead + Send + Unpin + 'static> {
    /// Taken when this is dropped.
    inner: Option<R>,
    ended: bool,
}

impl<R: AsyncRead + Send + Unpin + 'static> Upload<R> {
    /// Takes a body.
    pub fn new(inner: R) -> Self {
        Self {
            inner: Some(inner),
            ended: false,
        }
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> AsyncRead for Upload<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Ok(()));
        };
        let read = Pin::new(inner).poll_read(context, buffer);
        // A failure is an end too.
        self.ended = match &read {
            Poll::Pending => self.ended,
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(())) => room > 0 && buffer.filled().len() == before,
        };
        read
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> Drop for Upload<R> {
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

async fn drain(mut rest: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(1..) = rest.read(&mut buffer).await {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn the_rest_is_taken() {
        let (mut client, server) = tokio::io::duplex(16);
        let mut upload = Upload::new(server);
        let sending =
            tokio::spawn(async move { client.write_all(&[7; 10_000]).await.map(|()| client) });
        let mut first = [0; 4];
        upload.read_exact(&mut first).await.unwrap();
        drop(upload);
        assert!(
            sending.await.unwrap().is_ok(),
            "the client could send everything"
        );
    }
}
