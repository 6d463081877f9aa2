//! The init layer: mount points that a container needs and its image lacks.
//!
//! Docker makes one per container; ours depends on the image alone, so all containers of an image
//! share it. It holds only what is missing; directories above a missing name are copied with their
//! attributes, because overlayfs shows those of the topmost layer.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustix::fs::Mode;
use sys::root::{Dir, GuestPath, Kind, Root, Times};

use crate::layout::Layout;
use crate::merged::{Found, MergedDir};
use crate::store::io;
use crate::trash::Scratch;
use crate::{Error, Result};

enum Want {
    Directory,
    File,
    Link(&'static str),
}

/// Docker's list, `daemon/initlayer` in moby.
const POINTS: &[(&str, Want)] = &[
    ("dev/pts", Want::Directory),
    ("dev/shm", Want::Directory),
    ("dev/console", Want::File),
    ("proc", Want::Directory),
    ("sys", Want::Directory),
    (".dockerenv", Want::File),
    ("etc/hosts", Want::File),
    ("etc/hostname", Want::File),
    ("etc/resolv.conf", Want::File),
    ("etc/mtab", Want::Link("/proc/mounts")),
];

const MODE: Mode = Mode::from_raw_mode(0o755);

/// Makes the init layer of a stack of layers (topmost first) under a name.
pub(crate) fn make(layout: &Layout, name: &str, lowers: &[PathBuf]) -> Result<()> {
    let scratch = Scratch::create(layout)?;
    let path = scratch.path().join("init");
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&path)
        .map_err(io("make", &path))?;
    fill(&path, lowers).map_err(|source| Error::Sys {
        action: "make the init layer".to_owned(),
        source,
    })?;
    let target = layout.init(name);
    match std::fs::rename(&path, &target) {
        // A crash can have left it although no record said so: any one of the name is the same.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTEMPTY.raw_os_error()) => {
            Ok(())
        }
        done => done.map_err(io("publish", &target)),
    }
}

fn fill(path: &std::path::Path, lowers: &[PathBuf]) -> sys::Result<()> {
    let root = MergedDir::root(lowers)?;
    let made = Root::open(path)?.open_dir(&GuestPath::root())?;
    for (point, want) in POINTS {
        add(&root, &made, point, want)?;
    }
    dress(&made, root.topmost())
}

fn add(merged: &MergedDir, made: &Dir, point: &str, want: &Want) -> sys::Result<()> {
    let Some((parent, rest)) = point.split_once('/') else {
        return match merged.find(OsStr::new(point))? {
            Found::Nothing => create(made, OsStr::new(point), want),
            Found::Directory(_) | Found::Other(_) => Ok(()),
        };
    };
    let parent = OsStr::new(parent);
    let below = match merged.find(parent)? {
        // A link or a file where a directory is expected: the image knows what it does.
        Found::Other(_) => return Ok(()),
        Found::Directory(below) => Some(below),
        Found::Nothing => None,
    };
    let exists = match &below {
        Some(below) => !matches!(below.find(OsStr::new(rest))?, Found::Nothing),
        None => false,
    };
    if exists {
        return Ok(());
    }
    made.ensure_dir(parent, MODE)?;
    let dir = made.open_dir(parent)?;
    create(&dir, OsStr::new(rest), want)?;
    dress(&dir, below.as_ref().and_then(MergedDir::topmost))
}

fn create(dir: &Dir, name: &OsStr, want: &Want) -> sys::Result<()> {
    match want {
        Want::Directory => {
            dir.mkdir(name, MODE)?;
            dir.open_dir(name)?.set_own(0, 0, MODE, None)
        }
        Want::File => {
            let fd = dir.create_file(name, MODE)?;
            sys::root::set_open(fd.as_fd(), 0, 0, MODE, None)
        }
        Want::Link(target) => dir.symlink(OsStr::new(target), name),
    }
}

/// Gives a directory the attributes of the one it covers, or the usual ones.
fn dress(dir: &Dir, covered: Option<&Dir>) -> sys::Result<()> {
    let Some(covered) = covered else {
        return dir.set_own(0, 0, MODE, None);
    };
    for attribute in sys::xattr::list(covered.as_fd())? {
        if attribute.as_bytes().starts_with(b"trusted.overlay.") {
            continue;
        }
        if let Some(value) = sys::xattr::get(covered.as_fd(), &attribute)? {
            sys::xattr::set(dir.as_fd(), &attribute, &value)?;
        }
    }
    let metadata = covered.metadata()?;
    debug_assert_eq!(metadata.kind, Kind::Directory);
    let time = (metadata.mtime, metadata.mtime_nanos);
    let times = Times {
        accessed: time,
        modified: time,
    };
    dir.set_own(
        metadata.uid,
        metadata.gid,
        Mode::from_raw_mode(metadata.mode),
        Some(times),
    )
}
