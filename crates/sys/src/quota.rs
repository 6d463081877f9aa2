//! Project quotas: a bound on what a directory tree may hold, kept by the file system itself.
//!
//! Works on xfs and ext4 that are mounted with `prjquota`. See quotactl_fd(2) (Linux 5.14) and
//! `FS_IOC_FSSETXATTR` in ioctl_xfs_fsgetxattr(2).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::io::Errno;

use crate::{Error, Result};

const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801C_581F;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401C_5820;
const FS_XFLAG_PROJINHERIT: u32 = 0x200;
const PRJQUOTA: u32 = 2;
const Q_SETQUOTA: u32 = 0x0080_0008;
const Q_GETQUOTA: u32 = 0x0080_0007;
const QIF_BLIMITS: u32 = 1;
/// Bytes of the unit in which limits are set.
const UNIT: u64 = 1024;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Limits {
    block_hard: u64,
    block_soft: u64,
    space: u64,
    inode_hard: u64,
    inode_soft: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

const _: () = assert!(size_of::<FsXattr>() == 28);
const _: () = assert!(size_of::<Limits>() == 72);

/// Bounds what an empty directory and everything made in it later may hold.
///
/// # Errors
///
/// The file system has no project quotas, or they are off: see [`is_unavailable`].
pub fn limit(directory: &Path, project: u32, bytes: u64) -> Result<()> {
    let dir = open(directory)?;
    let mut limits = Limits {
        block_hard: bytes.div_ceil(UNIT),
        valid: QIF_BLIMITS,
        ..Limits::default()
    };
    quotactl(&dir, Q_SETQUOTA, project, &mut limits, directory)?;
    let mut attributes = FsXattr::default();
    xattr(&dir, FS_IOC_FSGETXATTR, &mut attributes, directory)?;
    attributes.projid = project;
    attributes.xflags |= FS_XFLAG_PROJINHERIT;
    xattr(&dir, FS_IOC_FSSETXATTR, &mut attributes, directory)
}

/// Bytes that a project has, and its bound.
///
/// # Errors
///
/// As [`limit`].
pub fn usage(directory: &Path, project: u32) -> Result<(u64, u64)> {
    let dir = open(directory)?;
    let mut limits = Limits::default();
    quotactl(&dir, Q_GETQUOTA, project, &mut limits, directory)?;
    Ok((limits.space, limits.block_hard.saturating_mul(UNIT)))
}

/// Takes a bound away once nothing has the project any more.
///
/// # Errors
///
/// As [`limit`].
pub fn release(directory: &Path, project: u32) -> Result<()> {
    let dir = open(directory)?;
    let mut limits = Limits {
        valid: QIF_BLIMITS,
        ..Limits::default()
    };
    quotactl(&dir, Q_SETQUOTA, project, &mut limits, directory)
}

/// Tells whether a failure means that there are no project quotas here, rather than that one failed.
pub fn is_unavailable(error: &Error) -> bool {
    matches!(
        error.errno(),
        Errno::SRCH | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NODEV
    )
}

fn open(directory: &Path) -> Result<File> {
    File::open(directory).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::new(format!("open(`{}`)", directory.display()), errno)
    })
}

fn quotactl(dir: &File, command: u32, id: u32, limits: &mut Limits, path: &Path) -> Result<()> {
    // SAFETY: `limits` is an if_dqblk that outlives the call; the descriptor is open.
    let status = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            dir.as_raw_fd(),
            command << 8 | PRJQUOTA,
            id,
            std::ptr::from_mut(limits),
        )
    };
    if status < 0 {
        return Err(last(format!("quotactl_fd(`{}`)", path.display())));
    }
    Ok(())
}

fn xattr(dir: &File, request: libc::c_ulong, value: &mut FsXattr, path: &Path) -> Result<()> {
    // SAFETY: `value` is an fsxattr that outlives the call; the descriptor is open.
    let status = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, std::ptr::from_mut(value)) };
    if status < 0 {
        return Err(last(format!("ioctl(fsxattr, `{}`)", path.display())));
    }
    Ok(())
}

fn last(call: String) -> Error {
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Error::new(call, errno)
}
