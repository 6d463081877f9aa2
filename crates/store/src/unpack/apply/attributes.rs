//! Attributes of entries: what is kept, what is refused, and how failures are told.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::root::{Dir, Times};

use crate::tar::Entry;
use crate::{Error, Result};

/// The attribute by which overlayfs knows that a directory hides those below it.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Attributes that an archive gives to the root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootEntry {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) mtime_nanos: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) times: Times,
}

/// The one attribute of `security.` that an image may set.
pub(crate) const CAPABILITY: &str = "security.capability";

pub(crate) fn attributes(entry: &Entry) -> Result<Attributes> {
    let id = |what: &str, value: u64| match u32::try_from(value) {
        // 2³²−1 means "leave it" to the kernel and nobody to anyone else.
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(refused(
            entry,
            &format!("its {what} {value} is out of range"),
        )),
    };
    Ok(Attributes {
        mode: Mode::from_raw_mode(entry.mode),
        uid: id("owner", entry.uid)?,
        gid: id("group", entry.gid)?,
        times: Times {
            accessed: entry.mtime,
            modified: entry.mtime,
        },
    })
}

/// The attributes that an image may set: never overlayfs's own, nor labels of this host's policy.
pub(crate) fn kept_xattrs(entry: &Entry) -> impl Iterator<Item = (&OsStr, &[u8])> {
    entry.xattrs.iter().filter_map(|(name, value)| {
        let kept = match name.as_slice() {
            b"security.capability" => true,
            name if name.starts_with(b"trusted.overlay.") => false,
            name if name.starts_with(b"user.overlay.") => false,
            name => {
                name.starts_with(b"user.")
                    || name.starts_with(b"trusted.")
                    || name.starts_with(b"system.posix_acl_")
            }
        };
        kept.then(|| (OsStr::from_bytes(name), value.as_slice()))
    })
}

/// A file system without attributes loses them, as with Docker; every other failure counts.
pub(crate) fn set_xattr(entry: &Entry, done: sys::Result<()>) -> Result<()> {
    match done {
        Err(error) if matches!(error.errno(), Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        done => done.map_err(failed_entry(entry)),
    }
}

pub(crate) fn set_opaque(dir: &Dir) -> sys::Result<()> {
    sys::xattr::set(dir.as_fd(), OsStr::new(OPAQUE), b"y")
}

pub(crate) fn is_absent(error: &sys::Error) -> bool {
    matches!(error.errno(), Errno::NOENT | Errno::NOTDIR)
}

fn shown(entry: &Entry) -> String {
    let end = entry.path.len().min(200);
    String::from_utf8_lossy(&entry.path[..end]).into_owned()
}

pub(crate) fn refused(entry: &Entry, why: &str) -> Error {
    Error::BadArchive {
        what: format!("entry `{}` is refused: {why}", shown(entry)),
        source: None,
    }
}

pub(crate) fn failed(action: impl FnOnce() -> String) -> impl FnOnce(sys::Error) -> Error {
    move |source| Error::Sys {
        action: action(),
        source,
    }
}

pub(crate) fn failed_entry(entry: &Entry) -> impl FnOnce(sys::Error) -> Error + '_ {
    move |source| match source.errno() {
        // These are the archive's fault, not the machine's.
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NOENT => Error::BadArchive {
            what: format!("entry `{}` cannot be made", shown(entry)),
            source: Some(Box::new(source)),
        },
        _ => Error::Sys {
            action: format!("unpack entry `{}`", shown(entry)),
            source,
        },
    }
}
