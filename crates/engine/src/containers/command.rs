//! What is sent to a container's driver.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use shim::protocol::Streams;
use spec::{ContainerName, ExecId, Signal};
use tokio::sync::oneshot;

use super::files::{Lent, Purpose, Turns};
use super::networking::links::Link;
use super::request::{RemoveOptions, TerminalSize, WaitCondition, WaitOutcome};
use crate::Result;
use crate::container::{EndpointSettings, Resources, RestartPolicy};
use crate::execs::ExecConfig;

/// Where the answer goes; whoever asked may have left.
pub(super) type Reply<T = ()> = oneshot::Sender<Result<T>>;

/// A command to a container's driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Run it.
    Start(Reply),
    /// End it: signal, then KILL after the seconds.
    Stop(Stop, Reply),
    /// End it if it runs, and run it.
    Restart(Stop, Reply),
    /// Send a signal to its first process.
    Kill(Signal, Reply),
    /// Freeze it.
    Pause(Reply),
    /// Thaw it.
    Unpause(Reply),
    /// Remove it.
    Remove(RemoveOptions, Reply),
    /// Give it another name, which is reserved already.
    Rename(ContainerName, Reply),
    /// Give it a place in another network.
    Connect(String, Box<EndpointSettings>, Reply),
    /// Take it out of a network; with force, of one that is gone too.
    Disconnect(String, bool, Reply),
    /// Forget a link.
    Unlink(Link, Reply),
    /// Change its limits and restart policy.
    Update(Box<Resources>, Option<RestartPolicy>, Reply<Vec<String>>),
    /// Change the size of its terminal, or an exec's.
    Resize(Option<ExecId>, TerminalSize, Reply),
    /// Connect a stream.
    Attach(OwnedFd, Streams, Reply),
    /// Tell when it ended.
    Wait(WaitCondition, Reply<oneshot::Receiver<WaitOutcome>>),
    /// Make an exec known.
    ExecCreate(ExecId, Arc<ExecConfig>, Reply),
    /// Lend its files to a copy.
    Lend(Purpose, Reply<(Lent, Turns)>),
    /// Run an exec.
    ExecStart(Box<ExecStart>, Reply),
}

/// How to end a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// First signal; `None` is the container's own.
    pub(super) signal: Option<Signal>,
    /// Seconds before KILL; negative waits for ever; `None` is the container's own.
    pub(super) timeout: Option<i64>,
}

/// An exec to be run.
#[derive(Debug)]
pub(super) struct ExecStart {
    /// Which.
    pub(super) id: ExecId,
    /// What.
    pub(super) config: Arc<ExecConfig>,
    /// Its stream, unless it is detached.
    pub(super) stream: Option<(OwnedFd, Streams)>,
}
