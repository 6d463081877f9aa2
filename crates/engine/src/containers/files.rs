//! Copying into and out of a container, whether it runs or not.
//!
//! A running container's files are seen through its first process, as the container sees them with
//! all its mounts. At rest they are put together in a mount namespace of a throw-away thread: the
//! root file system, then volumes and binds, all by descriptor. Meanwhile the container's driver
//! has lent its files: a start waits for the copy, a removal ends it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use rustix::fs::{CWD, Mode, OFlags};
use spec::{ErrorKind, Rootfs};
use store::copy::{self, CopyPath, CopyStat, Extract};
use sys::mount::{Attributes, Change, Propagation, Reach};
use sys::root::{GuestPath, Root};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::command::{Command, Reply};
use super::driver::{Driver, answer};
use super::record::Record;
use super::shared::Shared;
use super::{Containers, mounting};
use crate::images::archive::{ArchiveStream, produce_until};
use crate::mounts::Kind;
use crate::oci::Seen;
use crate::{Error, Result, pieces};

/// Longest passwd or group file that is read.
const MAX_ACCOUNTS: u64 = 1024 * 1024;

/// How an archive is put into a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutArchive {
    /// Refuse to replace a directory by something else, or something else by a directory.
    pub keep_kinds: bool,
    /// Everything belongs to the container's user, whatever the archive says.
    pub own: bool,
}

/// The files of a container, lent to a copy until this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    record: Record,
    /// First process of a container that runs; nothing is lent then.
    pid: Option<i32>,
    /// The driver wants its files back.
    cancel: CancellationToken,
    _done: oneshot::Sender<()>,
}

/// What the driver remembers of it.
#[derive(Debug)]
pub(super) struct Loan {
    cancel: CancellationToken,
    done: oneshot::Receiver<()>,
}

impl Driver {
    pub(super) fn lend(&mut self, reply: Reply<Lent>) {
        let (sender, done) = oneshot::channel();
        let cancel = CancellationToken::new();
        let pid = self.container.state.running().map(|running| running.pid);
        if pid.is_none() {
            self.lent.retain_mut(|loan| {
                loan.done.try_recv() == Err(oneshot::error::TryRecvError::Empty)
            });
            self.lent.push(Loan {
                cancel: cancel.clone(),
                done,
            });
        }
        let lent = Lent {
            record: self.record.clone(),
            pid,
            cancel,
            _done: sender,
        };
        answer(reply, Ok(lent));
    }

    /// Waits until nobody uses the files, and ends whoever still does after some time.
    pub(super) async fn take_back(&mut self, patience: Duration) {
        let deadline = tokio::time::Instant::now() + patience;
        for mut loan in std::mem::take(&mut self.lent) {
            if tokio::time::timeout_at(deadline, &mut loan.done)
                .await
                .is_err()
            {
                loan.cancel.cancel();
                // The copy ends with its next byte; what it waits for is cancelled too.
                let _dropped = loan.done.await;
            }
        }
    }
}

impl Containers {
    /// What there is at a path of a container.
    ///
    /// # Errors
    ///
    /// No such container or path.
    pub async fn stat_path(&self, key: &str, path: &str) -> Result<CopyStat> {
        let (lent, path) = (self.lend(key).await?, parse(path)?);
        let (shared, key) = (Arc::clone(self.shared()), key.to_owned());
        let asks_plugins = mounting::has_plugged(&lent.record);
        let job = move || {
            let done = with_files(&shared, &lent, |files| Ok(copy::stat(&files.root, &path)?));
            done.map_err(|error| in_words(error, &key, &lent.record))
        };
        self.shared()
            .blocking
            .quick_or_plugin(asks_plugins, job)
            .await
    }

