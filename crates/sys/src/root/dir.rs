//! A directory held by descriptor, and what may be done to the names in it.
//!
//! Every function takes one name (no slash, not `.` or `..`) and acts on that very object: a
//! symbolic link is the link, never what it points to.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::{Error, Result};

/// A directory held by descriptor.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// What the kernel knows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes; length of its text for a link.
    pub size: u64,
    /// Bytes it takes on disk.
    pub allocated: u64,
    /// Names it has.
    pub links: u64,
    /// Device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Device number of a device node.
    pub rdev: u64,
    /// Modification time, Unix seconds.
    pub mtime: i64,
    /// Nanoseconds of it.
    pub mtime_nanos: u32,
    /// When it was last changed in any way, its attributes too: Unix seconds and nanoseconds.
    pub changed: (i64, u32),
}

/// Access and modification time, each as Unix seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Last access.
    pub accessed: (i64, u32),
    /// Last modification.
    pub modified: (i64, u32),
}

impl Times {
    fn raw(self) -> Timestamps {
        let spec = |(tv_sec, nanos): (i64, u32)| Timespec {
            tv_sec,
            tv_nsec: i64::from(nanos),
        };
        Timestamps {
            last_access: spec(self.accessed),
            last_modification: spec(self.modified),
        }
    }
}

impl Metadata {
    pub(crate) fn from_stat(stat: &rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => Kind::File,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks)
                .unwrap_or(0)
                .saturating_mul(512),
            links: stat.st_nlink,
            device: stat.st_dev,
            inode: stat.st_ino,
            rdev: stat.st_rdev,
            mtime: stat.st_mtime,
            mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            changed: (
                stat.st_ctime,
                u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
            ),
        }
    }

    /// Its modification time as both of its times: when it was read last is nobody's to copy.
    pub fn times(&self) -> Times {
        let modified = (self.mtime, self.mtime_nanos);
        Times {
            accessed: modified,
            modified,
        }
    }

    /// Tells whether this is how overlayfs marks a deleted name: a character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharDevice && self.rdev == 0
    }
}

/// Reads what the kernel knows of an open object, also one held by `O_PATH`.
///
/// # Errors
///
/// The kernel failed.
pub fn metadata(fd: BorrowedFd<'_>) -> Result<Metadata> {
    rustix::fs::fstat(fd)
        .map(|stat| Metadata::from_stat(&stat))
        .map_err(|errno| Error::new("fstat", errno))
}

fn check(name: &OsStr) -> std::result::Result<(), Errno> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(Errno::INVAL),
        bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

fn failed(call: &'static str, name: &OsStr) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::new(format!("{call}(`{}`)", name.display()), errno)
}

