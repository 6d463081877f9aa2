//! A connection whose first request line may hold what belongs escaped: `filters={"name":["x"]}`.
//!
//! Go's server takes such a line, so `curl -g` with JSON in the query works with Docker; the parser
//! below us refuses quotes and angle brackets. They have no other place in a request line, so they
//! are escaped as the bytes go by, up to its end. The lines of later requests on the same connection
//! are left alone: where one begins is known to the parser only, and what is no request line must
//! not be touched. `curl` has a connection for each command, and other clients escape.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once while the line lasts.
const CHUNK: usize = 8 * 1024;

/// The connection.
#[derive(Debug)]
pub struct Lenient<C> {
    inner: C,
    line_ended: bool,
    /// What was read and not yet given on.
    rest: Vec<u8>,
}

impl<C> Lenient<C> {
    /// Takes a connection that begins with a request.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            line_ended: false,
            rest: Vec::new(),
        }
    }

    /// Gives it back, and what was read of it.
    pub fn into_parts(self) -> (C, Vec<u8>) {
        (self.inner, self.rest)
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.drain(..length);
    }
}

/// Escapes what stands in the request line; says whether its end was there.
fn escape(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => out.extend(b"%22"),
            b'<' => out.extend(b"%3C"),
            b'>' => out.extend(b"%3E"),
            b'\n' => {
                out.extend(&bytes[at..]);
                return true;
            }
            other => out.push(*other),
        }
    }
    false
}

impl<C: AsyncRead + Unpin> AsyncRead for Lenient<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            self.give(buffer);
            return Poll::Ready(Ok(()));
        }
        if self.line_ended {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let mut chunk = [0; CHUNK];
        let mut read = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
        let mut rest = Vec::with_capacity(read.filled().len());
        self.line_ended = escape(read.filled(), &mut rest);
        self.rest = rest;
        self.give(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Lenient<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_the_first_line_is_escaped_however_it_comes() {
        let sent =
            b"GET /x?filters={\"a\":[\"<b>\"]} HTTP/1.1\r\nHost: \"h\"\r\n\r\n\"body\" <\n\"";
        let wanted: &[u8] =
            b"GET /x?filters={%22a%22:[%22%3Cb%3E%22]} HTTP/1.1\r\nHost: \"h\"\r\n\r\n\"body\" <\n\"";
        for piece in [1, 3, 7, 40, sent.len()] {
            let (mut client, server) = tokio::io::duplex(piece);
            let writing = tokio::spawn(async move {
                client.write_all(sent).await.unwrap();
            });
            let mut lenient = Lenient::new(server);
            let mut got: Vec<u8> = Vec::new();
            // A buffer smaller than what one byte becomes.
            let mut little = [0; 2];
            loop {
                match lenient.read(&mut little).await.unwrap() {
                    0 => break,
                    length => got.extend(&little[..length]),
                }
            }
            writing.await.unwrap();
            assert_eq!(got, wanted, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn what_was_read_is_given_back_with_the_connection() {
        let (mut client, server) = tokio::io::duplex(64);
        client
            .write_all(b"GET \"\"\" HTTP/1.1\r\nmore")
            .await
            .unwrap();
        let mut lenient = Lenient::new(server);
        let mut little = [0; 4];
        lenient.read_exact(&mut little).await.unwrap();
        let (_, rest) = lenient.into_parts();
        assert_eq!(rest, b"%22%22%22 HTTP/1.1\r\nmore");
    }
}