    /// What there is at a path of a container, as an archive.
    ///
    /// # Errors
    ///
    /// No such container or path; failures under way end the stream.
    pub async fn get_archive(&self, key: &str, path: &str) -> Result<(CopyStat, ArchiveStream)> {
        let (lent, path) = (self.lend(key).await?, parse(path)?);
        let (shared, key) = (Arc::clone(self.shared()), key.to_owned());
        let (tell, told) = oneshot::channel();
        let stream = produce_until(lent.cancel.clone(), move |out| {
            let mut tell = Some(tell);
            let done = with_files(&shared, &lent, |files| {
                let found = copy::stat(&files.root, &path)?;
                if let Some(tell) = tell.take() {
                    let _gone = tell.send(Ok(found));
                }
                Ok(copy::pack(&files.root, &path, out)?)
            });
            match (done, tell) {
                (Err(error), Some(tell)) => {
                    let _gone = tell.send(Err(in_words(error, &key, &lent.record)));
                    Ok(())
                }
                (done, _) => done,
            }
        });
        let found = told
            .await
            .map_err(|_| Error::internal("the copy ended before it began"))??;
        Ok((found, stream))
    }

    /// Unpacks an archive at a directory of a container.
    ///
    /// # Errors
    ///
    /// No such container or directory, a read-only place, or a bad archive; what was unpacked
    /// until then stays, as with Docker.
    pub async fn put_archive<S>(
        &self,
        key: &str,
        path: &str,
        options: PutArchive,
        client: S,
    ) -> Result<()>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let (lent, path) = (self.lend(key).await?, parse(path)?);
        let (shared, key) = (Arc::clone(self.shared()), key.to_owned());
        let (source, passing) = pieces::of_client(client, lent.cancel.clone());
        let job = move || {
            let done = with_files(&shared, &lent, |files| {
                let extract = Extract {
                    upper: files.upper.as_ref(),
                    keep_kinds: options.keep_kinds,
                    owner: match options.own {
                        true => owner(&files.root, &lent.record.config.user)?,
                        false => None,
                    },
                    ..Extract::default()
                };
                Ok(copy::extract(&files.root, &path, source, &extract)?)
            });
            done.map_err(|error| in_words(error, &key, &lent.record))
        };
        // As long as the client sends: none of the bounded threads.
        let ((), done) = tokio::join!(passing, tokio::task::spawn_blocking(job));
        match done {
            Ok(done) => done,
            Err(error) => Err(Error::internal(format!("the copy did not end: {error}"))),
        }
    }

    async fn lend(&self, key: &str) -> Result<Lent> {
        self.ask(key, Command::Lend).await
    }
}

fn parse(path: &str) -> Result<CopyPath> {
    Ok(CopyPath::parse(path)?)
}

/// Docker's words for what users meet.
fn in_words(error: Error, key: &str, record: &Record) -> Error {
    match error {
        Error::Store(store::Error::NoSuchPath { path }) => Error::refused(
            ErrorKind::NotFound,
            format!("Could not find the file {path} in container {key}"),
        ),
        Error::Store(store::Error::ReadOnly { path }) if is_mounted(record, &path) => {
            Error::invalid("mounted volume is marked read-only")
        }
        Error::Store(store::Error::ReadOnly { .. }) if record.host.readonly_rootfs => {
            Error::invalid("container rootfs is marked read-only")
        }
        other => other,
    }
}

