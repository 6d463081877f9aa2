//! Writing objects of a stack of layers into a tar archive, as Docker's daemon writes them.
//!
//! Times are cut to seconds, names of owners are left out, sockets too, a second name of an inode is
//! a hard link to the first. What vanishes between being listed and being read is left out: the
//! container may be running.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::root::{Dir, Kind, Metadata};

use crate::merged::{METACOPY, MergedDir, Object};
use crate::stream::CHUNK;
use crate::tarwrite::{Flag, Header, TarWriter};
use crate::{Error, Result};

/// Which extended attributes go into the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Xattrs {
    /// Capabilities alone: what Docker exports.
    Capability,
    /// All that a layer may set.
    Layer,
}

const CAPABILITY: &[u8] = b"security.capability";

/// Packs objects; made for one archive.
pub(crate) struct Packer<W> {
    tar: TarWriter<W>,
    seen: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    xattrs: Xattrs,
}

type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

impl<W: Write> Packer<W> {
    pub(crate) fn new(out: W, xattrs: Xattrs) -> Self {
        Self {
            tar: TarWriter::new(out),
            seen: HashMap::new(),
            buffer: vec![0; CHUNK],
            xattrs,
        }
    }

    pub(crate) fn finish(self) -> Result<W> {
        self.tar.finish().map_err(unwritten)
    }

    /// Writes a directory; its path ends with a slash.
    pub(crate) fn directory(&mut self, dir: &Dir, path: &[u8]) -> Result<()> {
        let metadata = dir.metadata().map_err(unread(path))?;
        let (xattrs, _) = self.attributes_of(dir.as_fd(), path)?;
        let header = Header {
            path,
            flag: Flag::Directory,
            xattrs: &xattrs,
            ..header(&metadata)
        };
        self.tar.begin(&header).map_err(unwritten)
    }

    /// Writes the mark that a directory hides what is below it.
    pub(crate) fn opaque(&mut self, dir: &Dir, path: &[u8]) -> Result<()> {
        let metadata = dir.metadata().map_err(unread(path))?;
        let header = Header {
            path: &[path, b".wh..wh..opq"].concat(),
            mode: metadata.mode & 0o777,
            mtime: 0,
            ..header(&metadata)
        };
        self.tar.begin(&header).map_err(unwritten)
    }

    /// Writes the mark that a name is gone; `parent` is empty or ends with a slash.
    pub(crate) fn whiteout(
        &mut self,
        parent: &[u8],
        name: &OsStr,
        metadata: &Metadata,
    ) -> Result<()> {
        let header = Header {
            path: &[parent, b".wh.", name.as_bytes()].concat(),
            mode: 0o600,
            ..header(metadata)
        };
        self.tar.begin(&header).map_err(unwritten)
    }

    /// Writes what is no directory; `merged` is the directory it was found in.
    pub(crate) fn object(
        &mut self,
        merged: &MergedDir,
        object: &Object,
        path: &[u8],
    ) -> Result<()> {
        let flag = match object.metadata.kind {
            Kind::File => return self.file(merged, object, path),
            Kind::Symlink => Flag::Symlink,
            Kind::CharDevice => Flag::CharDevice,
            Kind::BlockDevice => Flag::BlockDevice,
            Kind::Fifo => Flag::Fifo,
            // An archive cannot hold a socket; a directory is not an object.
            Kind::Socket | Kind::Directory => return Ok(()),
        };
        let mut link = Vec::new();
        if flag == Flag::Symlink {
            match object.dir.readlink(&object.name) {
                Ok(text) => link = text.into_encoded_bytes(),
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(unread(path)(error)),
            }
        }
        let xattrs = match self.xattrs {
            // Capabilities are of files alone.
            Xattrs::Capability => Attributes::new(),
            Xattrs::Layer => match attributes_at(object) {
                Ok(xattrs) => xattrs,
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(unread(path)(error)),
            },
        };
        let mut header = Header {
            path,
            flag,
            link: &link,
            xattrs: &xattrs,
            ..header(&object.metadata)
        };
        if matches!(flag, Flag::CharDevice | Flag::BlockDevice) {
            let rdev = object.metadata.rdev;
            header.device = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        }
        let first = self.first_name(&object.metadata, path);
        if let Some(first) = &first {
            header.flag = Flag::HardLink;
            header.link = first;
        }
        self.tar.begin(&header).map_err(unwritten)
    }

    fn file(&mut self, merged: &MergedDir, object: &Object, path: &[u8]) -> Result<()> {
        let Some((mut file, metadata)) = open(object).map_err(unread(path))? else {
            return Ok(());
        };
        let (xattrs, is_metacopy) = self.attributes_of(file.as_fd(), path)?;
        if is_metacopy {
            let data = merged.data_of(object).map_err(unread(path))?;
            let data = match &data {
                Some(data) => open(data).map_err(unread(path))?,
                None => None,
            };
            file = data.map(|(file, _)| file).ok_or_else(|| Error::Io {
                action: "find the bytes of",
                path: Path::new(OsStr::from_bytes(path)).to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            })?;
        }
        let mut header = Header {
            path,
            xattrs: &xattrs,
            ..header(&metadata)
        };
        let first = self.first_name(&metadata, path);
        if let Some(first) = &first {
            header.flag = Flag::HardLink;
            header.link = first;
            header.size = 0;
        }
        self.tar.begin(&header).map_err(unwritten)?;
        self.copy(&mut file, path)
    }

