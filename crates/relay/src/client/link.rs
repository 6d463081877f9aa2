//! A connection to one relay, and how it is found, started and ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sys::poll::{Interest, Poll};

use super::{Error, Result, Settings};
use crate::protocol::{
    self, About, LISTENER_FD, MAX_SOCKETS, Place, Reply, Request, SOCKET, VERSION,
};

/// How long an answer may take; what is asked is a matter of microseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of a relay that was asked to end may take.
const END_WITHIN: Duration = Duration::from_secs(2);

/// A conversation with a relay.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    poll: Poll,
    about: About,
    number: u64,
}

/// What distinguishes a program from the one that an upgrade puts in its place.
pub(super) fn build(program: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match std::fs::metadata(program) {
        Ok(about) => format!(
            "{version}/{VERSION}/{}/{}.{}",
            about.size(),
            about.mtime(),
            about.mtime_nsec()
        ),
        // What cannot be looked at cannot be started either; that is told then.
        Err(_) => format!("{version}/{VERSION}"),
    }
}

impl Link {
    /// Connects to a living relay.
    pub(super) fn find(settings: &Settings) -> Result<Self> {
        let socket =
            sys::fdpass::connect(&settings.dir, SOCKET).map_err(|source| Error::Kernel {
                action: "connect to the relay",
                source,
            })?;
        Self::greet(socket)
    }

    /// Starts a relay, which will be found by its socket from now on.
    pub(super) fn start(settings: &Settings) -> Result<Self> {
        let failed = |action: String| move |source| Error::Start { action, source };
        let dir = File::open(&settings.dir)
            .map_err(failed(format!("open `{}`", settings.dir.display())))?;
        let listener =
            sys::fdpass::listen(dir.as_fd(), SOCKET).map_err(|source| Error::Kernel {
                action: "listen for the relay",
                source,
            })?;
        let mut command = Command::new(&settings.program);
        command
            .args(["relay", &build(&settings.program)])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        sys::command::pass_fd(&mut command, listener, LISTENER_FD);
        let child = command
            .spawn()
            .map_err(failed(format!("execute `{}`", settings.program.display())))?;
        // Its copy of the listener is the only one now: a dead relay refuses connections.
        drop(command);
        reap(child);
        Self::find(settings)
    }

    fn greet(socket: OwnedFd) -> Result<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let watched = Poll::new().and_then(|poll| {
            poll.add(socket.as_fd(), 0, Interest::READ)?;
            Ok(poll)
        });
        let poll = watched.map_err(|source| Error::Kernel {
            action: "watch the relay",
            source,
        })?;
        let mut link = Self {
            socket,
            poll,
            about: About {
                version: 0,
                build: String::new(),
                pid: 0,
                ports: 0,
                connections: 0,
                flows: 0,
            },
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        };
        match link.call(&Request::Hello { version: VERSION }, &[])? {
            Reply::About(about) => link.about = about,
            other => return Err(unexpected(&other)),
        }
        Ok(link)
    }

    /// Whether it is of this protocol.
    pub(super) fn speaks(&self) -> bool {
        self.about.version == VERSION
    }

    /// Whether it is of this protocol and of this program.
    pub(super) fn is_of(&self, build: &str) -> bool {
        self.speaks() && self.about.build == build
    }

    /// The sockets of all its ports.
    pub(super) fn ports(&mut self) -> Result<BTreeMap<Place, OwnedFd>> {
        let mut all = BTreeMap::new();
        for _ in 0..=self.about.ports / MAX_SOCKETS + 1 {
            let request = Request::Ports { known: all.len() };
            match self.call_for(&request, &[])? {
                (Reply::Ports(places), _) if places.is_empty() => return Ok(all),
                (Reply::Ports(places), sockets) if places.len() == sockets.len() => {
                    all.extend(places.into_iter().zip(sockets));
                }
                (other, _) => return Err(unexpected(&other)),
            }
        }
        Err(lost(io::ErrorKind::InvalidData))
    }

    pub(super) fn pid(&self) -> i32 {
        self.about.pid
    }

    /// Tells this conversation from others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks and waits for the answer.
    pub(super) fn call(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply> {
        self.call_for(request, fds).map(|(reply, _)| reply)
    }

    /// Asks and waits for the answer and its descriptors.
    fn call_for(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>)> {
        let sent = protocol::send(self.socket.as_fd(), request, fds);
        sent.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput => Error::Start {
                action: "tell the relay".to_owned(),
                source,
            },
            _ => Error::Lost { source },
        })?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            match protocol::receive::<Reply>(self.socket.as_fd()) {
                Ok(Some((Reply::Error(source), _))) => return Err(Error::Refused { source }),
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => return Err(lost(io::ErrorKind::UnexpectedEof)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(source) => return Err(Error::Lost { source }),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(lost(io::ErrorKind::TimedOut));
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, time: Duration) -> Result<()> {
        match self.poll.wait(Some(time)) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Lost {
                source: source.into(),
            }),
        }
    }

    /// Ends the relay.
    pub(super) fn dismiss(mut self) {
        let pid = self.about.pid;
        let deadline = Instant::now() + END_WITHIN;
        let mut answer = self.call(&Request::Leave, &[]);
        // Its end is the end of the conversation.
        while answer.is_ok() && Instant::now() < deadline {
            answer = self.call(&Request::Hello { version: VERSION }, &[]);
        }
        if answer.is_ok() {
            tracing::warn!(pid, "the relay does not end");
        }
    }
}

/// Waits for the child on a thread that sleeps until it ends, so that it leaves no zombie.
fn reap(mut child: Child) {
    let waiter = std::thread::Builder::new()
        .name("relay-wait".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || child.wait());
    if let Err(error) = waiter {
        tracing::warn!(%error, "nobody will reap the relay");
    }
}

fn lost(kind: io::ErrorKind) -> Error {
    Error::Lost {
        source: kind.into(),
    }
}

fn unexpected(reply: &Reply) -> Error {
    let text = format!("unexpected answer {reply:?}");
    Error::Lost {
        source: io::Error::new(io::ErrorKind::InvalidData, text),
    }
}
