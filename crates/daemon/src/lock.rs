//! One daemon per data root, and the file with its process id.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

/// How long the lock is waited for: a daemon that was killed while it started a program leaves it to
/// that child until the child runs the program.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// A root or pid file that belongs to somebody else.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has the data root.
    #[error("another daemon uses the data root `{path}`")]
    Root {
        /// The data root.
        path: String,
    },
    /// The process of the pid file lives.
    #[error("process with PID {pid} is still running")]
    Running {
        /// Its id.
        pid: i32,
    },
    /// The system refused.
    #[error("cannot {what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// The right to use a data root; given back when dropped or when the process dies.
#[derive(Debug)]
pub struct RootLock {
    _file: File,
}

impl RootLock {
    /// Makes the root if need be and takes it.
    pub fn take(root: &Path) -> Result<Self, LockError> {
        let deadline = Instant::now() + PATIENCE;
        Self::take_while(root, || {
            std::thread::sleep(PAUSE);
            Instant::now() < deadline
        })
    }

    /// Takes the lock, and tries it again while it is told to.
    fn take_while(root: &Path, mut again: impl FnMut() -> bool) -> Result<Self, LockError> {
        let path = root.join("cortend.lock");
        let failed = |what| {
            let path = path.display().to_string();
            move |source| LockError::Io { what, path, source }
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o710)
            .create(root)
            .map_err(failed("create the directory of"))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open"))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if again() => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Root {
                        path: root.display().to_string(),
                    });
                }
                Err(error) => return Err(failed("lock")(error.into())),
            }
        }
    }
}

/// The file with the process id; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the process id, unless the process of an older file lives.
    pub fn write(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io {
            what: "write",
            path: path.display().to_string(),
            source,
        };
        if let Some(pid) = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            && is_daemon(pid)
        {
            return Err(LockError::Running { pid });
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut file = File::create(path).map_err(failed)?;
        write!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Nothing depends on it: the next daemon looks whether the process lives.
        std::fs::remove_file(&self.path).ok();
    }
}

/// Whether a process lives and runs the program that this one runs: ids are used again.
fn is_daemon(pid: i32) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    pid != own && !is_zombie(pid) && name(pid).is_some_and(|n| Some(n) == name(own))
}

/// Whether a process has ended and only waits for its parent: after a `kill -9` it may for long.
fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything, also parentheses.
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    state == Some("Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_process_that_was_not_reaped_is_no_daemon() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !is_zombie(pid) {
            assert!(std::time::Instant::now() < deadline, "it never ended");
            std::thread::yield_now();
        }
        assert!(!is_zombie(i32::try_from(std::process::id()).unwrap()));
        child.wait().unwrap();
    }

    #[test]
    fn a_root_has_one_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        let lock = RootLock::take(&root).unwrap();
        assert!(matches!(RootLock::take(&root), Err(LockError::Root { .. })));
        drop(lock);
        assert!(RootLock::take(&root).is_ok());
    }

    #[test]
    fn a_root_that_is_given_back_a_moment_later_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = Some(RootLock::take(dir.path()).unwrap());
        let taken = RootLock::take_while(dir.path(), || held.take().is_some());
        assert!(taken.is_ok());
    }

    #[test]
    fn pid_files_of_the_dead_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/pid");
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(&path, "999999999").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(file);
        assert!(!path.exists());
    }
}
