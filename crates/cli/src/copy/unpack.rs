//! Unpacking an archive from a container into a directory here.
//!
//! The archive is the container's, so nothing in it may lead out of the directory: names with `..`
//! are refused, no link is followed on the way to a name, and what is in the way of a file is
//! removed, never written through. As with Docker everything belongs to the user who copies.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, makedev};
use rustix::io::Errno;
use tar::{Entry, EntryType};

use super::plan::Placed;
use crate::config::go_text;

/// Bytes that are moved at once.
const BUFFER: usize = 256 << 10;
const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

/// Unpacks an archive.
///
/// # Errors
///
/// It is malformed, leads out of the directory, or the disk failed.
pub fn unpack(archive: impl Read, placed: &Placed) -> Result<(), String> {
    let top = rustix::fs::open(
        &placed.dir,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY,
        Mode::empty(),
    )
    .map_err(|e| format!("open {}: {}", placed.dir, go_text(&e.into())))?;
    let mut target = Target {
        placed,
        top,
        parent: None,
        directories: Vec::new(),
        seen: HashMap::new(),
        buffer: vec![0; BUFFER],
    };
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().map_err(|e| e.to_string())?;
    for entry in entries {
        let mut entry = entry.map_err(|e| e.to_string())?;
        target.entry(&mut entry)?;
    }
    target.finish()
}

struct Target<'p> {
    placed: &'p Placed,
    top: OwnedFd,
    /// The directory of the last entry: the next one is mostly in it too.
    parent: Option<(Vec<Vec<u8>>, OwnedFd)>,
    /// Modes and times of directories, set when everything is in them.
    directories: Vec<(Vec<Vec<u8>>, Mode, Timestamps)>,
    seen: HashMap<Vec<Vec<u8>>, usize>,
    buffer: Vec<u8>,
}

struct Failed<'e>(&'e str, String);

impl Failed<'_> {
    fn of(&self, errno: Errno) -> String {
        format!("{} {}: {}", self.0, self.1, go_text(&errno.into()))
    }
}

