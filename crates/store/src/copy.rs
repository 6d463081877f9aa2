//! Copying into and out of a tree that is in use: what `docker cp` does.
//!
//! The tree may be that of a running container, which changes links and mounts meanwhile. So nothing
//! is reached by a path that was looked at before: every directory is resolved inside the tree's
//! root by the kernel, and what is done in it is done by its descriptor and one name.

mod extract;
mod filler;
mod places;

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use spec::Timestamp;
use sys::root::{GuestPath, Kind, Metadata, Root};

pub use extract::{Extract, extract};

use crate::diff::{Packer, Way, Xattrs, pack_below};
use crate::merged::{Found, MergedDir};
use crate::{Error, Result};

/// Links that are followed to tell where a link leads.
const MAX_LINKS: usize = 40;

/// A path as users write it: a slash or `/.` at the end says that a directory is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPath {
    path: GuestPath,
    /// A link in the last name is followed, and what is there must be a directory.
    directory: bool,
    /// What is in the directory, rather than the directory under its name.
    contents: bool,
    /// The text, for messages.
    given: String,
}

/// What there is at a path, as Docker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStat {
    /// Last name of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Type and permissions in the bits of Go's `fs.FileMode`.
    pub mode: u32,
    /// Time of its last change.
    pub modified: Timestamp,
    /// Where a link leads inside the tree; empty for others.
    pub link_target: String,
}

impl CopyPath {
    /// Reads a path; a relative one starts at the root.
    ///
    /// # Errors
    ///
    /// It contains a NUL byte.
    pub fn parse(text: &str) -> Result<Self> {
        let path = GuestPath::new(text).map_err(|error| Error::InvalidOption {
            what: error.to_string(),
        })?;
        let contents = text == "." || text.ends_with("/.");
        Ok(Self {
            directory: contents || text.ends_with('/') || path.is_root(),
            contents,
            path,
            given: text.to_owned(),
        })
    }

    /// Name of the topmost entry of an archive of it.
    fn base(&self) -> &[u8] {
        match self.path.split_bytes() {
            _ if self.contents => b".",
            None => b"/",
            Some((_, name)) => name,
        }
    }

    fn resolve(&self, root: &Root) -> Result<(std::os::fd::OwnedFd, Metadata)> {
        let found = if self.directory {
            root.resolve(&self.path)
        } else {
            root.resolve_no_follow(&self.path)
        };
        let found = found.map_err(|source| self.failed(source))?;
        let metadata = sys::root::metadata(found.as_fd()).map_err(|source| self.failed(source))?;
        if self.directory && metadata.kind != Kind::Directory {
            return Err(self.failed(sys::Error::new("openat2", Errno::NOTDIR)));
        }
        Ok((found, metadata))
    }

    fn failed(&self, source: sys::Error) -> Error {
        let path = self.given.clone();
        match source.errno() {
            Errno::NOENT | Errno::LOOP => Error::NoSuchPath { path },
            Errno::NOTDIR => Error::InvalidOption {
                what: format!("lstat {path}: not a directory"),
            },
            _ => Error::Sys {
                action: format!("look at `{path}`"),
                source,
            },
        }
    }
}

/// Tells what there is at a path.
///
/// # Errors
///
/// [`Error::NoSuchPath`], or the disk failed.
pub fn stat(root: &Root, path: &CopyPath) -> Result<CopyStat> {
    let (_, metadata) = path.resolve(root)?;
    Ok(CopyStat {
        name: String::from_utf8_lossy(path.base()).into_owned(),
        size: metadata.size,
        mode: go_mode(&metadata),
        modified: Timestamp::from_unix(metadata.mtime, metadata.mtime_nanos),
        link_target: match metadata.kind {
            Kind::Symlink => leads_to(root, &path.path),
            _ => String::new(),
        },
    })
}

/// Go's bits of a file mode.
fn go_mode(metadata: &Metadata) -> u32 {
    const BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let kind = match metadata.kind {
        Kind::File => 0,
        Kind::Directory => 1 << 31,
        Kind::Symlink => 1 << 27,
        Kind::BlockDevice => 1 << 26,
        Kind::Fifo => 1 << 25,
        Kind::Socket => 1 << 24,
        Kind::CharDevice => 1 << 26 | 1 << 21,
    };
    let special = BITS.iter().filter(|(bit, _)| metadata.mode & bit != 0);
    special.fold(kind | metadata.mode & 0o777, |mode, (_, go)| mode | go)
}

/// Where a link leads in the end, as a path of the tree. Only told, never used: it may change.
fn leads_to(root: &Root, path: &GuestPath) -> String {
    let mut at = path.clone();
    for _ in 0..MAX_LINKS {
        let Some(next) = one_link(root, &at) else {
            break;
        };
        at = next;
    }
    format!("/{}", at.relative().display())
}

/// Replaces the first name of a path that is a link by what the link says.
fn one_link(root: &Root, path: &GuestPath) -> Option<GuestPath> {
    let names: Vec<&[u8]> = path
        .relative()
        .as_bytes()
        .split(|c| *c == b'/')
        .filter(|name| !name.is_empty())
        .collect();
    for count in 1..=names.len() {
        let prefix = GuestPath::new(OsStr::from_bytes(&names[..count].join(&b'/'))).ok()?;
        let (parent, name) = root.parent(&prefix).ok()?;
        let Ok(text) = parent.readlink(name) else {
            continue;
        };
        let above = GuestPath::new(OsStr::from_bytes(&names[..count - 1].join(&b'/'))).ok()?;
        let target = match text.as_bytes() {
            [b'/', ..] => GuestPath::new(&text).ok()?,
            _ => above.join(&text).ok()?,
        };
        return target
            .join(OsStr::from_bytes(&names[count..].join(&b'/')))
            .ok();
    }
    None
}

