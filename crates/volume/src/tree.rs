//! Copies a tree exactly: owners, modes, times, extended attributes, hard links, devices, holes.
//!
//! Both ends are held by descriptor and every object is reached by its directory and one name, so
//! that nothing in either tree can lead out of it. Data is shared with the original where the file
//! system can (reflink), else copied in the kernel.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::root::{Dir, GuestPath, Kind, Metadata, Root};

use crate::Result;
use crate::error::failed;

/// Deepest tree that is copied: each level holds two descriptors.
const MAX_DEPTH: usize = 2000;

/// What a copy made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Objects of every kind, the root not counted.
    pub objects: u64,
    /// Bytes of files, hard links counted once.
    pub bytes: u64,
    /// Sockets, which mean nothing without their process and are left out.
    pub sockets: u64,
}

/// Copies what a directory holds, and its own attributes, into an empty one.
///
/// # Errors
///
/// The disk failed, or the tree is too deep. What was copied until then stays.
pub fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<Copied> {
    let mut copier = Copier {
        root: Root::from_fd(clone_fd(target)?),
        links: HashMap::new(),
        bytes: sys::copy::Copier::default(),
        done: Copied::default(),
    };
    copier.walk(
        Dir::from_fd(clone_fd(source)?),
        Dir::from_fd(clone_fd(target)?),
    )?;
    Ok(copier.done)
}

/// Tells whether a directory holds nothing; ext4's `lost+found` on a fresh file system is nothing.
///
/// # Errors
///
/// The disk failed.
pub fn is_empty(directory: BorrowedFd<'_>) -> Result<bool> {
    let names = Dir::from_fd(clone_fd(directory)?)
        .names()
        .map_err(failed("read a directory"))?;
    Ok(names.iter().all(|name| name == "lost+found"))
}

/// Bytes that a tree takes on its file system, hard links counted once and other mounts left out.
///
/// # Errors
///
/// The disk failed. What disappears meanwhile counts as nothing.
pub fn size(path: &std::path::Path) -> Result<u64> {
    let root = Root::open(path)
        .and_then(|root| root.open_dir(&GuestPath::root()))
        .map_err(failed("open a tree"))?;
    let own = root.metadata().map_err(failed("look at a tree"))?;
    let mut total = own.allocated;
    let mut counted = std::collections::HashSet::new();
    let mut stack = vec![root];
    while let Some(dir) = stack.pop() {
        for name in dir.names().map_err(failed("read a directory"))? {
            let Ok(Some(metadata)) = dir.find(&name) else {
                continue;
            };
            if metadata.device != own.device {
                continue;
            }
            let several = metadata.links > 1 && metadata.kind != Kind::Directory;
            if several && !counted.insert(metadata.inode) {
                continue;
            }
            total += metadata.allocated;
            if metadata.kind == Kind::Directory
                && let Ok(below) = dir.open_dir(&name)
            {
                stack.push(below);
            }
        }
    }
    Ok(total)
}

fn clone_fd(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // A descriptor for a place only cannot be read; opening "." gives one that can.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(fd, ".", flags, Mode::empty())
        .map_err(|errno| failed("open a directory")(sys::Error::new("openat(`.`)", errno)))
}

struct Copier {
    root: Root,
    /// Where the first name of a file with several was copied to.
    links: HashMap<(u64, u64), GuestPath>,
    bytes: sys::copy::Copier,
    done: Copied,
}

/// A directory being copied.
struct Level {
    source: Dir,
    target: Dir,
    names: Vec<OsString>,
    path: GuestPath,
    /// Attributes to be set when all of it is there: writing into it would change its time.
    metadata: Metadata,
}

