//! Paths inside a tree that may be hostile: the root file system of a container, a layer.
//!
//! A path inside such a tree is never opened as a string. A [`GuestPath`] is resolved by
//! [`Root`], with [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html) and
//! `RESOLVE_IN_ROOT` (Linux 5.6): absolute symbolic links and `..` end at the tree's root, links
//! of /proc are refused. What is then done to an object is done by the descriptor of its
//! directory and one name ([`Dir`]), never following a link in that name.
//!
//! ```text
//! GuestPath ──Root::parent──► (Dir, name) ──Dir::create_file, mkdir, symlink, link, mknod, …
//!           ──Root::open_dir─► Dir
//!           ──Root::resolve──► O_PATH descriptor
//! ```

mod dir;

pub use dir::{Dir, Kind, Metadata, Times, metadata, set_open, set_open_times};

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// How often a lookup that raced with a rename is tried again; the kernel asks for it by `EAGAIN`.
const RACES: usize = 128;

/// A path as seen from inside a tree: absolute, clean, without `..`.
///
/// Bytes, not text: file names need not be UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(Vec<u8>);

/// A text that cannot be a path inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// The kernel would cut it there.
    #[error("path `{0}` contains a NUL byte")]
    Nul(String),
    /// It climbs above its root.
    #[error("path `{0}` leaves its root")]
    Outside(String),
}

impl GuestPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Cleans a path lexically; `..` above the root ends at the root, as in a process's view.
    ///
    /// # Errors
    ///
    /// [`InvalidPath::Nul`].
    pub fn new(path: impl AsRef<OsStr>) -> std::result::Result<Self, InvalidPath> {
        Self::clean(path.as_ref().as_bytes()).map(|(path, _)| path)
    }

    /// Cleans a path lexically and refuses one that climbs above the root.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`].
    pub fn confined(path: &[u8]) -> std::result::Result<Self, InvalidPath> {
        match Self::clean(path)? {
            (path, false) => Ok(path),
            (_, true) => Err(InvalidPath::Outside(shown(path))),
        }
    }

    fn clean(path: &[u8]) -> std::result::Result<(Self, bool), InvalidPath> {
        if path.contains(&0) {
            return Err(InvalidPath::Nul(shown(path)));
        }
        let mut out = Vec::with_capacity(path.len());
        let mut escaped = false;
        for part in path.split(|c| *c == b'/') {
            match part {
                b"" | b"." => {}
                b".." => match out.iter().rposition(|c| *c == b'/') {
                    Some(at) => out.truncate(at),
                    None if out.is_empty() => escaped = true,
                    None => out.clear(),
                },
                name => {
                    if !out.is_empty() {
                        out.push(b'/');
                    }
                    out.extend_from_slice(name);
                }
            }
        }
        Ok((Self(out), escaped))
    }

    /// Tells whether this is the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path relative to the root, without leading or trailing slash; empty for the root.
    pub fn relative(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    fn or_dot(&self) -> &OsStr {
        match self.is_root() {
            true => OsStr::new("."),
            false => self.relative(),
        }
    }

    /// The last name; `.` for the root.
    pub fn name(&self) -> &OsStr {
        self.split_bytes()
            .map_or(OsStr::new("."), |(_, name)| OsStr::from_bytes(name))
    }

    /// The directory and the last name; `None` for the root.
    pub fn split(&self) -> Option<(Self, &OsStr)> {
        let (parent, name) = self.split_bytes()?;
        Some((Self(parent.to_vec()), OsStr::from_bytes(name)))
    }

    /// The directory's relative path and the last name, borrowed; `None` for the root.
    pub fn split_bytes(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|c| *c == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        })
    }

    /// Number of names.
    pub fn depth(&self) -> usize {
        if self.0.is_empty() {
            0
        } else {
            self.0.iter().filter(|c| **c == b'/').count() + 1
        }
    }

    /// This path with one more name or several appended, cleaned.
    ///
    /// # Errors
    ///
    /// [`InvalidPath::Nul`].
    pub fn join(&self, more: impl AsRef<OsStr>) -> std::result::Result<Self, InvalidPath> {
        let mut path = self.0.clone();
        path.push(b'/');
        path.extend_from_slice(more.as_ref().as_bytes());
        Self::clean(&path).map(|(path, _)| path)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned()
}

