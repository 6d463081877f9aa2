//! The files of a container as one tree, with everything that is mounted in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use spec::{ErrorKind, Rootfs};
use sys::mount::{Attributes, Change, Propagation, Reach};
use sys::root::{GuestPath, Root};

use super::super::mounting;
use super::super::record::Record;
use super::super::shared::Shared;
use super::loan::Lent;
use crate::mounts::Kind;
use crate::oci::Seen;
use crate::{Error, Result};

/// The files of a container, put together.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) root: Root,
    /// What keeps the mounts: they go with their last user.
    _mount: Option<OwnedFd>,
    /// Upper directory of an overlay that is mounted for a copy alone.
    pub(super) upper: Option<Root>,
}

/// Runs a job on a container's files.
pub(super) fn with_files<T: Send>(
    shared: &Shared,
    lent: &Lent,
    job: impl FnOnce(&Files) -> Result<T> + Send,
) -> Result<T> {
    match &lent.running {
        Some(files) => job(files),
        None => at_rest(shared, &lent.record, job),
    }
}

/// The files of a running container as its first process sees them.
pub(super) fn files_of(pid: i32, record: &Record) -> Result<Files> {
    let gone = |errno| {
        Error::refused(
            ErrorKind::Conflict,
            format!("container {} is not running: {errno}", record.id),
        )
    };
    // A descriptor of the process's directory stays that process's, whoever gets its number later.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let process =
        rustix::fs::openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).map_err(gone)?;
    let root = rustix::fs::openat(&process, "root", flags, Mode::empty()).map_err(gone)?;
    let file = OFlags::RDONLY | OFlags::CLOEXEC;
    let mounts = rustix::fs::openat(&process, "ns/mnt", file, Mode::empty()).map_err(gone)?;
    let group = rustix::fs::openat(&process, "cgroup", file, Mode::empty()).map_err(gone)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(group), &mut text)
        .map_err(|e| Error::io("failed to look at the container's process", e))?;
    if !text.contains(&record.id.to_string()) {
        return Err(gone(rustix::io::Errno::SRCH));
    }
    Ok(Files {
        root: Root::from_fd(root),
        _mount: Some(mounts),
        upper: None,
    })
}

/// A failure on a thread with a namespace of its own.
pub(super) enum Failure {
    Kernel(sys::Error),
    Engine(Error),
}

impl Failure {
    pub(super) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Engine(error) => error,
            Self::Kernel(source) => Error::System {
                what: what.to_owned(),
                source,
            },
        }
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

fn at_rest<T: Send>(
    shared: &Shared,
    record: &Record,
    job: impl FnOnce(&Files) -> Result<T> + Send,
) -> Result<T> {
    let user = format!("copy of {}", record.id);
    let rootfs = shared.store.snapshot(&record.id.to_string())?.rootfs;
    let seen = mounting::place_for(shared, record, &user)?;
    let files = shared.files(record);
    let etc = [
        ("/etc/resolv.conf", files.resolv_conf),
        ("/etc/hostname", files.hostname),
        ("/etc/hosts", files.hosts),
    ];
    let done = sys::mntns::private(|| -> std::result::Result<T, Failure> {
        let files = mount_root(&rootfs)?;
        for (target, source) in etc.iter().filter(|(_, source)| source.exists()) {
            attach(
                &files.root,
                target,
                sys::mount::copy_path(source, Reach::Single)?,
            )?;
        }
        for seen in &seen {
            show(&files.root, seen)?;
        }
        if record.host.readonly_rootfs {
            let read_only = Change::set(Attributes::MOUNT_ATTR_RDONLY);
            sys::mount::change(files.root.as_fd(), read_only, Reach::Single)?;
        }
        Ok(job(&files)?)
    });
    mounting::release_for(shared, record, &user);
    done.map_err(|failure| failure.into_error("failed to put the container's files together"))
}

pub(super) fn mount_root(rootfs: &Rootfs) -> sys::Result<Files> {
    let (mount, upper) = match rootfs {
        Rootfs::Directory { path } => {
            let mount = sys::mount::copy_path(path, Reach::Single)?;
            sys::mount::attach(mount.as_fd(), sys::mount::open_path(path)?.as_fd())?;
            (mount, None)
        }
        Rootfs::Overlay {
            lowers,
            upper,
            work,
            volatile,
            images,
        } => {
            for image in images {
                sys::mount::cover_with_erofs(&image.file, &image.place)?;
            }
            // Before the overlay is attached in its place.
            let below = Root::open(upper)?;
            let mount = sys::mount::overlay(&sys::mount::Overlay {
                lowers,
                upper,
                work,
                volatile: *volatile,
            })?;
            (mount, Some(below))
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())
        .map_err(|errno| sys::Error::new("openat(`.`)", errno))?;
    Ok(Files {
        root: Root::from_fd(root),
        _mount: Some(mount),
        upper,
    })
}

/// Attaches what a mount point shows.
fn show(root: &Root, seen: &Seen) -> sys::Result<()> {
    let point = &seen.point;
    let reach = match point.non_recursive {
        true => Reach::Single,
        false => Reach::Tree,
    };
    let source = match point.kind {
        // Gone with the last run.
        Kind::Tmpfs => return Ok(()),
        Kind::Image => {
            let layers: Vec<_> = seen.layers.iter().map(Into::into).collect();
            sys::mount::overlay_read_only(&layers)?
        }
        Kind::Bind | Kind::Volume if point.subpath.is_empty() => {
            sys::mount::copy_path(Path::new(&seen.source), reach)?
        }
        Kind::Bind | Kind::Volume => {
            let part = Root::open(Path::new(&seen.source))?.resolve(&guest(&point.subpath)?)?;
            sys::mount::copy_fd(part.as_fd(), reach)?
        }
    };
    sys::mount::change(
        source.as_fd(),
        Change::propagate(Propagation::Private),
        Reach::Tree,
    )?;
    if let Some(ids) = &seen.ids {
        let namespace = sys::userns::with_ids(&ids.uid_ranges(), &ids.gid_ranges())?;
        sys::mount::map_ids(source.as_fd(), namespace.as_fd(), reach)?;
    }
    if !point.writable {
        let read_only = Change::set(Attributes::MOUNT_ATTR_RDONLY);
        sys::mount::change(source.as_fd(), read_only, reach)?;
    }
    attach(root, &point.target, source)
}

pub(super) fn guest(path: &str) -> sys::Result<GuestPath> {
    GuestPath::new(path)
        .map_err(|_| sys::Error::new(format!("look up `{path}`"), rustix::io::Errno::INVAL))
}

/// Attaches a mount inside the root; the place is made as a start would make it.
fn attach(root: &Root, target: &str, source: OwnedFd) -> sys::Result<()> {
    let path = guest(target)?;
    let is_dir = sys::root::metadata(source.as_fd())?.kind == sys::root::Kind::Directory;
    let place = match root.resolve(&path) {
        Ok(place) => place,
        Err(error) if error.errno() == rustix::io::Errno::NOENT => {
            let (parent, name) = match path.split() {
                Some(split) => split,
                None => return Err(error),
            };
            let mode = Mode::from_raw_mode(0o755);
            let parent = root.mkdir_all(&parent, mode)?;
            if is_dir {
                parent.ensure_dir(name, mode)?;
            } else {
                drop(parent.create_file(name, mode)?);
            }
            root.resolve(&path)?
        }
        Err(error) => return Err(error),
    };
    sys::mount::attach(source.as_fd(), place.as_fd())
}
