//! The directories that entries lie in: resolved inside the layer's root, kept open, made where
//! the archive has no entry for them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::Mode;
use sys::root::{Dir, GuestPath, Root};

use super::attributes::{failed, failed_entry, is_absent, refused, set_opaque};
use crate::Result;
use crate::tar::Entry;

/// Mode of directories that entries lie in but no entry makes.
const IMPLIED: u32 = 0o755;
/// Directories kept open: parents of coming entries are mostly parents of past ones.
const CACHE: usize = 128;

/// A directory that entries lie in.
#[derive(Debug)]
pub(super) struct Parent {
    dir: Dir,
    /// Its path below the layer's root without any link in it; `None` where it is too long.
    real: Option<Vec<u8>>,
}

impl Parent {
    /// The path of a name in it, without any link in it.
    pub(super) fn path_of(&self, name: &OsStr) -> Option<Vec<u8>> {
        let real = self.real.as_ref()?;
        let slash: &[u8] = if real.is_empty() { b"" } else { b"/" };
        Some([real, slash, name.as_bytes()].concat())
    }
}

impl std::ops::Deref for Parent {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

/// Where a directory is; the kernel shows no path that is longer than a page.
fn shown(dir: &Dir) -> Option<PathBuf> {
    let number = dir.as_fd().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{number}")).ok()
}

/// A layer's root and directories below it.
pub(super) struct Parents {
    root: Root,
    /// Path of the root as the kernel shows it.
    shown: Option<PathBuf>,
    open: HashMap<Vec<u8>, Rc<Parent>>,
    last: Option<(Vec<u8>, Rc<Parent>)>,
    made: u64,
}

impl Parents {
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let root = Root::open(directory).map_err(failed(|| "open the layer".to_owned()))?;
        let top = root
            .open_dir(&GuestPath::root())
            .map_err(failed(|| "open the layer".to_owned()))?;
        Ok(Self {
            shown: shown(&top),
            root,
            open: HashMap::new(),
            last: None,
            made: 0,
        })
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// How many directories were made that have no entry.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Closes all: paths lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.open.clear();
    }

    /// The directory that an entry lies in, made where the archive has no entry for it.
    pub(super) fn find(&mut self, path: &[u8], entry: &Entry) -> Result<Rc<Parent>> {
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(dir));
        }
        let dir = match self.open.get(path) {
            Some(dir) => Rc::clone(dir),
            None => {
                let guest = GuestPath::confined(path)
                    .map_err(|error| refused(entry, &error.to_string()))?;
                let dir = match self.root.open_dir(&guest) {
                    Ok(dir) => dir,
                    Err(error) if is_absent(&error) => self.make_parents(&guest, entry)?,
                    Err(error) => return Err(failed_entry(entry)(error)),
                };
                if self.open.len() >= CACHE {
                    self.open.clear();
                }
                let real = self.real_path(&dir);
                let dir = Rc::new(Parent { dir, real });
                self.open.insert(path.to_vec(), Rc::clone(&dir));
                dir
            }
        };
        self.last = Some((path.to_vec(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn real_path(&self, dir: &Dir) -> Option<Vec<u8>> {
        let shown = shown(dir)?;
        let below = shown.strip_prefix(self.shown.as_ref()?).ok()?;
        Some(below.as_os_str().as_bytes().to_vec())
    }

    /// Makes the directories of a path one by one; each is resolved inside the root again.
    fn make_parents(&mut self, path: &GuestPath, entry: &Entry) -> Result<Dir> {
        let bytes = path.relative().as_bytes();
        let ends = bytes
            .iter()
            .enumerate()
            .filter(|(_, c)| **c == b'/')
            .map(|(at, _)| at);
        for end in ends.chain([bytes.len()]) {
            let prefix = GuestPath::confined(&bytes[..end])
                .map_err(|error| refused(entry, &error.to_string()))?;
            let (dir, name) = self.root.parent(&prefix).map_err(failed_entry(entry))?;
            match dir.find(name).map_err(failed_entry(entry))? {
                None => {
                    let mode = Mode::from_raw_mode(IMPLIED);
                    dir.mkdir(name, mode).map_err(failed_entry(entry))?;
                    self.made += 1;
                    self.imply(&dir, name, entry)?;
                }
                Some(there) if there.is_whiteout() => {
                    dir.unlink(name).map_err(failed_entry(entry))?;
                    dir.mkdir(name, Mode::from_raw_mode(IMPLIED))
                        .map_err(failed_entry(entry))?;
                    let made = self.imply(&dir, name, entry)?;
                    set_opaque(&made).map_err(failed_entry(entry))?;
                }
                Some(_) => {}
            }
        }
        self.root.open_dir(path).map_err(failed_entry(entry))
    }

    // The process's umask may have taken bits away.
    fn imply(&self, dir: &Dir, name: &OsStr, entry: &Entry) -> Result<Dir> {
        let made = dir.open_dir(name).map_err(failed_entry(entry))?;
        made.set_own(0, 0, Mode::from_raw_mode(IMPLIED), None)
            .map_err(failed_entry(entry))?;
        Ok(made)
    }
}
