//! Cutting the power of one file system, for tests: what was not synced is lost.
//!
//! `FS_IOC_SHUTDOWN` (include/uapi/linux/fs.h, Linux 6.18; ext4, f2fs and xfs know it under several
//! names and one number) ends all writing to the device without flushing the journal. After
//! unmounting and mounting, the file system is what a disk would hold after a power cut.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::ioctl::{Setter, ioctl, opcode};

use crate::{Error, Result};

/// Neither data nor journal is flushed.
const NO_LOG_FLUSH: u32 = 2;

/// Cuts the power of the file system that holds `path`: from now on its calls fail with `EIO`.
///
/// # Errors
///
/// Not root, or the file system has no such switch (as tmpfs).
pub fn cut(path: &std::path::Path) -> Result<()> {
    let call = |name: &str| format!("{name}(`{}`)", path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| Error::new(call("open"), errno))?;
    // SAFETY: the request takes a pointer to a readable u32, which `Setter` hands over and which
    // lives during the call; nothing is written through it.
    let done = unsafe {
        ioctl(
            dir.as_fd(),
            Setter::<{ opcode::read::<u32>(b'X', 125) }, u32>::new(NO_LOG_FLUSH),
        )
    };
    done.map_err(|errno| Error::new(call("FS_IOC_SHUTDOWN"), errno))
}
