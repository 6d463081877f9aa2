//! An archive on its way to a client: made by a blocking thread, read as it comes.
//!
//! The queue is bounded, so a slow client slows the thread; a client that goes ends it with its
//! next write.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Chunks that wait for a slow client.
const QUEUE: usize = 8;
/// Bytes of a chunk.
const CHUNK: usize = 128 * 1024;
/// Archives that are made at once, far below the runtime's threads; more wait.
const AT_ONCE: usize = 64;

/// Places of the threads, each of which lives as long as its client reads.
static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// The bytes of an archive that is being made.
#[derive(Debug)]
pub struct ArchiveStream {
    chunks: mpsc::Receiver<crate::Result<Bytes>>,
}

impl ArchiveStream {
    /// The next bytes; `None` at the end. After an error the archive is incomplete. Cancel-safe.
    pub async fn next(&mut self) -> Option<crate::Result<Bytes>> {
        self.chunks.recv().await
    }
}

/// The writing end, for a blocking thread.
#[derive(Debug)]
struct ArchiveWriter {
    chunks: mpsc::Sender<crate::Result<Bytes>>,
    buffer: BytesMut,
    /// Ends it although its client still reads.
    cancel: CancellationToken,
    /// The thread that writes may be none of the runtime's.
    runtime: Handle,
}

/// Runs a job that writes an archive on a thread of its own; the stream ends with the job's error.
pub(crate) fn produce<F>(job: F) -> ArchiveStream
where
    F: FnOnce(&mut (dyn Write + Send)) -> crate::Result<()> + Send + 'static,
{
    produce_until(CancellationToken::new(), job)
}

/// Like [`produce`], but a job that is cancelled fails with its next write, however slow the client.
pub(crate) fn produce_until<F>(cancel: CancellationToken, job: F) -> ArchiveStream
where
    F: FnOnce(&mut (dyn Write + Send)) -> crate::Result<()> + Send + 'static,
{
    let (mut writer, stream) = archive(cancel);
    let run = move || {
        let result = job(&mut writer);
        writer.finish(result);
    };
    tokio::spawn(async move {
        let _place = PLACES.acquire().await;
        if let Err(error) = tokio::task::spawn_blocking(run).await {
            tracing::error!(%error, "an archive was not made to its end");
        }
    });
    stream
}

/// Makes a stream and its writer.
fn archive(cancel: CancellationToken) -> (ArchiveWriter, ArchiveStream) {
    let (send, receive) = mpsc::channel(QUEUE);
    let writer = ArchiveWriter {
        chunks: send,
        buffer: BytesMut::new(),
        cancel,
        runtime: Handle::current(),
    };
    (writer, ArchiveStream { chunks: receive })
}

impl ArchiveWriter {
    /// Ends the stream, with an error where making the archive failed.
    fn finish(mut self, result: crate::Result<()>) {
        let last = match result {
            Ok(()) => self.flush().map_err(|_| None),
            Err(error) => Err(Some(error)),
        };
        if let Err(Some(error)) = last {
            // A client that reads nothing learns of the end by the end of the stream.
            let _gone = self.chunks.try_send(Err(error));
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = self.buffer.split().freeze();
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        let (chunks, cancel) = (&self.chunks, &self.cancel);
        self.runtime.block_on(async {
            tokio::select! {
                sent = chunks.send(Ok(chunk)) => sent.map_err(|_| gone()),
                () = cancel.cancelled() => Err(gone()),
            }
        })
    }
}

impl Write for ArchiveWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let free = CHUNK - self.buffer.len();
        let taken = bytes.len().min(free);
        self.buffer.reserve(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.send()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_arrive_whole_and_an_error_ends_them() {
        let (mut writer, mut stream) = archive(CancellationToken::new());
        let thread = tokio::task::spawn_blocking(move || {
            let bytes: Vec<u8> = (0..CHUNK * 3 + 7).map(|i| (i % 251) as u8).collect();
            writer.write_all(&bytes).unwrap();
            writer.flush().unwrap();
            writer.finish(Err(crate::Error::internal("disk")));
            bytes
        });
        let mut got = Vec::new();
        let failure = loop {
            match stream.next().await {
                Some(Ok(chunk)) => got.extend_from_slice(&chunk),
                Some(Err(error)) => break error,
                None => panic!("ended without the error"),
            }
        };
        assert_eq!(failure.to_string(), "disk");
        assert_eq!(got, thread.await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_the_writer() {
        let (mut writer, stream) = archive(CancellationToken::new());
        drop(stream);
        let result = tokio::task::spawn_blocking(move || writer.write_all(&vec![0; CHUNK * 2]));
        let error = result.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
