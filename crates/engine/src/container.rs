//! A container as its readers see it.

mod networking;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use spec::{ContainerId, ContainerName, ExecId, ImageId, Timestamp};

pub use networking::*;
pub use settings::*;

/// An immutable picture of a container; the next change makes another one.
#[derive(Debug, Clone)]
pub struct Container {
    /// Identity.
    pub id: ContainerId,
    /// Name, unique in this engine.
    pub name: ContainerName,
    /// When it was created.
    pub created: Timestamp,
    /// The image it was created from.
    pub image: ImageId,
    /// The program that runs: entrypoint or command.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The user's and the image's settings merged.
    pub config: Arc<Config>,
    /// The host's settings.
    pub host: Arc<HostConfig>,
    /// What it does now.
    pub state: State,
    /// What is known about its latest run.
    pub last: LastRun,
    /// How often the restart policy started it again.
    pub restart_count: u32,
    /// `overlay2`.
    pub driver: &'static str,
    /// `linux`.
    pub platform: &'static str,
    /// Files that belong to it.
    pub files: Files,
    /// Mounts as inspect shows them.
    pub mounts: Arc<Vec<MountPoint>>,
    /// The same with everything that is needed to make them.
    pub(crate) points: Arc<Vec<crate::mounts::Point>>,
    /// Other containers that it calls by names of its own, on the default network.
    pub(crate) links: Arc<Vec<crate::containers::Link>>,
    /// Its networks, published ports and sandbox.
    pub networking: Arc<Networking>,
    /// Execs that are known, created or running or ended.
    pub execs: Vec<ExecId>,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Never ran, or its start failed.
    Created,
    /// Its process runs.
    Running(Running),
    /// Its processes are frozen.
    Paused(Running),
    /// Its process ended and the restart policy starts it again soon.
    Restarting,
    /// Its process ended.
    Exited,
    /// It is being removed.
    Removing,
    /// It could not be removed whole.
    Dead,
}

/// A live task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Process id of the container's first process on the host.
    pub pid: i32,
    /// When it started.
    pub started_at: Timestamp,
}

/// What is known about a container's latest run.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct LastRun {
    /// When it last started; `None` if never.
    pub started_at: Option<Timestamp>,
    /// When it last ended; `None` if never.
    pub finished_at: Option<Timestamp>,
    /// Exit code of the last run; 0 while it runs.
    pub exit_code: i32,
    /// Why it failed to start or ended unexpectedly.
    pub error: String,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
}

impl State {
    /// Docker's word for it.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    /// The live task, running or paused.
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) | Self::Paused(running) => Some(running),
            Self::Created | Self::Restarting | Self::Exited | Self::Removing | Self::Dead => None,
        }
    }
}

/// Host paths of the files that belong to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `/etc/hostname` of the container.
    pub hostname: PathBuf,
    /// `/etc/hosts` of the container.
    pub hosts: PathBuf,
    /// `/etc/resolv.conf` of the container.
    pub resolv_conf: PathBuf,
    /// The log file; `None` for log drivers without one.
    pub log: Option<PathBuf>,
}

/// A mount as inspect shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// `bind`, `tmpfs` or `volume`.
    pub kind: &'static str,
    /// Name of a volume or an image.
    pub name: Option<String>,
    /// Driver of a volume.
    pub driver: String,
    /// Host path; empty for tmpfs.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Options as the user wrote them.
    pub mode: String,
    /// Whether it can be written.
    pub writable: bool,
    /// Propagation.
    pub propagation: String,
}
