//! A file that one thread writes while another reads it from the front.
//!
//! The archive arrives at its own pace and order; layers are unpacked while they arrive, several at
//! once, and none of it needs memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use crate::store::io as io_failed;
use crate::{Error, Result};

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

/// Whether a spool's file is there to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It has a name, which the directory's owner removes.
    Named,
    /// It has none and vanishes with the spool's ends.
    Unlinked,
}

/// Makes a spool in a directory; gives the file's path where it has one.
pub(crate) fn spool(
    directory: &Path,
    keeping: Keeping,
) -> Result<(SpoolWriter, SpoolReader, Option<PathBuf>)> {
    let name = sys::fs::random_hex().map_err(|source| Error::Sys {
        action: "draw a name".to_owned(),
        source,
    })?;
    let path = directory.join(format!("spool-{name}"));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(io_failed("make", &path))?;
    let path = match keeping {
        Keeping::Named => Some(path),
        Keeping::Unlinked => {
            std::fs::remove_file(&path).map_err(io_failed("unlink", &path))?;
            None
        }
    };
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
    Ok((SpoolWriter { shared }, reader, path))
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
        let (mut writer, mut reader, path) = spool(dir.path(), Keeping::Unlinked).unwrap();
        assert_eq!(path, None);
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        writer.write(b"one ").unwrap();
        writer.write(b"two").unwrap();
        writer.finish();
        assert_eq!(read.join().unwrap().unwrap(), "one two");
        let (mut writer, mut reader, path) = spool(dir.path(), Keeping::Named).unwrap();
        writer.write(b"half").unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert_eq!(std::fs::read(path.unwrap()).unwrap(), b"half");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
