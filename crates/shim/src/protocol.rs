//! What the daemon, the zygote and the supervisors say to each other.
//!
//! One JSON document is one `SOCK_SEQPACKET` message of at most [`MAX_MESSAGE`] bytes; descriptors
//! travel beside it. A longer document is put into a memfd (see [`Packet`]). Requests carry an id
//! of the sender's choice, which the answer repeats; events carry none and come in between.
//! `docs/shim-protocol.md` is the specification.
//!
//! ```text
//! daemon ── Spawn + fd ──► zygote          daemon ── Hello, Create, Attach, Start, … ──► supervisor
//!        ◄── Spawned ─────                        ◄── State, Created, …; Exited, ExecExited, Oom ──
//! ```

mod codec;
mod record;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spec::{ContainerId, ExecId, Rootfs, Signal, Timestamp, WireError};

pub use codec::{MAX_DOCUMENT, MAX_FDS, MAX_MESSAGE, Packet, ProtocolError};
pub use record::{EXIT_FILE, ProcessRef, SOCKET_FILE, TASK_FILE, TaskRecord, read_exit, read_task};

/// Version spoken by this build; a supervisor serves every version from 1 to its own.
pub const VERSION: u32 = 1;

/// The descriptor at which `corten-shim zygote` finds its socket.
pub const ZYGOTE_FD: i32 = 3;

/// Daemon → zygote. The first descriptor of the message becomes the first control connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spawn {
    /// Chosen by the sender, repeated in the answer.
    pub id: u64,
    /// The container to supervise.
    pub container: ContainerId,
    /// Existing directory for `shim.sock`, `task.json` and `exit.json`; holds `config.json`.
    pub run_dir: PathBuf,
}

/// Zygote → daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpawnReply {
    /// The id of the request.
    pub id: u64,
    /// Process id of the new supervisor.
    pub result: Outcome<Spawned>,
}

/// A supervisor was forked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spawned {
    /// Its process id.
    pub pid: i32,
}

/// Success or an error that keeps its chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<T> {
    /// It was done.
    Ok(T),
    /// It was not, and nothing of it remains.
    Error(WireError),
}

impl<T> From<Outcome<T>> for Result<T, WireError> {
    fn from(outcome: Outcome<T>) -> Self {
        match outcome {
            Outcome::Ok(value) => Ok(value),
            Outcome::Error(error) => Err(error),
        }
    }
}

impl<T> From<Result<T, WireError>> for Outcome<T> {
    fn from(result: Result<T, WireError>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Error(error),
        }
    }
}

/// Daemon → supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the sender, repeated in the answer.
    pub id: u64,
    /// What to do.
    pub request: Request,
}

/// Supervisor → daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The answer to a call; answers come in the order of the calls.
    Reply {
        /// The id of the call.
        id: u64,
        /// What came of it.
        result: Outcome<Reply>,
    },
    /// Something happened.
    Event(Event),
}

/// What a supervisor can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Must be the first call on a re-attached connection; answered by [`Reply::State`].
    Hello {
        /// The caller's [`VERSION`].
        version: u32,
    },
    /// Makes the container up to its `execve`. Descriptor: the network namespace, if `netns`.
    Create(Create),
    /// Lets the init process go; answered after `execve` succeeded or failed.
    Start,
    /// Sends a signal to the init process or to an exec process.
    Signal {
        /// The exec process; the init process if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<ExecId>,
        /// Which.
        signal: Signal,
    },
    /// Sets the size of a terminal.
    Resize {
        /// The exec process; the init process if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<ExecId>,
        /// The new size.
        size: ConsoleSize,
    },
    /// Freezes every process of the container.
    Pause,
    /// Undoes [`Request::Pause`].
    Resume,
    /// Runs a further process. Descriptor: its stream, if `attach` is given.
    Exec(Exec),
    /// Connects a stream to the standard streams. Descriptor: the stream.
    Attach(Attach),
    /// Closes the writing end of the standard input.
    CloseStdin {
        /// The exec process; the init process if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<ExecId>,
    },
    /// Ends the supervisor of a task that has exited or never started; kills what is left of it.
    Delete,
}

/// How to make the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// Directory with `config.json`, the OCI runtime configuration.
    pub bundle: PathBuf,
    /// The root file system, mounted by the container's own first process.
    pub rootfs: Rootfs,
    /// Whether the standard streams are one pseudo-terminal.
    pub terminal: bool,
    /// Whether and how long the standard input stays open.
    pub stdin: StdinPolicy,
    /// First size of the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Where the output is recorded.
    pub log: LogConfig,
    /// Which system calls are filtered.
    pub seccomp: Seccomp,
    /// Whether a network namespace is passed as this message's descriptor.
    #[serde(default)]
    pub netns: bool,
}

