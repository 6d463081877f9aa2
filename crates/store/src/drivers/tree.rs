//! Copies what a stack of layers shows into an empty directory, without mounting it.
//!
//! Everything that overlayfs would show arrives: owners, modes, times, attributes, hard links,
//! devices, holes. Bytes are shared with the layers where the file system can (reflink).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sys::root::{Dir, GuestPath, Kind, Root};

use crate::merged::{Found, MergedDir, Object};
use crate::{Error, Result};

/// Directories in directories; each holds descriptors while it is copied.
const MAX_DEPTH: usize = 1024;

/// Copies a stack of layers, given topmost first.
pub(crate) fn copy(layers: &[PathBuf], target: &Path) -> Result<()> {
    let failed = |source| Error::Sys {
        action: format!("copy an image to `{}`", target.display()),
        source,
    };
    let root = Root::open(target).map_err(failed)?;
    let merged = MergedDir::root(layers).map_err(failed)?;
    let own = root.open_dir(&GuestPath::root()).map_err(failed)?;
    let mut copier = Copier {
        root,
        links: HashMap::new(),
        bytes: sys::copy::Copier::default(),
    };
    copier.walk(merged, own)
}

struct Copier {
    root: Root,
    /// Where the first name of a file with several was copied to.
    links: HashMap<(u64, u64), GuestPath>,
    bytes: sys::copy::Copier,
}

/// A directory being copied.
struct Level {
    source: MergedDir,
    target: Dir,
    /// Each with the topmost layer that has it.
    names: Vec<(OsString, usize)>,
    path: GuestPath,
}

impl Copier {
    fn walk(&mut self, source: MergedDir, target: Dir) -> Result<()> {
        let mut stack = vec![level(source, target, GuestPath::root())?];
        loop {
            let depth = stack.len();
            let Some(top) = stack.last_mut() else {
                return Ok(());
            };
            let Some((name, layer)) = top.names.pop() else {
                finish(top)?;
                stack.pop();
                continue;
            };
            let path = top.path.join(&name).unwrap_or_else(|_| top.path.clone());
            let found = top.source.find_from(&name, layer).map_err(failed(&path))?;
            match found {
                Found::Nothing => {}
                Found::Other(object) => {
                    self.object(top, &object, &path).map_err(failed(&path))?;
                }
                Found::Directory(_) if depth >= MAX_DEPTH => {
                    return Err(Error::LimitExceeded {
                        what: format!("a directory is nested deeper than {MAX_DEPTH}"),
                    });
                }
                Found::Directory(below) => {
                    let made = (|| {
                        top.target.mkdir(&name, Mode::from_raw_mode(0o700))?;
                        top.target.open_dir(&name)
                    })();
                    let target = made.map_err(failed(&path))?;
                    stack.push(level(below, target, path)?);
                }
            }
        }
    }

    /// Copies what is no directory.
    fn object(&mut self, at: &Level, object: &Object, path: &GuestPath) -> sys::Result<()> {
        let metadata = &object.metadata;
        let name: &OsStr = &object.name;
        let key = (metadata.device, metadata.inode);
        let several = metadata.links > 1;
        if several && let Some(first) = self.links.get(&key) {
            let (dir, old) = self.root.parent(first)?;
            return at.target.link(&dir, old, name);
        }
        match metadata.kind {
            // An archive cannot hold a socket; a directory is not an object.
            Kind::Socket | Kind::Directory => return Ok(()),
            Kind::File => self.bytes.file(&object.dir, &at.target, name, metadata)?,
            _ => sys::copy::special(&object.dir, &at.target, name, metadata)?,
        }
        if several {
            self.links.insert(key, path.clone());
        }
        Ok(())
    }
}

fn failed(path: &GuestPath) -> impl FnOnce(sys::Error) -> Error {
    let action = format!("copy `/{}` of an image", path.relative().display());
    move |source| Error::Sys { action, source }
}

fn level(source: MergedDir, target: Dir, path: GuestPath) -> Result<Level> {
    let names = source.names().map_err(failed(&path))?;
    Ok(Level {
        source,
        target,
        names,
        path,
    })
}

/// Sets a directory's attributes when all of it is there: writing into it would change its time.
fn finish(level: &Level) -> Result<()> {
    let Some(source) = level.source.topmost() else {
        return Ok(());
    };
    let all = || {
        let metadata = source.metadata()?;
        sys::copy::dress(source.as_fd(), level.target.as_fd(), &metadata)
    };
    all().map_err(failed(&level.path))
}
