//! Extended attributes, of an open object or of a name in a directory.
//!
//! Names in directories are reached as `/proc/self/fd/<directory>/<name>` with the calls that do
//! not follow links: the first part is our own descriptor, the last is never followed. (The `*at`
//! calls need Linux 6.13.)

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::root::Dir;
use crate::{Error, Result};

/// The kernel's own bound on a value and on a list of names.
const MAX: usize = 64 * 1024;
/// Enough for nearly all; a larger buffer costs each file the time to clear it.
const USUAL: usize = 1024;

/// Fills a buffer that is as large as has to be.
fn fill(
    mut read: impl FnMut(&mut [u8]) -> std::result::Result<usize, Errno>,
) -> std::result::Result<Vec<u8>, Errno> {
    let mut usual = [0; USUAL];
    match read(&mut usual) {
        Ok(len) => Ok(usual[..len].to_vec()),
        Err(Errno::RANGE) => {
            let mut value = vec![0; MAX];
            let len = read(&mut value)?;
            value.truncate(len);
            Ok(value)
        }
        Err(errno) => Err(errno),
    }
}

/// Sets an attribute of an open file or directory.
///
/// # Errors
///
/// `EOPNOTSUPP` where the file system has none, `EPERM`, `ENOSPC`.
pub fn set(fd: BorrowedFd<'_>, attribute: &OsStr, value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(fd, attribute, value, XattrFlags::empty())
        .map_err(failed("fsetxattr", attribute))
}

/// Sets an attribute of a name in a directory.
///
/// # Errors
///
/// As [`set`].
pub fn set_at(dir: &Dir, name: &OsStr, attribute: &OsStr, value: &[u8]) -> Result<()> {
    rustix::fs::lsetxattr(path(dir, name)?, attribute, value, XattrFlags::empty())
        .map_err(failed("lsetxattr", attribute))
}

/// Reads an attribute of an open file or directory; `None` where it has none of this name.
///
/// # Errors
///
/// `EPERM`; the kernel failed.
pub fn get(fd: BorrowedFd<'_>, attribute: &OsStr) -> Result<Option<Vec<u8>>> {
    match fill(|buffer| rustix::fs::fgetxattr(fd, attribute, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(failed("fgetxattr", attribute)(errno)),
    }
}

/// Reads an attribute of a name in a directory; `None` where it has none.
///
/// # Errors
///
/// `ENOENT`, `EPERM`.
pub fn get_at(dir: &Dir, name: &OsStr, attribute: &OsStr) -> Result<Option<Vec<u8>>> {
    let path = path(dir, name)?;
    match fill(|buffer| rustix::fs::lgetxattr(&path, attribute, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(failed("lgetxattr", attribute)(errno)),
    }
}

/// Lists the attributes of an open file or directory.
///
/// # Errors
///
/// The kernel failed.
pub fn list(fd: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    match fill(|buffer| rustix::fs::flistxattr(fd, buffer)) {
        Ok(list) => Ok(split(&list)),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(Error::new("flistxattr", errno)),
    }
}

fn split(list: &[u8]) -> Vec<OsString> {
    let names = list.split(|c| *c == 0).filter(|name| !name.is_empty());
    names
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect()
}

/// Lists the attributes of a name in a directory.
///
/// # Errors
///
/// `ENOENT`.
pub fn list_at(dir: &Dir, name: &OsStr) -> Result<Vec<OsString>> {
    let path = path(dir, name)?;
    match fill(|buffer| rustix::fs::llistxattr(&path, buffer)) {
        Ok(list) => Ok(split(&list)),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(failed("llistxattr", name)(errno)),
    }
}

fn path(dir: &Dir, name: &OsStr) -> Result<Vec<u8>> {
    if name.is_empty() || name.as_bytes().contains(&b'/') || name == "." || name == ".." {
        return Err(failed("lsetxattr", name)(Errno::INVAL));
    }
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    Ok(path)
}

fn failed(call: &'static str, what: &OsStr) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::new(format!("{call}(`{}`)", what.display()), errno)
}
