//! The end of a task, step by step.

use std::time::{Duration, Instant};

use shim::protocol::{Event, Exit};
use spec::WireError;

use super::Supervisor;
use super::stdio::Context;
use super::task::{self, Ended, Phase};

/// How long output is waited for that processes outside the container hold open.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How long a deleted task's clients may take to read the rest of their output.
pub const LINGER_LIMIT: Duration = Duration::from_secs(10);

/// A task whose init process has ended.
#[derive(Debug)]
pub struct Ending {
    ended: Ended,
    warnings: Vec<String>,
    /// When the output is cut.
    pub deadline: Instant,
}

impl Supervisor {
    /// The init process has ended.
    pub(super) fn on_init_end(&mut self) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if self.ending.is_some() {
            return;
        }
        let Some(ended) = task::reap(&running.pidfd) else {
            return;
        };
        running.pidfd.want(&self.poll, None);
        if let Some(oom) = running.oom.take() {
            oom.close(&self.poll);
        }
        let kills = running.cgroup.oom_kills();
        let mut warnings = Vec::new();
        // Without a pid namespace of its own the init process leaves the others alive.
        if let Err(error) = running.cgroup.kill() {
            warnings.push(spec::error::chain(&error));
        }
        let deadline = Instant::now() + DRAIN_LIMIT;
        self.ending = Some(Ending {
            ended,
            warnings,
            deadline,
        });
        self.note_oom(kills);
    }

    /// Finishes the task if its output has ended, or if that is overdue.
    pub(super) fn settle_ending(&mut self) {
        let Some(ending) = &self.ending else { return };
        let overdue = Instant::now() >= ending.deadline;
        self.reap_execs();
        self.settle_execs();
        let mut cx = Context {
            poll: &self.poll,
            scratch: &mut self.scratch,
            log: Some(&mut self.log),
        };
        let drained = self.stdio.drain(&mut cx);
        let complete = drained && self.execs.all_told();
        if !(complete || overdue) {
            return;
        }
        let Some(mut ending) = self.ending.take() else {
            return;
        };
        if !drained {
            ending
                .warnings
                .push("a process outside the container holds its output".to_owned());
        }
        self.stdio.close_outputs(&self.poll);
        self.stdio.finish(&self.poll);
        self.execs.clear(&self.poll);
        self.settle_execs();
        self.log.finish(task::now());
        if let Phase::Running(running) = std::mem::replace(&mut self.phase, Phase::Over) {
            if let Err(error) = running.cgroup.remove() {
                ending.warnings.push(spec::error::chain(&error));
            }
            running.pidfd.close(&self.poll);
        }
        let Ending {
            ended, warnings, ..
        } = ending;
        self.conclude(Exit {
            code: ended.code,
            signal: ended.signal,
            oom_killed: self.oom_kills > 0,
            at: ended.at,
            warnings,
        });
        if let Some(exit) = self.exit.clone() {
            self.broadcast(Event::Exited(exit));
        }
    }

    /// `execve` failed: the runtime has undone everything, the answer tells of it.
    pub(super) fn fail_start(&mut self, error: &WireError) {
        self.stdio.close_outputs(&self.poll);
        self.stdio.finish(&self.poll);
        self.conclude(Exit {
            code: error.exit_code.unwrap_or(128),
            signal: None,
            oom_killed: false,
            at: task::now(),
            warnings: vec![spec::error::chain(error)],
        });
    }

    /// Takes back what was created but never started.
    pub(super) fn undo(&mut self) {
        if let Phase::Created(created) = std::mem::replace(&mut self.phase, Phase::Over) {
            task::kill_and_reap(&created.pidfd);
            // Whoever finds them alive or in place has `task.json`, or the next start of the daemon.
            let _ = created.cgroup.kill();
            let _ = created.cgroup.remove();
        }
        self.stdio.close_outputs(&self.poll);
        self.stdio.finish(&self.poll);
        self.files.remove_task();
    }

    fn conclude(&mut self, mut exit: Exit) {
        if let Err(error) = self.files.write_exit(&exit) {
            exit.warnings.push(spec::error::chain(&error));
        }
        self.exit = Some(exit);
    }
}
