//! Mounts and unmounts what a volume's options name, at the volume's data directory.
//!
//! The mount is made detached, then attached to the directory's descriptor. It is on the host, as
//! with Docker: people look into `_data`, and a new daemon finds it in the mount table.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use sys::mount::{Attributes, Change, Reach};

use crate::options::{Backing, Flags};
use crate::{Error, Result};

/// Mounts a backing at a directory; a plain directory needs nothing.
pub(crate) fn mount(backing: &Backing, at: &Path) -> Result<()> {
    let (mounted, device) = match backing {
        Backing::Directory { .. } => return Ok(()),
        Backing::Bind {
            source,
            recursive,
            flags,
        } => {
            let reach = if *recursive {
                Reach::Tree
            } else {
                Reach::Single
            };
            let mounted = sys::mount::copy_path(source, reach).and_then(|copy| {
                sys::mount::change(copy.as_fd(), Change::set(attributes(*flags)), reach)?;
                Ok(copy)
            });
            (mounted, source.display().to_string())
        }
        Backing::FileSystem {
            kind,
            device,
            flags,
            data,
        } => {
            let mut options = vec![("source".to_owned(), Some(device.clone()))];
            if flags.read_only {
                options.push(("ro".to_owned(), None));
            }
            options.extend(data.iter().cloned());
            let mounted = sys::mount::create(kind, &options, attributes(*flags));
            (mounted, device.clone())
        }
    };
    mounted
        .and_then(|mounted: OwnedFd| attach(&mounted, at))
        .map_err(|source| Error::Mount {
            path: at.to_owned(),
            device,
            options: told(backing),
            why: words(source.errno()),
        })
}

/// Flags and data of a mount, as Docker's messages tell them.
fn told(backing: &Backing) -> String {
    const BIND: u32 = 0x1000;
    const RECURSIVE: u32 = 0x4000;
    let bits = |flags: &Flags| {
        let pairs = [
            (flags.read_only, 0x1),
            (flags.no_suid, 0x2),
            (flags.no_dev, 0x4),
            (flags.no_exec, 0x8),
            (flags.no_atime, 0x400),
            (flags.no_dir_atime, 0x800),
        ];
        let set = pairs.into_iter().filter(|(on, _)| *on);
        set.fold(0, |all, (_, bit)| all | bit)
    };
    let (flags, data) = match backing {
        Backing::Directory { .. } => (0, String::new()),
        Backing::Bind {
            recursive, flags, ..
        } => {
            let reach = if *recursive { RECURSIVE } else { 0 };
            (bits(flags) | BIND | reach, String::new())
        }
        Backing::FileSystem { flags, data, .. } => {
            let one = |(key, value): &(String, Option<String>)| match value {
                Some(_) if matches!(key.as_str(), "password" | "pass") => format!("{key}=********"),
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            };
            (
                bits(flags),
                data.iter().map(one).collect::<Vec<_>>().join(","),
            )
        }
    };
    let mut out = String::new();
    if flags != 0 {
        out.push_str(&format!(", flags: {flags:#x}"));
    }
    if !data.is_empty() {
        out.push_str(&format!(", data: {data}"));
    }
    out
}

/// The words of an error number, without the number and in lower case.
fn words(errno: rustix::io::Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    text.to_lowercase()
}

fn attach(mounted: &OwnedFd, at: &Path) -> sys::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(CWD, at, flags, Mode::empty())
        .map_err(|errno| sys::Error::new(format!("open(`{}`)", at.display()), errno))?;
    sys::mount::attach(mounted.as_fd(), target.as_fd())
}

fn attributes(flags: Flags) -> Attributes {
    let pairs = [
        (flags.read_only, Attributes::MOUNT_ATTR_RDONLY),
        (flags.no_suid, Attributes::MOUNT_ATTR_NOSUID),
        (flags.no_dev, Attributes::MOUNT_ATTR_NODEV),
        (flags.no_exec, Attributes::MOUNT_ATTR_NOEXEC),
        (flags.no_atime, Attributes::MOUNT_ATTR_NOATIME),
        (flags.no_dir_atime, Attributes::MOUNT_ATTR_NODIRATIME),
    ];
    pairs
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(Attributes::empty(), |all, (_, one)| all | one)
}

/// Tells whether something is mounted exactly at a directory.
pub(crate) fn is_mounted(at: &Path) -> Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let known = rustix::fs::statx(CWD, at, flags, StatxFlags::empty()).map_err(|errno| {
        crate::error::failed(format!("look at `{}`", at.display()))(sys::Error::new("statx", errno))
    })?;
    Ok(known.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Takes away what is mounted at a directory; containers that have it keep it.
pub(crate) fn unmount(at: &Path) -> Result<()> {
    use rustix::mount::UnmountFlags;
    // As often as something was put on top.
    while is_mounted(at)? {
        rustix::mount::unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(
            |errno| {
                let call = format!("umount(`{}`)", at.display());
                crate::error::failed("unmount a volume")(sys::Error::new(call, errno))
            },
        )?;
    }
    Ok(())
}