impl Target<'_> {
    // The names of an entry below the directory, after the change of name.
    fn names(&self, text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        for name in text.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." if names.pop().is_none() => {
                    let text = String::from_utf8_lossy(text);
                    return Err(format!("{text:?} is outside of {:?}", self.placed.dir));
                }
                b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        if let Some(rename) = &self.placed.rename {
            let to = rename.to.as_bytes().to_vec();
            match names.first_mut() {
                Some(first) if first == rename.from.as_bytes() => *first = to,
                _ if matches!(rename.from.as_str(), "." | "/") => names.insert(0, to),
                _ => {}
            }
        }
        Ok(names)
    }

    fn shown(&self, names: &[Vec<u8>]) -> String {
        let mut path = Path::new(&self.placed.dir).to_path_buf();
        path.extend(names.iter().map(|name| OsStr::from_bytes(name)));
        path.display().to_string()
    }

    // The directory that holds a name, made where it is missing.
    fn open_parent(&mut self, names: &[Vec<u8>]) -> Result<OwnedFd, String> {
        if let Some((known, fd)) = self.parent.take()
            && known == names
        {
            return Ok(fd);
        }
        let mut at = self.top.try_clone().map_err(|e| e.to_string())?;
        for (depth, name) in names.iter().enumerate() {
            let failed = |errno| Failed("open", self.shown(&names[..=depth])).of(errno);
            let opened = rustix::fs::openat(&at, name.as_slice(), DIRECTORY, Mode::empty());
            at = match opened {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, name.as_slice(), Mode::from(0o755)).map_err(failed)?;
                    rustix::fs::openat(&at, name.as_slice(), DIRECTORY, Mode::empty())
                }
                other => other,
            }
            .map_err(failed)?;
        }
        Ok(at)
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), String> {
        let names = self.names(&entry.path_bytes())?;
        let header = entry.header();
        let kind = header.entry_type();
        let mode = Mode::from_raw_mode(header.mode().map_err(|e| e.to_string())? & 0o7777);
        let seconds = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        let moment = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: moment,
            last_modification: moment,
        };
        let Some((name, above)) = names.split_last() else {
            // The place itself is there and stays as it is.
            return Ok(());
        };
        let parent = self.open_parent(above)?;
        let made = match kind {
            EntryType::Directory => self.directory(&parent, &names, mode, times),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&parent, &names, entry, mode, &times)
            }
            EntryType::XGlobalHeader => Ok(()),
            _ => {
                self.other(parent.as_fd(), &names, entry, mode)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                match kind {
                    // Its times are those of what it links to.
                    EntryType::Link => Ok(()),
                    _ => rustix::fs::utimensat(&parent, name.as_slice(), &times, flags)
                        .map_err(|e| Failed("chtimes", self.shown(&names)).of(e)),
                }
            }
        };
        self.parent = Some((above.to_vec(), parent));
        made
    }

    fn directory(
        &mut self,
        parent: &OwnedFd,
        names: &[Vec<u8>],
        mode: Mode,
        times: Timestamps,
    ) -> Result<(), String> {
        let name = names.last().map(Vec::as_slice).unwrap_or_default();
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) if kind_of(parent.as_fd(), name) == Some(FileType::Directory) => {}
            Err(Errno::EXIST) => return Err(self.in_the_way(names, "non-directory", "directory")),
            Err(errno) => return Err(Failed("mkdir", self.shown(names)).of(errno)),
        }
        let index = self.directories.len();
        match self.seen.insert(names.to_vec(), index) {
            Some(before) => {
                self.seen.insert(names.to_vec(), before);
                self.directories[before] = (names.to_vec(), mode, times);
            }
            None => self.directories.push((names.to_vec(), mode, times)),
        }
        Ok(())
    }

    fn in_the_way(&self, names: &[Vec<u8>], there: &str, new: &str) -> String {
        format!(
            "cannot overwrite {there} {:?} with {new} {:?}",
            self.shown(names),
            self.placed.dir
        )
    }

    // Removes what is in the way of something that is no directory.
    fn make_way(&self, parent: BorrowedFd<'_>, names: &[Vec<u8>]) -> Result<(), String> {
        let name = names.last().map(Vec::as_slice).unwrap_or_default();
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(_) if kind_of(parent, name) == Some(FileType::Directory) => {
                Err(self.in_the_way(names, "directory", "non-directory"))
            }
            Err(errno) => Err(Failed("unlinkat", self.shown(names)).of(errno)),
        }
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        names: &[Vec<u8>],
        entry: &mut Entry<'_, impl Read>,
        mode: Mode,
        times: &Timestamps,
    ) -> Result<(), String> {
        let name = names.last().map(Vec::as_slice).unwrap_or_default();
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
        let fd = match create() {
            Err(Errno::EXIST) => {
                self.make_way(parent.as_fd(), names)?;
                create()
            }
            other => other,
        };
        let mut file = File::from(fd.map_err(|e| Failed("open", self.shown(names)).of(e))?);
        loop {
            let count = entry.read(&mut self.buffer).map_err(|e| e.to_string())?;
            if count == 0 {
                break;
            }
            file.write_all(&self.buffer[..count])
                .map_err(|e| format!("write {}: {}", self.shown(names), go_text(&e)))?;
        }
        let failed = |errno| Failed("chmod", self.shown(names)).of(errno);
        rustix::fs::fchmod(&file, mode).map_err(failed)?;
        set_xattrs(&file, entry);
        rustix::fs::futimens(&file, times).map_err(failed)
    }

    fn other(
        &self,
        parent: BorrowedFd<'_>,
        names: &[Vec<u8>],
        entry: &Entry<'_, impl Read>,
        mode: Mode,
    ) -> Result<(), String> {
        self.make_way(parent, names)?;
        let name = names.last().map(Vec::as_slice).unwrap_or_default();
        let link = entry.link_name_bytes().unwrap_or_default();
        let header = entry.header();
        let node = |kind, device| {
            let failed = |errno| Failed("mknod", self.shown(names)).of(errno);
            rustix::fs::mknodat(parent, name, kind, mode, device).map_err(failed)?;
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(failed)
        };
        let device = || -> Dev {
            let number = |found: io::Result<Option<u32>>| found.ok().flatten().unwrap_or(0);
            makedev(number(header.device_major()), number(header.device_minor()))
        };
        match header.entry_type() {
            EntryType::Symlink => rustix::fs::symlinkat(&*link, parent, name)
                .map_err(|e| Failed("symlink", self.shown(names)).of(e)),
            EntryType::Link => {
                let target = self.names(&link)?;
                let failed = |errno| Failed("link", self.shown(&target)).of(errno);
                let (old, above) = target
                    .split_last()
                    .ok_or("a hard link to the place itself")?;
                let mut at = self.top.try_clone().map_err(|e| e.to_string())?;
                for part in above {
                    at = rustix::fs::openat(&at, part.as_slice(), DIRECTORY, Mode::empty())
                        .map_err(failed)?;
                }
                rustix::fs::linkat(&at, old.as_slice(), parent, name, AtFlags::empty())
                    .map_err(failed)
            }
            EntryType::Fifo => node(FileType::Fifo, 0),
            EntryType::Char => node(FileType::CharacterDevice, device()),
            EntryType::Block => node(FileType::BlockDevice, device()),
            kind => Err(format!("unhandled tar header type {}", kind.as_byte())),
        }
    }

    // Innermost first, so that no directory is closed to us while there is something left in it.
    fn finish(mut self) -> Result<(), String> {
        let directories = std::mem::take(&mut self.directories);
        for (names, mode, times) in directories.iter().rev() {
            let failed = |errno| Failed("chmod", self.shown(names)).of(errno);
            let mut at = self.top.try_clone().map_err(|e| e.to_string())?;
            for name in names {
                at = rustix::fs::openat(&at, name.as_slice(), DIRECTORY, Mode::empty())
                    .map_err(failed)?;
            }
            rustix::fs::futimens(&at, times).map_err(failed)?;
            rustix::fs::fchmod(&at, *mode).map_err(failed)?;
        }
        Ok(())
    }
}

