//! The end of a run, as it is reported or as it is found.

use std::sync::Arc;

use shim::protocol::{Exit, Request};
use sys::fs::Durability;
use tokio::time::Instant;

use super::driver::Driver;
use super::mounting;
use super::policy::{self, Ended};
use super::request::{RemoveOptions, WaitCondition};
use super::shared::Shared;
use super::start::{close_sandbox, remove_run_dir};
use crate::container::{Container, State};
use crate::{Result, clock};

/// Exit code of a container whose supervisor was lost: its processes were killed.
const LOST: i32 = 137;

impl Driver {
    /// Its first process has ended.
    pub(super) async fn ended(&mut self, exit: Exit) {
        for warning in &exit.warnings {
            tracing::warn!(container = %self.record.id, warning, "while ending");
        }
        self.finish(exit, "").await;
    }

    /// The connection to its supervisor has ended without a report.
    pub(super) async fn supervisor_lost(&mut self) {
        let run_dir = self.shared.run_dir(self.record.id);
        let (shared, container) = (Arc::clone(&self.shared), self.container.clone());
        let found = self.shared.blocking.quick(move || {
            match shim::protocol::read_exit(&run_dir) {
                Ok(Some(exit)) => Ok(Some(exit)),
                // Without a report nobody watches its processes any more: they are ended.
                _ => kill_group(&shared, &container).map(|()| None),
            }
        });
        match found.await {
            Ok(Some(exit)) => self.finish(exit, "").await,
            Ok(None) => {
                tracing::error!(container = %self.record.id, "the supervisor was lost");
                self.finish(lost_exit(), "the supervisor of the container was lost")
                    .await;
            }
            Err(error) => {
                let text = spec::error::chain(&error);
                tracing::error!(container = %self.record.id, error = text, "the supervisor was lost");
                self.finish(lost_exit(), "the supervisor of the container was lost")
                    .await;
            }
        }
    }

    async fn finish(&mut self, exit: Exit, error: &str) {
        if let Some(live) = self.live.take() {
            // Its answer is not waited for: it ends in any case when the connection does.
            let _gone = live.task.send(Request::Delete, Vec::new()).await;
        }
        let Some(running) = self.container.state.running().cloned() else {
            return;
        };
        self.record.running = false;
        self.record.last = crate::container::LastRun {
            started_at: Some(running.started_at),
            finished_at: Some(exit.at),
            exit_code: exit.code,
            error: error.to_owned(),
            oom_killed: exit.oom_killed || self.record.last.oom_killed,
        };
        for exec in self.shared.execs.container_ended(self.record.id) {
            self.emit(
                "exec_die",
                &[("execID", exec.to_string()), ("exitCode", LOST.to_string())],
            );
        }
        let lasted = self.lasted();
        let delay = self.next_restart(lasted);
        self.container.state = if delay.is_some() {
            State::Restarting
        } else {
            State::Exited
        };
        if delay.is_some() {
            self.record.restart_count += 1;
        }
        self.show_networks();
        self.publish();
        let seconds = lasted.as_secs().to_string();
        let code = exit.code.to_string();
        self.emit("die", &[("execDuration", seconds), ("exitCode", code)]);
        tracing::info!(container = %self.record.id, code = exit.code, "exited");
        self.wake(|condition| condition != WaitCondition::Removed);
        self.clean_up().await;
        self.emit_networks("disconnect");
        self.afterwards(delay).await;
    }

    fn next_restart(&self, lasted: std::time::Duration) -> Option<std::time::Duration> {
        if self.stopping.is_some() {
            return None;
        }
        policy::restart_delay(
            &self.record.host.restart_policy,
            Ended {
                exit_code: self.record.last.exit_code,
                lasted,
                by_user: self.record.stopped_by_user,
                restarts: self.record.restart_count,
                delay: self.restart_delay,
            },
        )
    }

    /// Gives the address back, keeps the outcome, and removes the task's directory, in this order.
    async fn clean_up(&mut self) {
        let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
        let place = std::mem::take(&mut self.place);
        let job = move || {
            close_sandbox(&shared, &record, &place);
            mounting::release(&shared, &record);
            if let Err(error) = shared.store.forget_memory(&record.id.to_string()) {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %record.id, error, "failed to empty its layer in memory");
            }
            if !record.host.auto_remove {
                record.save(&shared.data_dir(record.id), Durability::Unsynced)?;
            }
            remove_run_dir(&shared.run_dir(record.id));
            Ok(())
        };
        let asks_plugins = self.asks_plugins();
        if let Err(error) = self
            .shared
            .blocking
            .quick_or_plugin(asks_plugins, job)
            .await
        {
            let error = spec::error::chain(&error);
            tracing::warn!(container = %self.record.id, error, "failed to clean up after a run");
        }
    }

    async fn afterwards(&mut self, delay: Option<std::time::Duration>) {
        let then = self.stopping.take().map(|s| s.then).unwrap_or_default();
        if !then.is_empty() {
            self.then(then).await;
        } else if let Some(delay) = delay {
            self.restart_delay = Some(delay);
            self.restart_at = Some(Instant::now() + delay);
        }
        let idle = self.live.is_none() && self.restart_at.is_none() && !self.removed;
        if self.record.host.auto_remove && idle {
            let options = RemoveOptions {
                volumes: true,
                ..RemoveOptions::default()
            };
            if let Err(error) = self.remove_now(options).await {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %self.record.id, error, "failed to remove a container");
            }
        }
    }

    /// The policy's wait is over.
    pub(super) async fn on_restart(&mut self) {
        self.restart_at = None;
        match self.start().await {
            Ok(()) => self.after_start().await,
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %self.record.id, error, "failed to restart");
                let delay = self.next_restart(std::time::Duration::ZERO);
                if delay.is_none() {
                    self.container.state = State::Exited;
                } else {
                    self.record.restart_count += 1;
                }
                self.publish();
                self.save().await;
                self.restart_delay = delay;
                self.restart_at = delay.map(|d| Instant::now() + d);
            }
        }
    }

    /// Takes up a run of which only the end is left to know.
    pub(super) async fn take_exit(&mut self, exit: Option<Exit>) {
        match exit {
            Some(exit) => self.finish(exit, "").await,
            None => {
                self.finish(lost_exit(), "the supervisor of the container was lost")
                    .await;
            }
        }
    }
}

fn lost_exit() -> Exit {
    Exit {
        code: LOST,
        signal: Some(9),
        oom_killed: false,
        at: clock::now(),
        warnings: Vec::new(),
    }
}

/// Kills what is left of a container and removes its control groups.
pub(super) fn kill_group(shared: &Shared, container: &Container) -> Result<()> {
    let path = shared.cgroup_path(container.id, &container.host);
    remove_group(shared, &path)
}

/// Kills what is in a control group and removes it; a missing one is no error.
pub(super) fn remove_group(shared: &Shared, path: &str) -> Result<()> {
    let failed = |source| crate::Error::System {
        what: format!("failed to remove the control group `{path}`"),
        source,
    };
    let Some(group) = shared.cgroups.open(path).map_err(failed)? else {
        return Ok(());
    };
    group.kill().map_err(failed)?;
    group.remove().map_err(failed)
}
