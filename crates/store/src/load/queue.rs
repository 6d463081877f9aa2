//! Layers of an archive on their way to the workers that unpack them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

use crate::growing::Follower;
use crate::stream::Hashing;

/// A layer to be unpacked.
pub(super) struct Job {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) hashing: Hashing,
    pub(super) reader: Follower,
}

/// Jobs for the workers; closed when the archive is read.
#[derive(Default)]
pub(super) struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, (VecDeque<Job>, bool)> {
        self.jobs.lock().expect("no panics while the queue is held")
    }

    pub(super) fn push(&self, job: Job) {
        self.lock().0.push_back(job);
        self.changed.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.0.pop_front() {
                return Some(job);
            }
            if jobs.1 {
                return None;
            }
            jobs = self
                .changed
                .wait(jobs)
                .expect("no panics while the queue is held");
        }
    }

    fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }
}

/// Closes the queue however its maker leaves: workers must not wait for ever.
pub(super) struct CloseOnDrop<'q>(pub(super) &'q Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
