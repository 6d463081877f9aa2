//! Writes `task.json` and `exit.json`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use serde::Serialize;
use shim::protocol::{EXIT_FILE, Exit, SOCKET_FILE, TASK_FILE, TaskRecord};

/// The run directory, by descriptor: whoever renames it does not confuse us.
#[derive(Debug)]
pub struct RunDir {
    dir: OwnedFd,
}

impl RunDir {
    /// Takes over an open directory.
    pub fn new(dir: OwnedFd) -> Self {
        Self { dir }
    }

    /// Replaces `task.json`.
    pub fn write_task(&self, record: &TaskRecord) -> sys::Result<()> {
        self.replace(TASK_FILE, record)
    }

    /// Replaces `exit.json`.
    pub fn write_exit(&self, exit: &Exit) -> sys::Result<()> {
        self.replace(EXIT_FILE, exit)
    }

    /// Removes what an earlier task left, so that nobody takes its end for ours.
    pub fn remove_stale(&self) {
        for name in [EXIT_FILE, TASK_FILE] {
            self.remove(name);
        }
    }

    /// Removes what nobody may find once the supervisor is gone.
    pub fn remove_socket(&self) {
        self.remove(SOCKET_FILE);
    }

    /// Removes the record of a task that left nothing to clean up.
    pub fn remove_task(&self) {
        self.remove(TASK_FILE);
    }

    fn remove(&self, name: &str) {
        // Missing already is as good.
        let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
    }

    fn replace<T: Serialize>(&self, name: &str, value: &T) -> sys::Result<()> {
        let text = serde_json::to_vec(value).expect("plain values with string keys serialise");
        let new = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let call = |what: &str| format!("{what}(`{new}`)");
        let file = rustix::fs::openat(&self.dir, &new, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| sys::Error::new(call("openat"), e))?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let done = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))
                .map_err(|e| sys::Error::new(call("write"), e))?;
            rest = &rest[done..];
        }
        rustix::fs::renameat(&self.dir, &new, self.dir.as_fd(), name)
            .map_err(|e| sys::Error::new(call("renameat"), e))
    }
}