/// Writes what there is at a path as an archive, its last name on top.
///
/// # Errors
///
/// [`Error::NoSuchPath`], [`Error::Cancelled`] where the reader is gone, or the disk failed.
pub fn pack(root: &Root, path: &CopyPath, out: &mut dyn Write) -> Result<()> {
    pack_with(root, path, out, Xattrs::Capability)
}

/// Like [`pack`], with all extended attributes that a layer may set: what [`extract`] sets again.
///
/// # Errors
///
/// Those of [`pack`].
pub fn pack_exactly(root: &Root, path: &CopyPath, out: &mut dyn Write) -> Result<()> {
    pack_with(root, path, out, Xattrs::Layer)
}

fn pack_with(root: &Root, path: &CopyPath, out: &mut dyn Write, xattrs: Xattrs) -> Result<()> {
    let (found, metadata) = path.resolve(root)?;
    let base = path.base().to_vec();
    let mut packer = Packer::new(out, xattrs);
    if metadata.kind == Kind::Directory {
        let merged = tree(&found).map_err(|source| path.failed(source))?;
        let prefix = match base.as_slice() {
            b"/" => base,
            _ => [base.as_slice(), b"/"].concat(),
        };
        if let Some(dir) = merged.topmost() {
            packer.directory(dir, &prefix)?;
        }
        pack_below(&mut packer, merged, Way::Merged, prefix)?;
    } else {
        let (parent, name) = root
            .parent(&path.path)
            .map_err(|source| path.failed(source))?;
        let merged = tree(&parent).map_err(|source| path.failed(source))?;
        match merged.find(name).map_err(|source| path.failed(source))? {
            Found::Other(object) => packer.object(&merged, &object, &base)?,
            // It was something else a moment ago.
            Found::Nothing | Found::Directory(_) => {
                return Err(path.failed(sys::Error::new("openat", Errno::NOENT)));
            }
        }
    }
    packer.finish().map(drop)
}

/// A directory as a stack of one layer, which is how archives are made.
fn tree(directory: &impl AsFd) -> sys::Result<MergedDir> {
    let path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    MergedDir::root(&[PathBuf::from(path)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_meant() {
        let of = |text: &str| {
            let path = CopyPath::parse(text).unwrap();
            (
                String::from_utf8(path.base().to_vec()).unwrap(),
                path.directory,
            )
        };
        assert_eq!(of("/d"), ("d".to_owned(), false));
        assert_eq!(of("d/f"), ("f".to_owned(), false));
        assert_eq!(of("/d/"), ("d".to_owned(), true));
        assert_eq!(of("/d/."), (".".to_owned(), true));
        assert_eq!(of("/"), ("/".to_owned(), true));
        assert_eq!(of("/."), (".".to_owned(), true));
        assert_eq!(of("."), (".".to_owned(), true));
        assert_eq!(of("/a/../b"), ("b".to_owned(), false));
        assert!(CopyPath::parse("/a\0").is_err());
    }

    #[test]
    fn links_are_told_as_paths_of_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let link = |text: &str, name: &str| {
            std::os::unix::fs::symlink(text, dir.path().join(name)).unwrap();
        };
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), b"hi\n").unwrap();
        link("f", "d/l");
        link("/d", "dl");
        link("/nope", "dang");
        link("loop", "loop");
        link("../../../etc/passwd", "out");
        let root = Root::open(dir.path()).unwrap();
        let target = |text: &str| {
            stat(&root, &CopyPath::parse(text).unwrap())
                .unwrap()
                .link_target
        };
        assert_eq!(target("/d/l"), "/d/f");
        assert_eq!(target("/dl"), "/d");
        assert_eq!(target("/dl/l"), "/d/f");
        assert_eq!(target("/dang"), "/nope");
        assert_eq!(target("/loop"), "/loop");
        assert_eq!(target("/out"), "/etc/passwd");
        assert_eq!(target("/dl/"), "");
        let file = stat(&root, &CopyPath::parse("/dl/f").unwrap()).unwrap();
        assert_eq!((file.name.as_str(), file.size, file.mode), ("f", 3, 0o644));
        for missing in ["/nope", "/dang/", "/loop/"] {
            let error = stat(&root, &CopyPath::parse(missing).unwrap()).unwrap_err();
            assert!(
                matches!(error, Error::NoSuchPath { .. }),
                "{missing}: {error}"
            );
        }
    }

    #[test]
    fn modes_are_gos() {
        let metadata = |kind, mode| Metadata {
            kind,
            mode,
            ..sys::root::metadata(std::fs::File::open("/").unwrap().as_fd()).unwrap()
        };
        assert_eq!(go_mode(&metadata(Kind::Directory, 0o755)), 2_147_484_141);
        assert_eq!(go_mode(&metadata(Kind::Symlink, 0o777)), 134_218_239);
        assert_eq!(go_mode(&metadata(Kind::File, 0o4755)), 1 << 23 | 0o755);
        assert_eq!(
            go_mode(&metadata(Kind::Directory, 0o1777)),
            1 << 31 | 1 << 20 | 0o777
        );
    }
}
