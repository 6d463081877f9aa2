//! Exec processes: started, served and forgotten one by one.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use shim::protocol::{Event, Exec, ExecState, KEPT_EXECS, Reply, StdinPolicy, Streams};
use spec::{ErrorKind, ExecId, WireError};
use sys::poll::{Interest, Ready};

use super::requests::{invalid, only};
use super::stdio::{Context, Ends, Stdio};
use super::task::{self, Ended, Output, Phase, internal};
use super::watched::{Kind, Token, Watched};
use super::{Supervisor, conflict};

/// How long the end of an exec process waits for output that others still hold open.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// … and for how long none may have come.
const QUIET_LIMIT: Duration = Duration::from_millis(250);

/// Most exec processes at once; each costs four descriptors.
const MAX_EXECS: usize = 4096;

/// All exec processes of a task.
#[derive(Debug, Default)]
pub struct Execs {
    live: Vec<Process>,
    ended: VecDeque<ExecState>,
    next_owner: u32,
}

#[derive(Debug)]
struct Process {
    owner: u32,
    id: ExecId,
    pid: i32,
    pidfd: Option<Watched>,
    stdio: Stdio,
    ended: Option<Ended>,
    /// When waiting for more output ends, and when it ends if none comes.
    limits: Option<(Instant, Instant)>,
    told: bool,
}

impl Execs {
    /// The descriptor of a process that has not ended.
    pub fn pidfd(&self, id: &ExecId) -> Result<BorrowedFd<'_>, WireError> {
        let live = self.live.iter().find(|process| process.id == *id);
        live.and_then(|process| process.pidfd.as_ref())
            .map(AsFd::as_fd)
            .ok_or_else(unknown)
    }

    /// The streams of a process that has not ended.
    pub fn stdio(&mut self, id: &ExecId) -> Result<&mut Stdio, WireError> {
        let live = self
            .live
            .iter_mut()
            .find(|process| process.id == *id && !process.told);
        live.map(|process| &mut process.stdio).ok_or_else(unknown)
    }

    /// For a daemon that comes back.
    pub fn states(&self) -> Vec<ExecState> {
        let live = self
            .live
            .iter()
            .filter(|process| !process.told)
            .map(|process| ExecState {
                id: process.id,
                pid: process.pid,
                code: None,
                exited_at: None,
            });
        self.ended.iter().cloned().chain(live).collect()
    }

    /// Handles an event of a stream.
    pub fn on_ready(&mut self, token: Token, ready: Ready, cx: &mut Context<'_>) {
        if let Some(process) = self.live.iter_mut().find(|p| p.owner == token.owner) {
            process.stdio.on_ready(token, ready, cx);
            if let Some((_, quiet)) = &mut process.limits {
                *quiet = Instant::now() + QUIET_LIMIT;
            }
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.live.iter().filter(|process| !process.told);
        waiting
            .filter_map(|process| process.limits)
            .map(|(last, quiet)| last.min(quiet))
            .min()
    }

    /// Whether all have ended.
    pub fn all_told(&self) -> bool {
        self.live.iter().all(|process| process.told)
    }

    /// Lets go of every process: the task is over.
    pub fn clear(&mut self, poll: &sys::poll::Poll) {
        for process in &mut self.live {
            process.stdio.close_outputs(poll);
        }
    }

    fn remember(&mut self, state: ExecState) {
        if self.ended.len() == KEPT_EXECS {
            self.ended.pop_front();
        }
        self.ended.push_back(state);
    }
}

fn unknown() -> WireError {
    WireError::new(ErrorKind::NotFound, "no such exec process")
}

impl Supervisor {
    /// Starts a process.
    pub(super) fn exec(&mut self, exec: Exec, fds: Vec<OwnedFd>) -> Result<Reply, WireError> {
        let Exec {
            id,
            mut process,
            attach,
        } = exec;
        let stream = match attach {
            Some(streams) => Some((only(fds)?, streams)),
            None if fds.is_empty() => None,
            None => return Err(invalid("a descriptor without `attach`")),
        };
        let (Phase::Running(running), Some(settings)) = (&self.phase, &self.settings) else {
            return Err(conflict("the task is not running"));
        };
        if running.paused {
            return Err(conflict("the task is paused"));
        }
        if self.execs.live.iter().any(|live| live.id == id) {
            return Err(conflict("an exec process of this id exists"));
        }
        if self.execs.live.len() >= MAX_EXECS {
            return Err(WireError::new(
                ErrorKind::Exhausted,
                "too many exec processes",
            ));
        }
        if process.oom_score_adj.is_none() {
            process.oom_score_adj = settings.oom_score_adj;
        }
        // The container's own filter is read again: keeping it would cost every container memory.
        let spec = match settings.seccomp {
            shim::protocol::Seccomp::Spec => Some(task::read_spec(&settings.bundle)?),
            _ => None,
        };
        let profile = spec
            .and_then(|spec| spec.linux)
            .and_then(|linux| linux.seccomp);
        let streams = stream
            .as_ref()
            .map_or(Streams::default(), |(_, streams)| *streams);
        let (stdio, ends) = exec_streams(process.terminal, streams)?;
        let done = runtime::exec(runtime::Exec {
            target: running.pidfd.as_fd(),
            cgroup: &running.cgroup,
            process: &process,
            stdio,
            seccomp: task::seccomp(settings.seccomp),
            profile: profile.as_ref(),
            bounding: Some(settings.bounding),
            orphan: runtime::Orphan::Kill,
        })
        .map_err(|error| error.to_wire())?;
        self.adopt(id, done, ends, stream)
    }

