//! Copying one object of a tree with all that belongs to it, by its directory and its name.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Copier;
use crate::root::{Dir, Kind, Metadata, set_open, set_open_times};
use crate::{Result, xattr};

impl Copier {
    /// Copies a file with its attributes; there must be nothing of its name in the target.
    ///
    /// # Errors
    ///
    /// No space, or a disk failed; the target then holds a part.
    pub fn file(&mut self, from: &Dir, to: &Dir, name: &OsStr, metadata: &Metadata) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let source = from.open(name, flags, Mode::empty())?;
        // Special bits come with the owner.
        let mode = Mode::from_raw_mode(metadata.mode & 0o777);
        let target = to.create_file(name, mode)?;
        let (size, allocated) = (metadata.size, metadata.allocated);
        self.data(source.as_fd(), target.as_fd(), size, allocated)?;
        dress(source.as_fd(), target.as_fd(), metadata)
    }
}

/// Gives a file or directory the owner, mode, attributes and times of another one.
///
/// # Errors
///
/// `EPERM`, no space.
pub fn dress(source: BorrowedFd<'_>, target: BorrowedFd<'_>, metadata: &Metadata) -> Result<()> {
    let mode = Mode::from_raw_mode(metadata.mode);
    // Attributes come after the owner, whose change takes capabilities away.
    set_open(target, metadata.uid, metadata.gid, mode, None)?;
    for attribute in xattr::list(source)? {
        if !travels(&attribute) {
            continue;
        }
        if let Some(value) = xattr::get(source, &attribute)? {
            match xattr::set(target, &attribute, &value) {
                // The target's file system has none; tmpfs has no user ones on old kernels.
                Err(error) if error.errno() == Errno::NOTSUP => {}
                done => done?,
            }
        }
    }
    set_open_times(target, metadata.times())
}

/// Copies a link, a pipe or a device with its attributes.
///
/// # Errors
///
/// `EEXIST`, `EPERM`, no space.
pub fn special(from: &Dir, to: &Dir, name: &OsStr, metadata: &Metadata) -> Result<()> {
    let mode = Mode::from_raw_mode(metadata.mode);
    match metadata.kind {
        Kind::Symlink => to.symlink(&from.readlink(name)?, name)?,
        kind => to.mknod(name, kind, mode, metadata.rdev)?,
    }
    to.chown(name, metadata.uid, metadata.gid)?;
    if metadata.kind != Kind::Symlink {
        to.chmod(name, mode)?;
    }
    for attribute in xattr::list_at(from, name)? {
        if travels(&attribute)
            && let Some(value) = xattr::get_at(from, name, &attribute)?
        {
            xattr::set_at(to, name, &attribute, &value)?;
        }
    }
    to.set_times(name, metadata.times())
}

/// Overlayfs's own marks mean something else elsewhere; labels of SELinux belong to the place.
fn travels(attribute: &OsStr) -> bool {
    let name = attribute.as_bytes();
    !name.starts_with(b"trusted.overlay.")
        && !name.starts_with(b"user.overlay.")
        && name != b"security.selinux"
}