impl Copier {
    fn walk(&mut self, source: Dir, target: Dir) -> Result<()> {
        let mut stack = vec![level(source, target, GuestPath::root())?];
        while let Some(top) = stack.last_mut() {
            let Some(name) = top.names.pop() else {
                finish(top)?;
                stack.pop();
                continue;
            };
            if let Some(below) = self.object(top, &name)? {
                if stack.len() >= MAX_DEPTH {
                    return Err(failed(format!("copy `{}`", name.display()))(
                        sys::Error::new(
                            format!("deeper than {MAX_DEPTH} directories"),
                            Errno::NAMETOOLONG,
                        ),
                    ));
                }
                stack.push(below);
            }
        }
        Ok(())
    }

    /// Copies one object; a directory is returned to be walked.
    fn object(&mut self, at: &Level, name: &OsStr) -> Result<Option<Level>> {
        let metadata = at.source.stat(name).map_err(in_copy(at, name))?;
        if metadata.kind == Kind::Socket {
            self.done.sockets += 1;
            return Ok(None);
        }
        let path = at
            .path
            .join(name)
            .map_err(|_| sys::Error::new("a name with a NUL byte", Errno::INVAL))
            .map_err(in_copy(at, name))?;
        let several = metadata.links > 1 && metadata.kind != Kind::Directory;
        let key = (metadata.device, metadata.inode);
        if several && let Some(first) = self.links.get(&key) {
            let (dir, old) = self.root.parent(first).map_err(in_copy(at, name))?;
            at.target.link(&dir, old, name).map_err(in_copy(at, name))?;
            self.done.objects += 1;
            return Ok(None);
        }
        self.done.objects += 1;
        match metadata.kind {
            Kind::Directory => {
                at.target
                    .mkdir(name, Mode::from_raw_mode(0o700))
                    .map_err(in_copy(at, name))?;
                let source = at.source.open_dir(name).map_err(in_copy(at, name))?;
                let target = at.target.open_dir(name).map_err(in_copy(at, name))?;
                return level(source, target, path).map(Some);
            }
            Kind::File => {
                let copied = self.bytes.file(&at.source, &at.target, name, &metadata);
                copied.map_err(in_copy(at, name))?;
                self.done.bytes += metadata.size;
            }
            _ => sys::copy::special(&at.source, &at.target, name, &metadata)
                .map_err(in_copy(at, name))?,
        }
        if several {
            self.links.insert(key, path);
        }
        Ok(None)
    }
}

/// Names the object that could not be copied.
fn in_copy<'n>(at: &'n Level, name: &'n OsStr) -> impl FnOnce(sys::Error) -> crate::Error + 'n {
    move |error| {
        let path = at.path.join(name).map_or_else(
            |_| name.display().to_string(),
            |path| path.relative().display().to_string(),
        );
        failed(format!("copy `{path}`"))(error)
    }
}

fn level(source: Dir, target: Dir, path: GuestPath) -> Result<Level> {
    let shown = || format!("read directory `{}`", path.relative().display());
    let metadata = source.metadata().map_err(failed(shown()))?;
    let names = source.names().map_err(failed(shown()))?;
    Ok(Level {
        source,
        target,
        names,
        path,
        metadata,
    })
}