/// What happens to the standard input of the init process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdinPolicy {
    /// It is `/dev/null` (a terminal then has no writer).
    Closed,
    /// It stays open as long as the task (Docker's `OpenStdin`).
    Open,
    /// It is closed when the first attached input ends (`OpenStdin` and `StdinOnce`).
    Once,
}

/// Where the seccomp filter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// From the bundle's `linux.seccomp`; none if that is absent.
    Spec,
    /// Docker's default profile for the container's capabilities.
    Default,
    /// No filter.
    Unconfined,
}

/// Where output is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case")]
pub enum LogConfig {
    /// Nowhere.
    None,
    /// In Docker's json-file format.
    JsonFile {
        /// The current file; rotated ones get the suffixes `.1`, `.2`, …
        path: PathBuf,
        /// A file is rotated before it grows beyond this; 0 means never.
        max_size_bytes: u64,
        /// How many files are kept, the current one included; at least 1.
        max_files: u32,
        /// Written with every line (`labels`, `env`, `tag` of the logging options).
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        attrs: BTreeMap<String, String>,
    },
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A further process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Its id, unique within the task.
    pub id: ExecId,
    /// What to run, as whom; `terminal` and `console_size` of this value are obeyed.
    pub process: Box<spec::runtime::Process>,
    /// Which streams the passed descriptor carries; absent: none, and no descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Streams>,
}

/// A stream is one end of a `SOCK_STREAM` pair.
///
/// Output is written to it in Docker's stdcopy framing, or raw if the process has a terminal; input
/// is read raw. The end of the peer's writing side ends the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The exec process; the init process if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecId>,
    /// Which directions are wanted.
    pub streams: Streams,
}

/// Selects standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streams {
    /// Input is read from the stream.
    pub stdin: bool,
    /// Standard output (and everything a terminal prints) is written to the stream.
    pub stdout: bool,
    /// Standard error is written to the stream.
    pub stderr: bool,
}

/// The answer to a request that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Hello`].
    State(Box<State>),
    /// To [`Request::Create`].
    Created {
        /// The init process, as the host numbers it.
        pid: i32,
        /// What could not be done exactly and was clamped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// To [`Request::Start`].
    Started {
        /// When `execve` had succeeded.
        at: Timestamp,
    },
    /// To [`Request::Exec`]; the process runs the new program already.
    ExecStarted {
        /// The process, as the host numbers it.
        pid: i32,
    },
    /// To everything else.
    Done,
}

/// Something that happened without being asked; sent to every connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The init process has ended and its output is in the log. Never lost: also in `exit.json`.
    Exited(Exit),
    /// An exec process has ended and its output was handed on.
    ExecExited {
        /// Which.
        exec: ExecId,
        /// Its exit code, 128 + n after signal n.
        code: i32,
        /// When.
        at: Timestamp,
    },
    /// The kernel killed a process of the container for want of memory.
    Oom,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, 128 + n after signal n.
    pub code: i32,
    /// The signal that killed the init process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether a process was killed for want of memory.
    pub oom_killed: bool,
    /// When.
    pub at: Timestamp,
    /// What could not be done while ending: output that was cut, a cgroup that stayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Everything a daemon that comes back needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version that will be spoken: the smaller of the two.
    pub version: u32,
    /// The supervised container.
    pub container: ContainerId,
    /// Process id of the supervisor.
    pub supervisor: i32,
    /// How far the task is.
    pub status: Status,
    /// The init process, as the host numbers it, while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The exec processes that live, and the last [`KEPT_EXECS`] that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub execs: Vec<ExecState>,
    /// Whether a process was killed for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// Lines that could not be written to the log.
    #[serde(default)]
    pub lost_log_lines: u64,
}

/// How many ended exec processes a supervisor remembers.
pub const KEPT_EXECS: usize = 64;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing was created yet.
    Empty,
    /// The init process waits before its `execve`.
    Created,
    /// The init process runs.
    Running,
    /// All processes are frozen.
    Paused,
    /// The init process has ended.
    Exited,
}

/// An exec process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecState {
    /// Which.
    pub id: ExecId,
    /// The process, as the host numbers it.
    pub pid: i32,
    /// Its exit code, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests;
