//! The supervisor of one task: one thread, one epoll set.
//!
//! ```text
//! Empty ── Create ──► Created ── Start ──► Running ── init ends ──► ending ──► Over ── Delete ──► exit
//!   └──────────────────┴── last daemon gone: undone ──► exit        (no daemon: exits by itself)
//! ```
//!
//! Ending: what is left in the cgroup is killed, exec processes are reaped, output is drained (until
//! its end, or [`ending::DRAIN_LIMIT`]), the log is finished, the cgroup removed, `exit.json`
//! written, `Exited` sent. In that order, so that whoever hears of the exit finds everything done.

mod client;
mod connection;
mod ending;
mod exec;
mod files;
mod requests;
mod setup;
mod stdio;
mod task;
mod watched;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use shim::log::LogWriter;
use shim::protocol::{Event, Exit, LogConfig, Message, Outcome, Packet, Reply};
use spec::{Classify, ContainerId, ErrorKind, Timestamp, WireError};
use sys::poll::{Interest, Poll, Ready};

use connection::{Connection, Incoming};
use ending::Ending;
use exec::Execs;
use files::RunDir;
use stdio::{Context, Stdio};
use task::{Phase, Settings};
use watched::{Kind, MAX_MEMBER, Token, Watched};

/// What a supervisor is forked for.
#[derive(Debug)]
pub struct Job {
    /// The container.
    pub container: ContainerId,
    /// Where its files are.
    pub run_dir: PathBuf,
    /// The first connection to the daemon.
    pub control: OwnedFd,
}

/// Daemons connected at once: one, and one that takes over.
const MAX_CONNECTIONS: usize = 4;

/// Buffers are given back after this much idleness.
const IDLE: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Supervisor {
    poll: Poll,
    container: ContainerId,
    files: RunDir,
    listener: Watched,
    connections: Vec<Connection>,
    next_connection: u32,
    phase: Phase,
    settings: Option<Settings>,
    stdio: Stdio,
    log: LogWriter,
    execs: Execs,
    scratch: Vec<u8>,
    /// Whether memory was used that idleness should give back.
    warm: bool,
    started_at: Option<Timestamp>,
    oom_kills: u64,
    ending: Option<Ending>,
    exit: Option<Exit>,
    deleted: Option<Instant>,
}

