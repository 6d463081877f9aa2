//! Turning tar entries into files, in the form that overlayfs wants.
//!
//! Every path is taken apart into a directory, resolved inside the layer's root
//! ([`sys::root::Root`]), and one name that is never followed. Whiteouts become what overlayfs
//! reads: `.wh.x` a character device 0:0 called `x`, `.wh..wh..opq` an attribute of its directory.
//!
//! Attributes of directories are set when everything is unpacked: files made in them change their
//! times, and a set-group-id bit would be inherited.

pub(crate) mod attributes;
mod parents;

use std::ffi::OsStr;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::root::{Dir, GuestPath, Kind, Metadata};

pub(crate) use attributes::{OPAQUE, RootEntry};

use super::{Limits, Unpacked, bad_tar};
use crate::tar::{Entries, Entry, EntryKind};
use crate::tarmap::Recorder;
use crate::{Error, Result};
use attributes::{
    Attributes, CAPABILITY, attributes, failed, failed_entry, is_absent, kept_xattrs, refused,
    set_opaque, set_xattr,
};
use parents::{Parent, Parents};

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// The kernel's bound on a path.
const MAX_PATH: usize = 4095;

/// Objects in a directory tree and bytes of those that are no directories, hard links once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

struct PendingDir {
    path: GuestPath,
    inode: u64,
    attributes: Attributes,
}

/// The archive that is unpacked, and its map.
pub(super) type Archive<R> = Entries<Recorder<R>>;

/// A layer being unpacked.
pub(super) struct Applier<'l> {
    parents: Parents,
    limits: &'l Limits,
    pending: Vec<PendingDir>,
    result: Unpacked,
}

impl<'l> Applier<'l> {
    pub(super) fn new(directory: &Path, limits: &'l Limits) -> Result<Self> {
        Ok(Self {
            parents: Parents::new(directory)?,
            limits,
            pending: Vec::new(),
            result: Unpacked {
                diff_id: None,
                size: 0,
                entries: 0,
                opaque_root: false,
                root: None,
                tree: Some(Tree::default()),
                archive: None,
            },
        })
    }

