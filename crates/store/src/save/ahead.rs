//! Layers that have to be compressed anew, several at once and ahead of their turn.
//!
//! An archive is one stream, and one encoder is one thread: so encoders write into nameless files,
//! in the order of the archive, and the archive is put together from those. Only a few are on their
//! way at a time. Where there is no room for that, or one fails, the layer is read directly.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use spec::{DiffId, Digest};

use crate::forms::How;
use crate::growing::{Follower, Growing};
use crate::load::{Keeping, spool};
use crate::stream::CHUNK;
use crate::trash::Scratch;
use crate::{Result, Store};

/// Encoders at once at most.
const MAX_WORKERS: usize = 8;

/// A layer that has to be encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) diff: DiffId,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What workers and the writer of the archive share.
#[derive(Debug)]
pub(super) struct Ahead {
    state: Mutex<State>,
    changed: Condvar,
    window: usize,
}

#[derive(Debug, Default)]
struct State {
    todo: VecDeque<Job>,
    ready: HashMap<Digest, Option<Follower>>,
    /// Begun and not yet copied into the archive.
    under_way: usize,
    stopped: bool,
}

impl Ahead {
    /// Decides whether encoding ahead is worth it: several layers, several processors, and room.
    pub(super) fn plan(store: &Store, jobs: Vec<Job>) -> Result<Option<(Self, usize)>> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = processors.min(jobs.len()).min(MAX_WORKERS);
        let needed: u64 = jobs.iter().map(|job| job.size).sum();
        if workers < 2 || store.free_space()? / 2 < needed {
            return Ok(None);
        }
        let state = State {
            todo: jobs.into(),
            ..State::default()
        };
        let ahead = Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            window: workers + 1,
        };
        Ok(Some((ahead, workers)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes one layer after the other until none is left.
    pub(super) fn work(&self, store: &Store, scratch: &Scratch) {
        while let Some(job) = self.next() {
            let opened = spool(scratch.path(), Keeping::Unlinked);
            let (writer, reader) = match opened {
                Ok((writer, reader, _)) => (Some(writer), Some(reader)),
                Err(_) => (None, None),
            };
            self.lock().ready.insert(job.digest, reader);
            self.changed.notify_all();
            if let Some(writer) = writer
                && let Err(error) = self.encode(store, job, writer)
            {
                // Its reader notices and reads the layer itself: an error of that is told.
                tracing::debug!(digest = %job.digest, %error, "a layer was not encoded ahead");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if state.under_way < self.window {
                let job = state.todo.pop_front()?;
                state.under_way += 1;
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn encode(&self, store: &Store, job: Job, mut writer: Growing) -> io::Result<()> {
        let mut form = store
            .form(job.diff, job.digest)
            .map_err(|error| io::Error::other(spec::error::chain(&error)))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            if self.lock().stopped {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match form.read(&mut buffer)? {
                0 => {
                    writer.complete();
                    return Ok(());
                }
                len => writer.write(&buffer[..len])?,
            }
        }
    }

    /// Waits for a layer's turn; `None` where it has to be read directly.
    pub(super) fn take(&self, digest: Digest) -> Option<Follower> {
        let mut state = self.lock();
        loop {
            if let Some(ready) = state.ready.remove(&digest) {
                return ready;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that a layer is in the archive.
    pub(super) fn done(&self) {
        self.lock().under_way -= 1;
        self.changed.notify_all();
    }
}

/// Ends the workers however the writer of the archive leaves.
pub(super) struct StopOnDrop<'a>(pub(super) &'a Ahead);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

/// The layers of a plan that have to be encoded, in the order of the archive.
pub(super) fn jobs(store: &Store, layers: impl Iterator<Item = Job>) -> Vec<Job> {
    layers
        .filter(|job| {
            let mut forms = store.forms(job.diff).into_iter();
            let form = forms.find(|form| form.digest == job.digest);
            form.is_some_and(|form| matches!(form.how, How::Encoder(_)))
        })
        .collect()
}
