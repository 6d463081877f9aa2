//! The one task that changes a container.
//!
//! ```text
//! commands ─► ┌────────┐ ─► watch: readers' snapshots
//! events ───► │ Driver │ ─► record.json, events
//! timers ───► └────────┘ ─► supervisor (start.rs, stop.rs, ended.rs, remove.rs)
//! ```
//!
//! Commands are taken one at a time. A stop does not block the queue: it is remembered in
//! [`Stopping`] and answered when the end is reported.

use std::sync::Arc;
use std::time::Duration;

use shim::protocol::{Event, Reply as TaskReply, Request, Streams};
use spec::{ExecId, Signal};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use sys::fs::Durability;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::command::{Command, Reply};
use super::endpoint::Place;
use super::files::{Loan, Turns};
use super::policy::{self, Verb};
use super::record::Record;
use super::request::{RemoveOptions, WaitCondition, WaitOutcome};
use super::shared::Shared;
use super::table::Handle;
use crate::container::{Container, State};
use crate::shim_client::{Task, TaskEvent};
use crate::{Error, Result, clock};

/// Commands that may wait; a client that sends more has to wait itself.
const QUEUE: usize = 64;
/// Streams that may be connected before a start.
pub(super) const EARLY: usize = 64;

/// A live task and what it reports.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) task: Task,
    // Unbounded, yet bounded by what a supervisor reports: one event per exec, one at the end.
    pub(super) events: mpsc::UnboundedReceiver<TaskEvent>,
}

/// An end that was asked for and has not come yet.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When to use force.
    pub(super) deadline: Option<Instant>,
    /// Force was used; at the deadline the wait is given up.
    pub(super) killed: bool,
    /// Who waits for it, and what they want next.
    pub(super) then: Vec<Then>,
}

/// What is done once a container has ended.
#[derive(Debug)]
pub(super) enum Then {
    /// Answer a stop.
    Stopped(Reply),
    /// Answer a kill.
    Killed(Reply),
    /// Start it again.
    Restart(Reply),
    /// Remove it.
    Remove(RemoveOptions, Reply),
}

/// The owner of a container.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) record: Record,
    /// What readers see next; published by [`Driver::publish`].
    pub(super) container: Container,
    pub(super) view: watch::Sender<Arc<Container>>,
    pub(super) live: Option<Live>,
    pub(super) early: Vec<(OwnedFd, Streams)>,
    pub(super) waiters: Vec<(WaitCondition, oneshot::Sender<WaitOutcome>)>,
    pub(super) stopping: Option<Stopping>,
    pub(super) restart_at: Option<Instant>,
    pub(super) restart_delay: Option<Duration>,
    pub(super) removed: bool,
    /// What its run has of its networks.
    pub(super) place: Place,
    /// Copies that use the container's files.
    pub(super) lent: Vec<Loan>,
    /// Which of them may mount the files.
    pub(super) turns: Turns,
}

impl Driver {
    /// Makes the driver of a container that does not run.
    pub(super) fn new(shared: Arc<Shared>, record: Record) -> Self {
        let container = shared.picture(&record);
        let (view, _) = watch::channel(Arc::new(container.clone()));
        Self {
            shared,
            record,
            container,
            view,
            live: None,
            early: Vec::new(),
            waiters: Vec::new(),
            stopping: None,
            restart_at: None,
            restart_delay: None,
            removed: false,
            place: Place::default(),
            lent: Vec::new(),
            turns: Turns::default(),
        }
    }

