//! Stopping and killing: signals, deadlines, and what is done once it has ended.

use std::time::Duration;

use shim::protocol::Request;
use spec::Signal;
use tokio::time::Instant;

use super::command::{Reply, Stop};
use super::driver::{Driver, Stopping, Then, answer};
use super::request::RemoveOptions;
use crate::container::State;
use crate::{Error, Result};

/// How long an end may take after KILL; longer means the kernel holds the process.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

impl Driver {
    /// Sends the stop signal and remembers what follows; answered when it has ended.
    pub(super) async fn stop(&mut self, stop: Stop, then: Then) {
        if self.live.is_none() {
            // Waiting to be restarted, or not running at all.
            self.give_up_restart().await;
            return self.then(vec![then]).await;
        }
        let restarts = matches!(then, Then::Restart(_));
        self.record.stopped_by_user = !restarts;
        let signal = stop.signal.unwrap_or_else(|| self.stop_signal());
        let seconds = stop
            .timeout
            .or(self.record.config.stop_timeout)
            .unwrap_or_else(|| i64::try_from(self.shared.config.stop_timeout).unwrap_or(10));
        self.send_kill_event(signal);
        if let Err(error) = self.signal(signal).await {
            // Most likely it has just ended, which is about to be reported.
            let error = spec::error::chain(&error);
            tracing::debug!(container = %self.record.id, error, "failed to send the stop signal");
        }
        self.resume_if_paused().await;
        let deadline = u64::try_from(seconds)
            .ok()
            .map(|s| Instant::now() + Duration::from_secs(s.min(u64::from(u32::MAX))));
        self.expect_end(deadline, false, then);
    }

    /// Sends a signal; KILL is answered when it has ended.
    pub(super) async fn kill(&mut self, signal: Signal, reply: Reply) {
        if self.live.is_none() {
            self.give_up_restart().await;
            return answer(reply, Ok(()));
        }
        if signal == Signal::KILL || signal == self.stop_signal() {
            self.record.stopped_by_user = true;
        }
        if let Err(error) = self.signal(signal).await {
            return answer(reply, Err(error));
        }
        self.send_kill_event(signal);
        if signal == Signal::KILL {
            self.resume_if_paused().await;
            self.expect_end(
                Some(Instant::now() + KILL_TIMEOUT),
                true,
                Then::Killed(reply),
            );
        } else {
            answer(reply, Ok(()));
        }
    }

    /// Removes it, ending it first if that was asked for.
    pub(super) async fn remove_ending(&mut self, options: RemoveOptions, reply: Reply) {
        if self.live.is_none() {
            self.give_up_restart().await;
            return self.then(vec![Then::Remove(options, reply)]).await;
        }
        self.record.stopped_by_user = true;
        self.send_kill_event(Signal::KILL);
        if let Err(error) = self.signal(Signal::KILL).await {
            let error = spec::error::chain(&error);
            tracing::debug!(container = %self.record.id, error, "failed to kill");
        }
        self.resume_if_paused().await;
        let deadline = Some(Instant::now() + KILL_TIMEOUT);
        self.expect_end(deadline, true, Then::Remove(options, reply));
    }

    /// Force after patience, and giving up after force.
    pub(super) async fn on_deadline(&mut self) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.killed {
            let id = self.record.id;
            let stopping = self.stopping.take().map(|s| s.then).unwrap_or_default();
            for then in stopping {
                let (Then::Stopped(reply)
                | Then::Killed(reply)
                | Then::Restart(reply)
                | Then::Remove(_, reply)) = then;
                let text = format!(
                    "container {id}: tried to kill container, but did not receive an exit event"
                );
                answer(reply, Err(Error::internal(text)));
            }
            return;
        }
        stopping.killed = true;
        stopping.deadline = Some(Instant::now() + KILL_TIMEOUT);
        self.send_kill_event(Signal::KILL);
        if let Err(error) = self.signal(Signal::KILL).await {
            let error = spec::error::chain(&error);
            tracing::warn!(container = %self.record.id, error, "failed to kill");
        }
    }

    /// Remembers that its end is wanted; the earliest deadline and the strongest means count.
    fn expect_end(&mut self, deadline: Option<Instant>, killed: bool, then: Then) {
        match &mut self.stopping {
            None => {
                self.stopping = Some(Stopping {
                    deadline,
                    killed,
                    then: vec![then],
                })
            }
            Some(stopping) => {
                let earlier = match (stopping.deadline, deadline) {
                    (Some(a), Some(b)) if stopping.killed == killed => Some(a.min(b)),
                    (a, b) => {
                        if killed || a.is_none() {
                            b
                        } else {
                            a
                        }
                    }
                };
                stopping.deadline = earlier;
                stopping.killed |= killed;
                stopping.then.push(then);
            }
        }
    }

    /// Does what was wanted after the end, in order.
    pub(super) async fn then(&mut self, list: Vec<Then>) {
        let mut starts = Vec::new();
        let mut removes = Vec::new();
        for then in list {
            match then {
                Then::Stopped(reply) => {
                    self.emit("stop", &[]);
                    answer(reply, Ok(()));
                }
                Then::Killed(reply) => answer(reply, Ok(())),
                Then::Restart(reply) => starts.push(reply),
                Then::Remove(options, reply) => removes.push((options, reply)),
            }
        }
        // Who wants it gone wins over who wants it back.
        if let Some((options, first)) = removes.pop() {
            let removed = self.remove_now(options).await;
            answer(first, removed);
            for (_, reply) in removes {
                answer(reply, Ok(()));
            }
            for reply in starts {
                let text = "container is marked for removal and cannot be started";
                answer(reply, Err(Error::conflict(text)));
            }
        } else if !starts.is_empty() {
            self.emit("stop", &[]);
            self.restart_now(starts).await;
        }
    }

    async fn restart_now(&mut self, replies: Vec<Reply>) {
        let started = self.start_by_user().await;
        let ok = started.is_ok();
        if ok {
            self.emit("restart", &[]);
        }
        let mut outcome = Some(started);
        for reply in replies {
            let again = || {
                if ok {
                    Ok(())
                } else {
                    Err(Error::conflict("the container could not be started"))
                }
            };
            answer(reply, outcome.take().unwrap_or_else(again));
        }
        self.after_start().await;
    }

    /// A restart that was due does not take place.
    async fn give_up_restart(&mut self) {
        self.restart_at = None;
        if self.container.state == State::Restarting {
            self.container.state = State::Exited;
            self.record.stopped_by_user = true;
            self.publish();
            self.save().await;
            self.wake(|condition| condition != super::request::WaitCondition::Removed);
        }
    }

    async fn resume_if_paused(&mut self) {
        if !matches!(self.container.state, State::Paused(_)) {
            return;
        }
        match self.call("cannot unpause container", Request::Resume).await {
            Ok(_) => self.thawed(),
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %self.record.id, error, "failed to thaw");
            }
        }
    }

    fn stop_signal(&self) -> Signal {
        let own = self.record.config.stop_signal.as_deref();
        own.and_then(|text| text.parse().ok())
            .unwrap_or(Signal::TERM)
    }

    fn send_kill_event(&self, signal: Signal) {
        self.emit("kill", &[("signal", signal.number().to_string())]);
    }
}

/// Reads what a user said about stopping.
///
/// # Errors
///
/// A signal that does not exist.
pub(super) fn read(options: &super::request::StopOptions) -> Result<Stop> {
    let signal = options.signal.as_deref().filter(|s| !s.is_empty());
    Ok(Stop {
        signal: signal.map(super::signal).transpose()?,
        timeout: options.timeout,
    })
}
