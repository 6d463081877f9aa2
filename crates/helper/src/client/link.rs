//! A connection to one helper, and how it is found, started and ended.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sys::poll::{Interest, Poll};

use super::{Error, Result, Settings};
use crate::protocol::{self, About, LISTENER_FD, Reply, Request};
use crate::{Answer, Helper, Message};

/// How long an answer may take; what is asked is a matter of milliseconds at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of a helper that was asked to end may take.
const END_WITHIN: Duration = Duration::from_secs(2);

/// A conversation with a helper.
#[derive(Debug)]
pub struct Link<H> {
    socket: OwnedFd,
    poll: Poll,
    number: u64,
    kind: PhantomData<fn() -> H>,
}

/// What distinguishes a program from the one that an upgrade puts in its place.
pub(super) fn build<H: Helper>(program: &Path) -> String {
    let version = format!("{}/{}", env!("CARGO_PKG_VERSION"), H::VERSION);
    match std::fs::metadata(program) {
        Ok(about) => format!(
            "{version}/{}/{}.{}",
            about.size(),
            about.mtime(),
            about.mtime_nsec()
        ),
        // What cannot be looked at cannot be started either; that is told then.
        Err(_) => version,
    }
}

impl<H: Helper> Link<H> {
    /// Connects to a living helper, which tells about itself.
    ///
    /// # Errors
    ///
    /// Nobody is there, or does not answer.
    pub fn find(dir: &Path) -> Result<(Self, About<H::Load>)> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let failed = |action: &str| {
            let action = format!("{action} the {}", H::NAME);
            move |source| Error::Kernel { action, source }
        };
        let socket = sys::fdpass::connect(dir, H::SOCKET).map_err(failed("connect to"))?;
        let watched = Poll::new().and_then(|poll| {
            poll.add(socket.as_fd(), 0, Interest::READ)?;
            Ok(poll)
        });
        let mut link = Self {
            poll: watched.map_err(failed("watch"))?,
            socket,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            kind: PhantomData,
        };
        let about = link.about()?;
        Ok((link, about))
    }

    /// Starts a helper, which will be found by its socket from now on.
    pub(super) fn start(settings: &Settings) -> Result<Self> {
        let failed = |action: String| move |source| Error::Start { action, source };
        let dir = File::open(&settings.dir)
            .map_err(failed(format!("open `{}`", settings.dir.display())))?;
        let listener =
            sys::fdpass::listen(dir.as_fd(), H::SOCKET).map_err(|source| Error::Kernel {
                action: format!("listen for the {}", H::NAME),
                source,
            })?;
        let mut command = Command::new(&settings.program);
        command
            .args([H::COMMAND, &build::<H>(&settings.program)])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        sys::command::pass_fd(&mut command, listener, LISTENER_FD);
        let child = command
            .spawn()
            .map_err(failed(format!("execute `{}`", settings.program.display())))?;
        // Its copy of the listener is the only one now: a dead helper refuses connections.
        drop(command);
        reap::<H>(child);
        Self::find(&settings.dir).map(|(link, _)| link)
    }

    /// Has it tell about itself.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn about(&mut self) -> Result<About<H::Load>> {
        let version = H::VERSION;
        match self.call(&Request::Hello { version }, &[])? {
            (Reply::About(about), _) => Ok(about),
            (other, _) => Err(Self::unexpected(&other)),
        }
    }

    /// Tells this conversation from others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Has everything done, one after the other.
    pub(super) fn tell(&mut self, messages: &[Message<'_, H>]) -> Result<()> {
        for (request, fds) in messages {
            self.call(request, fds)?;
        }
        Ok(())
    }

    /// Asks and waits for the answer and its descriptors.
    ///
    /// # Errors
    ///
    /// It does not answer, or refuses.
    pub fn call(
        &mut self,
        request: &Request<H::Order>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Answer<H>> {
        let sent = protocol::send(self.socket.as_fd(), request, fds);
        sent.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput => Error::Start {
                action: format!("tell the {}", H::NAME),
                source,
            },
            _ => Self::lost(source),
        })?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            match protocol::receive(self.socket.as_fd()) {
                Ok(Some((Reply::Error(source), _))) => {
                    let helper = H::NAME;
                    return Err(Error::Refused { helper, source });
                }
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => return Err(Self::lost(io::ErrorKind::UnexpectedEof.into())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(source) => return Err(Self::lost(source)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Self::lost(io::ErrorKind::TimedOut.into()));
            }
            if let Err(error) = self.poll.wait(Some(left)) {
                return Err(Self::lost(error.into()));
            }
        }
    }

    /// An answer that is none to what was asked.
    pub fn unexpected(reply: &Reply<H::Answer, H::Load>) -> Error {
        let text = format!("unexpected answer {reply:?}");
        Self::lost(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn lost(source: io::Error) -> Error {
        let helper = H::NAME;
        Error::Lost { helper, source }
    }

    /// Ends the helper.
    pub(super) fn dismiss(mut self) {
        let deadline = Instant::now() + END_WITHIN;
        if self.call(&Request::Leave, &[]).is_err() {
            return;
        }
        // Its end is the end of the conversation.
        while let Ok(about) = self.about() {
            if Instant::now() >= deadline {
                tracing::warn!(pid = about.pid, "the {} does not end", H::NAME);
                return;
            }
        }
    }
}

/// Waits for the child on a thread that sleeps until it ends, so that it leaves no zombie.
fn reap<H: Helper>(mut child: Child) {
    let waiter = std::thread::Builder::new()
        .name(format!("{}-wait", H::COMMAND))
        .stack_size(64 * 1024)
        .spawn(move || child.wait());
    if let Err(error) = waiter {
        tracing::warn!(%error, "nobody will reap the {}", H::NAME);
    }
}
