//! A file that one thread writes while another reads it from the front.
//!
//! The archive arrives at its own pace and order; layers are unpacked while they arrive, several at
//! once, and none of it needs memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use crate::Result;
use crate::store::io as io_failed;

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
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Stage)> {
        self.state
            .lock()
            .expect("no panics while the length is held")
    }
}

/// The end that writes; dropped before [`SpoolWriter::finish`], it fails its reader.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    shared: Arc<Shared>,
}

/// The end that reads; waits for bytes that are not there yet.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    shared: Arc<Shared>,
    at: u64,
}

/// Makes a spool in a directory; its file has no name and vanishes with its ends.
pub(crate) fn spool(directory: &Path) -> Result<(SpoolWriter, SpoolReader)> {
    let path = directory.join("spool");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(io_failed("make", &path))?;
    std::fs::remove_file(&path).map_err(io_failed("unlink", &path))?;
    let state = Mutex::new((0, Stage::Growing));
    let shared = Arc::new(Shared {
        file,
        state,
        changed: Condvar::new(),
    });
    let reader = SpoolReader {
        shared: Arc::clone(&shared),
        at: 0,
    };
    Ok((SpoolWriter { shared }, reader))
}

impl SpoolWriter {
    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.shared.file).write_all(bytes)?;
        self.shared.lock().0 += bytes.len() as u64;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Says that all bytes are there.
    pub(crate) fn finish(self) {
        self.shared.lock().1 = Stage::Complete;
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.1 == Stage::Growing {
            state.1 = Stage::Aborted;
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        let available = loop {
            match *state {
                (_, Stage::Aborted) => return Err(io::Error::other("the archive was not read on")),
                (len, _) if len > self.at => break len - self.at,
                (_, Stage::Complete) => return Ok(0),
                (_, Stage::Growing) => {
                    state = self
                        .shared
                        .changed
                        .wait(state)
                        .expect("no panics while the length is held");
                }
            }
        };
        drop(state);
        let len = usize::try_from(available)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let len = self.shared.file.read_at(&mut buffer[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_follow_writers_and_notice_when_they_give_up() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = spool(dir.path()).unwrap();
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        writer.write(b"one ").unwrap();
        writer.write(b"two").unwrap();
        writer.finish();
        assert_eq!(read.join().unwrap().unwrap(), "one two");
        let (mut writer, mut reader) = spool(dir.path()).unwrap();
        writer.write(b"half").unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
