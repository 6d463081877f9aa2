//! Stops and continues all processes of a group at once.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Cgroup, read, write};
use crate::{Error, Result};

/// Most time that freezing may take: a process in uninterruptible sleep delays it.
const FREEZE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Freezes the group; returns when every process has stopped.
    ///
    /// # Errors
    /// `ETIMEDOUT` when a process does not stop; the group is thawed again then.
    pub fn freeze(&self) -> Result<()> {
        let deadline = Instant::now() + FREEZE;
        loop {
            self.set_frozen("FROZEN", "1")?;
            if self.is_frozen()? {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.thaw()?;
                return Err(Error::new(
                    format!("freeze(`{}`)", self.path()),
                    Errno::TIMEDOUT,
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the processes of the group continue.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen("THAWED", "0")
    }

    fn set_frozen(&self, v1: &str, v2: &str) -> Result<()> {
        if let Some(dir) = self.controller("freezer") {
            write(dir, "freezer.state", v1)
        } else if let Some(dir) = self.unified() {
            write(&dir.path, "cgroup.freeze", v2)
        } else {
            Err(Error::new("find the freezer controller", Errno::NODEV))
        }
    }

    /// Whether the group is frozen, by its own state or that of a group above it.
    pub fn is_frozen(&self) -> Result<bool> {
        if let Some(dir) = self.controller("freezer") {
            Ok(read(dir, "freezer.state")?.trim() == "FROZEN")
        } else if let Some(dir) = self.unified() {
            Ok(read(&dir.path, "cgroup.events")?
                .lines()
                .any(|line| line == "frozen 1"))
        } else {
            Ok(false)
        }
    }
}