/// Runs a supervisor to its end.
pub fn main(job: Job) -> ExitCode {
    let Job {
        container,
        run_dir,
        control,
    } = job;
    let made = setup::detach().and_then(|()| Supervisor::new(container, &run_dir, control.as_fd()));
    match made {
        Ok(mut supervisor) => {
            drop(control);
            match supervisor.run() {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => refuse(control.as_fd(), &error),
    }
}

/// Tells a daemon that has already sent its first call that there will be no supervisor.
fn refuse(control: std::os::fd::BorrowedFd<'_>, error: &sys::Error) -> ExitCode {
    let error = task::internal("set the supervisor up", error);
    let message = Message::Reply {
        id: 0,
        result: Outcome::Error(error),
    };
    if let Ok(packet) = Packet::encode(&message, Vec::new()) {
        // The end of the connection says the same.
        let _ = sys::fdpass::send(control, &packet.bytes, &[]);
    }
    ExitCode::FAILURE
}

impl Supervisor {
    fn new(
        container: ContainerId,
        run_dir: &Path,
        control: std::os::fd::BorrowedFd<'_>,
    ) -> sys::Result<Self> {
        let poll = Poll::new()?;
        let (dir, listener) = setup::listen(run_dir)?;
        let files = RunDir::new(dir);
        files.remove_stale();
        let token = Token {
            owner: 0,
            kind: Kind::Listener,
            member: 0,
        };
        let mut listener = Watched::new(listener, token);
        listener.want(&poll, Some(Interest::READ));
        let control = rustix::io::fcntl_dupfd_cloexec(control, 3)
            .map_err(|e| sys::Error::new("fcntl(F_DUPFD_CLOEXEC)", e))?;
        let connections = vec![Connection::new(&poll, 0, control, true)?];
        Ok(Self {
            poll,
            container,
            files,
            listener,
            connections,
            next_connection: 0,
            phase: Phase::Empty,
            settings: None,
            stdio: Stdio::new(0),
            log: LogWriter::open(&LogConfig::None).expect("no file is opened for no driver"),
            execs: Execs::default(),
            scratch: Vec::new(),
            warm: true,
            started_at: None,
            oom_kills: 0,
            ending: None,
            exit: None,
            deleted: None,
        })
    }

    fn run(&mut self) -> sys::Result<()> {
        loop {
            let ready: Vec<Ready> = self.poll.wait(self.timeout())?.collect();
            if ready.is_empty() && self.warm {
                self.release();
            }
            for event in ready {
                // An earlier event of the batch may have closed what this one is about; every
                // handler looks its subject up and ignores what is gone.
                if let Some(token) = Token::unpack(event.token) {
                    self.dispatch(token, event);
                }
            }
            self.settle();
            if self.is_finished() {
                self.files.remove_socket();
                return Ok(());
            }
        }
    }

    /// How long nothing may happen before something is due.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let ending = self.ending.as_ref().map(|ending| ending.deadline);
        let linger = self.deleted.map(|at| at + ending::LINGER_LIMIT);
        let due = [ending, linger, self.execs.deadline()]
            .into_iter()
            .flatten()
            .min();
        let due = due.map(|at| at.saturating_duration_since(now));
        if self.warm {
            Some(due.map_or(IDLE, |due| due.min(IDLE)))
        } else {
            due
        }
    }

    fn release(&mut self) {
        self.scratch = Vec::new();
        self.log.release();
        sys::signal::trim_heap();
        self.warm = false;
    }

    fn dispatch(&mut self, token: Token, ready: Ready) {
        self.warm = true;
        match (token.owner, token.kind) {
            (_, Kind::Listener) => self.accept(),
            (_, Kind::Connection) => self.on_connection(token.member, ready),
            (0, Kind::Process) => self.on_init_end(),
            (_, Kind::Process) => self.on_exec_end(token.owner),
            (_, Kind::Oom) => self.on_oom(),
            (0, _) => {
                let mut cx = Context {
                    poll: &self.poll,
                    scratch: &mut self.scratch,
                    log: Some(&mut self.log),
                };
                self.stdio.on_ready(token, ready, &mut cx);
            }
            _ => {
                let mut cx = Context {
                    poll: &self.poll,
                    scratch: &mut self.scratch,
                    log: None,
                };
                self.execs.on_ready(token, ready, &mut cx);
            }
        }
    }

    /// After each batch: what became due, what became possible.
    fn settle(&mut self) {
        self.settle_execs();
        self.settle_ending();
        let mut index = 0;
        while index < self.connections.len() {
            if self.connections[index].is_broken() {
                self.connections.swap_remove(index).close(&self.poll);
            } else {
                index += 1;
            }
        }
        if self.connections.is_empty() && matches!(self.phase, Phase::Empty | Phase::Created(_)) {
            self.undo();
        }
    }

    /// Whether the process may end.
    fn is_finished(&self) -> bool {
        if !matches!(self.phase, Phase::Over) || self.ending.is_some() {
            return false;
        }
        match self.deleted {
            Some(at) => !self.stdio.has_slow_client() || at.elapsed() > ending::LINGER_LIMIT,
            None => self.connections.is_empty(),
        }
    }

    fn accept(&mut self) {
        while let Ok(Some(socket)) = sys::fdpass::accept(self.listener.as_fd()) {
            // The mode of the socket lets nobody else in; this holds even if someone widened it.
            let own = rustix::process::geteuid().as_raw();
            let allowed = sys::fdpass::peer_uid(socket.as_fd()).is_ok_and(|uid| uid == own);
            if !allowed || self.connections.len() >= MAX_CONNECTIONS {
                continue;
            }
            self.next_connection = if self.next_connection == MAX_MEMBER {
                1
            } else {
                self.next_connection + 1
            };
            if let Ok(connection) = Connection::new(&self.poll, self.next_connection, socket, false)
            {
                self.connections.push(connection);
            }
        }
    }

    fn on_connection(&mut self, id: u32, ready: Ready) {
        let Some(index) = self.connections.iter().position(|c| c.id == id) else {
            return;
        };
        if ready.writable {
            self.connections[index].flush(&self.poll);
        }
        if !ready.readable && !ready.hangup {
            return;
        }
        let (id, result) = match self.connections[index].receive() {
            Incoming::Nothing => return,
            Incoming::End => {
                self.connections.swap_remove(index).close(&self.poll);
                return;
            }
            Incoming::Malformed(error) => (0, Err(WireError::from_error(error.kind(), &error))),
            Incoming::Call(call, fds) => {
                let result = self.answer(index, call.request, fds);
                (call.id, result)
            }
        };
        self.reply(index, id, result);
    }

    fn reply(&mut self, index: usize, id: u64, result: Result<Reply, WireError>) {
        let message = Message::Reply {
            id,
            result: result.into(),
        };
        if let Some(connection) = self.connections.get_mut(index) {
            connection.send(&self.poll, &message);
        }
    }

    fn broadcast(&mut self, event: Event) {
        let message = Message::Event(event);
        for connection in self.connections.iter_mut().filter(|c| c.greeted) {
            connection.send(&self.poll, &message);
        }
    }

    fn on_oom(&mut self) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let Some(oom) = &mut running.oom else { return };
        let mut space = [0; 512];
        if !matches!(rustix::io::read(&*oom, &mut space), Ok(n) if n > 0) {
            // Told so without end otherwise.
            oom.want(&self.poll, None);
        }
        let kills = running.cgroup.oom_kills();
        self.note_oom(kills);
    }

    /// Tells of processes killed for want of memory since the last time.
    fn note_oom(&mut self, kills: u64) {
        if kills > self.oom_kills {
            self.oom_kills = kills;
            self.broadcast(Event::Oom);
        }
    }
}

/// The request does not fit the state of the task.
fn conflict(text: &str) -> WireError {
    WireError::new(ErrorKind::Conflict, text)
}