impl Dir {
    /// Takes an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// A second descriptor of the same directory.
    ///
    /// # Errors
    ///
    /// Too many open files.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
            Error::new("fcntl(F_DUPFD_CLOEXEC)", errno)
        })?;
        Ok(Self { fd })
    }

    /// Opens a directory in this one; a link is refused.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR` (also for a link).
    pub fn open_dir(&self, name: &OsStr) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open(name, flags, Mode::empty()).map(Self::from_fd)
    }

    /// Opens an object; a link is refused with `ELOOP` (or held by `O_PATH`).
    ///
    /// # Errors
    ///
    /// As openat.
    pub fn open(&self, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        check(name)
            .and_then(|()| rustix::fs::openat(&self.fd, name, flags, mode))
            .map_err(failed("openat", name))
    }

    /// Creates a file that must not exist and opens it for writing.
    ///
    /// # Errors
    ///
    /// `EEXIST`, no space.
    pub fn create_file(&self, name: &OsStr, mode: Mode) -> Result<OwnedFd> {
        self.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// `EEXIST`, no space.
    pub fn mkdir(&self, name: &OsStr, mode: Mode) -> Result<()> {
        check(name)
            .and_then(|()| rustix::fs::mkdirat(&self.fd, name, mode))
            .map_err(failed("mkdirat", name))
    }

    /// Makes a directory unless there is something of this name.
    ///
    /// # Errors
    ///
    /// No space.
    pub fn ensure_dir(&self, name: &OsStr, mode: Mode) -> Result<()> {
        match self.mkdir(name, mode) {
            Err(error) if error.errno() == Errno::EXIST => Ok(()),
            done => done,
        }
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    ///
    /// `EEXIST`, no space.
    pub fn symlink(&self, target: &OsStr, name: &OsStr) -> Result<()> {
        check(name)
            .and_then(|()| rustix::fs::symlinkat(target, &self.fd, name))
            .map_err(failed("symlinkat", name))
    }

    /// Gives an object of another directory a second name here.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOENT`, `EPERM` for a directory.
    pub fn link(&self, from: &Self, old: &OsStr, name: &OsStr) -> Result<()> {
        check(old)
            .and_then(|()| check(name))
            .and_then(|()| rustix::fs::linkat(&from.fd, old, &self.fd, name, AtFlags::empty()))
            .map_err(failed("linkat", name))
    }

    /// Makes a device node, a pipe or a socket.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `EPERM` without the capability.
    pub fn mknod(&self, name: &OsStr, kind: Kind, mode: Mode, rdev: u64) -> Result<()> {
        let kind = match kind {
            Kind::File => FileType::RegularFile,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::Directory | Kind::Symlink => {
                return Err(failed("mknodat", name)(Errno::INVAL));
            }
        };
        check(name)
            .and_then(|()| rustix::fs::mknodat(&self.fd, name, kind, mode, rdev))
            .map_err(failed("mknodat", name))
    }

    /// Sets owner and group; the largest 32-bit number is refused, it would mean "unchanged".
    ///
    /// # Errors
    ///
    /// `EINVAL`, `EPERM`.
    pub fn chown(&self, name: &OsStr, uid: u32, gid: u32) -> Result<()> {
        check(name)
            .and_then(|()| owner(uid, gid))
            .and_then(|(uid, gid)| {
                rustix::fs::chownat(
                    &self.fd,
                    name,
                    Some(uid),
                    Some(gid),
                    AtFlags::SYMLINK_NOFOLLOW,
                )
            })
            .map_err(failed("fchownat", name))
    }

    /// Sets permission bits; of a link, fails with `EOPNOTSUPP`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EPERM`.
    pub fn chmod(&self, name: &OsStr, mode: Mode) -> Result<()> {
        // fchmodat cannot be told not to follow before Linux 6.6, so the object is held first and
        // then changed through its own descriptor's name.
        let fd = self.open(name, OFlags::PATH, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd).map_err(failed("fstat", name))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(failed("fchmodat", name)(Errno::OPNOTSUPP));
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::fs::chmod(path, mode).map_err(failed("fchmodat", name))
    }

    /// Sets times.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EPERM`.
    pub fn set_times(&self, name: &OsStr, times: Times) -> Result<()> {
        check(name)
            .and_then(|()| {
                rustix::fs::utimensat(&self.fd, name, &times.raw(), AtFlags::SYMLINK_NOFOLLOW)
            })
            .map_err(failed("utimensat", name))
    }

    /// Reads what the kernel knows of an object.
    ///
    /// # Errors
    ///
    /// `ENOENT`.
    pub fn stat(&self, name: &OsStr) -> Result<Metadata> {
        check(name)
            .and_then(|()| rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
            .map(|stat| Metadata::from_stat(&stat))
            .map_err(failed("fstatat", name))
    }

    /// Like [`Dir::stat`], with `None` for a name that is not there.
    ///
    /// # Errors
    ///
    /// The kernel failed.
    pub fn find(&self, name: &OsStr) -> Result<Option<Metadata>> {
        match self.stat(name) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.errno() == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells whether something is mounted at a name, in whichever namespace this directory is.
    ///
    /// The kernel lets what is mounted only in another namespace be unlinked, and takes the mount
    /// away with it.
    ///
    /// # Errors
    ///
    /// The kernel failed.
    pub fn is_mount(&self, name: &OsStr) -> Result<bool> {
        use rustix::fs::{StatxAttributes, StatxFlags};
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        check(name)
            .and_then(|()| rustix::fs::statx(&self.fd, name, flags, StatxFlags::empty()))
            .map(|known| known.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
            .map_err(failed("statx", name))
    }

    /// Reads what the kernel knows of this directory.
    ///
    /// # Errors
    ///
    /// The kernel failed.
    pub fn metadata(&self) -> Result<Metadata> {
        metadata(self.fd.as_fd())
    }

    /// Reads a link's text.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it is no link.
    pub fn readlink(&self, name: &OsStr) -> Result<OsString> {
        check(name)
            .and_then(|()| rustix::fs::readlinkat(&self.fd, name, Vec::new()))
            .map(|text| OsString::from_vec(text.into_bytes()))
            .map_err(failed("readlinkat", name))
    }

    /// Lists the names, without `.` and `..`, in the kernel's order.
    ///
    /// # Errors
    ///
    /// The kernel failed.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let list = || -> std::result::Result<Vec<OsString>, Errno> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.fd)? {
                let entry = entry?;
                match entry.file_name().to_bytes() {
                    b"." | b".." => {}
                    name => names.push(OsString::from_vec(name.to_vec())),
                }
            }
            Ok(names)
        };
        list().map_err(|errno| Error::new("getdents64", errno))
    }

    /// Takes a name away that is no directory.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EISDIR`.
    pub fn unlink(&self, name: &OsStr) -> Result<()> {
        check(name)
            .and_then(|()| rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()))
            .map_err(failed("unlinkat", name))
    }

    /// Takes a name away with everything below it; absent is fine. Never leaves this directory.
    ///
    /// # Errors
    ///
    /// The kernel failed half-way; what was removed stays removed.
    pub fn remove_all(&self, name: &OsStr) -> Result<()> {
        match self.unlink(name) {
            Ok(()) => return Ok(()),
            Err(error) if error.errno() == Errno::NOENT => return Ok(()),
            Err(error) if error.errno() == Errno::ISDIR => {}
            Err(error) => return Err(error),
        }
        // A stack instead of recursion: the depth is the archive's or the container's to choose.
        // Only the innermost directory stays open; the way up is `..` of a directory that we
        // entered by name and without following links.
        let mut dir = self.open_dir(name)?;
        let mut stack = vec![(name.to_owned(), dir.names()?)];
        while let Some((_, names)) = stack.last_mut() {
            if let Some(name) = names.pop() {
                if let Some(below) = dir.remove_or_open(&name)? {
                    dir = below;
                    stack.push((name, dir.names()?));
                }
                continue;
            }
            let Some((done, _)) = stack.pop() else { break };
            if stack.is_empty() {
                return self.rmdir(&done);
            }
            dir = dir.up()?;
            dir.rmdir(&done)?;
        }
        Ok(())
    }

    /// Removes a name, or opens it when it is a directory with something in it.
    fn remove_or_open(&self, name: &OsStr) -> Result<Option<Self>> {
        match self.unlink(name) {
            Err(error) if error.errno() == Errno::ISDIR => {}
            Err(error) if error.errno() == Errno::NOENT => return Ok(None),
            done => return done.map(|()| None),
        }
        match self.rmdir(name) {
            Err(error) if error.errno() == Errno::NOTEMPTY => self.open_dir(name).map(Some),
            done => done.map(|()| None),
        }
    }

    fn up(&self) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, "..", flags, Mode::empty())
            .map(Self::from_fd)
            .map_err(|errno| Error::new("openat(`..`)", errno))
    }

    /// Takes an empty directory away.
    ///
    /// # Errors
    ///
    /// `ENOTEMPTY`, `ENOTDIR`, `ENOENT`.
    pub fn rmdir(&self, name: &OsStr) -> Result<()> {
        check(name)
            .and_then(|()| rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
            .map_err(failed("unlinkat", name))
    }

    /// Moves an object within the file system, replacing what has the new name.
    ///
    /// # Errors
    ///
    /// `EXDEV`, `ENOTEMPTY`.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> Result<()> {
        check(name)
            .and_then(|()| check(new))
            .and_then(|()| rustix::fs::renameat(&self.fd, name, &to.fd, new))
            .map_err(failed("renameat", name))
    }

    /// Sets owner, mode and times of this directory itself.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `EPERM`.
    pub fn set_own(&self, uid: u32, gid: u32, mode: Mode, times: Option<Times>) -> Result<()> {
        set_open(self.as_fd(), uid, gid, mode, times)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn owner(uid: u32, gid: u32) -> std::result::Result<(Uid, Gid), Errno> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

/// Sets owner, mode and times of an open file or directory, in the order that keeps set-id bits.
///
/// # Errors
///
/// `EINVAL` for an owner of 2³²−1, `EPERM`.
pub fn set_open(
    fd: BorrowedFd<'_>,
    uid: u32,
    gid: u32,
    mode: Mode,
    times: Option<Times>,
) -> Result<()> {
    // Looking is several times cheaper than a change that changes nothing.
    let now = metadata(fd)?;
    if (now.uid, now.gid) != (uid, gid) {
        owner(uid, gid)
            .and_then(|(uid, gid)| rustix::fs::fchown(fd, Some(uid), Some(gid)))
            .map_err(|errno| Error::new(format!("fchown({uid}, {gid})"), errno))?;
    }
    // A change of owner takes special bits away.
    let special = mode.as_raw_mode() & 0o7000 != 0;
    if now.mode != mode.as_raw_mode() & 0o7777 || special {
        rustix::fs::fchmod(fd, mode)
            .map_err(|errno| Error::new(format!("fchmod({:o})", mode.as_raw_mode()), errno))?;
    }
    match times {
        Some(times) => set_open_times(fd, times),
        None => Ok(()),
    }
}

/// Sets times of an open file or directory.
///
/// # Errors
///
/// `EPERM`.
pub fn set_open_times(fd: BorrowedFd<'_>, times: Times) -> Result<()> {
    rustix::fs::futimens(fd, &times.raw()).map_err(|errno| Error::new("futimens", errno))
}
