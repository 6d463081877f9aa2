//! Files that are there whole or not at all: atomic replacement and syncing.
//!
//! A rename is durable once the directory that holds the name is synced, and only useful when the
//! data was synced before it. [`replace`] does all of it; [`sync_file_system`] is for many files at once.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Prefix of temporary files next to the files they replace: a sweep may remove such names.
pub const TEMPORARY: &str = ".tmp-";

/// Whether a replaced file must survive power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Data and name are synced when the call returns.
    Synced,
    /// The file is whole at any time, but after power loss it may be the old one.
    Unsynced,
}

/// Replaces a file's content atomically: readers see the old or the new, never half of it.
///
/// The directory must be the caller's own: names in it are trusted.
///
/// # Errors
///
/// No space, no such directory. The old content is untouched then, unless only the last step failed,
/// the sync of the directory: then the new content may be there.
pub fn replace(path: &Path, content: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let (directory, temporary) = temporary_beside(path)?;
    let is_new = durability == Durability::Synced && rustix::fs::lstat(path).is_err();
    let written = write_new(&temporary, content, mode, durability)
        .and_then(|()| rustix::fs::rename(&temporary, path).map_err(failed("rename", path)));
    if written.is_err() {
        // The first error is the one to tell; a left-over is swept when the store is opened.
        let _ = rustix::fs::unlink(&temporary);
        return written;
    }
    match durability {
        Durability::Synced => sync_dir(&directory).inspect_err(|_| {
            if is_new {
                // What was refused must not turn up later.
                let _ = rustix::fs::unlink(path);
            }
        }),
        Durability::Unsynced => Ok(()),
    }
}

/// Moves what is damaged out of the way, for a person to look at; returns where it is now.
///
/// # Errors
///
/// There is nothing, or the disk failed.
pub fn put_aside(path: &Path) -> Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{}", random_hex()?));
    let target = path.with_file_name(name);
    rustix::fs::rename(path, &target).map_err(failed("rename", path))?;
    Ok(target)
}

fn temporary_beside(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed("rename", path)(Errno::INVAL));
    };
    let mut temporary = TEMPORARY.as_bytes().to_vec();
    temporary.extend_from_slice(random_hex()?.as_bytes());
    temporary.push(b'-');
    // The name's beginning helps whoever finds it; all of it could be too long.
    temporary.extend_from_slice(&name.as_bytes()[..name.len().min(100)]);
    Ok((
        directory.to_owned(),
        directory.join(OsStr::from_bytes(&temporary)),
    ))
}

fn write_new(path: &Path, content: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let io = |call| move |error: std::io::Error| from_io(call, path, &error);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(io("open"))?;
    file.write_all(content).map_err(io("write"))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(io("fsync"))?;
    }
    Ok(())
}

/// Makes names that were created, renamed or removed in a directory durable.
///
/// # Errors
///
/// The disk failed.
pub fn sync_dir(path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed("open", path))?;
    rustix::fs::fsync(fd).map_err(failed("fsync", path))
}

/// Makes everything written so far to the file system of `path` durable, in one go.
///
/// # Errors
///
/// The disk failed, also for an earlier write that nobody waited for (Linux 5.8).
pub fn sync_file_system(path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed("open", path))?;
    rustix::fs::syncfs(fd).map_err(failed("syncfs", path))
}

/// Draws 16 hex digits for a name that nobody else has.
///
/// # Errors
///
/// The kernel has no randomness: it never fails on a booted system.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::new("getrandom", errno))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::new(format!("{call}(`{}`)", path.display()), errno)
}

fn from_io(call: &str, path: &Path, error: &std::io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    Error::new(format!("{call}(`{}`)", path.display()), errno)
}