    /// Takes charge of a process that runs already; kills it if that fails.
    fn adopt(
        &mut self,
        id: ExecId,
        done: runtime::Executed,
        ends: Option<Ends>,
        stream: Option<(OwnedFd, Streams)>,
    ) -> Result<Reply, WireError> {
        let pid = done.pid.as_raw_pid();
        let input = stream.as_ref().is_some_and(|(_, streams)| streams.stdin);
        let owner = self.execs.next_owner.checked_add(1).unwrap_or(1);
        self.execs.next_owner = owner;
        let mut all = Stdio::new(owner);
        if let Some((stream, streams)) = stream {
            all.attach(&self.poll, stream, streams);
        }
        let mut cx = Context {
            poll: &self.poll,
            scratch: &mut self.scratch,
            log: None,
        };
        let connected = match (ends, done.console) {
            (Some(ends), _) => all.connect(&mut cx, ends, true),
            (None, Some(console)) => all.connect(&mut cx, Ends::Terminal { console, input }, true),
            (None, None) => Err(sys::Error::new("no terminal", rustix::io::Errno::NOTTY)),
        };
        if let Err(error) = connected {
            task::kill_and_reap(&done.pidfd);
            return Err(internal("watch the standard streams", &error));
        }
        let token = Token {
            owner,
            kind: Kind::Process,
            member: 0,
        };
        let mut pidfd = Watched::new(done.pidfd, token);
        pidfd.want(&self.poll, Some(Interest::READ));
        self.execs.live.push(Process {
            owner,
            id,
            pid,
            pidfd: Some(pidfd),
            stdio: all,
            ended: None,
            limits: None,
            told: false,
        });
        Ok(Reply::ExecStarted { pid })
    }

    /// An exec process has ended.
    pub(super) fn on_exec_end(&mut self, owner: u32) {
        let Some(process) = self.execs.live.iter_mut().find(|p| p.owner == owner) else {
            return;
        };
        let Some(pidfd) = &process.pidfd else { return };
        let Some(ended) = task::reap(pidfd) else {
            return;
        };
        if let Some(pidfd) = process.pidfd.take() {
            pidfd.close(&self.poll);
        }
        process.ended = Some(ended);
        let now = Instant::now();
        process.limits = Some((now + DRAIN_LIMIT, now + QUIET_LIMIT));
        let mut cx = Context {
            poll: &self.poll,
            scratch: &mut self.scratch,
            log: None,
        };
        process.stdio.drain(&mut cx);
    }

    /// Tells of processes whose output is drained or overdue, and forgets those with nothing left.
    pub(super) fn settle_execs(&mut self) {
        let now = Instant::now();
        let mut events = Vec::new();
        let mut index = 0;
        while index < self.execs.live.len() {
            let process = &mut self.execs.live[index];
            if let (Some(ended), Some((last, quiet)), false) =
                (process.ended, process.limits, process.told)
            {
                let slow = process.stdio.has_slow_client();
                let drained = process.stdio.has_no_output() && !slow;
                if drained || now >= last || (now >= quiet && !slow) {
                    process.told = true;
                    // Others may hold the pipe: it is read on, for nobody, so that they do not die
                    // of a signal.
                    process.stdio.finish(&self.poll);
                    let state = ExecState {
                        id: process.id,
                        pid: process.pid,
                        code: Some(ended.code),
                        exited_at: Some(ended.at),
                    };
                    events.push(Event::ExecExited {
                        exec: state.id,
                        code: ended.code,
                        at: ended.at,
                    });
                    self.execs.remember(state);
                }
            }
            let process = &self.execs.live[index];
            if process.told && process.stdio.is_over() {
                self.execs.live.swap_remove(index);
            } else {
                index += 1;
            }
        }
        for event in events {
            self.broadcast(event);
        }
    }

    /// The task has ended: every exec process must have, or will have at once.
    pub(super) fn reap_execs(&mut self) {
        let owners: Vec<u32> = self
            .execs
            .live
            .iter()
            .map(|process| process.owner)
            .collect();
        for owner in owners {
            self.on_exec_end(owner);
        }
    }
}

fn exec_streams(
    terminal: bool,
    streams: Streams,
) -> Result<(runtime::Stdio, Option<Ends>), WireError> {
    let stdin = if streams.stdin {
        StdinPolicy::Once
    } else {
        StdinPolicy::Closed
    };
    let output = if streams.stdout || streams.stderr {
        Output::Kept
    } else {
        Output::Discarded
    };
    task::streams(terminal, stdin, output).map_err(|e| internal("make the standard streams", &e))
}