    /// Makes what one entry says; reads its payload from `archive`.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        self.result.entries += 1;
        self.limits.check_entries(self.result.entries)?;
        if entry.path.is_empty() {
            return Err(refused(entry, "it has no name"));
        }
        if entry.path.len() > MAX_PATH {
            return Err(refused(entry, "its path is longer than 4095 bytes"));
        }
        let path =
            GuestPath::confined(&entry.path).map_err(|error| refused(entry, &error.to_string()))?;
        self.limits.check_depth(path.depth(), &path)?;
        let attributes = attributes(entry)?;
        let Some((parent, name)) = path.split_bytes() else {
            return self.apply_root(entry, attributes);
        };
        if name.starts_with(WHITEOUT) {
            return self.whiteout(entry, parent, name);
        }
        let name = OsStr::from_bytes(name);
        let dir = self.parents.find(parent, entry)?;
        match &entry.kind {
            EntryKind::Directory => self.directory(entry, &path, &dir, name, attributes, archive),
            EntryKind::File => self.file(entry, &dir, name, attributes, archive),
            EntryKind::HardLink(target) => self.hard_link(entry, &dir, name, target, archive),
            EntryKind::Symlink(target) => {
                if target.is_empty() || target.len() > MAX_PATH {
                    return Err(refused(entry, "its link text is empty or too long"));
                }
                let target = OsStr::from_bytes(target);
                self.make(entry, &dir, name, archive, |dir| dir.symlink(target, name))?;
                self.count(target.len() as u64);
                self.special_attributes(entry, &dir, name, attributes, None)
            }
            EntryKind::Fifo => {
                self.make(entry, &dir, name, archive, |dir| {
                    dir.mknod(name, Kind::Fifo, Mode::RUSR, 0)
                })?;
                self.count(0);
                self.special_attributes(entry, &dir, name, attributes, Some(attributes.mode))
            }
            // To overlayfs this would be a whiteout, and not one that the image format knows.
            EntryKind::CharDevice { major: 0, minor: 0 } => Ok(()),
            EntryKind::CharDevice { major, minor } => {
                let node = (Kind::CharDevice, *major, *minor);
                self.device(entry, &dir, name, node, attributes, archive)
            }
            EntryKind::BlockDevice { major, minor } => {
                let node = (Kind::BlockDevice, *major, *minor);
                self.device(entry, &dir, name, node, attributes, archive)
            }
        }
    }

    /// Sets the attributes of directories and says what was made.
    pub(super) fn finish(mut self) -> Result<Unpacked> {
        self.parents.forget();
        for pending in std::mem::take(&mut self.pending) {
            // A later entry may have replaced the directory, or an earlier part of its path.
            let Ok(dir) = self.parents.root().open_dir(&pending.path) else {
                continue;
            };
            let context = || format!("set attributes of directory `{}`", pending.path);
            if dir.metadata().map_err(failed(context))?.inode != pending.inode {
                continue;
            }
            let Attributes {
                mode,
                uid,
                gid,
                times,
            } = pending.attributes;
            dir.set_own(uid, gid, mode, Some(times))
                .map_err(failed(context))?;
        }
        if let Some(tree) = &mut self.result.tree {
            tree.objects += self.parents.made();
        }
        Ok(self.result)
    }

    fn apply_root(&mut self, entry: &Entry, attributes: Attributes) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(refused(
                entry,
                "the root of a layer can only be a directory",
            ));
        }
        let dir = self
            .parents
            .root()
            .open_dir(&GuestPath::root())
            .map_err(failed_entry(entry))?;
        for (attribute, value) in kept_xattrs(entry) {
            set_xattr(entry, sys::xattr::set(dir.as_fd(), attribute, value))?;
        }
        let inode = dir.metadata().map_err(failed_entry(entry))?.inode;
        self.result.root = Some(RootEntry {
            mode: attributes.mode.as_raw_mode(),
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: attributes.times.modified.0,
            mtime_nanos: attributes.times.modified.1,
        });
        self.pending.push(PendingDir {
            path: GuestPath::root(),
            inode,
            attributes,
        });
        Ok(())
    }

    fn directory(
        &mut self,
        entry: &Entry,
        path: &GuestPath,
        dir: &Parent,
        name: &OsStr,
        attributes: Attributes,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        let mut opaque = false;
        match dir.mkdir(name, Mode::RWXU) {
            Ok(()) => self.count(0),
            Err(error) if error.errno() == Errno::EXIST => {
                let there = dir.stat(name).map_err(failed_entry(entry))?;
                if there.kind != Kind::Directory {
                    opaque = there.is_whiteout();
                    self.clear(entry, dir, name, &there, archive)?;
                    dir.mkdir(name, Mode::RWXU).map_err(failed_entry(entry))?;
                    self.count(0);
                }
            }
            Err(error) => return Err(failed_entry(entry)(error)),
        }
        let made = dir.open_dir(name).map_err(failed_entry(entry))?;
        if opaque {
            set_opaque(&made).map_err(failed_entry(entry))?;
        }
        for (attribute, value) in kept_xattrs(entry) {
            set_xattr(entry, sys::xattr::set(made.as_fd(), attribute, value))?;
        }
        let inode = made.metadata().map_err(failed_entry(entry))?.inode;
        self.pending.push(PendingDir {
            path: path.clone(),
            inode,
            attributes,
        });
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        dir: &Parent,
        name: &OsStr,
        attributes: Attributes,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        self.result.size = self.result.size.saturating_add(entry.size);
        self.limits.check_bytes(self.result.size)?;
        let fd = self.make(entry, dir, name, archive, |dir| {
            dir.create_file(name, Mode::RUSR)
        })?;
        self.count(entry.size);
        let mut file = std::fs::File::from(fd);
        let write_failed = |source: std::io::Error| Error::Io {
            action: "write",
            path: Path::new(OsStr::from_bytes(&entry.path)).to_owned(),
            source,
        };
        let path = dir.path_of(name);
        match &entry.sparse {
            None => {
                archive.source_mut().begin_stored(path, 0, entry.size);
                write_plain(&mut file, archive, write_failed)?;
                archive.source_mut().end_stored();
            }
            Some(pieces) => {
                file.set_len(entry.size).map_err(write_failed)?;
                write_sparse(&file, path.as_deref(), pieces, archive, write_failed)?;
            }
        }
        for (attribute, value) in kept_xattrs(entry).filter(|(name, _)| *name != CAPABILITY) {
            set_xattr(entry, sys::xattr::set(file.as_fd(), attribute, value))?;
        }
        let Attributes {
            mode,
            uid,
            gid,
            times,
        } = attributes;
        sys::root::set_open(file.as_fd(), uid, gid, mode, None).map_err(failed_entry(entry))?;
        // A change of owner takes capabilities away, so they come after it.
        for (attribute, value) in kept_xattrs(entry).filter(|(name, _)| *name == CAPABILITY) {
            set_xattr(entry, sys::xattr::set(file.as_fd(), attribute, value))?;
        }
        sys::root::set_open_times(file.as_fd(), times).map_err(failed_entry(entry))
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        dir: &Parent,
        name: &OsStr,
        target: &[u8],
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        let target = GuestPath::confined(target)
            .map_err(|error| refused(entry, &format!("its target: {error}")))?;
        let Some((target_parent, target_name)) = target.split_bytes() else {
            return Err(refused(entry, "a directory cannot be linked"));
        };
        let target_name = OsStr::from_bytes(target_name);
        let missing = || refused(entry, &format!("its target `{target}` is not in the layer"));
        let path = GuestPath::confined(target_parent).map_err(|_| missing())?;
        let from = match self.parents.root().open_dir(&path) {
            Ok(dir) => dir,
            Err(error) if is_absent(&error) => return Err(missing()),
            Err(error) => return Err(failed_entry(entry)(error)),
        };
        let Some(there) = from.find(target_name).map_err(failed_entry(entry))? else {
            return Err(missing());
        };
        if there.kind == Kind::Directory {
            return Err(refused(entry, "a directory cannot be linked"));
        }
        if there.is_whiteout() {
            return Err(missing());
        }
        if let Some(old) = dir.find(name).map_err(failed_entry(entry))?
            && (old.device, old.inode) == (there.device, there.inode)
        {
            return Ok(());
        }
        match self.make(entry, dir, name, archive, |dir| {
            dir.link(&from, target_name, name)
        }) {
            Err(Error::Sys { source, .. }) if is_absent(&source) => return Err(missing()),
            done => done?,
        }
        self.count(0);
        Ok(())
    }

    fn device(
        &mut self,
        entry: &Entry,
        dir: &Parent,
        name: &OsStr,
        (kind, major, minor): (Kind, u32, u32),
        attributes: Attributes,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        // The kernel's own encoding holds 12 bits of major and 20 of minor.
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(refused(entry, "its device number is out of range"));
        }
        let rdev = rustix::fs::makedev(major, minor);
        self.make(entry, dir, name, archive, |dir| {
            dir.mknod(name, kind, Mode::RUSR, rdev)
        })?;
        self.count(0);
        self.special_attributes(entry, dir, name, attributes, Some(attributes.mode))
    }

    fn whiteout(&mut self, entry: &Entry, parent: &[u8], name: &[u8]) -> Result<()> {
        if name == WHITEOUT_OPAQUE {
            let dir = self.parents.find(parent, entry)?;
            self.result.opaque_root |= parent.is_empty();
            return set_opaque(&dir).map_err(failed_entry(entry));
        }
        if name.starts_with(WHITEOUT_META) {
            // What AUFS kept for itself; nothing of it belongs to the image.
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(entry, "this whiteout hides no name"));
        }
        let hidden = OsStr::from_bytes(hidden);
        let dir = self.parents.find(parent, entry)?;
        match dir.find(hidden).map_err(failed_entry(entry))? {
            // A whiteout hides what lies below this layer, not what this layer has itself.
            Some(there) if there.kind == Kind::Directory => {
                let there = dir.open_dir(hidden).map_err(failed_entry(entry))?;
                set_opaque(&there).map_err(failed_entry(entry))
            }
            Some(_) => Ok(()),
            None => {
                self.count(0);
                dir.mknod(hidden, Kind::CharDevice, Mode::empty(), 0)
                    .map_err(failed_entry(entry))
            }
        }
    }

    fn count(&mut self, bytes: u64) {
        if let Some(tree) = &mut self.result.tree {
            tree.objects += 1;
            tree.bytes += bytes;
        }
    }

    fn discount(&mut self, there: &Metadata) {
        match (&mut self.result.tree, there.kind) {
            (tree, Kind::Directory) => *tree = None,
            (None, _) => {}
            (Some(tree), _) => {
                tree.objects -= 1;
                if there.links == 1 {
                    tree.bytes -= there.size;
                }
            }
        }
    }

    /// Makes an object, in place of whatever has its name already.
    fn make<T>(
        &mut self,
        entry: &Entry,
        dir: &Parent,
        name: &OsStr,
        archive: &mut Archive<impl BufRead>,
        make: impl Fn(&Dir) -> sys::Result<T>,
    ) -> Result<T> {
        match make(dir) {
            Err(error) if error.errno() == Errno::EXIST => {
                let there = dir.stat(name).map_err(failed_entry(entry))?;
                self.clear(entry, dir, name, &there, archive)?;
                make(dir).map_err(failed_entry(entry))
            }
            done => done.map_err(failed_entry(entry)),
        }
    }

    fn clear(
        &mut self,
        entry: &Entry,
        dir: &Parent,
        name: &OsStr,
        there: &Metadata,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<()> {
        if matches!(there.kind, Kind::Directory | Kind::Symlink) {
            // Paths that led through it lead elsewhere now.
            self.parents.forget();
        }
        self.discount(there);
        // Whatever content it may have is a part of the archive still.
        if matches!(there.kind, Kind::Directory | Kind::File) {
            let path = dir.path_of(name);
            if archive.source_mut().keep(path.as_deref(), dir, name)? {
                return Ok(());
            }
        }
        dir.remove_all(name).map_err(failed_entry(entry))
    }

    fn special_attributes(
        &self,
        entry: &Entry,
        dir: &Dir,
        name: &OsStr,
        attributes: Attributes,
        mode: Option<Mode>,
    ) -> Result<()> {
        dir.chown(name, attributes.uid, attributes.gid)
            .map_err(failed_entry(entry))?;
        if let Some(mode) = mode {
            dir.chmod(name, mode).map_err(failed_entry(entry))?;
        }
        for (attribute, value) in kept_xattrs(entry) {
            set_xattr(entry, sys::xattr::set_at(dir, name, attribute, value))?;
        }
        dir.set_times(name, attributes.times)
            .map_err(failed_entry(entry))
    }
}

