//! The files of a task in its run directory, for the daemon that finds no supervisor.
//!
//! ```text
//! <run_dir>/
//! ├── config.json   the bundle; written by the daemon
//! ├── shim.sock     re-attachment; listened on by the supervisor while it lives
//! ├── task.json     TaskRecord; before and after the init process was made
//! └── exit.json     Exit; once the task has ended
//! ```
//!
//! All are replaced by rename, none is synced: the directory lives in memory.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::ContainerId;

use super::Exit;

/// Socket for re-attachment.
pub const SOCKET_FILE: &str = "shim.sock";
/// Holds a [`TaskRecord`].
pub const TASK_FILE: &str = "task.json";
/// Holds an [`Exit`].
pub const EXIT_FILE: &str = "exit.json";

/// What must be cleaned up if the supervisor is gone without an `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Format of this file: 1.
    pub version: u32,
    /// The container.
    pub container: ContainerId,
    /// The supervisor that wrote it.
    pub supervisor: ProcessRef,
    /// The init process, once made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessRef>,
    /// The control group below every hierarchy's root, as in `linux.cgroupsPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
}

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Process id in the host's numbering.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: ticks since boot.
    pub start_time: u64,
}

impl ProcessRef {
    /// Looks a process up; `None` if there is none of that number.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses and may contain anything.
        let rest = stat.get(stat.rfind(')')? + 1..)?;
        let start_time = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, start_time })
    }

    /// Whether exactly this process still exists (a zombie does).
    pub fn exists(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

/// Reads `exit.json`; `None` if the task has not ended.
pub fn read_exit(run_dir: &Path) -> io::Result<Option<Exit>> {
    read(&run_dir.join(EXIT_FILE))
}

/// Reads `task.json`; `None` if nothing was created.
pub fn read_task(run_dir: &Path) -> io::Result<Option<TaskRecord>> {
    read(&run_dir.join(TASK_FILE))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
