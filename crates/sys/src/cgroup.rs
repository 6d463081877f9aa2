//! Control groups, version 1, version 2 and hybrid, behind one type.
//!
//! ```text
//! v1 / hybrid   /sys/fs/cgroup/<controller>/<path>   one directory per hierarchy, nine or ten of them
//!               /sys/fs/cgroup/unified/<path>        a v2 hierarchy without controllers
//! v2            /sys/fs/cgroup/<path>                one directory
//! ```
//!
//! Nothing is removed on drop. Paths are absolute below the roots of the hierarchies and never
//! contain `..`. See cgroups(7).
//!
//! A process that moves **itself** by writing `0` to a v1 `tasks` file is spared the wait for an RCU
//! grace period (6 to 11 ms on an idle machine) that moving another process costs; [`Cgroup::join`]
//! and `CLONE_INTO_CGROUP` exist for that.

mod detect;
mod devices;
mod freeze;
mod limits;
mod stats;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

pub use detect::{Cgroups, Hierarchy, Version};
pub use devices::{DeviceKind, DeviceRule};
pub use limits::{BlockRate, Limits};
pub use stats::{BlockEntry, CpuStats, MemoryStats, PidsStats, Stats};

use crate::{Error, Result};

/// Most time that [`Cgroup::remove`] and [`Cgroup::kill`] wait for processes to be gone.
const SETTLE: Duration = Duration::from_secs(5);

/// Most time that making a group waits for a left-over of the same path to become empty.
const LEFT_OVER: Duration = Duration::from_millis(100);

/// How often a group is tried to be made while others remove its parent or make it themselves.
const PARENT_RACES: u32 = 16;

/// Whether the calling process is in the v2 directory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unified {
    /// It was cloned into it.
    Joined,
    /// It has to be moved.
    Join,
}

/// One group: a directory of the same path in every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: String,
    dirs: Vec<Dir>,
}

#[derive(Debug, Clone)]
struct Dir {
    hierarchy: Hierarchy,
    path: PathBuf,
}

impl Cgroups {
    /// Names a group without looking whether it exists.
    ///
    /// # Errors
    /// `EINVAL` when the path is not absolute, is the root, or has empty, `.` or `..` components.
    pub fn group(&self, path: &str) -> Result<Cgroup> {
        let invalid = || Error::new(format!("cgroup path `{path}`"), Errno::INVAL);
        let relative = path.strip_prefix('/').ok_or_else(invalid)?;
        if relative
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."))
            || path.contains('\0')
        {
            return Err(invalid());
        }
        let dirs = self.hierarchies().iter().map(|hierarchy| Dir {
            path: hierarchy.mountpoint.join(relative),
            hierarchy: hierarchy.clone(),
        });
        Ok(Cgroup {
            path: path.to_owned(),
            dirs: dirs.collect(),
        })
    }

    /// Makes a group in every hierarchy. An empty left-over of the same path is replaced.
    ///
    /// # Errors
    /// `EBUSY` when a group of this path has processes; nothing is left behind on any error.
    pub fn create(&self, path: &str) -> Result<Cgroup> {
        let group = self.group(path)?;
        group.make_unified()?;
        group.make_others()?;
        Ok(group)
    }

    /// Opens an existing group; `None` if no hierarchy has it.
    pub fn open(&self, path: &str) -> Result<Option<Cgroup>> {
        let group = self.group(path)?;
        Ok(group
            .dirs
            .iter()
            .any(|dir| dir.path.is_dir())
            .then_some(group))
    }

