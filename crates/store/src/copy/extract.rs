//! Unpacking an archive into a directory of a tree that is in use.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::Mode;
use rustix::io::Errno;
use sys::root::{Dir, GuestPath, Kind, Metadata, Root};

use super::CopyPath;
use super::filler::{self, Filler, Job};
use super::places::{Place, Places};
use crate::stream::Pieces;
use crate::tar::{Entries, Entry, EntryKind};
use crate::unpack::Limits;
use crate::unpack::attributes::{self, Attributes};
use crate::{Error, Result};

/// How an archive is unpacked.
#[derive(Debug, Clone, Default)]
pub struct Extract<'t> {
    /// Upper directory of a tree that is an overlay which nobody else uses meanwhile.
    pub upper: Option<&'t Root>,
    /// Refuse to put a directory in place of something else, or something else in place of one.
    pub keep_kinds: bool,
    /// Leave the place itself as it is, whatever the archive says of it.
    pub keep_place: bool,
    /// Whom everything belongs to, whatever the archive says.
    pub owner: Option<(u32, u32)>,
    /// Bounds against hostile archives.
    pub limits: Limits,
}

/// Unpacks an archive (plain, gzip or zstd) into a directory of a tree.
///
/// The archive comes in pieces, which are kept until they are written.
///
/// What was unpacked before a failure stays, as with Docker.
///
/// # Errors
///
/// [`Error::NoSuchPath`], [`Error::InvalidOption`] where the place is no directory,
/// [`Error::ReadOnly`], [`Error::BadArchive`], [`Error::LimitExceeded`], or the disk failed.
pub fn extract(
    root: &Root,
    place: &CopyPath,
    source: impl Iterator<Item = io::Result<Bytes>> + Send,
    options: &Extract<'_>,
) -> Result<()> {
    let at = root
        .resolve(&place.path)
        .map_err(|source| place.failed(source))?;
    let metadata = sys::root::metadata(at.as_fd()).map_err(|source| place.failed(source))?;
    if metadata.kind != Kind::Directory {
        return Err(Error::InvalidOption {
            what: "extraction point is not a directory".to_owned(),
        });
    }
    let mut entries = Entries::new(Pieces::new(source).decoded()?);
    std::thread::scope(|scope| {
        let mut target = Target {
            place: &place.path,
            options,
            filler: Filler::start(scope)?,
            places: Places::new(root, options.upper),
            count: 0,
            bytes: 0,
        };
        let mut all = || -> Result<()> {
            while let Some(entry) = entries.next().map_err(|error| bad_tar(Box::new(error)))? {
                if target.entry(entry, &mut entries)? == Next::Stop {
                    break;
                }
            }
            Ok(())
        };
        let made = all();
        // What is under way ends first: a failure there was earlier in the archive.
        let filled = target.filler.finish();
        filled
            .and(made)
            .and_then(|()| target.places.finish())
            .map_err(|error| below(place, error))
    })
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Entry,
    /// Something failed that somebody else tells.
    Stop,
}

/// Names of an archive are told as paths of the tree.
fn below(place: &CopyPath, error: Error) -> Error {
    match error {
        Error::ReadOnly { path } => Error::ReadOnly {
            path: format!("/{}/{path}", place.path.relative().display()),
        },
        other => other,
    }
}

fn bad_tar(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::BadArchive {
        what: "failed to read the tar archive".to_owned(),
        source: Some(source),
    }
}

struct Target<'t> {
    place: &'t GuestPath,
    options: &'t Extract<'t>,
    filler: Filler<'t>,
    places: Places<'t>,
    count: u64,
    bytes: u64,
}

