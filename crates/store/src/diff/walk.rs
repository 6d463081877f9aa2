//! Walking a stack of layers in the order of Docker's archives: names sorted, parents first.
//!
//! Two ways: *merged*, what a container sees; and *upper*, what its writable layer adds, with marks
//! for what it hides. Where the upper way meets a renamed directory it goes on merged: the layers
//! below know that directory under another name, so all of it belongs to the new layer.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use sys::root::Kind;

use super::pack::{Packer, is_gone, unread};
use crate::merged::{Found, MergedDir};
use crate::{Error, Result};

/// Directories in directories; each holds descriptors while it is walked.
const MAX_DEPTH: usize = 1024;

/// What of a directory is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// What is seen.
    Merged,
    /// What the topmost layer has.
    Upper,
}

struct Frame {
    merged: MergedDir,
    way: Way,
    /// Last one first, each with the topmost layer that has it.
    names: Vec<(OsString, usize)>,
    /// Length of the path up to here.
    path: usize,
}

impl Frame {
    fn new(merged: MergedDir, way: Way, path: &[u8]) -> Result<Self> {
        let listed = match (way, merged.upper()) {
            (Way::Merged, _) => merged.names(),
            (Way::Upper, None) => Ok(Vec::new()),
            (Way::Upper, Some(upper)) => upper.names().map(|names| {
                let mut names: Vec<_> = names.into_iter().map(|name| (name, 0)).collect();
                names.sort_unstable();
                names
            }),
        };
        let mut names = listed.map_err(unread(path))?;
        names.reverse();
        Ok(Self {
            merged,
            way,
            names,
            path: path.len(),
        })
    }
}

/// Packs everything below a directory.
pub(crate) fn pack<W: Write>(packer: &mut Packer<W>, root: MergedDir, way: Way) -> Result<()> {
    pack_below(packer, root, way, Vec::new())
}

/// Packs everything below a directory under a path, which ends with a slash.
pub(crate) fn pack_below<W: Write>(
    packer: &mut Packer<W>,
    root: MergedDir,
    way: Way,
    mut path: Vec<u8>,
) -> Result<()> {
    let mut stack = vec![Frame::new(root, way, &path)?];
    loop {
        let depth = stack.len();
        let Some(frame) = stack.last_mut() else {
            return Ok(());
        };
        path.truncate(frame.path);
        let Some((name, layer)) = frame.names.pop() else {
            stack.pop();
            continue;
        };
        let found = match frame.merged.find_from(&name, layer) {
            Ok(found) => found,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(unread(&path)(error)),
        };
        match found {
            Found::Directory(below) => {
                path.extend_from_slice(name.as_bytes());
                path.push(b'/');
                if depth >= MAX_DEPTH {
                    return Err(Error::LimitExceeded {
                        what: format!("a directory is nested deeper than {MAX_DEPTH}"),
                    });
                }
                let way = directory(packer, &below, frame.way, &path)?;
                stack.push(Frame::new(below, way, &path)?);
            }
            Found::Other(object) => {
                path.extend_from_slice(name.as_bytes());
                packer.object(&frame.merged, &object, &path)?;
            }
            Found::Nothing if frame.way == Way::Merged => {}
            Found::Nothing => {
                let there = frame.merged.upper().map(|upper| upper.find(&name));
                let there = there.transpose().map_err(unread(&path))?.flatten();
                if let Some(mark) = there.filter(|there| there.is_whiteout()) {
                    packer.whiteout(&path, &name, &mark)?;
                }
            }
        }
    }
}

/// Packs a directory itself, and tells how to go on in it.
fn directory<W: Write>(
    packer: &mut Packer<W>,
    below: &MergedDir,
    way: Way,
    path: &[u8],
) -> Result<Way> {
    let Some(dir) = below.topmost() else {
        return Ok(way);
    };
    debug_assert_eq!(
        dir.metadata().map(|found| found.kind).ok(),
        Some(Kind::Directory)
    );
    packer.directory(dir, path)?;
    if way == Way::Upper && !below.is_plain() {
        packer.opaque(dir, path)?;
    }
    match way == Way::Upper && below.is_renamed() {
        true => Ok(Way::Merged),
        false => Ok(way),
    }
}