    /// Copies what the header promised: a file that grew is cut, one that shrank is filled.
    fn copy(&mut self, file: &mut File, path: &[u8]) -> Result<()> {
        while self.tar.missing() > 0 {
            let want = usize::try_from(self.tar.missing())
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            match file.read(&mut self.buffer[..want]) {
                Ok(0) => return self.tar.fill().map_err(unwritten),
                Ok(len) => self.tar.payload(&self.buffer[..len]).map_err(unwritten)?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Io {
                        action: "read",
                        path: Path::new(OsStr::from_bytes(path)).to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// The name under which an inode is in the archive already.
    fn first_name(&mut self, metadata: &Metadata, path: &[u8]) -> Option<Vec<u8>> {
        if metadata.links < 2 {
            return None;
        }
        let inode = (metadata.device, metadata.inode);
        if let Some(first) = self.seen.get(&inode) {
            return Some(first.clone());
        }
        self.seen.insert(inode, path.to_vec());
        None
    }

    /// Attributes that go into the archive, and whether the file's bytes are elsewhere.
    fn attributes_of(&mut self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<(Attributes, bool)> {
        let len = match rustix::fs::flistxattr(fd, &mut self.buffer[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok((Attributes::new(), false)),
            Ok(len) => len,
            Err(errno) => {
                let source = sys::Error::new("flistxattr", errno);
                return Err(unread(path)(source));
            }
        };
        let mut kept = Attributes::new();
        let mut is_metacopy = false;
        for name in self.buffer[..len].split(|c| *c == 0) {
            is_metacopy |= name == METACOPY.as_bytes();
            if !is_kept(name, self.xattrs) {
                continue;
            }
            let value = sys::xattr::get(fd, OsStr::from_bytes(name)).map_err(unread(path))?;
            kept.extend(value.map(|value| (name.to_vec(), portable(name, value))));
        }
        Ok((kept, is_metacopy))
    }
}

fn attributes_at(object: &Object) -> sys::Result<Attributes> {
    let mut kept = Attributes::new();
    for name in sys::xattr::list_at(&object.dir, &object.name)? {
        if is_kept(name.as_bytes(), Xattrs::Layer) {
            let value = sys::xattr::get_at(&object.dir, &object.name, &name)?;
            kept.extend(value.map(|value| (name.as_bytes().to_vec(), value)));
        }
    }
    Ok(kept)
}

fn is_kept(name: &[u8], xattrs: Xattrs) -> bool {
    if name == CAPABILITY {
        return true;
    }
    // A PAX record cannot hold a key with an equals sign.
    if xattrs == Xattrs::Capability || name.contains(&b'=') {
        return false;
    }
    let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let kept = name.starts_with(b"user.") || name.starts_with(b"trusted.");
    (kept && !overlay) || name.starts_with(b"system.posix_acl_")
}

/// Capabilities of a user namespace mean nothing elsewhere: they lose its root's id, as in Docker.
fn portable(name: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    const REVISION: usize = 3;
    const LEN_2: usize = 20;
    if name == CAPABILITY && value.get(REVISION) == Some(&3) {
        value[REVISION] = 2;
        value.truncate(LEN_2);
    }
    value
}

fn header(metadata: &Metadata) -> Header<'static> {
    Header {
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        size: match metadata.kind {
            Kind::File => metadata.size,
            _ => 0,
        },
        mtime: metadata.mtime,
        ..Header::default()
    }
}

/// Opens a regular file; `None` when it is gone or something else by now.
fn open(object: &Object) -> sys::Result<Option<(File, Metadata)>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let opened = if object.layer > 0 {
        // Nobody changes layers: this is still the file that was looked up.
        object.dir.open(&object.name, flags, Mode::empty())
    } else {
        open_checked(object, flags)
    };
    let fd = match opened {
        Ok(fd) => fd,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = sys::root::metadata(fd.as_fd())?;
    Ok((metadata.kind == Kind::File).then(|| (File::from(fd), metadata)))
}

/// Opens a file of a container that may run, and may put a device in its place: to open some
/// devices is to act on them, so what is there is held first, looked at, and opened then.
fn open_checked(object: &Object, flags: OFlags) -> sys::Result<OwnedFd> {
    let held = object.dir.open(&object.name, OFlags::PATH, Mode::empty())?;
    if sys::root::metadata(held.as_fd())?.kind != Kind::File {
        return Err(sys::Error::new("openat", Errno::NOENT));
    }
    let name = format!("/proc/self/fd/{}", held.as_raw_fd());
    rustix::fs::open(name.as_str(), flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| sys::Error::new(format!("open(`{name}`)"), errno))
}

/// Whether an object vanished since it was listed, or is another one.
pub(crate) fn is_gone(error: &sys::Error) -> bool {
    matches!(
        error.errno(),
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE
    )
}

pub(crate) fn unread(path: &[u8]) -> impl FnOnce(sys::Error) -> Error {
    let path = String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
    move |source| Error::Sys {
        action: format!("read `/{path}`"),
        source,
    }
}

fn unwritten(source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::BrokenPipe => Error::Cancelled,
        _ => Error::Io {
            action: "write",
            path: "the archive".into(),
            source,
        },
    }
}