    /// Names of the groups directly below a path, in any hierarchy, sorted.
    pub fn children(&self, path: &str) -> Result<Vec<String>> {
        let mut names = std::collections::BTreeSet::new();
        for dir in self.group(path)?.dirs {
            for child in subdirs(&dir.path)? {
                if let Some(name) = child.file_name().and_then(OsStr::to_str) {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names.into_iter().collect())
    }
}

impl Cgroup {
    /// The path below the roots of the hierarchies.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory on the hierarchy of a v1 controller, e.g. `memory`.
    fn controller(&self, name: &str) -> Option<&Path> {
        let has = |dir: &&Dir| dir.hierarchy.controllers.iter().any(|c| c == name);
        self.dirs.iter().find(has).map(|dir| dir.path.as_path())
    }

    /// The directory of the v2 hierarchy, if one is mounted.
    fn unified(&self) -> Option<&Dir> {
        self.dirs
            .iter()
            .find(|dir| dir.hierarchy.version == Version::V2)
    }

    /// The directory of the v2 hierarchy when v2 is the only one.
    fn v2(&self) -> Option<&Path> {
        match self.dirs.as_slice() {
            [only] if only.hierarchy.version == Version::V2 => Some(&only.path),
            _ => None,
        }
    }

    /// Makes only the v2 directory, so that a process can be cloned into it at once.
    ///
    /// # Errors
    /// See [`Cgroups::create`].
    pub fn make_unified(&self) -> Result<()> {
        match self.unified() {
            Some(dir) => dir.make(),
            None => Ok(()),
        }
    }

    /// Makes the v1 directories.
    ///
    /// # Errors
    /// See [`Cgroups::create`].
    pub fn make_others(&self) -> Result<()> {
        for dir in self
            .dirs
            .iter()
            .filter(|d| d.hierarchy.version == Version::V1)
        {
            if let Err(error) = dir.make() {
                for made in &self.dirs {
                    // The first failure is the one to tell; an empty directory is swept later.
                    let _ = rustix::fs::rmdir(&made.path);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Opens the v2 directory for `CLONE_INTO_CGROUP`.
    pub fn unified_fd(&self) -> Result<Option<OwnedFd>> {
        let Some(dir) = self.unified() else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&dir.path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(e) => Err(Error::new(format!("open(`{}`)", dir.path.display()), e)),
        }
    }

    /// Moves the calling process, which must have a single thread, into the group.
    pub fn join(&self, unified: Unified) -> Result<()> {
        for dir in &self.dirs {
            match (dir.hierarchy.version, unified) {
                (Version::V1, _) => write(&dir.path, "tasks", "0")?,
                (Version::V2, Unified::Join) => write(&dir.path, "cgroup.procs", "0")?,
                (Version::V2, Unified::Joined) => {}
            }
        }
        Ok(())
    }

    /// Moves a process with all its threads into the group.
    pub fn add_pid(&self, pid: Pid) -> Result<()> {
        let text = pid.as_raw_nonzero().to_string();
        for dir in &self.dirs {
            write(&dir.path, "cgroup.procs", &text)?;
        }
        Ok(())
    }

    /// Processes of the group and of those below it, as the caller numbers them, sorted.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        if let Some(dir) = self.census_dir() {
            collect_pids(dir, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// A directory whose process list stands for the whole group.
    fn census_dir(&self) -> Option<&Path> {
        self.v2().or_else(|| {
            ["pids", "freezer", "memory", "devices"]
                .iter()
                .find_map(|name| self.controller(name))
                .or_else(|| self.dirs.first().map(|dir| dir.path.as_path()))
        })
    }

    /// Whether any hierarchy has the group.
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|dir| dir.path.is_dir())
    }

    /// Kills every process of the group and of those below it, frozen ones too, and waits until none
    /// is left, some seconds at most.
    ///
    /// # Errors
    /// `ETIMEDOUT` when processes remain, e.g. in uninterruptible sleep.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        if let Some(dir) = self.v2()
            && write(dir, "cgroup.kill", "1").is_ok()
        {
            return self.wait_empty(deadline);
        }
        // New processes may appear while the list is read: repeat until it stays empty.
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                self.kill_member(pid)?;
            }
            // Frozen processes of v1 die only when they thaw.
            self.thaw()?;
            if Instant::now() > deadline {
                return Err(Error::new(
                    format!("kill(cgroup `{}`)", self.path),
                    Errno::TIMEDOUT,
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn kill_member(&self, pid: i32) -> Result<()> {
        let Some(pid) = Pid::from_raw(pid) else {
            return Ok(());
        };
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(());
        };
        // The number may have been given to a stranger since it was read: only now it is pinned.
        if !self.has_member(pid)? {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::new(
                format!("pidfd_send_signal({pid:?}, SIGKILL)"),
                e,
            )),
        }
    }

    /// Whether a process is in the group or below it, by the kernel's account of the process.
    fn has_member(&self, pid: Pid) -> Result<bool> {
        let Ok(text) = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())) else {
            return Ok(false);
        };
        let inside = |line: &str| {
            let path = line.splitn(3, ':').nth(2).unwrap_or("");
            path.strip_prefix(self.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || path.ends_with(&self.path)
        };
        Ok(text.lines().any(inside))
    }

    fn wait_empty(&self, deadline: Instant) -> Result<()> {
        while !self.pids()?.is_empty() {
            if Instant::now() > deadline {
                return Err(Error::new(
                    format!("kill(cgroup `{}`)", self.path),
                    Errno::TIMEDOUT,
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Removes the group where it has neither processes nor groups below it, without waiting; for
    /// parents that several groups share.
    pub fn remove_if_empty(&self) {
        for dir in &self.dirs {
            // Whoever still uses it removes it later.
            let _ = rustix::fs::rmdir(&dir.path);
        }
    }

    /// Removes the group and those below it from every hierarchy; missing ones are no error.
    ///
    /// # Errors
    /// `EBUSY` when processes remain after some seconds; the other hierarchies are removed all the same.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        let mut first = Ok(());
        for dir in &self.dirs {
            let removed = remove_tree(&dir.path, deadline);
            first = first.and(removed);
        }
        first
    }
}

/// Makes the directory of a group. Every user of the container may look at it, whatever the mask of
/// the caller: a runtime of another user reads its memory limit there.
fn make_dir(path: &Path) -> std::result::Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdir(path, mode)?;
    match rustix::fs::chmod(path, mode) {
        // Removed again already: whoever uses it next will notice.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

impl Dir {
    fn make(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.mkdir() {
                Ok(()) => return self.prepare(&self.path),
                // Somebody may remove an empty parent again before it is used.
                Err(Errno::NOENT) if tries < PARENT_RACES => self.make_parents()?,
                // A left-over of a crash: its limits are unknown, so it is not used again.
                Err(Errno::EXIST) if tries < PARENT_RACES => {
                    remove_tree(&self.path, Instant::now() + LEFT_OVER)?;
                }
                Err(e) => {
                    return Err(Error::new(format!("mkdir(`{}`)", self.path.display()), e));
                }
            }
        }
    }

    fn mkdir(&self) -> std::result::Result<(), Errno> {
        make_dir(&self.path)
    }

    fn make_parents(&self) -> Result<()> {
        let Some(parent) = self.path.parent() else {
            return Ok(());
        };
        let relative = parent
            .strip_prefix(&self.hierarchy.mountpoint)
            .unwrap_or(parent);
        let mut current = self.hierarchy.mountpoint.clone();
        self.delegate(&current);
        for part in relative.components() {
            current.push(part);
            match make_dir(&current) {
                Ok(()) => match self.prepare(&current) {
                    // Removed again already: the caller tries again.
                    Err(e) if e.errno() == Errno::NOENT => return Ok(()),
                    other => other?,
                },
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(()),
                Err(e) => return Err(Error::new(format!("mkdir(`{}`)", current.display()), e)),
            }
            self.delegate(&current);
        }
        Ok(())
    }

    /// Enables the available v2 controllers for the groups below a directory.
    fn delegate(&self, dir: &Path) {
        if self.hierarchy.version != Version::V2 {
            return;
        }
        for name in read(dir, "cgroup.controllers")
            .unwrap_or_default()
            .split_whitespace()
        {
            // One at a time: a controller that cannot be delegated must not hinder the others, and
            // a limit that then cannot be set says so itself.
            let _ = write(dir, "cgroup.subtree_control", &format!("+{name}"));
        }
    }

    /// Fills what a fresh v1 cpuset lacks: without processors and memory nothing can join it.
    fn prepare(&self, dir: &Path) -> Result<()> {
        if self.hierarchy.version != Version::V1
            || !self.hierarchy.controllers.iter().any(|c| c == "cpuset")
        {
            return Ok(());
        }
        let Some(parent) = dir.parent() else {
            return Ok(());
        };
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let mut value = read(parent, file)?;
            if value.trim().is_empty() && parent != self.hierarchy.mountpoint {
                // Somebody has just made it and not come to filling it.
                self.prepare(parent)?;
                value = read(parent, file)?;
            }
            write(dir, file, value.trim())?;
        }
        Ok(())
    }
}

/// Removes a directory and all below it, deepest first, retrying while the kernel is still busy with
/// processes that have just ended.
fn remove_tree(dir: &Path, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(50);
    loop {
        match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => {
                for child in subdirs(dir)? {
                    remove_tree(&child, deadline)?;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(e) => return Err(Error::new(format!("rmdir(`{}`)", dir.display()), e)),
        }
    }
}

fn subdirs(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("opendir", dir, &e)),
    };
    let is_dir = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_dir());
    Ok(entries.flatten().filter(is_dir).map(|e| e.path()).collect())
}

fn collect_pids(dir: &Path, pids: &mut Vec<i32>) -> Result<()> {
    match read(dir, "cgroup.procs") {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(e) if matches!(e.errno(), Errno::NOENT | Errno::NODEV) => return Ok(()),
        Err(e) => return Err(e),
    }
    for child in subdirs(dir)? {
        collect_pids(&child, pids)?;
    }
    Ok(())
}

fn io_error(call: &str, path: &Path, error: &std::io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    Error::new(format!("{call}(`{}`)", path.display()), errno)
}

/// Writes one value to a control file.
fn write(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    let fail = |e| Error::new(format!("write(`{}`, `{value}`)", path.display()), e);
    let fd =
        rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map_err(fail)?;
    Ok(())
}

/// Reads a control file.
fn read(dir: &Path, file: &str) -> Result<String> {
    let path = dir.join(file);
    let mut text = String::new();
    fs::File::open(&path)
        .and_then(|mut f| f.read_to_string(&mut text))
        .map_err(|e| io_error("read", &path, &e))?;
    Ok(text)
}
