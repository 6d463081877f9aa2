//! Which command is legal in which state, in Docker's words; pure and total.

use std::time::Duration;

use spec::ErrorKind;

use crate::Error;
use crate::container::{Container, RestartPolicy, State};

/// What is asked of a container, without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Run it.
    Start,
    /// End it.
    Stop,
    /// End it and run it.
    Restart,
    /// Send it a signal.
    Kill,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Unpause,
    /// Remove it if it does not run.
    Remove,
    /// End it if need be, and remove it.
    RemoveForce,
    /// Connect to its streams.
    Attach,
    /// Run a further process in it.
    Exec,
    /// Change its terminal, or look at its processes.
    Touch,
    /// Change its name or limits.
    Change,
}

/// Why a command is not legal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    kind: ErrorKind,
    message: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.kind, refusal.message)
    }
}

/// Decides whether a command may be done now.
#[expect(clippy::too_many_lines, reason = "a table: one arm per cell")]
pub(super) fn admit(container: &Container, verb: Verb) -> Result<(), Refusal> {
    let id = container.id;
    let conflict = |message: String| {
        Err(Refusal {
            kind: ErrorKind::Conflict,
            message,
        })
    };
    let not_modified = |message: &str| {
        Err(Refusal {
            kind: ErrorKind::NotModified,
            message: message.to_owned(),
        })
    };
    let not_running = || conflict(format!("container {id} is not running"));
    let restarting = || {
        conflict(format!(
            "Container {id} is restarting, wait until the container is running"
        ))
    };
    match (verb, &container.state) {
        (Verb::Remove | Verb::RemoveForce, State::Removing) => conflict(format!(
            "removal of container {} is already in progress",
            container.name
        )),
        (Verb::Start | Verb::Restart, State::Removing | State::Dead) => {
            conflict("container is marked for removal and cannot be started".to_owned())
        }
        (_, State::Removing) => conflict(format!(
            "container {id} is marked for removal and cannot be changed"
        )),
        (Verb::Start, State::Created | State::Exited) => Ok(()),
        (Verb::Start, State::Running(_) | State::Restarting) => {
            not_modified("container is already running")
        }
        (Verb::Start, State::Paused(_)) => {
            conflict("cannot start a paused container, try unpause instead".to_owned())
        }
        (Verb::Stop, State::Running(_) | State::Paused(_) | State::Restarting) => Ok(()),
        (Verb::Stop, State::Created | State::Exited | State::Dead) => {
            not_modified("container is already stopped")
        }
        (
            Verb::Restart,
            State::Created
            | State::Running(_)
            | State::Paused(_)
            | State::Restarting
            | State::Exited,
        ) => Ok(()),
        (Verb::Kill, State::Running(_) | State::Paused(_) | State::Restarting) => Ok(()),
        (Verb::Kill, State::Created | State::Exited | State::Dead) => conflict(format!(
            "cannot kill container: {}: container {id} is not running",
            container.name
        )),
        (Verb::Pause, State::Running(_)) => Ok(()),
        (Verb::Pause, State::Paused(_)) => conflict(format!("Container {id} is already paused")),
        (Verb::Pause | Verb::Exec | Verb::Touch, State::Restarting) => restarting(),
        (Verb::Pause, State::Created | State::Exited | State::Dead) => not_running(),
        (Verb::Unpause, State::Paused(_)) => Ok(()),
        (
            Verb::Unpause,
            State::Created | State::Running(_) | State::Restarting | State::Exited | State::Dead,
        ) => conflict(format!("Container {id} is not paused")),
        (Verb::Remove, State::Created | State::Exited | State::Dead) => Ok(()),
        (Verb::Remove, state @ (State::Running(_) | State::Restarting)) => conflict(format!(
            "cannot remove container \"{}\": container is {}: stop the container before removing or force remove",
            container.name,
            state.status()
        )),
        (Verb::Remove, State::Paused(_)) => conflict(format!(
            "cannot remove container \"{}\": container is paused and must be unpaused first",
            container.name
        )),
        (
            Verb::RemoveForce,
            State::Created
            | State::Running(_)
            | State::Paused(_)
            | State::Restarting
            | State::Exited
            | State::Dead,
        ) => Ok(()),
        (Verb::Attach, State::Created | State::Running(_) | State::Exited | State::Dead) => Ok(()),
        (Verb::Attach, State::Paused(_)) => conflict(format!(
            "container {} is paused, unpause the container before attach",
            container.name
        )),
        (Verb::Attach, State::Restarting) => conflict(format!(
            "container {} is restarting, wait until the container is running before attach",
            container.name
        )),
        (Verb::Exec, State::Running(_)) => Ok(()),
        (Verb::Exec, State::Paused(_)) => {
            let name = &container.name;
            conflict(format!(
                "Container {name} is paused, unpause the container before exec"
            ))
        }
        (Verb::Exec | Verb::Touch, State::Created | State::Exited | State::Dead) => not_running(),
        (Verb::Touch, State::Running(_) | State::Paused(_)) => Ok(()),
        (
            Verb::Change,
            State::Created
            | State::Running(_)
            | State::Paused(_)
            | State::Restarting
            | State::Exited
            | State::Dead,
        ) => Ok(()),
    }
}

/// First wait before a restart.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest wait before a restart.
const LAST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length is a success: the waits begin anew.
const STABLE: Duration = Duration::from_secs(10);

/// How a run ended, for the restart policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// Exit code.
    pub(super) exit_code: i32,
    /// Length of the run.
    pub(super) lasted: Duration,
    /// The user stopped it.
    pub(super) by_user: bool,
    /// How often the policy has restarted it.
    pub(super) restarts: u32,
    /// Wait before the previous restart.
    pub(super) delay: Option<Duration>,
}

/// How long to wait before the next start; `None` leaves the container as it is.
pub(super) fn restart_delay(policy: &RestartPolicy, ended: Ended) -> Option<Duration> {
    let again = match policy.name.as_str() {
        "always" | "unless-stopped" => !ended.by_user,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            let left = most == 0 || i64::from(ended.restarts) < most;
            !ended.by_user && ended.exit_code != 0 && left
        }
        _ => false,
    };
    again.then(|| match ended.delay {
        Some(delay) if ended.lasted < STABLE => (delay * 2).min(LAST_DELAY),
        _ => FIRST_DELAY,
    })
}

/// Whether a container is started when the engine starts, not having run at the engine's end.
pub(super) fn starts_with_engine(policy: &RestartPolicy, stopped_by_user: bool, ran: bool) -> bool {
    match policy.name.as_str() {
        "always" => ran || stopped_by_user,
        "unless-stopped" | "on-failure" => ran && !stopped_by_user,
        _ => false,
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