impl Target<'_> {
    fn entry(&mut self, entry: Entry, archive: &mut Entries<Pieces<'_>>) -> Result<Next> {
        self.count += 1;
        self.options.limits.check_entries(self.count)?;
        self.bytes = self.bytes.saturating_add(entry.size);
        self.options.limits.check_bytes(self.bytes)?;
        let below = GuestPath::confined(&entry.path)
            .map_err(|error| refused(&entry, &error.to_string()))?;
        self.options.limits.check_depth(below.depth(), &below)?;
        let path = self
            .place
            .join(below.relative())
            .map_err(|error| refused(&entry, &error.to_string()))?;
        let mut wanted = attributes::attributes(&entry)?;
        (wanted.uid, wanted.gid) = self.options.owner.unwrap_or((wanted.uid, wanted.gid));
        let Some((parent_path, name)) = path.split().filter(|_| !below.is_root()) else {
            if !self.options.keep_place {
                self.place_itself(&entry, &wanted)?;
            }
            return Ok(Next::Entry);
        };
        let linked = match &entry.kind {
            EntryKind::HardLink(target) => Some(self.link_target(&entry, target, &parent_path)?),
            // An overlay refuses it, as it would mean something else in the upper directory.
            EntryKind::CharDevice { major: 0, minor: 0 } => {
                self.places.merge();
                None
            }
            _ => None,
        };
        let parent = self.places.find(parent_path).map_err(failed(&entry))?;
        if entry.kind == EntryKind::File {
            return self.file(entry, &parent, &path, wanted, archive);
        }
        let there = parent.find(name).map_err(failed(&entry))?;
        let is_there = self.make_way(&entry, &parent, &path, there.as_ref())?;
        match linked {
            _ if entry.kind == EntryKind::Directory => {
                self.directory(&entry, &parent, &path, is_there, &wanted)?;
            }
            Some((from, old)) => parent.link(&from, &old, name).map_err(failed(&entry))?,
            None => special(&entry, &parent, name, &wanted)?,
        }
        Ok(Next::Entry)
    }

    fn file(
        &mut self,
        entry: Entry,
        parent: &Dir,
        path: &GuestPath,
        wanted: Attributes,
        archive: &mut Entries<Pieces<'_>>,
    ) -> Result<Next> {
        let name = path.name();
        // Special bits come last, when the owner is the right one.
        let mode = wanted.mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
        let fd = match parent.create_file(name, mode) {
            // Mostly there is nothing of this name: asking first would cost each file a call.
            Err(error) if error.errno() == Errno::EXIST => {
                let there = parent.find(name).map_err(failed(&entry))?;
                self.make_way(&entry, parent, path, there.as_ref())?;
                parent.create_file(name, mode).map_err(failed(&entry))?
            }
            done => done.map_err(failed(&entry))?,
        };
        let mut file = std::fs::File::from(fd);
        if entry.size > filler::MAX_SIZE || entry.sparse.is_some() {
            write(&entry, &mut file, archive)?;
            filler::finish(&entry, &file, &wanted)?;
            return Ok(Next::Entry);
        }
        let mut data = Vec::new();
        loop {
            let piece = archive
                .take_payload()
                .map_err(|error| bad_tar(Box::new(error)))?;
            if piece.is_empty() {
                break;
            }
            data.push(piece);
        }
        let job = Job {
            entry,
            file,
            data,
            attributes: wanted,
        };
        match self.filler.fill(job) {
            true => Ok(Next::Entry),
            false => Ok(Next::Stop),
        }
    }

    fn directory(
        &mut self,
        entry: &Entry,
        parent: &Place,
        path: &GuestPath,
        is_there: bool,
        wanted: &Attributes,
    ) -> Result<()> {
        let place = match is_there {
            true => self.places.open(parent, path.name()),
            false => self.places.make(parent, path),
        }
        .map_err(failed(entry))?;
        place
            .set_own(wanted.uid, wanted.gid, wanted.mode, None)
            .map_err(failed(entry))?;
        set_xattrs(entry, |name, value| {
            sys::xattr::set(place.as_fd(), name, value)
        })?;
        self.places
            .set_later(&place, path.clone(), wanted.times)
            .map_err(failed(entry))
    }

    /// Removes what is in the way; tells whether a directory that is wanted is there already.
    fn make_way(
        &mut self,
        entry: &Entry,
        parent: &Dir,
        path: &GuestPath,
        there: Option<&Metadata>,
    ) -> Result<bool> {
        let (name, wants_dir) = (path.name(), entry.kind == EntryKind::Directory);
        let Some(there) = there else {
            return Ok(false);
        };
        let is_dir = there.kind == Kind::Directory;
        if is_dir && wants_dir {
            return Ok(true);
        }
        if self.options.keep_kinds && is_dir != wants_dir {
            let (a, b) = match is_dir {
                true => ("directory", "non-directory"),
                false => ("non-directory", "directory"),
            };
            return Err(Error::BadArchive {
                what: format!(
                    "cannot overwrite {a} \"{}\" with {b} \"/{}\"",
                    String::from_utf8_lossy(&entry.path).trim_end_matches('/'),
                    self.place.relative().display()
                ),
                source: None,
            });
        }
        if parent.is_mount(name).map_err(failed(entry))? {
            return Err(Error::BadArchive {
                what: format!("RemoveAll {}: device or resource busy", name.display()),
                source: None,
            });
        }
        if is_dir {
            self.places.removed();
        }
        parent.remove_all(name).map_err(failed(entry))?;
        Ok(false)
    }

    /// The directory and name that a hard link is made to; the link will lie in `beside`.
    fn link_target(
        &mut self,
        entry: &Entry,
        target: &[u8],
        beside: &GuestPath,
    ) -> Result<(Place, OsString)> {
        let target = GuestPath::confined(target)
            .map_err(|error| refused(entry, &format!("its target: {error}")))?;
        let target = self
            .place
            .join(target.relative())
            .map_err(|error| refused(entry, &error.to_string()))?;
        let Some((above, name)) = target.split() else {
            return Err(refused(entry, "a directory cannot be linked"));
        };
        let from = self.places.of_link(&above, beside).map_err(failed(entry))?;
        if from.stat(name).map_err(failed(entry))?.kind == Kind::Directory {
            return Err(refused(entry, "a directory cannot be linked"));
        }
        Ok((from, name.to_owned()))
    }

    /// The entry for the place itself: its attributes alone.
    fn place_itself(&mut self, entry: &Entry, wanted: &Attributes) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(refused(entry, "the place itself can only be a directory"));
        }
        let place = self
            .places
            .find(self.place.clone())
            .map_err(failed(entry))?;
        place
            .set_own(wanted.uid, wanted.gid, wanted.mode, None)
            .map_err(failed(entry))?;
        self.places
            .set_later(&place, self.place.clone(), wanted.times)
            .map_err(failed(entry))
    }
}