    /// Makes the container visible and runs its task.
    pub(super) fn launch(self) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let handle = Handle {
            id: self.record.id,
            commands,
            view: self.view.subscribe(),
        };
        let shared = Arc::clone(&self.shared);
        shared.callers.add(self.record.id, &self.record.links);
        shared.table().insert(handle);
        shared.drivers.spawn(self.run(queue));
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let closing = self.shared.closing.clone();
        while !self.removed {
            let deadline = self.stopping.as_ref().and_then(|s| s.deadline);
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                event = next(&mut self.live) => self.on_event(event).await,
                () = at(deadline) => self.on_deadline().await,
                () = at(self.restart_at) => self.on_restart().await,
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => break,
                },
            }
        }
    }

    /// Shows readers the present state.
    pub(super) fn publish(&mut self) {
        self.container.last.clone_from(&self.record.last);
        self.container.restart_count = self.record.restart_count;
        self.container.name.clone_from(&self.record.name);
        self.view.send_replace(Arc::new(self.container.clone()));
    }

    /// Writes the record; a failure is told and survived, for the state in memory is right.
    pub(super) async fn save(&self) {
        let record = self.record.clone();
        let dir = self.shared.data_dir(record.id);
        let saved = self
            .shared
            .blocking
            .quick(move || record.save(&dir, Durability::Unsynced));
        if let Err(error) = saved.await {
            let error = spec::error::chain(&error);
            tracing::warn!(container = %self.record.id, error, "failed to save a container");
        }
    }

    /// Writes the record as a change that somebody asked for: it must last.
    pub(super) async fn save_change(&self) -> Result<()> {
        let record = self.record.clone();
        let dir = self.shared.data_dir(record.id);
        let durability = if record.host.auto_remove {
            Durability::Unsynced
        } else {
            Durability::Synced
        };
        let job = move || record.save(&dir, durability);
        self.shared.blocking.quick(job).await
    }

    /// Tells everybody what happened, with the container's attributes.
    pub(super) fn emit(&self, action: impl Into<String>, more: &[(&str, String)]) {
        let mut attributes = self.attributes();
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.shared
            .events
            .emit("container", action, self.record.id.to_string(), attributes);
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.record.config.labels.clone();
        attributes.insert("image".to_owned(), self.record.config.image.clone());
        attributes.insert("name".to_owned(), self.record.name.to_string());
        attributes
    }

    pub(super) fn admit(&self, verb: Verb) -> Result<()> {
        policy::admit(&self.container, verb).map_err(Error::from)
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Start(reply) => {
                let done = match self.admit(Verb::Start) {
                    Ok(()) => self.start_by_user().await,
                    Err(error) => Err(error),
                };
                answer(reply, done);
                self.after_start().await;
            }
            Command::Stop(stop, reply) => match self.admit(Verb::Stop) {
                Ok(()) => self.stop(stop, Then::Stopped(reply)).await,
                Err(error) => answer(reply, Err(error)),
            },
            Command::Restart(stop, reply) => match self.admit(Verb::Restart) {
                Ok(()) => self.stop(stop, Then::Restart(reply)).await,
                Err(error) => answer(reply, Err(error)),
            },
            Command::Kill(signal, reply) => match self.admit(Verb::Kill) {
                Ok(()) => self.kill(signal, reply).await,
                Err(error) => answer(reply, Err(error)),
            },
            Command::Remove(options, reply) => {
                let verb = if options.force {
                    Verb::RemoveForce
                } else {
                    Verb::Remove
                };
                match self.admit(verb) {
                    Ok(()) => self.remove_ending(options, reply).await,
                    Err(error) => answer(reply, Err(error)),
                }
            }
            Command::Wait(condition, reply) => self.wait(condition, reply),
            other => self.on_minor(other).await,
        }
    }

    async fn on_event(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::Event(Event::Exited(exit)) => self.ended(exit).await,
            TaskEvent::Event(Event::Oom) => {
                self.record.last.oom_killed = true;
                self.emit("oom", &[]);
            }
            TaskEvent::Event(Event::ExecExited { exec, code, .. }) => self.exec_ended(exec, code),
            TaskEvent::Gone => self.supervisor_lost().await,
        }
    }

    fn wait(&mut self, condition: WaitCondition, reply: Reply<oneshot::Receiver<WaitOutcome>>) {
        let (sender, receiver) = oneshot::channel();
        let active =
            self.container.state.running().is_some() || self.container.state == State::Restarting;
        if condition == WaitCondition::NotRunning && !active {
            let _left = sender.send(self.outcome());
        } else {
            // Those who left make room.
            self.waiters.retain(|(_, waiter)| !waiter.is_closed());
            self.waiters.push((condition, sender));
        }
        answer(reply, Ok(receiver));
    }

    fn outcome(&self) -> WaitOutcome {
        WaitOutcome {
            exit_code: self.record.last.exit_code,
            error: Some(self.record.last.error.clone()).filter(|e| !e.is_empty()),
        }
    }

    /// Tells those who wait for one of these.
    pub(super) fn wake(&mut self, wanted: impl Fn(WaitCondition) -> bool) {
        let outcome = self.outcome();
        for (condition, waiter) in std::mem::take(&mut self.waiters) {
            if wanted(condition) {
                let mut outcome = outcome.clone();
                if condition == WaitCondition::Removed {
                    // It was removed, which is all that was waited for: as in Docker, why it may
                    // not have started is told by the start.
                    outcome.error = None;
                }
                let _left = waiter.send(outcome);
            } else {
                self.waiters.push((condition, waiter));
            }
        }
    }

    /// Sends a request to the supervisor and waits for its answer.
    pub(super) async fn call(&self, what: &str, request: Request) -> Result<TaskReply> {
        let Some(live) = &self.live else {
            let id = self.record.id;
            return Err(Error::conflict(format!("container {id} is not running")));
        };
        let answer = live.task.call(request, Vec::new()).await;
        answer.map_err(|source| Error::Task {
            what: what.to_owned(),
            source,
        })
    }

    pub(super) fn exec_ended(&mut self, id: ExecId, code: i32) {
        if self.shared.execs.ended(id, code) {
            let more = [("execID", id.to_string()), ("exitCode", code.to_string())];
            self.emit("exec_die", &more);
        }
    }

    /// How long the present run has lasted.
    pub(super) fn lasted(&self) -> Duration {
        let started = self.record.last.started_at.map_or(0, |t| t.unix_nanos());
        let end = self
            .record
            .last
            .finished_at
            .unwrap_or_else(clock::now)
            .unix_nanos();
        Duration::from_nanos(u64::try_from(end.saturating_sub(started)).unwrap_or(0))
    }

    /// Sends a signal to the first process.
    pub(super) async fn signal(&self, signal: Signal) -> Result<()> {
        let request = Request::Signal { exec: None, signal };
        self.call("cannot kill container", request)
            .await
            .map(|_| ())
    }
}

/// Answers a command; whoever asked may have left.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T>) {
    let _left = reply.send(result);
}

async fn next(live: &mut Option<Live>) -> TaskEvent {
    match live {
        // The channel ends only with the reader task, which says `Gone` first.
        Some(live) => live.events.recv().await.unwrap_or(TaskEvent::Gone),
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
