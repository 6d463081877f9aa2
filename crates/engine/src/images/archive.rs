//! An archive on its way to a client: made by a blocking thread, read as it comes.
//!
//! The queue is bounded, so a slow client slows the thread; a client that goes ends it with its
//! next write.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
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
    chunks: mpsc::Receiver<Bytes>,
    /// How it ended; beside the queue, which may be full then.
    end: Option<oneshot::Receiver<crate::Result<()>>>,
}

impl ArchiveStream {
    /// The next bytes; `None` at the end. After an error the archive is incomplete. Cancel-safe.
    pub async fn next(&mut self) -> Option<crate::Result<Bytes>> {
        if let Some(chunk) = self.chunks.recv().await {
            return Some(Ok(chunk));
        }
        let ended = self.end.as_mut()?.await;
        self.end = None;
        // Who wrote it may have died.
        ended
            .unwrap_or_else(|_| {
                Err(crate::Error::internal(
                    "the archive was not made to its end",
                ))
            })
            .err()
            .map(Err)
    }
}

/// The writing end, for a blocking thread.
#[derive(Debug)]
struct ArchiveWriter {
    chunks: mpsc::Sender<Bytes>,
    end: oneshot::Sender<crate::Result<()>>,
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
    let (tell, told) = oneshot::channel();
    let writer = ArchiveWriter {
        chunks: send,
        end: tell,
        buffer: BytesMut::new(),
        cancel,
        runtime: Handle::current(),
    };
    let stream = ArchiveStream {
        chunks: receive,
        end: Some(told),
    };
    (writer, stream)
}

impl ArchiveWriter {
    /// Ends the stream, with an error where making the archive failed.
    fn finish(mut self, result: crate::Result<()>) {
        let flushed = |()| {
            let cut = |error| crate::Error::io("failed to send the archive's last bytes", error);
            self.flush().map_err(cut)
        };
        let ended = result.and_then(flushed);
        // A client that is gone hears nothing.
        let _gone = self.end.send(ended);
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = self.buffer.split().freeze();
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        let (chunks, cancel) = (&self.chunks, &self.cancel);
        self.runtime.block_on(async {
            tokio::select! {
                sent = chunks.send(chunk) => sent.map_err(|_| gone()),
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
    async fn a_cut_is_told_also_to_a_client_that_reads_late() {
        let cancel = CancellationToken::new();
        let (mut writer, mut stream) = archive(cancel.clone());
        let thread = tokio::task::spawn_blocking(move || {
            let written = writer.write_all(&vec![0; CHUNK * (QUEUE + 2)]);
            let failed = written.map_err(|error| crate::Error::io("failed to write", error));
            writer.finish(failed);
        });
        cancel.cancel();
        thread.await.unwrap();
        let mut ended = stream.next().await;
        while let Some(Ok(_)) = ended {
            ended = stream.next().await;
        }
        assert!(matches!(ended, Some(Err(_))));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_writer_that_dies_leaves_no_whole_archive() {
        let (writer, mut stream) = archive(CancellationToken::new());
        drop(writer);
        assert!(matches!(stream.next().await, Some(Err(_))));
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
