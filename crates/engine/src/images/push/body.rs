//! Bytes of the store as a body for the network: read by a blocking thread, a bounded way ahead.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest as _, Sha256};
use spec::Digest;
use tokio::sync::mpsc;

/// Bytes of a piece.
const PIECE: usize = 64 * 1024;
/// Pieces read ahead.
const AHEAD: usize = 8;

/// A body of bytes in memory.
pub(super) fn bytes(bytes: impl Into<Bytes>) -> registry::Body {
    let bytes: Bytes = bytes.into();
    Box::pin(stream::iter([Ok(bytes)]))
}

/// A body of a reader that a thread opens and reads.
pub(super) fn reader<R, F>(open: F) -> registry::Body
where
    R: Read,
    F: FnOnce() -> io::Result<R> + Send + 'static,
{
    let (send, receive) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = open().and_then(|reader| pump(reader, &send)) {
            let _gone = send.blocking_send(Err(error));
        }
    });
    let next = |mut receive: mpsc::Receiver<io::Result<Bytes>>| async move {
        let piece = receive.recv().await?;
        Some((piece, receive))
    };
    Box::pin(stream::unfold(receive, next))
}

fn pump(mut reader: impl Read, send: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        // Encoders give little at a time; pieces of the network are better large.
        while filled < PIECE {
            match reader.read(&mut piece[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        piece.truncate(filled);
        if send.blocking_send(Ok(piece.into())).is_err() {
            // The upload ended; nobody is interested.
            return Ok(());
        }
    }
}

/// Hashes and counts what is read through it.
#[derive(Debug)]
pub(super) struct Measured<R> {
    inner: R,
    hash: Sha256,
    size: u64,
    result: Measure,
}

/// What a [`Measured`] reader found, once it was read to its end.
pub(super) type Measure = Arc<Mutex<Option<(Digest, u64)>>>;

impl<R: Read> Measured<R> {
    pub(super) fn new(inner: R, result: Measure) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
            result,
        }
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.size += read as u64;
        if read == 0 && !buffer.is_empty() {
            let hash = self.hash.clone().finalize();
            let found = (Digest::from_sha256(hash.into()), self.size);
            *self.result.lock().expect("no panics while held") = Some(found);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_reader_arrives_whole_and_measured() {
        let content: Vec<u8> = (0..PIECE * 20 + 3).map(|i| (i % 253) as u8).collect();
        let measure = Measure::default();
        let (source, result) = (content.clone(), Arc::clone(&measure));
        let body = reader(move || Ok(Measured::new(io::Cursor::new(source), result)));
        let pieces: Vec<_> = body.collect().await;
        let got: Vec<u8> = pieces.into_iter().flat_map(|p| p.unwrap()).collect();
        assert!(got == content);
        let found = measure.lock().unwrap().unwrap();
        assert_eq!(found, (Digest::of(&content), content.len() as u64));
    }

    #[tokio::test]
    async fn a_failing_reader_ends_the_body_with_its_error() {
        let body = reader(|| Err::<io::Empty, _>(io::Error::other("gone")));
        let pieces: Vec<_> = body.collect().await;
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].as_ref().unwrap_err().to_string(), "gone");
    }
}