fn write_plain(
    file: &mut std::fs::File,
    archive: &mut Archive<impl BufRead>,
    write_failed: impl Fn(std::io::Error) -> Error,
) -> Result<()> {
    loop {
        let chunk = archive.payload().map_err(bad_tar)?;
        if chunk.is_empty() {
            return Ok(());
        }
        file.write_all(chunk).map_err(&write_failed)?;
        let len = chunk.len();
        archive.consume(len);
    }
}

fn write_sparse(
    file: &std::fs::File,
    path: Option<&[u8]>,
    pieces: &[(u64, u64)],
    archive: &mut Archive<impl BufRead>,
    write_failed: impl Fn(std::io::Error) -> Error,
) -> Result<()> {
    use std::os::unix::fs::FileExt;
    for (offset, len) in pieces {
        let stored = path.map(<[u8]>::to_vec);
        archive.source_mut().begin_stored(stored, *offset, *len);
        let mut at = *offset;
        let end = offset + len;
        while at < end {
            let chunk = archive.payload().map_err(bad_tar)?;
            // The pieces add up to the payload: the reader checked it.
            let len = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            file.write_all_at(&chunk[..len], at)
                .map_err(&write_failed)?;
            archive.consume(len);
            at += len as u64;
        }
        archive.source_mut().end_stored();
    }
    Ok(())
}