/// Whether a path is at or below something that is mounted.
fn is_mounted(record: &Record, path: &str) -> bool {
    let path = crate::mounts::clean(path);
    let at = |target: &str| {
        let below = path.strip_prefix(target);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    record.points().iter().any(|point| at(&point.target))
}

/// The files of a container, put together.
struct Files {
    root: Root,
    /// What keeps the mounts of a container that does not run.
    _mount: Option<OwnedFd>,
    /// Upper directory of an overlay that is mounted for a copy alone.
    upper: Option<Root>,
}

/// Runs a job on a container's files.
fn with_files<T: Send>(
    shared: &Shared,
    lent: &Lent,
    job: impl FnOnce(&Files) -> Result<T> + Send,
) -> Result<T> {
    match lent.pid {
        Some(pid) => job(&files_of(pid, &lent.record)?),
        None => at_rest(shared, &lent.record, job),
    }
}

/// The files of a running container as its first process sees them.
fn files_of(pid: i32, record: &Record) -> Result<Files> {
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
    let group = rustix::fs::openat(
        &process,
        "cgroup",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(gone)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(group), &mut text)
        .map_err(|e| Error::io("failed to look at the container's process", e))?;
    if !text.contains(&record.id.to_string()) {
        return Err(gone(rustix::io::Errno::SRCH));
    }
    Ok(Files {
        root: Root::from_fd(root),
        _mount: None,
        upper: None,
    })
}

/// A failure on a thread with a namespace of its own.
enum Failure {
    Kernel(sys::Error),
    Engine(Error),
}

impl Failure {
    fn into_error(self, what: &str) -> Error {
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

fn mount_root(rootfs: &Rootfs) -> sys::Result<Files> {
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

fn guest(path: &str) -> sys::Result<GuestPath> {
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

/// User and group of a container that does not run, by number.
///
/// # Errors
///
/// A name that the container's files do not know.
pub(super) fn user(shared: &Shared, record: &Record) -> Result<(u32, u32)> {
    let text = record.config.user.as_str();
    let (who, group) = text.split_once(':').unwrap_or((text, ""));
    if let (Ok(uid), Ok(gid)) = (who.parse(), group.parse()) {
        return Ok((uid, gid));
    }
    if text.is_empty() {
        return Ok((0, 0));
    }
    let rootfs = shared.store.snapshot(&record.id.to_string())?.rootfs;
    let found = sys::mntns::private(|| -> std::result::Result<_, Failure> {
        let files = mount_root(&rootfs)?;
        Ok(owner(&files.root, text)?)
    });
    found
        .map(Option::unwrap_or_default)
        .map_err(|failure| failure.into_error("failed to look up the container's user"))
}

/// Owner and group that a container's user stands for; `None` for root by default.
///
/// # Errors
///
/// A name that the container's files do not know.
fn owner(root: &Root, user: &str) -> Result<Option<(u32, u32)>> {
    if user.is_empty() {
        return Ok(None);
    }
    let (who, group) = user.split_once(':').unwrap_or((user, ""));
    let unknown =
        |what: &str| Error::invalid(format!("unable to find {what}: no matching entries"));
    let passwd = lines(root, "/etc/passwd")?;
    let account = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
        (*name == who || *uid == who)
            .then(|| Some((uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?)))?
    });
    // Digits are always a number, whatever names the image invents.
    let uid = match who.parse::<u32>() {
        Ok(uid) => uid,
        Err(_) => account.ok_or_else(|| unknown(&format!("user {who}")))?.0,
    };
    let gid = match group.parse::<u32>() {
        Ok(gid) => gid,
        Err(_) if group.is_empty() => account.filter(|a| a.0 == uid).map_or(0, |a| a.1),
        Err(_) => lines(root, "/etc/group")?
            .lines()
            .find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                (*fields.first()? == group).then(|| fields.get(2)?.parse().ok())?
            })
            .ok_or_else(|| unknown(&format!("group {group}")))?,
    };
    Ok(Some((uid, gid)))
}

/// Reads a small file of a container; nothing else than a regular file is opened for reading.
fn lines(root: &Root, path: &str) -> Result<String> {
    let failed = |source| Error::System {
        what: format!("failed to read the container's {path}"),
        source,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match root.open_at(&guest(path).map_err(failed)?, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) if error.errno() == rustix::io::Errno::NOENT => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
    };
    if sys::root::metadata(file.as_fd()).map_err(failed)?.kind != sys::root::Kind::File {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(
        &mut std::io::Read::take(std::fs::File::from(file), MAX_ACCOUNTS),
        &mut bytes,
    )
    .map_err(|e| Error::io(format!("failed to read the container's {path}"), e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names_of_the_container() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/:\nweb:x:33:34::/:\n77:x:0:0::/:\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "adm:x:4:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let of = |user: &str| owner(&root, user);
        assert_eq!(of("").unwrap(), None);
        assert_eq!(of("web").unwrap(), Some((33, 34)));
        assert_eq!(of("33").unwrap(), Some((33, 34)));
        assert_eq!(of("1234:5").unwrap(), Some((1234, 5)));
        assert_eq!(of("web:adm").unwrap(), Some((33, 4)));
        assert_eq!(of("77").unwrap(), Some((77, 0)));
        assert!(of("nobody").is_err());
        assert!(of("web:nope").is_err());
    }
}
