//! What a daemon can ask, and the answers.

use std::os::fd::{AsFd, OwnedFd};

use shim::log::LogWriter;
use shim::protocol::{
    Attach, ConsoleSize, Create, ExecState, ProcessRef, Reply, Request, State, Status, StdinPolicy,
    TaskRecord, VERSION,
};
use spec::{ErrorKind, ExecId, Signal, WireError};
use sys::poll::Interest;

use super::stdio::{Context, Ends};
use super::task::{self, Output, Phase, Running, Settings, internal};
use super::watched::{Kind, Token, Watched};
use super::{Supervisor, conflict};

type Answer = Result<Reply, WireError>;

impl Supervisor {
    /// Does what is asked.
    pub(super) fn answer(&mut self, from: usize, request: Request, fds: Vec<OwnedFd>) -> Answer {
        if let Request::Hello { version } = request {
            return self.hello(from, version);
        }
        if !self.connections[from].greeted {
            return Err(invalid("the first request must be `hello`"));
        }
        match request {
            Request::Hello { .. } => Err(invalid("`hello` twice")),
            Request::Create(create) => self.create(&create, fds),
            Request::Start => self.start(),
            Request::Signal { exec, signal } => self.signal(exec.as_ref(), signal),
            Request::Resize { exec, size } => self.resize(exec.as_ref(), size),
            Request::Pause => self.pause(),
            Request::Resume => self.resume(),
            Request::Exec(exec) => self.exec(exec, fds),
            Request::Attach(attach) => self.attach(&attach, fds),
            Request::CloseStdin { exec } => self.close_stdin(exec.as_ref()),
            Request::Delete => self.delete(),
        }
    }

    fn hello(&mut self, from: usize, version: u32) -> Answer {
        if version == 0 {
            return Err(WireError::new(ErrorKind::Unsupported, "protocol version 0"));
        }
        self.connections[from].greeted = true;
        let (status, pid) = match &self.phase {
            Phase::Empty => (Status::Empty, None),
            Phase::Created(created) => (Status::Created, Some(created.pid.as_raw_pid())),
            Phase::Running(running) if running.paused => (Status::Paused, Some(running.pid)),
            Phase::Running(running) => (Status::Running, Some(running.pid)),
            Phase::Over => (Status::Exited, None),
        };
        let execs: Vec<ExecState> = self.execs.states();
        Ok(Reply::State(Box::new(State {
            version: version.min(VERSION),
            container: self.container,
            supervisor: rustix::process::getpid().as_raw_pid(),
            status,
            pid,
            started_at: self.started_at,
            exit: self.exit.clone(),
            execs,
            oom_killed: self.oom_kills > 0,
            lost_log_lines: self.log.lost_lines(),
        })))
    }

