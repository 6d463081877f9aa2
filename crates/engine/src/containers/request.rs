//! What callers say to [`super::Containers`] and what they get back.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::{ContainerId, ContainerName, Platform, Timestamp};

use crate::container::{Config, Container, EndpointSettings, HostConfig};
use crate::{Filters, Result};

/// A container to be created.
#[derive(Debug, Clone, Default)]
pub struct CreateContainer {
    /// Its name; `None` invents one.
    pub name: Option<ContainerName>,
    /// Platform of the image; `None` takes the host's.
    pub platform: Option<Platform>,
    /// The process.
    pub config: Config,
    /// How the host runs it.
    pub host: HostConfig,
    /// Its networks by name or id; empty means the one that the network mode names.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// A container that was created.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What was accepted but is not done, one sentence each.
    pub warnings: Vec<String>,
}

/// How to start; nothing yet needs saying.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// Name of a checkpoint: refused, not yet supported.
    pub checkpoint: Option<String>,
}

/// How to stop; `None` takes the container's own settings.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Signal by name or number.
    pub signal: Option<String>,
    /// Seconds before KILL; negative waits for ever.
    pub timeout: Option<i64>,
}

/// Until when to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Until it does not run: at once if it does not.
    #[default]
    NotRunning,
    /// Until its next exit.
    NextExit,
    /// Until it is removed.
    Removed,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitOutcome {
    /// Exit code of the container.
    pub exit_code: i32,
    /// Why the wait could not be fulfilled.
    pub error: Option<String>,
}

/// A registered wait.
pub struct Waiter {
    pub(crate) future: futures_util::future::BoxFuture<'static, WaitOutcome>,
}

impl Waiter {
    /// Waits; cancel-safe by dropping.
    pub async fn finished(self) -> WaitOutcome {
        self.future.await
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
    /// Remove only a link: what is named is `caller/alias`.
    pub link: bool,
}

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// How to attach.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Replay what was logged before.
    pub logs: bool,
    /// Then stay attached.
    pub stream: bool,
    /// Send input.
    pub stdin: bool,
    /// Receive standard output.
    pub stdout: bool,
    /// Receive standard error.
    pub stderr: bool,
    /// Keys that detach, Docker's grammar; `None` is `ctrl-p,ctrl-q`.
    pub detach_keys: Option<String>,
}

/// What to read of a log.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Only from this moment on.
    pub since: Option<Timestamp>,
    /// Only until this moment.
    pub until: Option<Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Put the log's attributes before each line.
    pub details: bool,
    /// Only the last lines; `None` is all.
    pub tail: Option<u64>,
    /// Go on until the container ends.
    pub follow: bool,
}

/// Processes of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Heads of the columns.
    pub titles: Vec<String>,
    /// One row per process.
    pub processes: Vec<Vec<String>>,
}

/// Whether sizes on disk are wanted; computing them walks directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sizes {
    /// Leave them out.
    #[default]
    Skip,
    /// Compute them.
    Compute,
}

/// A snapshot with what is not in it.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// The container.
    pub container: Arc<Container>,
    /// Bytes in the writable layer.
    pub size_rw: Option<u64>,
    /// Bytes in all layers.
    pub size_root_fs: Option<u64>,
    /// Its links as Docker shows them: `/target:/caller/alias`.
    pub links: Vec<String>,
    /// Directories of its file system, by Docker's names.
    pub graph: std::collections::BTreeMap<String, String>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only this many, newest first; implies `all`.
    pub limit: Option<usize>,
    /// Compute sizes.
    pub sizes: Sizes,
    /// Docker's filters: ancestor, before, exited, expose, health, id, is-task, label, name, network,
    /// publish, since, status, volume.
    pub filters: Filters,
}

/// A line of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The container.
    pub container: Arc<Container>,
    /// The image as the user named it, or its id when that name now means another image.
    pub image_name: String,
    /// `Up 3 minutes`, `Exited (0) 2 hours ago`.
    pub status: String,
    /// Names that others have for it: `/caller/alias`.
    pub links: Vec<String>,
    /// Bytes in the writable layer.
    pub size_rw: Option<u64>,
    /// Bytes in all layers.
    pub size_root_fs: Option<u64>,
}

/// What a prune removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned<T> {
    /// What is gone.
    pub deleted: Vec<T>,
    /// Bytes that came back.
    pub reclaimed: u64,
}

/// One sample of a container's use of resources.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Id of the container, 64 digits.
    pub id: String,
    /// Its name, without slash.
    pub name: String,
    /// When it was taken; `None` while the container does not run.
    pub read: Option<Timestamp>,
    /// CPU time in nanoseconds.
    pub cpu_total: u64,
    /// CPU time per CPU (v1 only).
    pub cpu_per_cpu: Vec<u64>,
    /// CPU time in the kernel.
    pub cpu_kernel: u64,
    /// CPU time in user space.
    pub cpu_user: u64,
    /// CPU time of the whole host in nanoseconds.
    pub cpu_system: u64,
    /// CPUs that are on line.
    pub online_cpus: u32,
    /// Periods of the CPU quota, throttled ones, and nanoseconds throttled.
    pub throttling: [u64; 3],
    /// Bytes of memory in use.
    pub memory_usage: u64,
    /// Most bytes ever in use (v1 only).
    pub memory_max_usage: u64,
    /// Limit in bytes; the host's memory if there is none.
    pub memory_limit: u64,
    /// How often the limit was hit.
    pub memory_failures: u64,
    /// Further counters of the memory controller.
    pub memory_stats: std::collections::BTreeMap<String, u64>,
    /// Processes now.
    pub pids_current: u64,
    /// Most processes; 0 means no limit.
    pub pids_limit: u64,
    /// Bytes by block device.
    pub block_io: Vec<BlockIo>,
    /// Network interfaces of the container by name.
    pub networks: std::collections::BTreeMap<String, InterfaceCounters>,
}

/// Bytes or operations on a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockIo {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Counters of a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceCounters {
    /// Received.
    pub rx_bytes: u64,
    /// Received.
    pub rx_packets: u64,
    /// Received with errors.
    pub rx_errors: u64,
    /// Dropped at reception.
    pub rx_dropped: u64,
    /// Sent.
    pub tx_bytes: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Failed to send.
    pub tx_errors: u64,
    /// Dropped before sending.
    pub tx_dropped: u64,
}

impl std::str::FromStr for WaitCondition {
    type Err = crate::Error;
    /// Reads Docker's words; empty is `not-running`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(crate::Error::invalid(format!(
                "invalid condition: \"{other}\""
            ))),
        }
    }
}
