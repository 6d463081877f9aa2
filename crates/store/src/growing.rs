//! A file that one thread writes while another reads it from the front.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Growing,
    Complete,
    Aborted,
}

#[derive(Debug)]
struct Shared {
    file: File,
    state: Mutex<(u64, Stage)>,
    changed: Condvar,
    /// Bytes that were followed.
    followed: Arc<AtomicU64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (u64, Stage)> {
        // Two plain values: a panic elsewhere leaves them true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that writes; dropped before [`Growing::complete`], it fails its follower.
#[derive(Debug)]
pub(crate) struct Growing {
    shared: Arc<Shared>,
}

/// The end that reads; waits for bytes that are not there yet.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    at: u64,
}

/// Takes a file that is written at its end and has so many bytes.
pub(crate) fn grow(file: File, len: u64) -> (Growing, Follower) {
    let shared = Arc::new(Shared {
        file,
        state: Mutex::new((len, Stage::Growing)),
        changed: Condvar::new(),
        followed: Arc::default(),
    });
    let follower = Follower {
        shared: Arc::clone(&shared),
        at: 0,
    };
    (Growing { shared }, follower)
}

impl Growing {
    /// Bytes in the file.
    pub(crate) fn len(&self) -> u64 {
        self.shared.lock().0
    }

    /// Counts the bytes that were followed, for whoever wants to watch.
    pub(crate) fn followed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.followed)
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.shared.file).write_all(bytes)?;
        self.shared.lock().0 += bytes.len() as u64;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Says that all bytes are there.
    pub(crate) fn complete(self) {
        self.shared.lock().1 = Stage::Complete;
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.1 == Stage::Growing {
            state.1 = Stage::Aborted;
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        let available = loop {
            match *state {
                (_, Stage::Aborted) => return Err(io::Error::other("its writer gave up")),
                (len, _) if len > self.at => break len - self.at,
                (_, Stage::Complete) => return Ok(0),
                (_, Stage::Growing) => {
                    let waited = self.shared.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(state);
        let len = usize::try_from(available)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let len = self.shared.file.read_at(&mut buffer[..len], self.at)?;
        self.at += len as u64;
        self.shared.followed.store(self.at, Ordering::Relaxed);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_follow_writers_and_notice_when_they_give_up() {
        let (mut writer, mut reader) = grow(tempfile::tempfile().unwrap(), 0);
        let followed = writer.followed();
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        writer.write(b"one ").unwrap();
        writer.write(b"two").unwrap();
        assert_eq!(writer.len(), 7);
        writer.complete();
        assert_eq!(read.join().unwrap().unwrap(), "one two");
        assert_eq!(followed.load(Ordering::Relaxed), 7);
        let (mut writer, mut reader) = grow(tempfile::tempfile().unwrap(), 0);
        writer.write(b"half").unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }
}
