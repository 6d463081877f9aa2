//! What a container changed: as a list, and as the archive of a layer.
//!
//! The list compares what the container sees with what its image shows, as Docker does: modes,
//! owners, and of what is no directory also size, time and capabilities. Only what the writable
//! layer holds is looked at, except under directories that hide or rename what is below them.

mod feed;
mod pack;
mod walk;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::root::{Kind, Metadata};

pub(crate) use feed::{FeedWriter, feed};
pub(crate) use pack::{Packer, Xattrs};
pub(crate) use walk::{Way, pack, pack_below};

use crate::merged::{Found, MergedDir, Object};
use crate::{Error, Result, Store};
pub(crate) use pack::{is_gone, unread};

/// How an object differs from the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// `C`: it is there in both and differs; Docker's number is 0.
    Modified,
    /// `A`: only the container has it; 1.
    Added,
    /// `D`: only the image has it; 2.
    Deleted,
}

/// One line of `docker diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Absolute path in the container.
    pub path: PathBuf,
}

impl Store {
    /// What a container changed: parents before what is in them, what was deleted last.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NoSuchSnapshot`], or the disk failed.
    pub fn changes(&self, key: &str) -> Result<Vec<Change>> {
        let stack = self.stack_of(key)?;
        let new = MergedDir::root(&stack.layers).map_err(unread(b""))?;
        let old = MergedDir::root(&stack.below).map_err(unread(b""))?;
        compare(new, old, stack.extent())
    }
}

/// How much of the container's directories has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What the writable layer has: the rest is the image's.
    Upper,
    /// All: the container has a whole tree.
    Whole,
}

/// Directories in directories that are compared; each holds descriptors.
const MAX_DEPTH: usize = 1024;

/// A directory that is being compared.
struct Frame {
    new: MergedDir,
    /// `None` where all of it is new.
    old: Option<MergedDir>,
    path: PathBuf,
    /// Last one first.
    names: Vec<OsString>,
    deleted: Vec<PathBuf>,
    /// Where in the list its own line would be.
    at: usize,
    /// Whether it has a line of its own, or is the root.
    listed: bool,
}

impl Frame {
    fn new(new: MergedDir, old: Option<MergedDir>, path: PathBuf, extent: Extent) -> Result<Self> {
        let mut names = names(&new, old.as_ref(), extent).map_err(failed(&path))?;
        names.reverse();
        Ok(Self {
            new,
            old,
            path,
            names,
            deleted: Vec::new(),
            at: 0,
            listed: true,
        })
    }
}

/// Lists what differs below two roots.
fn compare(new: MergedDir, old: MergedDir, extent: Extent) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::new();
    let mut stack = vec![Frame::new(new, Some(old), PathBuf::from("/"), extent)?];
    while let Some(frame) = stack.last_mut() {
        let Some(name) = frame.names.pop() else {
            let done = stack.pop().expect("it was there a moment ago");
            close(done, &mut changes);
            continue;
        };
        let path = frame.path.join(&name);
        let now = look_up(Some(&frame.new), &name).map_err(failed(&path))?;
        let before = look_up(frame.old.as_ref(), &name).map_err(failed(&path))?;
        let kind = match (&now, &before) {
            (Found::Nothing, Found::Nothing) => continue,
            (Found::Nothing, _) => {
                frame.deleted.push(path);
                continue;
            }
            (_, Found::Nothing) => Some(ChangeKind::Added),
            (now, before) => differ(now, before)
                .map_err(failed(&path))?
                .then_some(ChangeKind::Modified),
        };
        let at = changes.len();
        if let Some(kind) = kind {
            let path = path.clone();
            changes.push(Change { kind, path });
        }
        let Found::Directory(now) = now else {
            continue;
        };
        if stack.len() >= MAX_DEPTH {
            return Err(Error::LimitExceeded {
                what: format!("a directory is nested deeper than {MAX_DEPTH}"),
            });
        }
        let old = match before {
            Found::Directory(before) => Some(before),
            Found::Nothing | Found::Other(_) => None,
        };
        let below = Frame::new(now, old, path, extent)?;
        stack.push(Frame {
            at,
            listed: kind.is_some(),
            ..below
        });
    }
    Ok(changes)
}

/// Ends a directory: what was deleted in it comes last, and a directory in which something changed
/// is changed even if it looks the same.
fn close(frame: Frame, changes: &mut Vec<Change>) {
    changes.extend(frame.deleted.into_iter().map(|path| Change {
        kind: ChangeKind::Deleted,
        path,
    }));
    if changes.len() > frame.at && !frame.listed {
        let change = Change {
            kind: ChangeKind::Modified,
            path: frame.path,
        };
        changes.insert(frame.at, change);
    }
}

/// Names that may differ, sorted.
fn names(new: &MergedDir, old: Option<&MergedDir>, extent: Extent) -> sys::Result<Vec<OsString>> {
    let is_upper = extent == Extent::Upper;
    let listed = match (old, new.upper()) {
        // What the writable layer does not have is the same as before.
        (Some(_), Some(upper)) if is_upper && new.is_plain() => upper.names(),
        (Some(_), None) if is_upper => Ok(Vec::new()),
        (old, _) => new.names().and_then(|mut names| {
            if let Some(old) = old {
                names.extend(old.names()?);
            }
            Ok(names.into_iter().map(|(name, _)| name).collect())
        }),
    };
    let mut names = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => listed?,
    };
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn look_up(directory: Option<&MergedDir>, name: &OsStr) -> sys::Result<Found> {
    match directory.map(|directory| directory.find(name)) {
        None => Ok(Found::Nothing),
        Some(Err(error)) if is_gone(&error) => Ok(Found::Nothing),
        Some(found) => found,
    }
}

/// Whether Docker counts two objects of a name as different.
fn differ(now: &Found, before: &Found) -> sys::Result<bool> {
    let (Some(new), Some(old)) = (metadata(now)?, metadata(before)?) else {
        return Ok(false);
    };
    let owner = |found: &Metadata| (found.kind, found.mode, found.uid, found.gid, found.rdev);
    if owner(&new) != owner(&old) {
        return Ok(true);
    }
    if new.kind != Kind::Directory && (new.size != old.size || !same_time(&new, &old)) {
        return Ok(true);
    }
    match (now, before) {
        (Found::Other(now), Found::Other(before)) if new.kind == Kind::File => {
            Ok(capability(now)? != capability(before)?)
        }
        _ => Ok(false),
    }
}

fn metadata(found: &Found) -> sys::Result<Option<Metadata>> {
    match found {
        Found::Nothing => Ok(None),
        Found::Other(object) => Ok(Some(object.metadata)),
        Found::Directory(directory) => directory.topmost().map(|dir| dir.metadata()).transpose(),
    }
}

/// Times that went through an archive have no fractions.
fn same_time(a: &Metadata, b: &Metadata) -> bool {
    a.mtime == b.mtime
        && (a.mtime_nanos == b.mtime_nanos || a.mtime_nanos == 0 || b.mtime_nanos == 0)
}

fn capability(object: &Object) -> sys::Result<Option<Vec<u8>>> {
    match sys::xattr::get_at(&object.dir, &object.name, OsStr::new("security.capability")) {
        Err(error) if is_gone(&error) => Ok(None),
        found => found,
    }
}

fn failed(path: &Path) -> impl FnOnce(sys::Error) -> Error {
    let path = path.as_os_str().as_bytes();
    unread(path.strip_prefix(b"/").unwrap_or(path))
}