/// Links, pipes and devices.
fn special(entry: &Entry, parent: &Dir, name: &OsStr, wanted: &Attributes) -> Result<()> {
    let device = |kind, rdev| parent.mknod(name, kind, Mode::RUSR, rdev);
    match &entry.kind {
        EntryKind::Symlink(target) => parent.symlink(OsStr::from_bytes(target), name),
        EntryKind::CharDevice { major, minor } => {
            device(Kind::CharDevice, rustix::fs::makedev(*major, *minor))
        }
        EntryKind::BlockDevice { major, minor } => {
            device(Kind::BlockDevice, rustix::fs::makedev(*major, *minor))
        }
        EntryKind::Fifo => device(Kind::Fifo, 0),
        EntryKind::File | EntryKind::Directory | EntryKind::HardLink(_) => {
            return Err(refused(entry, "it is nothing special"));
        }
    }
    .map_err(failed(entry))?;
    parent
        .chown(name, wanted.uid, wanted.gid)
        .map_err(failed(entry))?;
    if !matches!(entry.kind, EntryKind::Symlink(_)) {
        parent.chmod(name, wanted.mode).map_err(failed(entry))?;
    }
    set_xattrs(entry, |key, value| {
        sys::xattr::set_at(parent, name, key, value)
    })?;
    parent.set_times(name, wanted.times).map_err(failed(entry))
}

fn write(entry: &Entry, file: &mut std::fs::File, archive: &mut Entries<Pieces<'_>>) -> Result<()> {
    let unwritten = |source| unwritten(entry, source);
    let whole = [(0, entry.size)];
    if entry.sparse.is_some() {
        file.set_len(entry.size).map_err(unwritten)?;
    }
    for (offset, length) in entry.sparse.as_deref().unwrap_or(&whole) {
        std::io::Seek::seek(file, std::io::SeekFrom::Start(*offset)).map_err(unwritten)?;
        let mut left = *length;
        while left > 0 {
            let chunk = archive
                .payload()
                .map_err(|error| bad_tar(Box::new(error)))?;
            if chunk.is_empty() {
                break;
            }
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            file.write_all(&chunk[..len]).map_err(unwritten)?;
            archive.consume(len);
            left -= len as u64;
        }
    }
    Ok(())
}

pub(super) fn unwritten(entry: &Entry, source: std::io::Error) -> Error {
    Error::Io {
        action: "write",
        path: Path::new(OsStr::from_bytes(&entry.path)).to_owned(),
        source,
    }
}

pub(super) fn set_xattrs(
    entry: &Entry,
    set: impl Fn(&OsStr, &[u8]) -> sys::Result<()>,
) -> Result<()> {
    for (name, value) in attributes::kept_xattrs(entry) {
        attributes::set_xattr(entry, set(name, value))?;
    }
    Ok(())
}

fn refused(entry: &Entry, why: &str) -> Error {
    attributes::refused(entry, why)
}

pub(super) fn failed(entry: &Entry) -> impl FnOnce(sys::Error) -> Error + '_ {
    move |source| match source.errno() {
        Errno::ROFS => Error::ReadOnly {
            path: String::from_utf8_lossy(&entry.path).into_owned(),
        },
        _ => attributes::failed_entry(entry)(source),
    }
}

#[cfg(test)]
mod tests;
