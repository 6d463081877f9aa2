//! What a container changed in a whole tree: what the kernel last changed since the tree was made,
//! or what differs from the image in any other way.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sys::root::{Kind, Metadata};

use super::branch::open_tree;
use crate::diff::Packer;
use crate::diff::{is_gone, unread};
use crate::merged::{Found, MergedDir};
use crate::record::Moment;
use crate::{Error, Result};

/// Directories in directories; each holds descriptors while it is walked.
const MAX_DEPTH: usize = 1024;

/// What a container wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Of everything but directories.
    pub(crate) bytes: u64,
    /// What the disk has of it.
    pub(crate) allocated: u64,
}

/// Adds up what was changed since a moment, hard links once.
pub(crate) fn written(tree: &Path, since: Moment) -> sys::Result<Written> {
    let mut written = Written::default();
    let mut linked = std::collections::HashSet::new();
    let mut stack = Vec::new();
    let root = open_tree(tree)?;
    let names = root.names()?;
    stack.push((root, names));
    while let Some((dir, names)) = stack.last_mut() {
        let Some((name, _)) = names.pop() else {
            stack.pop();
            continue;
        };
        let found = match dir.find(&name) {
            Err(error) if is_gone(&error) => continue,
            found => found?,
        };
        match found {
            Found::Nothing => {}
            Found::Directory(below) if stack.len() < MAX_DEPTH => {
                let names = match below.names() {
                    Err(error) if is_gone(&error) => continue,
                    names => names?,
                };
                stack.push((below, names));
            }
            Found::Directory(_) => {}
            Found::Other(object) => {
                let found = &object.metadata;
                let first = found.links < 2 || linked.insert((found.device, found.inode));
                if first && Moment::from(found.changed) >= since {
                    written.bytes += found.size;
                    written.allocated += found.allocated;
                }
            }
        }
    }
    Ok(written)
}

struct Frame {
    new: MergedDir,
    /// `None` where all of it is new.
    old: Option<MergedDir>,
    /// Last one first.
    names: Vec<OsString>,
    /// Length of the path up to here.
    path: usize,
    /// It is not in the archive, unless something in it is.
    pending: bool,
}

impl Frame {
    fn new(new: MergedDir, old: Option<MergedDir>, path: &[u8], pending: bool) -> Result<Self> {
        let listed = new.names().and_then(|mut names| {
            if let Some(old) = &old {
                names.extend(old.names()?);
            }
            Ok(names)
        });
        let mut names: Vec<OsString> = match listed {
            Err(error) if is_gone(&error) => Vec::new(),
            listed => listed
                .map_err(unread(path))?
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
        };
        names.sort_unstable();
        names.dedup();
        names.reverse();
        Ok(Self {
            new,
            old,
            names,
            path: path.len(),
            pending,
        })
    }
}

/// Packs the difference of a whole tree and its image as a layer.
pub(crate) fn pack<W: Write>(
    packer: &mut Packer<W>,
    new: MergedDir,
    old: MergedDir,
    since: Moment,
) -> Result<()> {
    let mut path: Vec<u8> = Vec::new();
    // The root itself is the caller's.
    let mut stack = vec![Frame::new(new, Some(old), &path, false)?];
    while let Some(frame) = stack.last_mut() {
        path.truncate(frame.path);
        let Some(name) = frame.names.pop() else {
            stack.pop();
            continue;
        };
        let now = look_up(Some(&frame.new), &name).map_err(unread(&path))?;
        let before = look_up(frame.old.as_ref(), &name).map_err(unread(&path))?;
        let is_changed = match (metadata(&now), metadata(&before)) {
            (Some(now), before) => is_changed(&now, before.as_ref(), since),
            (None, before) => before.is_some(),
        };
        match now {
            Found::Nothing if is_changed => {
                let dir = parents(packer, &mut stack, &path)?;
                packer.whiteout(&path, &name, &dir)?;
            }
            Found::Nothing => {}
            Found::Other(object) if is_changed => {
                parents(packer, &mut stack, &path)?;
                let Some(frame) = stack.last() else { break };
                path.extend_from_slice(name.as_bytes());
                packer.object(&frame.new, &object, &path)?;
            }
            Found::Other(_) => {}
            Found::Directory(below) => {
                if stack.len() >= MAX_DEPTH {
                    return Err(Error::LimitExceeded {
                        what: format!("a directory is nested deeper than {MAX_DEPTH}"),
                    });
                }
                if is_changed {
                    parents(packer, &mut stack, &path)?;
                }
                path.extend_from_slice(name.as_bytes());
                path.push(b'/');
                if is_changed && let Some(dir) = below.topmost() {
                    packer.directory(dir, &path)?;
                }
                let old = match before {
                    Found::Directory(before) => Some(before),
                    Found::Nothing | Found::Other(_) => None,
                };
                stack.push(Frame::new(below, old, &path, !is_changed)?);
            }
        }
    }
    Ok(())
}

/// Packs the directories above that are not in the archive yet; returns what the last one is.
fn parents<W: Write>(packer: &mut Packer<W>, stack: &mut [Frame], path: &[u8]) -> Result<Metadata> {
    let mut last = None;
    for frame in stack {
        let Some(dir) = frame.new.topmost() else {
            continue;
        };
        if frame.pending {
            frame.pending = false;
            packer.directory(dir, &path[..frame.path])?;
        }
        last = Some(dir.metadata().map_err(unread(path))?);
    }
    let gone = || sys::Error::new("fstat", rustix::io::Errno::NOENT);
    let dir = last.ok_or_else(gone).map_err(unread(path))?;
    // Whoever removed something was root in the container, as far as a layer tells.
    Ok(Metadata {
        uid: 0,
        gid: 0,
        ..dir
    })
}

fn look_up(directory: Option<&MergedDir>, name: &std::ffi::OsStr) -> sys::Result<Found> {
    match directory.map(|directory| directory.find(name)) {
        None => Ok(Found::Nothing),
        Some(Err(error)) if is_gone(&error) => Ok(Found::Nothing),
        Some(found) => found,
    }
}

fn metadata(found: &Found) -> Option<Metadata> {
    match found {
        Found::Nothing => None,
        Found::Other(object) => Some(object.metadata),
        Found::Directory(directory) => directory.topmost()?.metadata().ok(),
    }
}

fn is_changed(now: &Metadata, before: Option<&Metadata>, since: Moment) -> bool {
    let Some(before) = before else {
        return true;
    };
    let of = |found: &Metadata| {
        let content = match found.kind {
            // What is in it says so itself.
            Kind::Directory => None,
            _ => Some((found.size, found.rdev, found.mtime, found.mtime_nanos)),
        };
        (found.kind, found.mode, found.uid, found.gid, content)
    };
    // A directory's own entry is needed where its attributes changed, which its time tells.
    Moment::from(now.changed) >= since || of(now) != of(before)
}
