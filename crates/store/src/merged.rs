//! What a stack of layers shows, without mounting it.
//!
//! Follows overlayfs's rules: the topmost object of a name wins, directories are merged until an
//! opaque one or something else lies in between, a whiteout hides what is below.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;

use sys::root::{Dir, GuestPath, Kind, Root};

use crate::unpack::OPAQUE;

/// A merged directory: what it consists of, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct MergedDir {
    parts: Vec<Rc<Dir>>,
}

/// What a name in a merged directory is.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    Directory(MergedDir),
    Other,
}

impl MergedDir {
    /// The root of a stack of layers, given topmost first.
    pub(crate) fn root(layers: &[PathBuf]) -> sys::Result<Self> {
        let open = |path: &PathBuf| Root::open(path)?.open_dir(&GuestPath::root()).map(Rc::new);
        Ok(Self {
            parts: layers.iter().map(open).collect::<sys::Result<_>>()?,
        })
    }

    /// The directory whose attributes are seen; `None` for an empty stack.
    pub(crate) fn topmost(&self) -> Option<&Dir> {
        self.parts.first().map(Rc::as_ref)
    }

    /// Looks a name up.
    pub(crate) fn find(&self, name: &OsStr) -> sys::Result<Found> {
        let mut parts = Vec::new();
        for dir in &self.parts {
            let Some(there) = dir.find(name)? else {
                continue;
            };
            if there.kind != Kind::Directory {
                if parts.is_empty() && !there.is_whiteout() {
                    return Ok(Found::Other);
                }
                break;
            }
            let below = dir.open_dir(name)?;
            let opaque = sys::xattr::get(below.as_fd(), OsStr::new(OPAQUE))?;
            parts.push(Rc::new(below));
            if opaque.as_deref() == Some(b"y") {
                break;
            }
        }
        Ok(match parts.is_empty() {
            true => Found::Nothing,
            false => Found::Directory(Self { parts }),
        })
    }
}