/// The root of a tree, held by descriptor.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Opens the directory that is the root of a tree. The path itself is the host's and trusted.
    ///
    /// # Errors
    ///
    /// It is not a directory or cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map(|fd| Self { fd })
            .map_err(|errno| Error::new(format!("open(`{}`)", path.display()), errno))
    }

    /// Takes an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens an object, following links inside the tree; `flags` gets close-on-exec and no-tty.
    ///
    /// # Errors
    ///
    /// As openat2; `ELOOP` for a last link under `O_NOFOLLOW` and for links of /proc.
    pub fn open_at(&self, path: &GuestPath, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        self.open_raw(path.or_dot(), flags, mode)
            .map_err(|errno| Error::new(format!("openat2(`{path}`)"), errno))
    }

    /// Opens a directory that is at exactly this path: no link and no other mount leads to it.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`, `ELOOP` for a link, `EXDEV` for a mount.
    pub fn open_exact(&self, path: &GuestPath) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let exact = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        self.open_resolved(path.or_dot(), flags, Mode::empty(), exact)
            .map(Dir::from_fd)
            .map_err(|errno| Error::new(format!("openat2(`{path}`)"), errno))
    }

    fn open_raw(
        &self,
        relative: &OsStr,
        flags: OFlags,
        mode: Mode,
    ) -> std::result::Result<OwnedFd, Errno> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        self.open_resolved(relative, flags, mode, inside)
    }

    fn open_resolved(
        &self,
        relative: &OsStr,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> std::result::Result<OwnedFd, Errno> {
        // openat2 refuses everything but a few flags beside O_PATH, which opens no terminal anyway.
        let no_tty = if flags.contains(OFlags::PATH) {
            OFlags::empty()
        } else {
            OFlags::NOCTTY
        };
        let flags = flags | OFlags::CLOEXEC | no_tty;
        let mut races = 0;
        loop {
            match rustix::fs::openat2(&self.fd, relative, flags, mode, resolve) {
                Err(Errno::AGAIN) if races < RACES => races += 1,
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Finds an object and holds it by an `O_PATH` descriptor, following links inside the tree.
    ///
    /// # Errors
    ///
    /// It does not exist, or the lookup was refused.
    pub fn resolve(&self, path: &GuestPath) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH, Mode::empty())
    }

    /// Like [`Root::resolve`], but a link in the last name is the object itself.
    ///
    /// # Errors
    ///
    /// As [`Root::resolve`].
    pub fn resolve_no_follow(&self, path: &GuestPath) -> Result<OwnedFd> {
        self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens a directory, following links inside the tree.
    ///
    /// # Errors
    ///
    /// It does not exist or is no directory.
    pub fn open_dir(&self, path: &GuestPath) -> Result<Dir> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .map(Dir::from_fd)
    }

    /// Opens the directory that holds an object, and gives the object's name in it.
    ///
    /// # Errors
    ///
    /// The directory does not exist, or the path is the root (`EISDIR`).
    pub fn parent<'p>(&self, path: &'p GuestPath) -> Result<(Dir, &'p OsStr)> {
        let Some((parent, name)) = path.split_bytes() else {
            return Err(Error::new("openat2(`/..`)", Errno::ISDIR));
        };
        let dir = self.open_dir(&GuestPath(parent.to_vec()))?;
        Ok((dir, OsStr::from_bytes(name)))
    }

    /// Opens a directory and makes what is missing of it, owned by the caller.
    ///
    /// # Errors
    ///
    /// Something in the way is no directory, or a link in it leads nowhere.
    pub fn mkdir_all(&self, path: &GuestPath, mode: Mode) -> Result<Dir> {
        match self.open_dir(path) {
            Err(error) if error.errno() == Errno::NOENT => {}
            done => return done,
        }
        let Some((parent, name)) = path.split() else {
            return self.open_dir(path);
        };
        let dir = self.mkdir_all_iter(&parent, mode)?;
        dir.ensure_dir(name, mode)?;
        // By the whole path again: what is there now may be a link that leads into the tree.
        self.open_dir(path)
    }

    // A loop, because the depth is the archive's to choose.
    fn mkdir_all_iter(&self, path: &GuestPath, mode: Mode) -> Result<Dir> {
        let mut missing: Vec<OsString> = Vec::new();
        let mut at = path.clone();
        let mut dir = loop {
            match self.open_dir(&at) {
                Ok(dir) => break dir,
                Err(error) if error.errno() == Errno::NOENT => {
                    let Some((parent, name)) = at.split() else {
                        return Err(error);
                    };
                    missing.push(OsString::from_vec(name.as_bytes().to_vec()));
                    at = parent;
                }
                Err(error) => return Err(error),
            }
        };
        while let Some(name) = missing.pop() {
            dir.ensure_dir(&name, mode)?;
            dir = dir.open_dir(&name)?;
        }
        Ok(dir)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_confined() {
        for (text, want, inside) in [
            ("", "/", true),
            ("/", "/", true),
            ("./", "/", true),
            ("a/./b//c/", "/a/b/c", true),
            ("/etc/passwd", "/etc/passwd", true),
            ("a/../b", "/b", true),
            ("a/b/../../c", "/c", true),
            ("../x", "/x", false),
            ("a/../../x", "/x", false),
            ("..", "/", false),
            ("...", "/...", true),
        ] {
            assert_eq!(GuestPath::new(text).unwrap().to_string(), want, "{text}");
            assert_eq!(
                GuestPath::confined(text.as_bytes()).is_ok(),
                inside,
                "{text}"
            );
        }
        assert!(GuestPath::new("a\0b").is_err());
        let path = GuestPath::new("/a/b").unwrap();
        assert_eq!(path.join("../../../c").unwrap().to_string(), "/c");
        assert_eq!(path.depth(), 2);
        assert_eq!(path.split_bytes().unwrap(), (&b"a"[..], &b"b"[..]));
        assert_eq!(
            GuestPath::new("x").unwrap().split_bytes().unwrap(),
            (&b""[..], &b"x"[..])
        );
    }
}
