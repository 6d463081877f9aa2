//! The disk's end of a download: a thread that takes bytes from a bounded queue into the store.
//!
//! It outlives single attempts of the network: what is written stays, and the next attempt goes on
//! behind it. When the queue ends without [`Feed::End`], what came is kept for later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use store::{Ingest, StagedLayer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// Pieces between network and disk; each has at most some hundred KiB.
const QUEUE: usize = 4;

/// What the thread is told.
#[derive(Debug)]
enum Feed {
    Bytes(Bytes),
    End,
    Discard,
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Sink {
    feed: mpsc::Sender<Feed>,
    worker: JoinHandle<store::Result<Option<StagedLayer>>>,
    unpacked: Arc<AtomicU64>,
    resumed: u64,
    have: u64,
}

/// The thread has ended: its result says why.
#[derive(Debug)]
pub(super) struct Closed;

/// What becomes of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// It is kept for a later attempt.
    Keep,
    /// It is removed.
    Discard,
}

impl Sink {
    /// Starts the thread.
    pub(super) fn start(ingest: Ingest) -> Self {
        let (feed, queue) = mpsc::channel(QUEUE);
        let (unpacked, resumed, have) = (ingest.progress(), ingest.resumed(), ingest.offset());
        Self {
            feed,
            worker: tokio::task::spawn_blocking(move || take(ingest, queue)),
            unpacked,
            resumed,
            have,
        }
    }

    /// Bytes that are here or on their way to the disk.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Bytes that an earlier download left.
    pub(super) fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Hands over the next bytes; waits while the disk is behind.
    pub(super) async fn write(&mut self, bytes: Bytes) -> std::result::Result<(), Closed> {
        let length = bytes.len() as u64;
        let sent = self.feed.send(Feed::Bytes(bytes)).await;
        sent.map_err(|_| Closed)?;
        self.have += length;
        Ok(())
    }

    /// Waits until everything is unpacked and verified; `watch` hears how far that is.
    pub(super) async fn finish(self, watch: impl Fn(u64)) -> Result<StagedLayer> {
        // When the thread has failed already, its result says so.
        let _failed = self.feed.send(Feed::End).await;
        let mut worker = self.worker;
        let mut ticks = tokio::time::interval(super::TICK);
        loop {
            tokio::select! {
                ended = &mut worker => {
                    return settled(ended)?.ok_or_else(|| Error::internal("a layer was not finished"));
                }
                _ = ticks.tick() => watch(self.unpacked.load(Ordering::Relaxed)),
            }
        }
    }

    /// Ends the thread before the layer is complete; tells why it ended by itself, if it did.
    pub(super) async fn stop(self, leftover: Leftover) -> Result<()> {
        if leftover == Leftover::Discard {
            let _ended = self.feed.send(Feed::Discard).await;
        }
        drop(self.feed);
        settled(self.worker.await).map(drop)
    }
}

fn settled(
    ended: std::result::Result<store::Result<Option<StagedLayer>>, tokio::task::JoinError>,
) -> Result<Option<StagedLayer>> {
    match ended {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::internal(format!(
            "the thread of a layer did not end: {error}"
        ))),
    }
}

fn take(mut ingest: Ingest, mut queue: mpsc::Receiver<Feed>) -> store::Result<Option<StagedLayer>> {
    while let Some(next) = queue.blocking_recv() {
        match next {
            Feed::Bytes(bytes) => ingest.write(&bytes)?,
            Feed::End => return ingest.finish().map(Some),
            Feed::Discard => {
                ingest.discard();
                return Ok(None);
            }
        }
    }
    ingest.suspend();
    Ok(None)
}
