//! Waiting for the log to grow.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

/// Becomes readable when the log may have grown or was rotated.
///
/// Make it before reading to the end, then repeat: read to the end, wait until it is readable,
/// [`Watch::clear`]. The kernel bounds the number of these per user
/// (`fs.inotify.max_user_instances`, often 128): a caller must be able to poll instead.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// Watches the directory of a log; the log itself need not exist yet.
    pub fn new(path: &Path) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        let dir = path.parent().unwrap_or(Path::new("/"));
        inotify::add_watch(&inotify, dir, events | inotify::WatchFlags::ONLYDIR)?;
        Ok(Self { inotify })
    }

    /// Forgets what was told so far.
    pub fn clear(&self) -> io::Result<()> {
        let mut space = [MaybeUninit::<u8>::uninit(); 4096];
        loop {
            match rustix::io::read(&self.inotify, &mut space) {
                Ok((filled, _)) if !filled.is_empty() => {}
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl std::os::fd::AsRawFd for Watch {
    fn as_raw_fd(&self) -> i32 {
        self.inotify.as_raw_fd()
    }
}
