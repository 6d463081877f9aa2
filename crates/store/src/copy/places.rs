//! The directories that an archive's entries are put into.
//!
//! Most of an archive goes into directories that it made itself. There an overlay shows what its
//! upper directory holds and nothing else, so in a tree at rest they are filled in the upper
//! directory: the overlay has no share in each file.
//!
//! ```text
//! tree    look up ─► mkdir ─┐
//! upper                     └─► open_exact ─► create_file, mkdir, symlink, link, …
//! ```
//!
//! An overlay remembers every name that it was asked for and is not told of what happens below
//! it. So it is not asked for anything in such a directory: the first entry that might reach one
//! by another way (a link, something mounted, a hard link across) ends this for the whole archive,
//! and the overlay then finds there what it would have made.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::rc::Rc;

use rustix::fs::Mode;
use rustix::io::Errno;
use sys::root::{Dir, GuestPath, Root, Times};

use crate::{Error, Result};

/// Mode of directories that an archive takes for granted.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);

/// The way to a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the tree; `exact` if there is no link and no mount on it.
    Tree { exact: bool },
    /// In the upper directory: this archive made it.
    Upper,
}

/// A directory that entries lie in.
#[derive(Debug)]
pub(super) struct Place {
    dir: Dir,
    way: Way,
}

impl std::ops::Deref for Place {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

/// Times that a directory gets when everything is in it.
struct Pending {
    path: GuestPath,
    way: Way,
    inode: u64,
    times: Times,
}

/// The directories of a tree, looked up and made.
pub(super) struct Places<'t> {
    root: &'t Root,
    /// Upper directory of a tree that is an overlay at rest.
    upper: Option<&'t Root>,
    /// Something might reach what is in `made` by another way.
    merged: bool,
    /// What this archive made, and is filled in the upper directory.
    made: HashSet<GuestPath>,
    /// The directory of the last entry: the next one is mostly in it too.
    last: Option<(GuestPath, Rc<Place>)>,
    pending: Vec<Pending>,
}

impl<'t> Places<'t> {
    pub(super) fn new(root: &'t Root, upper: Option<&'t Root>) -> Self {
        Self {
            root,
            upper,
            merged: false,
            made: HashSet::new(),
            last: None,
            pending: Vec::new(),
        }
    }

    /// Opens the directory that an entry lies in, and makes what is missing of it.
    pub(super) fn find(&mut self, path: GuestPath) -> sys::Result<Rc<Place>> {
        if let Some((known, place)) = &self.last
            && *known == path
        {
            return Ok(Rc::clone(place));
        }
        let place = match self.look_up(&path) {
            Err(error) if error.errno() == Errno::NOENT => {
                self.root.mkdir_all(&path, IMPLIED)?;
                self.look_up(&path)?
            }
            found => found?,
        };
        let place = Rc::new(place);
        self.last = Some((path, Rc::clone(&place)));
        Ok(place)
    }

    fn look_up(&mut self, path: &GuestPath) -> sys::Result<Place> {
        let Some(upper) = self.upper.filter(|_| !self.merged) else {
            return self.through_tree(path);
        };
        if self.made.contains(path) {
            let (dir, way) = (upper.open_exact(path)?, Way::Upper);
            return Ok(Place { dir, way });
        }
        if self.is_below_made(path) {
            self.merge();
            return self.through_tree(path);
        }
        match self.root.open_exact(path) {
            Ok(dir) => {
                let way = Way::Tree { exact: true };
                Ok(Place { dir, way })
            }
            Err(error) if error.errno() == Errno::NOENT => Err(error),
            Err(_) => {
                if !self.made.is_empty() {
                    self.merge();
                }
                self.through_tree(path)
            }
        }
    }

    fn through_tree(&self, path: &GuestPath) -> sys::Result<Place> {
        let (dir, way) = (self.root.open_dir(path)?, Way::Tree { exact: false });
        Ok(Place { dir, way })
    }

    fn is_below_made(&self, path: &GuestPath) -> bool {
        let above = |path: &GuestPath| path.split().map(|(above, _)| above);
        let mut next = above(path).filter(|_| !self.made.is_empty());
        while let Some(directory) = next {
            if self.made.contains(&directory) {
                return true;
            }
            next = above(&directory);
        }
        false
    }

    /// From here on everything goes through the tree.
    pub(super) fn merge(&mut self) {
        self.merged = true;
        self.made.clear();
        self.last = None;
    }

    /// Makes a directory that is not there, and opens it.
    pub(super) fn make(&mut self, place: &Place, path: &GuestPath) -> sys::Result<Place> {
        place.mkdir(path.name(), Mode::RWXU)?;
        let (dir, way) = match (place.way, self.upper.filter(|_| !self.merged)) {
            (Way::Tree { exact: true }, Some(upper)) => (upper.open_exact(path)?, Way::Upper),
            (way, _) => (place.open_dir(path.name())?, way),
        };
        if way == Way::Upper && !self.merged {
            self.made.insert(path.clone());
        }
        Ok(Place { dir, way })
    }

    /// Opens a directory that is there.
    pub(super) fn open(&self, place: &Place, name: &OsStr) -> sys::Result<Place> {
        let (dir, way) = (place.open_dir(name)?, place.way);
        Ok(Place { dir, way })
    }

    /// Opens the directory of what a hard link is made to; the link will lie in `beside`.
    pub(super) fn of_link(&mut self, path: &GuestPath, beside: &GuestPath) -> sys::Result<Place> {
        if self.made.contains(path) != self.made.contains(beside) {
            self.merge();
        }
        self.look_up(path)
    }

    /// A directory is removed with all that is in it, perhaps what this archive made.
    pub(super) fn removed(&mut self) {
        if !self.made.is_empty() {
            self.merge();
        }
    }

    /// Remembers the times of a directory until everything is in it.
    pub(super) fn set_later(
        &mut self,
        place: &Place,
        path: GuestPath,
        times: Times,
    ) -> sys::Result<()> {
        let (way, inode) = (place.way, place.metadata()?.inode);
        self.pending.push(Pending {
            path,
            way,
            inode,
            times,
        });
        Ok(())
    }

    /// Sets the times of directories, now that everything is in them.
    pub(super) fn finish(self) -> Result<()> {
        // In their order: a directory that the archive names twice gets the later times.
        for pending in self.pending {
            let path = &pending.path;
            let dir = match (pending.way, self.upper) {
                (Way::Upper, Some(upper)) => upper.open_exact(path),
                _ => self.root.open_dir(path),
            };
            // Whoever uses the tree may have put something else there.
            let Ok(dir) = dir else { continue };
            if dir
                .metadata()
                .is_ok_and(|found| found.inode == pending.inode)
            {
                sys::root::set_open_times(dir.as_fd(), pending.times).map_err(|source| {
                    Error::Sys {
                        action: format!("set the times of `{path}`"),
                        source,
                    }
                })?;
            }
        }
        Ok(())
    }
}
