//! A connection that is read in slices of a bounded size.
//!
//! Hyper reads an upload into ever larger buffers, up to what a head may take. Blocks of that size
//! come from the kernel each time and are cleared page by page, which took a quarter of the
//! processor time of an upload. Slices that fit into the allocator's own heap are used again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// Bytes of one read: with them hyper's buffers stay at 64 KiB.
const SLICE: u64 = 60 * 1024;

/// The connection.
#[derive(Debug)]
pub struct Slices<C> {
    inner: Take<C>,
}

impl<C: AsyncRead + Unpin> Slices<C> {
    /// Takes a connection.
    pub fn new(inner: C) -> Self {
        Self {
            inner: inner.take(SLICE),
        }
    }

    /// Gives it back.
    pub fn into_inner(self) -> C {
        self.inner.into_inner()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Slices<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner.set_limit(SLICE);
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Slices<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_bytes_arrive_in_bounded_reads() {
        let bytes: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        let mut slices = Slices::new(bytes.as_slice());
        let (mut got, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        loop {
            let length = slices.read(&mut buffer).await.unwrap();
            assert!(length as u64 <= SLICE);
            if length == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..length]);
        }
        assert!(got == bytes);
    }
}
