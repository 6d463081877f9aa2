//! Fills files beside the thread that makes them.
//!
//! ```text
//! archive ─► make_way, create_file ══ bounded channel ══► bytes, owner, mode, times, close
//!            └──── one thread ───┘                        └────────── another ──────────┘
//! ```
//!
//! What a name stands for is decided by the first thread alone, in the archive's order; the second
//! has descriptors only. So hard links to a file and later entries of its name need not wait.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;

use super::extract::{failed, set_xattrs, unwritten};
use crate::tar::Entry;
use crate::unpack::attributes::Attributes;
use crate::{Error, Result};

/// Largest file that is handed over; larger ones are written as they are read.
pub(super) const MAX_SIZE: u64 = 128 * 1024;
/// Files handed over at once: waking the other thread for each would cost as much as a file.
const BATCH: usize = 8;
/// Batches on the way: with [`MAX_SIZE`], at most 4 MiB, and what else is in their pieces.
const IN_FLIGHT: usize = 2;

/// A file that was made and lacks its content.
pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) file: File,
    pub(super) data: Vec<Bytes>,
    pub(super) attributes: Attributes,
}

/// The other thread.
pub(super) struct Filler<'scope> {
    jobs: SyncSender<Vec<Job>>,
    batch: Vec<Job>,
    thread: ScopedJoinHandle<'scope, Result<()>>,
}

impl<'scope> Filler<'scope> {
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>) -> Result<Self> {
        let (jobs, incoming) = sync_channel(IN_FLIGHT);
        let thread = std::thread::Builder::new()
            .name("fill".to_owned())
            .spawn_scoped(scope, move || fill_all(&incoming))
            .map_err(|source| Error::Io {
                action: "start a thread for",
                path: "files of an archive".into(),
                source,
            })?;
        Ok(Self {
            jobs,
            batch: Vec::with_capacity(BATCH),
            thread,
        })
    }

    /// Hands a file over; `false` when the other thread has failed, which [`Filler::finish`] tells.
    pub(super) fn fill(&mut self, job: Job) -> bool {
        self.batch.push(job);
        self.batch.len() < BATCH || self.hand_over()
    }

    fn hand_over(&mut self) -> bool {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.jobs.send(batch).is_ok()
    }

    /// Waits until everything is written.
    pub(super) fn finish(mut self) -> Result<()> {
        // A thread that has failed says so below.
        self.hand_over();
        drop(self.jobs);
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn fill_all(jobs: &Receiver<Vec<Job>>) -> Result<()> {
    jobs.iter().flatten().try_for_each(fill)
}

fn fill(job: Job) -> Result<()> {
    let Job {
        entry,
        mut file,
        data,
        attributes,
    } = job;
    for piece in data {
        file.write_all(&piece)
            .map_err(|source| unwritten(&entry, source))?;
    }
    finish(&entry, &file, &attributes)
}

/// Gives a written file its attributes.
pub(super) fn finish(entry: &Entry, file: &File, attributes: &Attributes) -> Result<()> {
    let (uid, gid) = (attributes.uid, attributes.gid);
    sys::root::set_open(file.as_fd(), uid, gid, attributes.mode, None).map_err(failed(entry))?;
    set_xattrs(entry, |name, value| {
        sys::xattr::set(file.as_fd(), name, value)
    })?;
    sys::root::set_open_times(file.as_fd(), attributes.times).map_err(failed(entry))
}
