//! Subvolumes and snapshots of btrfs.
//!
//! See `include/uapi/linux/btrfs.h` of Linux and btrfs-ioctl(2). A subvolume is named by the
//! directory that it is in and one name.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::root::{Dir, Kind};
use crate::{Error, Result};

const BTRFS_SUPER_MAGIC: i64 = 0x9123_683e;
/// Inode number of every subvolume's root directory.
const FIRST_FREE_OBJECTID: u64 = 256;
/// Longest name of a subvolume (`BTRFS_SUBVOL_NAME_MAX`).
const MAX_NAME: usize = 4039;

const SUBVOL_CREATE: libc::c_ulong = 0x5000_940E;
const SNAP_DESTROY: libc::c_ulong = 0x5000_940F;
const INO_LOOKUP: libc::c_ulong = 0xD000_9412;
const SNAP_CREATE_V2: libc::c_ulong = 0x5000_9417;
const SUBVOL_SETFLAGS: libc::c_ulong = 0x4008_941A;
const QGROUP_LIMIT: libc::c_ulong = 0x8030_942B;
const LIMIT_MAX_EXCL: u64 = 2;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct InoLookup {
    treeid: u64,
    objectid: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct QgroupLimit {
    qgroupid: u64,
    flags: u64,
    max_rfer: u64,
    max_excl: u64,
    rsv_rfer: u64,
    rsv_excl: u64,
}

const _: () = assert!(size_of::<VolArgs>() == 4096);
const _: () = assert!(size_of::<VolArgsV2>() == 4096);
const _: () = assert!(size_of::<InoLookup>() == 4096);
const _: () = assert!(size_of::<QgroupLimit>() == 48);

/// Tells whether a path is on a btrfs.
pub fn is_btrfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == BTRFS_SUPER_MAGIC)
}

/// Tells whether a path on a btrfs is the root of a subvolume; links are not followed.
pub fn is_subvolume(path: &Path) -> bool {
    let is_root = rustix::fs::lstat(path).is_ok_and(|found| {
        found.st_ino == FIRST_FREE_OBJECTID && found.st_mode & libc::S_IFMT == libc::S_IFDIR
    });
    is_root && is_btrfs(path)
}

/// Makes an empty subvolume.
///
/// # Errors
///
/// `ENOTTY` on another file system, `EEXIST`, no space.
pub fn create(parent: &Path, name: &OsStr) -> Result<()> {
    let dir = open(parent)?;
    let mut args = vol_args(name)?;
    // SAFETY: `args` is a btrfs_ioctl_vol_args with a terminated name and outlives the call.
    let status = unsafe { libc::ioctl(dir.as_raw_fd(), SUBVOL_CREATE as _, &raw mut *args) };
    checked(status, "BTRFS_IOC_SUBVOL_CREATE", name)
}

/// Makes a writable snapshot of a subvolume; durable when it returns.
///
/// # Errors
///
/// `EXDEV` on another file system than the source, `EEXIST`, no space.
pub fn snapshot(source: &Path, parent: &Path, name: &OsStr) -> Result<()> {
    let (source, dir) = (open(source)?, open(parent)?);
    let mut args = Box::new(VolArgsV2 {
        fd: i64::from(source.as_fd().as_raw_fd()),
        transid: 0,
        flags: 0,
        unused: [0; 4],
        name: [0; 4040],
    });
    fill(&mut args.name, name)?;
    // SAFETY: `args` is a btrfs_ioctl_vol_args_v2 with a terminated name and an open descriptor,
    // and outlives the call.
    let status = unsafe { libc::ioctl(dir.as_raw_fd(), SNAP_CREATE_V2 as _, &raw mut *args) };
    checked(status, "BTRFS_IOC_SNAP_CREATE_V2", name)
}

/// Deletes a subvolume with all that is in it, other subvolumes too.
///
/// # Errors
///
/// It is in use, or no subvolume.
pub fn destroy(parent: &Path, name: &OsStr) -> Result<()> {
    destroy_in(&Dir::from_fd(open(parent)?.into()), name)
}

