//! The set of files a log consists of.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No configuration keeps more files than this.
const MAX_FILES: u32 = 10_000;

/// An open file of the set.
#[derive(Debug)]
pub(super) struct LogFile {
    pub file: File,
    pub inode: u64,
}

/// Path of the current file (0) or of a rotated one.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_path_buf();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Opens every file, oldest first.
///
/// Opening goes from the newest to the oldest, the way files move when they are rotated: one that
/// moves meanwhile is met twice and dropped once, never missed.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    for number in 0..MAX_FILES {
        match open(&numbered(path, number)) {
            Ok(found) => {
                if files.iter().all(|known| known.inode != found.inode) {
                    files.push(found);
                }
            }
            // The current file may be missing; a gap behind it is the end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if number > 0 {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    files.reverse();
    Ok(files)
}

/// Inode of the current file, if there is one.
pub(super) fn current_inode(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<LogFile> {
    // O_NONBLOCK: a fifo planted under the name must not stop the reader.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc_nonblock())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(LogFile {
        inode: meta.ino(),
        file,
    })
}

fn libc_nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("open flags are small numbers")
}
