//! Which execs there are; the drivers of their containers write, everybody reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spec::{ContainerId, ExecId};
use tokio::sync::Notify;

use super::{ExecConfig, ExecView};
use crate::{Error, Result};

/// Ended execs that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 1024;

/// Execs that were created and not started; more are refused, for they would never go away.
const WAITING: usize = 8192;

/// The execs of all containers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExecTable {
    inner: Arc<Mutex<Inner>>,
    /// Told of every end.
    ends: Arc<Notify>,
}

/// Longest wait for the end of an exec whose output has ended; one that closed its output and goes
/// on is let go then.
const END_FOLLOWS: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Inner {
    execs: HashMap<ExecId, Entry>,
    ended: VecDeque<ExecId>,
}

#[derive(Debug)]
struct Entry {
    view: ExecView,
    started: bool,
}

impl ExecTable {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panics while held")
    }

    /// Makes an exec known.
    ///
    /// # Errors
    ///
    /// Far too many were created and never started.
    pub(crate) fn insert(
        &self,
        id: ExecId,
        container: ContainerId,
        config: Arc<ExecConfig>,
    ) -> Result<()> {
        let mut inner = self.lock();
        if inner.execs.len() >= WAITING {
            return Err(Error::refused(
                spec::ErrorKind::Exhausted,
                "too many execs were created and never started",
            ));
        }
        let view = ExecView {
            id,
            container,
            open_stdin: config.attach_stdin,
            config,
            running: false,
            exit_code: None,
            pid: 0,
            can_remove: false,
        };
        inner.execs.insert(
            id,
            Entry {
                view,
                started: false,
            },
        );
        Ok(())
    }

    /// An exec by its whole id.
    pub(crate) fn get(&self, key: &str) -> Result<ExecView> {
        let id = key.parse::<ExecId>().ok();
        let inner = self.lock();
        id.and_then(|id| inner.execs.get(&id))
            .map(|entry| entry.view.clone())
            .ok_or_else(|| Error::NoSuchExec {
                key: key.to_owned(),
            })
    }

    /// Execs of a container that have not ended, as its inspect lists them.
    pub(crate) fn of(&self, container: ContainerId) -> Vec<ExecId> {
        let inner = self.lock();
        inner
            .execs
            .values()
            .filter(|e| e.view.container == container && e.view.exit_code.is_none())
            .map(|e| e.view.id)
            .collect()
    }

    /// Claims an exec for its one start.
    ///
    /// # Errors
    ///
    /// It was started before, in Docker's words.
    pub(crate) fn claim(&self, id: ExecId) -> Result<()> {
        let mut inner = self.lock();
        let Some(entry) = inner.execs.get_mut(&id) else {
            return Err(Error::NoSuchExec {
                key: id.to_string(),
            });
        };
        if entry.view.exit_code.is_some() {
            return Err(Error::conflict(format!(
                "exec command {id} has already run"
            )));
        }
        if entry.started {
            return Err(Error::conflict(format!(
                "exec command {id} is already running"
            )));
        }
        entry.started = true;
        Ok(())
    }

    /// Its process runs.
    pub(crate) fn running(&self, id: ExecId, pid: i32) {
        if let Some(entry) = self.lock().execs.get_mut(&id) {
            // A very short one may have been reported as ended already.
            entry.view.running = entry.view.exit_code.is_none();
            entry.view.pid = pid;
        }
    }

    /// Its process ended, or could not be started; `false` if that was known.
    pub(crate) fn ended(&self, id: ExecId, code: i32) -> bool {
        let mut inner = self.lock();
        let Some(entry) = inner.execs.get_mut(&id) else {
            return false;
        };
        if entry.view.exit_code.is_some() {
            return false;
        }
        entry.view.running = false;
        entry.view.open_stdin = false;
        entry.view.exit_code = Some(code);
        inner.ended.push_back(id);
        while inner.ended.len() > REMEMBERED {
            if let Some(oldest) = inner.ended.pop_front() {
                inner.execs.remove(&oldest);
            }
        }
        drop(inner);
        self.ends.notify_waiters();
        true
    }

    /// Waits until the end of an exec is recorded, for a bounded time.
    ///
    /// Clients ask for the exit code as soon as their stream ends: it must be known by then.
    pub(crate) async fn wait_ended(&self, id: ExecId) {
        let recorded = async {
            loop {
                let next = self.ends.notified();
                tokio::pin!(next);
                next.as_mut().enable();
                let entry = self.get(&id.to_string());
                if entry.is_ok_and(|view| view.exit_code.is_none()) {
                    next.await;
                } else {
                    return;
                }
            }
        };
        // When the time is up the process goes on without its output.
        let _late = tokio::time::timeout(END_FOLLOWS, recorded).await;
    }

    /// Their container ended: whatever ran was killed.
    pub(crate) fn container_ended(&self, container: ContainerId) -> Vec<ExecId> {
        let running: Vec<ExecId> = {
            let inner = self.lock();
            inner
                .execs
                .values()
                .filter(|e| e.view.container == container && e.view.running)
                .map(|e| e.view.id)
                .collect()
        };
        running
            .into_iter()
            .filter(|id| self.ended(*id, 137))
            .collect()
    }

    /// Their container is gone.
    pub(crate) fn container_removed(&self, container: ContainerId) {
        let mut inner = self.lock();
        inner
            .execs
            .retain(|_, entry| entry.view.container != container);
        let Inner { execs, ended } = &mut *inner;
        ended.retain(|id| execs.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ExecId {
        ExecId::from_bytes([byte; 32])
    }

    #[test]
    fn an_exec_is_started_once_and_remembered() {
        let table = ExecTable::default();
        let container = ContainerId::from_bytes([1; 32]);
        table.insert(id(1), container, Arc::default()).unwrap();
        table.claim(id(1)).unwrap();
        assert!(
            table
                .claim(id(1))
                .unwrap_err()
                .to_string()
                .contains("already running")
        );
        table.running(id(1), 7);
        assert_eq!(table.of(container), [id(1)]);
        assert!(table.ended(id(1), 3));
        assert!(!table.ended(id(1), 4));
        let view = table.get(&id(1).to_string()).unwrap();
        assert_eq!((view.running, view.exit_code), (false, Some(3)));
        assert!(
            table
                .claim(id(1))
                .unwrap_err()
                .to_string()
                .contains("already run")
        );
        table.container_removed(container);
        assert!(table.get(&id(1).to_string()).is_err());
    }
}