fn destroy_in(parent: &Dir, name: &OsStr) -> Result<()> {
    match destroy_one(parent.as_fd(), name) {
        Err(error) if error.errno() == Errno::NOTEMPTY => {}
        done => return done,
    }
    // What ran in there made subvolumes of its own, perhaps read-only ones.
    let inside = parent.open_dir(name)?;
    set_writable(inside.as_fd())?;
    destroy_below(inside)?;
    destroy_one(parent.as_fd(), name)
}

fn destroy_below(root: Dir) -> Result<()> {
    let mut todo = vec![root];
    while let Some(dir) = todo.pop() {
        let device = dir.metadata()?.device;
        for name in dir.names()? {
            let Some(found) = dir.find(&name)? else {
                continue;
            };
            if found.kind != Kind::Directory {
                continue;
            }
            if found.inode == FIRST_FREE_OBJECTID && found.device != device {
                destroy_in(&dir, &name)?;
            } else {
                todo.push(dir.open_dir(&name)?);
            }
        }
    }
    Ok(())
}

fn destroy_one(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let mut args = vol_args(name)?;
    // SAFETY: `args` is a btrfs_ioctl_vol_args with a terminated name and outlives the call.
    let status = unsafe { libc::ioctl(parent.as_raw_fd(), SNAP_DESTROY as _, &raw mut *args) };
    checked(status, "BTRFS_IOC_SNAP_DESTROY", name)
}

fn set_writable(subvolume: BorrowedFd<'_>) -> Result<()> {
    let mut flags = 0u64;
    // SAFETY: `flags` is the u64 that the request reads and outlives the call.
    let status =
        unsafe { libc::ioctl(subvolume.as_raw_fd(), SUBVOL_SETFLAGS as _, &raw mut flags) };
    checked(status, "BTRFS_IOC_SUBVOL_SETFLAGS", OsStr::new("0"))
}

/// Bounds the bytes that only this subvolume has: what was written to a snapshot.
///
/// # Errors
///
/// `ENOTCONN` where the file system keeps no quotas.
pub fn limit(subvolume: &Path, bytes: u64) -> Result<()> {
    let fd = open(subvolume)?;
    let mut lookup = Box::new(InoLookup {
        treeid: 0,
        objectid: FIRST_FREE_OBJECTID,
        name: [0; 4080],
    });
    // SAFETY: `lookup` is a btrfs_ioctl_ino_lookup_args, in and out, and outlives the call.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), INO_LOOKUP as _, &raw mut *lookup) };
    let name = subvolume.file_name().unwrap_or_default();
    checked(status, "BTRFS_IOC_INO_LOOKUP", name)?;
    let mut limit = QgroupLimit {
        qgroupid: lookup.treeid,
        flags: LIMIT_MAX_EXCL,
        max_rfer: 0,
        max_excl: bytes,
        rsv_rfer: 0,
        rsv_excl: 0,
    };
    // SAFETY: `limit` is a btrfs_ioctl_qgroup_limit_args and outlives the call.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), QGROUP_LIMIT as _, &raw mut limit) };
    checked(status, "BTRFS_IOC_QGROUP_LIMIT", name)
}

/// Tells whether [`limit`] failed because the file system keeps no quotas.
pub fn keeps_no_quotas(error: &Error) -> bool {
    matches!(error.errno(), Errno::NOTCONN | Errno::INVAL | Errno::NOENT)
}

fn vol_args(name: &OsStr) -> Result<Box<VolArgs>> {
    let mut args = Box::new(VolArgs {
        fd: 0,
        name: [0; 4088],
    });
    fill(&mut args.name, name)?;
    Ok(args)
}

fn fill(field: &mut [u8], name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_NAME || bytes.contains(&0) || bytes.contains(&b'/') {
        return Err(Error::new(
            format!("name a subvolume `{}`", name.display()),
            Errno::INVAL,
        ));
    }
    field[..bytes.len()].copy_from_slice(bytes);
    Ok(())
}

fn open(path: &Path) -> Result<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())
        .map(Into::into)
        .map_err(|errno| Error::new(format!("open(`{}`)", path.display()), errno))
}

fn checked(status: libc::c_int, call: &str, name: &OsStr) -> Result<()> {
    if status >= 0 {
        return Ok(());
    }
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Err(Error::new(
        format!("ioctl({call}, `{}`)", name.display()),
        errno,
    ))
}