    fn create(&mut self, create: &Create, mut fds: Vec<OwnedFd>) -> Answer {
        if !matches!(self.phase, Phase::Empty) || self.settings.is_some() {
            return Err(conflict("the task was created already"));
        }
        let netns = match (create.netns, fds.len()) {
            (true, 1) => fds.pop(),
            (false, 0) => None,
            _ => return Err(invalid("`netns` and the number of descriptors disagree")),
        };
        let mut spec = task::read_spec(&create.bundle)?;
        task::adapt(&mut spec, create)?;
        let cgroup = spec.linux.as_ref().map(|linux| linux.cgroups_path.clone());
        self.log = LogWriter::open(&create.log)
            .map_err(|e| WireError::from_error(ErrorKind::Internal, &e))?;
        // Before anything is made: what a crash leaves behind can be found from this.
        self.record(cgroup.as_deref(), None)?;
        let (stdio, ends) = task::streams(create.terminal, create.stdin, Output::Kept)
            .map_err(|e| internal("make the standard streams", &e))?;
        let id = self.container.to_string();
        let created = runtime::create(runtime::Create {
            id: &id,
            bundle: &create.bundle,
            spec: &spec,
            rootfs: &create.rootfs,
            stdio,
            netns: netns.as_ref().map(AsFd::as_fd),
            seccomp: task::seccomp(create.seccomp),
            gate: runtime::Gate::Caller,
            orphan: runtime::Orphan::Kill,
        });
        let mut created = match created {
            Ok(created) => created,
            Err(error) => {
                self.files.remove_task();
                return Err(error.to_wire());
            }
        };
        self.settings = Some(Settings {
            bundle: create.bundle.clone(),
            seccomp: create.seccomp,
            oom_score_adj: spec
                .process
                .as_ref()
                .and_then(|process| process.oom_score_adj),
            bounding: task::bounding(&spec),
        });
        drop(spec);
        let pid = created.pid.as_raw_pid();
        let warnings = std::mem::take(&mut created.warnings);
        let console = created.console.take();
        let path = created.cgroup.path().to_owned();
        self.phase = Phase::Created(created);
        let connected = self
            .record(Some(&path), ProcessRef::of(pid))
            .and_then(|()| self.connect(console, ends, create.stdin));
        match connected {
            Ok(()) => Ok(Reply::Created { pid, warnings }),
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    fn connect(
        &mut self,
        console: Option<OwnedFd>,
        ends: Option<Ends>,
        stdin: StdinPolicy,
    ) -> Result<(), WireError> {
        let input = stdin != StdinPolicy::Closed;
        let ends = match (ends, console) {
            (Some(ends), _) => ends,
            (None, Some(console)) => Ends::Terminal { console, input },
            (None, None) => return Err(invalid("the runtime made no terminal")),
        };
        let mut cx = Context {
            poll: &self.poll,
            scratch: &mut self.scratch,
            log: Some(&mut self.log),
        };
        self.stdio
            .connect(&mut cx, ends, stdin == StdinPolicy::Once)
            .map_err(|e| internal("watch the standard streams", &e))
    }

    fn record(&self, cgroup: Option<&str>, init: Option<ProcessRef>) -> Result<(), WireError> {
        let own = rustix::process::getpid().as_raw_pid();
        let record = TaskRecord {
            version: 1,
            container: self.container,
            supervisor: ProcessRef::of(own).ok_or_else(|| invalid("no /proc"))?,
            init,
            cgroup: cgroup.map(Into::into),
        };
        self.files
            .write_task(&record)
            .map_err(|e| internal("write `task.json`", &e))
    }

    fn start(&mut self) -> Answer {
        let created = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Created(created) => created,
            other => {
                self.phase = other;
                return Err(conflict("the task is not waiting to be started"));
            }
        };
        let started = match created.start() {
            Ok(started) => started,
            Err(error) => {
                let wire = error.to_wire();
                self.fail_start(&wire);
                return Err(wire);
            }
        };
        let at = task::now();
        self.started_at = Some(at);
        let token = |kind| Token {
            owner: 0,
            kind,
            member: 0,
        };
        let mut pidfd = Watched::new(started.pidfd, token(Kind::Process));
        pidfd.want(&self.poll, Some(Interest::READ));
        let mut oom = match started.cgroup.oom_event() {
            Ok(Some(fd)) => Some(Watched::new(fd, token(Kind::Oom))),
            // The flag is read at the end in any case; only the event in between is missed.
            Ok(None) | Err(_) => None,
        };
        if let Some(oom) = &mut oom {
            oom.want(&self.poll, Some(Interest::READ));
        }
        let pid = started.pid.as_raw_pid();
        let cgroup = started.cgroup;
        self.phase = Phase::Running(Running {
            pid,
            pidfd,
            cgroup,
            oom,
            paused: false,
        });
        Ok(Reply::Started { at })
    }

    fn signal(&mut self, exec: Option<&ExecId>, signal: Signal) -> Answer {
        match exec {
            Some(id) => task::signal(self.execs.pidfd(id)?, signal)?,
            None => match &mut self.phase {
                Phase::Running(running) => {
                    task::signal(&running.pidfd, signal)?;
                    if signal == Signal::KILL && running.paused {
                        // A frozen process dies only when it thaws (cgroup v1).
                        running
                            .cgroup
                            .thaw()
                            .map_err(|e| internal("thaw the container", &e))?;
                        running.paused = false;
                    }
                }
                Phase::Created(created) => task::signal(&created.pidfd, signal)?,
                Phase::Empty | Phase::Over => return Err(conflict("the task is not running")),
            },
        }
        Ok(Reply::Done)
    }

    fn resize(&mut self, exec: Option<&ExecId>, size: ConsoleSize) -> Answer {
        let stdio = match exec {
            Some(id) => self.execs.stdio(id)?,
            None => &mut self.stdio,
        };
        stdio
            .resize(&self.poll, size.width, size.height)
            .map_err(|e| WireError {
                kind: ErrorKind::Conflict,
                ..internal("resize", &e)
            })?;
        Ok(Reply::Done)
    }

    fn pause(&mut self) -> Answer {
        let Phase::Running(running) = &mut self.phase else {
            return Err(conflict("the task is not running"));
        };
        if running.paused {
            return Err(conflict("the task is paused already"));
        }
        running
            .cgroup
            .freeze()
            .map_err(|e| internal("freeze the container", &e))?;
        running.paused = true;
        Ok(Reply::Done)
    }

    fn resume(&mut self) -> Answer {
        let Phase::Running(running) = &mut self.phase else {
            return Err(conflict("the task is not running"));
        };
        if !running.paused {
            return Err(conflict("the task is not paused"));
        }
        running
            .cgroup
            .thaw()
            .map_err(|e| internal("thaw the container", &e))?;
        running.paused = false;
        Ok(Reply::Done)
    }

    fn attach(&mut self, attach: &Attach, fds: Vec<OwnedFd>) -> Answer {
        let stream = only(fds)?;
        let stdio = match &attach.exec {
            Some(id) => self.execs.stdio(id)?,
            None if matches!(self.phase, Phase::Over) => {
                return Err(conflict("the task is not running"));
            }
            None => &mut self.stdio,
        };
        if stdio.attach(&self.poll, stream, attach.streams) {
            Ok(Reply::Done)
        } else {
            Err(WireError::new(
                ErrorKind::Exhausted,
                "too many attached streams",
            ))
        }
    }

    fn close_stdin(&mut self, exec: Option<&ExecId>) -> Answer {
        match exec {
            Some(id) => self.execs.stdio(id)?.close_stdin(&self.poll),
            None => self.stdio.close_stdin(&self.poll),
        }
        Ok(Reply::Done)
    }

    fn delete(&mut self) -> Answer {
        match &self.phase {
            Phase::Running(_) => return Err(conflict("the task is running")),
            Phase::Empty | Phase::Created(_) => self.undo(),
            Phase::Over => {}
        }
        self.files.remove_task();
        self.deleted = Some(std::time::Instant::now());
        Ok(Reply::Done)
    }
}

/// The one descriptor that must come with a request.
pub(super) fn only(mut fds: Vec<OwnedFd>) -> Result<OwnedFd, WireError> {
    match (fds.pop(), fds.is_empty()) {
        (Some(fd), true) => Ok(fd),
        _ => Err(invalid("the request carries exactly one descriptor")),
    }
}

pub(super) fn invalid(text: &str) -> WireError {
    WireError::new(ErrorKind::InvalidArgument, text)
}