fn finish(level: &Level) -> Result<()> {
    let metadata = &level.metadata;
    let done = sys::copy::dress(level.source.as_fd(), level.target.as_fd(), metadata);
    done.map_err(failed(format!(
        "set the attributes of directory `{}`",
        level.path.relative().display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::path::Path;

    fn run(source: &Path, target: &Path) -> Copied {
        let open = |path: &Path| sys::mount::open_path(path).unwrap();
        copy(open(source).as_fd(), open(target).as_fd()).unwrap()
    }

    #[test]
    fn everything_arrives_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("a/file"), b"hello").unwrap();
        std::fs::hard_link(from.join("a/file"), from.join("a/b/again")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", from.join("link")).unwrap();
        std::os::unix::fs::chown(from.join("a/file"), Some(12), Some(34)).unwrap();
        std::fs::set_permissions(from.join("a/file"), PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::set_permissions(&from, PermissionsExt::from_mode(0o1777)).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        drop(listener);
        let open = sys::mount::open_path(&from).unwrap();
        Dir::from_fd(open)
            .mknod(
                OsStr::new("pipe"),
                Kind::Fifo,
                Mode::from_raw_mode(0o640),
                0,
            )
            .unwrap();
        let file = std::fs::File::options()
            .write(true)
            .open(from.join("a/file"))
            .unwrap();
        let when = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
        file.set_times(std::fs::FileTimes::new().set_modified(when))
            .unwrap();
        let dir_file = std::fs::File::open(from.join("a")).unwrap();
        dir_file
            .set_times(std::fs::FileTimes::new().set_modified(when))
            .unwrap();

        let done = run(&from, &to);

        assert_eq!((done.objects, done.bytes, done.sockets), (6, 5, 1));
        let file = std::fs::symlink_metadata(to.join("a/file")).unwrap();
        assert_eq!(
            (file.uid(), file.gid(), file.mode() & 0o7777),
            (12, 34, 0o4755)
        );
        assert_eq!(
            (file.mtime(), file.mtime_nsec(), file.nlink()),
            (1_000_000_000, 5, 2)
        );
        let again = std::fs::symlink_metadata(to.join("a/b/again")).unwrap();
        assert_eq!(again.ino(), file.ino());
        assert_ne!(
            file.ino(),
            std::fs::metadata(from.join("a/file")).unwrap().ino()
        );
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            Path::new("/etc/shadow")
        );
        assert!(
            std::fs::symlink_metadata(to.join("pipe"))
                .unwrap()
                .file_type()
                .is_fifo()
        );
        assert!(std::fs::symlink_metadata(to.join("socket")).is_err());
        assert_eq!(std::fs::metadata(&to).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(
            std::fs::metadata(to.join("a")).unwrap().mtime(),
            1_000_000_000
        );
    }

    #[test]
    fn holes_stay_holes_and_bytes_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        let file = std::fs::File::create(from.join("sparse")).unwrap();
        file.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 32 << 20).unwrap();
        let noise: Vec<u8> = (0..700_000u64).map(|i| ((i * 7919) >> 5) as u8).collect();
        std::fs::write(from.join("dense"), &noise).unwrap();

        assert_eq!(run(&from, &to).bytes, (64 << 20) + 700_000);

        assert_eq!(std::fs::read(to.join("dense")).unwrap(), noise);
        let copied = std::fs::metadata(to.join("sparse")).unwrap();
        assert_eq!(copied.len(), 64 << 20);
        assert!(
            copied.blocks() * 512 < 4 << 20,
            "{} blocks",
            copied.blocks()
        );
        let mut bytes = [0; 6];
        let file = std::fs::File::open(to.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 32 << 20).unwrap();
        assert_eq!(&bytes, b"middle");
    }

    #[test]
    fn attributes_travel_but_not_those_of_overlayfs() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("f"), b"").unwrap();
        let file = std::fs::File::open(from.join("f")).unwrap();
        let set = |name: &str, value: &[u8]| sys::xattr::set(file.as_fd(), OsStr::new(name), value);
        set("trusted.mine", b"1").unwrap();
        set("trusted.overlay.opaque", b"y").unwrap();
        // Revision 2, cap_net_raw permitted.
        let capability = [
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        set("security.capability", &capability).unwrap();

        run(&from, &to);

        let file = std::fs::File::open(to.join("f")).unwrap();
        let get = |name: &str| sys::xattr::get(file.as_fd(), OsStr::new(name)).unwrap();
        assert_eq!(get("trusted.mine").as_deref(), Some(&b"1"[..]));
        assert_eq!(get("security.capability").as_deref(), Some(&capability[..]));
        assert_eq!(get("trusted.overlay.opaque"), None);
    }

    #[test]
    fn lost_and_found_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let open = || sys::mount::open_path(dir.path()).unwrap();
        assert!(is_empty(open().as_fd()).unwrap());
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        assert!(is_empty(open().as_fd()).unwrap());
        std::fs::write(dir.path().join("x"), b"").unwrap();
        assert!(!is_empty(open().as_fd()).unwrap());
    }
}
