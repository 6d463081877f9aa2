//! Execs: additional processes in running containers.

mod table;

use std::sync::Arc;

use shim::protocol::Streams;
use spec::{ContainerId, ExecId};

use crate::containers::{self, Containers, TerminalSize};
use crate::streams::Attached;
use crate::streams::detach::DetachScanner;
use crate::{Error, Result};

pub(crate) use table::ExecTable;

/// The execs of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Execs {
    containers: Containers,
}

/// A process to be run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Environment on top of the container's.
    pub env: Vec<String>,
    /// Working directory; empty means the container's.
    pub working_dir: String,
    /// `user[:group]`; empty means the container's.
    pub user: String,
    /// Give it a terminal.
    pub tty: bool,
    /// Give it all capabilities.
    pub privileged: bool,
    /// Connect input.
    pub attach_stdin: bool,
    /// Connect standard output.
    pub attach_stdout: bool,
    /// Connect standard error.
    pub attach_stderr: bool,
    /// Keys that detach; `None` is the default.
    pub detach_keys: Option<String>,
    /// Height and width of the terminal.
    pub console_size: Option<[u32; 2]>,
}

/// How to start an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecStart {
    /// Do not connect its streams.
    pub detach: bool,
    /// Output comes raw rather than framed; as in Docker, this need not be the exec's own setting.
    pub tty: bool,
    /// Height and width of the terminal.
    pub console_size: Option<[u32; 2]>,
}

/// An exec as its readers see it.
#[derive(Debug, Clone)]
pub struct ExecView {
    /// Identity.
    pub id: ExecId,
    /// Its container.
    pub container: ContainerId,
    /// What was asked for.
    pub config: Arc<ExecConfig>,
    /// Whether its process runs.
    pub running: bool,
    /// Exit code; `None` before its end.
    pub exit_code: Option<i32>,
    /// Process id on the host; 0 before its start.
    pub pid: i32,
    /// Whether standard input can still be written.
    pub open_stdin: bool,
    /// Whether it may be removed.
    pub can_remove: bool,
}

impl Execs {
    /// Makes the service.
    pub(crate) fn new(containers: Containers) -> Self {
        Self { containers }
    }

    /// Prepares an exec in a running container.
    pub async fn create(&self, container: &str, config: ExecConfig) -> Result<ExecId> {
        if config.cmd.is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        if config
            .cmd
            .iter()
            .chain(&config.env)
            .any(|t| t.contains('\0'))
        {
            return Err(Error::invalid(
                "arguments and environment must not contain a zero byte",
            ));
        }
        DetachScanner::new(config.detach_keys.as_deref())?;
        self.containers
            .exec_create(container, Arc::new(config))
            .await
    }

    /// Starts it; returns once the process has been executed, with its streams unless detached.
    ///
    /// A program that cannot be executed is no error when streams are connected: the reason is
    /// what they carry, and the exit code tells 126 or 127.
    pub async fn start(&self, key: &str, options: ExecStart) -> Result<Option<Attached>> {
        let view = self.inspect(key)?;
        let config = &view.config;
        if options.detach {
            self.containers
                .exec_start(&view, options.console_size, None)
                .await?;
            return Ok(None);
        }
        let streams = Streams {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
        };
        let attached = Attached::new(config.tty).with_form(options.tty);
        let (ours, theirs) = containers::stream_pair()?;
        let stream = Some((theirs, streams));
        match self
            .containers
            .exec_start(&view, options.console_size, stream)
            .await
        {
            Ok(()) => {}
            Err(error @ Error::Task { .. }) => {
                let text = format!("{}\r\n", spec::error::chain(&error));
                return Ok(Some(attached.with_text(&text)));
            }
            Err(error) => return Err(error),
        }
        let execs = self.containers.shared().execs.clone();
        let id = view.id;
        let attached = attached.with_stream(ours)?;
        let attached = attached.with_ending(async move { execs.wait_ended(id).await });
        if !streams.stdin {
            return Ok(Some(attached));
        }
        let scanner = DetachScanner::new(config.detach_keys.as_deref())?;
        let (containers, id) = (self.containers.clone(), view.container);
        let on_detach = move || {
            if let Ok(container) = containers.get(&id.to_string()) {
                containers::emit(&containers.shared().events, &container, "exec_detach");
            }
        };
        Ok(Some(attached.with_input(scanner, Box::new(on_detach))))
    }

    /// Changes the size of its terminal.
    pub async fn resize(&self, key: &str, size: TerminalSize) -> Result<()> {
        let view = self.inspect(key)?;
        if !view.running {
            return Err(Error::conflict(format!("exec {key} is not running")));
        }
        if !view.config.tty {
            return Ok(());
        }
        self.containers.exec_resize(&view, size).await
    }

    /// What is known of an exec that may be started: its container runs and is not paused.
    ///
    /// This can still tell what is wrong in an answer of its own; `start` may only be able to
    /// tell it on the stream.
    pub fn startable(&self, key: &str) -> Result<ExecView> {
        let view = self.inspect(key)?;
        self.containers.admits_exec(&view)?;
        Ok(view)
    }

    /// What is known of it.
    pub fn inspect(&self, key: &str) -> Result<ExecView> {
        self.containers.shared().execs.get(key)
    }
}