fn kind_of(parent: BorrowedFd<'_>, name: &[u8]) -> Option<FileType> {
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(found.st_mode))
}

// Attributes that this file system or user may not set are left out, as Docker does.
fn set_xattrs(file: &File, entry: &mut Entry<'_, impl Read>) {
    let Ok(Some(extensions)) = entry.pax_extensions() else {
        return;
    };
    for extension in extensions.flatten() {
        let name = extension.key_bytes().strip_prefix(b"SCHILY.xattr.");
        if let Some(name) = name {
            let _ = rustix::fs::fsetxattr(file, name, extension.value_bytes(), XattrFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::plan::Rename;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    struct Tar(tar::Builder<Vec<u8>>);

    impl Tar {
        fn new() -> Self {
            Self(tar::Builder::new(Vec::new()))
        }

        fn add(mut self, kind: EntryType, name: &str, link: &str, data: &[u8]) -> Self {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o750);
            header.set_mtime(1000);
            header.set_size(data.len() as u64);
            // As a hostile container writes it: the library refuses to.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            self.0.append(&header, data).unwrap();
            self
        }

        fn into(self, dir: &Path, rename: Option<(&str, &str)>) -> Result<(), String> {
            let placed = Placed {
                dir: dir.to_str().unwrap().to_owned(),
                rename: rename.map(|(from, to)| Rename {
                    from: from.to_owned(),
                    to: to.to_owned(),
                }),
            };
            unpack(self.0.into_inner().unwrap().as_slice(), &placed)
        }
    }

    #[test]
    fn a_tree_arrives_whole_under_its_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let tar = Tar::new()
            .add(EntryType::Directory, "d/", "", b"")
            .add(EntryType::Regular, "d/f", "", b"data")
            .add(EntryType::Link, "d/h", "d/f", b"")
            .add(EntryType::Symlink, "d/l", "/etc", b"");
        tar.into(dir.path(), Some(("d", "new"))).unwrap();
        let new = dir.path().join("new");
        assert_eq!(fs::read(new.join("f")).unwrap(), b"data");
        let found = fs::metadata(new.join("f")).unwrap();
        assert_eq!(
            (found.permissions().mode() & 0o7777, found.mtime()),
            (0o750, 1000)
        );
        assert_eq!(found.ino(), fs::metadata(new.join("h")).unwrap().ino());
        assert_eq!(fs::read_link(new.join("l")).unwrap(), Path::new("/etc"));
        assert_eq!(fs::metadata(&new).unwrap().mtime(), 1000);
    }

    #[test]
    fn contents_go_into_a_new_directory() {
        let dir = tempfile::tempdir().unwrap();
        let tar = Tar::new().add(EntryType::Directory, "./", "", b"").add(
            EntryType::Regular,
            "./f",
            "",
            b"1",
        );
        tar.into(dir.path(), Some((".", "new"))).unwrap();
        assert_eq!(fs::read(dir.path().join("new/f")).unwrap(), b"1");
    }

    #[test]
    fn nothing_leads_out() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("in");
        fs::create_dir(&dir).unwrap();
        fs::write(outer.path().join("canary"), "as it was").unwrap();
        let regular = |name: &str| Tar::new().add(EntryType::Regular, name, "", b"evil");
        assert!(
            regular("../canary")
                .into(&dir, None)
                .unwrap_err()
                .contains("is outside of")
        );
        assert!(regular("a/../../canary").into(&dir, None).is_err());
        regular("/abs").into(&dir, None).unwrap();
        assert!(dir.join("abs").is_file());
        let through = Tar::new().add(EntryType::Symlink, "x", "..", b"").add(
            EntryType::Regular,
            "x/canary",
            "",
            b"evil",
        );
        assert!(through.into(&dir, None).is_err());
        let over = Tar::new()
            .add(EntryType::Symlink, "y", "../canary", b"")
            .add(EntryType::Regular, "y", "", b"good");
        over.into(&dir, None).unwrap();
        assert_eq!(fs::read(dir.join("y")).unwrap(), b"good");
        let link = Tar::new().add(EntryType::Link, "z", "../canary", b"");
        assert!(link.into(&dir, None).is_err());
        let via = Tar::new().add(EntryType::Symlink, "w", "..", b"").add(
            EntryType::Link,
            "z",
            "w/canary",
            b"",
        );
        assert!(via.into(&dir, None).is_err());
        assert_eq!(fs::read(outer.path().join("canary")).unwrap(), b"as it was");
    }

    #[test]
    fn kinds_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        let file = Tar::new().add(EntryType::Regular, "d", "", b"x");
        let error = file.into(dir.path(), None).unwrap_err();
        assert!(error.starts_with("cannot overwrite directory"), "{error}");
        let directory = Tar::new().add(EntryType::Directory, "f/", "", b"");
        let error = directory.into(dir.path(), None).unwrap_err();
        assert!(
            error.starts_with("cannot overwrite non-directory"),
            "{error}"
        );
    }
}
