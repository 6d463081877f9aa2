//! A file system in a sparse file, mounted at a directory.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::UnmountFlags;
use sys::mount::Attributes;

use crate::{Error, Purpose, Result};

/// Where distributions put it, for a daemon without a path.
const TOOLS: [&str; 3] = [
    "/usr/sbin/mkfs.ext4",
    "/sbin/mkfs.ext4",
    "/usr/bin/mkfs.ext4",
];

/// The file beside a directory.
pub(crate) fn file(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".ext4");
    place.with_file_name(name)
}

pub(crate) fn make(place: &Path, bytes: u64, purpose: Purpose) -> Result<()> {
    let path = file(place);
    let made = (|| {
        let image = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("make", &path))?;
        // Whole blocks, or the last one would be lost.
        image
            .set_len(bytes.next_multiple_of(4096))
            .map_err(io("size", &path))?;
        format(&path, place, purpose)?;
        mount(place)?;
        // What mkfs puts there is nobody's data.
        let found = place.join("lost+found");
        std::fs::remove_dir(&found).map_err(io("remove", &found))
    })();
    if made.is_err() {
        // The first error is the one to tell.
        let _ = remove(place);
    }
    made
}

fn format(path: &Path, place: &Path, purpose: Purpose) -> Result<()> {
    let Some(tool) = TOOLS.iter().find(|tool| Path::new(tool).exists()) else {
        return Err(Error::NoTool {
            path: place.to_owned(),
        });
    };
    // A journal is what makes data outlive a power cut, and costs a tenth of a small file system.
    let features = match purpose {
        Purpose::Keep => "^resize_inode",
        Purpose::Discard => "^resize_inode,^has_journal",
    };
    let output = Command::new(tool)
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-O", features])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(io("run", Path::new(tool)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Tool {
        said: said.lines().last().unwrap_or("no reason given").to_owned(),
    })
}

/// Mounts the file at its directory, if that is not done yet.
pub(crate) fn mount(place: &Path) -> Result<()> {
    if is_mounted(place) {
        return Ok(());
    }
    let path = file(place);
    let image: File = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io("open", &path))?;
    let failed = |action| {
        let path = place.to_owned();
        move |source| Error::Sys {
            action,
            path,
            source,
        }
    };
    let device = sys::loopdev::attach(&image).map_err(failed("make a device for"))?;
    let source = device.path.to_string_lossy().into_owned();
    let options = [("source".to_owned(), Some(source))];
    let mounted = sys::mount::create("ext4", &options, Attributes::empty())
        .map_err(failed("mount the file system at"))?;
    let target = sys::mount::open_path(place).map_err(failed("open"))?;
    sys::mount::attach(mounted.as_fd(), target.as_fd()).map_err(failed("mount at"))
}

pub(crate) fn is_mounted(place: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, place, flags, StatxFlags::empty())
        .is_ok_and(|known| known.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

pub(crate) fn unmount(place: &Path) -> Result<()> {
    while is_mounted(place) {
        rustix::mount::unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(
            |errno| Error::Sys {
                action: "unmount",
                path: place.to_owned(),
                source: sys::Error::new("umount2", errno),
            },
        )?;
    }
    Ok(())
}

pub(crate) fn remove(place: &Path) -> Result<()> {
    unmount(place)?;
    let path = file(place);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(io("remove", &path)),
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
