//! The process: daemons that connect, one epoll set, one thread.
//!
//! It ends by itself when no daemon is connected and nothing is left to do. While the daemon is away
//! it looks now and then for what has ended without anybody to tell it ([`Serve::sweep`]).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use spec::{ErrorKind, WireError};
use sys::poll::{Interest, Poll, Ready};

use crate::protocol::{self, About, Reply, Request};
use crate::{Answer, Helper};

/// How often ended work is looked for, while no daemon is connected.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long the first daemon has to connect.
const GRACE: Duration = Duration::from_secs(10);

/// Where the kind of a token begins.
const KIND_SHIFT: u32 = 60;
/// The socket where daemons connect.
const LISTENER: u64 = 0;
/// A daemon; the rest of the token is its number.
const DAEMON: u64 = 1;
/// The first kind that a helper has for its own.
const FIRST_KIND: u64 = 2;

/// A daemon's number, never used again.
pub type Number = u64;

/// The number by which the kernel knows a thing of a helper's own: one of 14 kinds, and which.
pub fn token(kind: u64, which: u64) -> u64 {
    (FIRST_KIND + kind) << KIND_SHIFT | which
}

/// What a [`token`] was made of.
pub fn split(token: u64) -> Option<(usize, u64)> {
    let kind = (token >> KIND_SHIFT).checked_sub(FIRST_KIND)?;
    Some((usize::try_from(kind).ok()?, which(token)))
}

fn which(token: u64) -> u64 {
    token & ((1 << KIND_SHIFT) - 1)
}

/// What [`serve`] needs.
#[derive(Debug)]
pub struct Settings {
    /// The listening socket where daemons connect.
    pub listener: OwnedFd,
    /// What distinguishes this program from others.
    pub build: String,
    /// Tells the operator something.
    pub say: fn(&str),
}

/// Why it could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The kernel refused what nothing works without.
    #[error("failed to {action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// What it answered.
        source: sys::Error,
    },
}

/// What one kind of helper does. Nothing of it ever waits.
pub trait Serve {
    /// Which kind it is.
    type Helper: Helper;
    /// How often [`Self::tick`] is called.
    const TICK: Duration;

    /// All that is waited for.
    fn poll(&self) -> &Poll;

    /// How much there is to do.
    fn load(&self) -> <Self::Helper as Helper>::Load;

    /// Does what a daemon says.
    fn obey(
        &mut self,
        from: Number,
        order: <Self::Helper as Helper>::Order,
        fds: Vec<OwnedFd>,
    ) -> Result<Answer<Self::Helper>, WireError>;

    /// Forgets what only earlier daemons have named.
    fn settle(&mut self, from: Number);

    /// A daemon is gone.
    fn hung_up(&mut self, daemon: Number) {
        let _ = daemon;
    }

    /// Something is ready that was watched with a kind of its own.
    fn ready(&mut self, ready: Ready);

    /// Does what has become possible by all that was ready.
    fn follow_up(&mut self) {}

    /// Looks for what has waited too long.
    fn tick(&mut self, now: Instant);

    /// Ends what nobody can need any more, while no daemon is there to tell.
    fn sweep(&mut self);

    /// Whether anything waits for a tick.
    fn needs_ticks(&self) -> bool;

    /// Whether there is nothing to do, now or later.
    fn is_idle(&self) -> bool;
}

/// Serves until nobody needs it any more.
///
/// # Errors
///
/// Only what happens at the start; later failures are told and survived.
pub fn serve<S: Serve>(settings: Settings, make: impl FnOnce(Poll) -> S) -> Result<(), ServeError> {
    let failed = |action| move |source| ServeError::Kernel { action, source };
    let poll = Poll::new().map_err(failed("make an epoll set"))?;
    let listener = settings.listener.as_fd();
    sys::fdpass::set_nonblocking(listener).map_err(failed("set up the socket"))?;
    poll.add(listener, LISTENER << KIND_SHIFT, Interest::READ)
        .map_err(failed("watch the socket"))?;
    let now = Instant::now();
    let mut running = Running {
        server: make(poll),
        settings,
        daemons: HashMap::new(),
        last_number: 0,
        expected_until: now + GRACE,
        ticked: now,
        swept: now,
        leaving: false,
    };
    running.run().map_err(failed("wait"))
}

/// Everything.
#[derive(Debug)]
struct Running<S> {
    server: S,
    settings: Settings,
    daemons: HashMap<Number, OwnedFd>,
    last_number: Number,
    /// Until when a daemon is waited for when there is nothing to do.
    expected_until: Instant,
    ticked: Instant,
    swept: Instant,
    leaving: bool,
}

impl<S: Serve> Running<S> {
    fn run(&mut self) -> sys::Result<()> {
        while !self.is_done() {
            for ready in self.server.poll().wait(self.timeout())? {
                match ready.token >> KIND_SHIFT {
                    LISTENER => self.accept(),
                    DAEMON => self.hear(which(ready.token)),
                    _ => self.server.ready(ready),
                }
            }
            self.server.follow_up();
            let now = Instant::now();
            if now.duration_since(self.ticked) < S::TICK {
                continue;
            }
            self.ticked = now;
            if self.daemons.is_empty() && now.duration_since(self.swept) >= SWEEP_EVERY {
                self.swept = now;
                self.server.sweep();
            }
            self.server.tick(now);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let alone = self.daemons.is_empty() && self.server.is_idle();
        self.leaving || alone && Instant::now() >= self.expected_until
    }

    /// How long nothing but an event is of interest.
    fn timeout(&self) -> Option<Duration> {
        if self.server.needs_ticks() {
            return Some(S::TICK);
        }
        if !self.daemons.is_empty() {
            return None;
        }
        Some(if self.server.is_idle() {
            self.expected_until
                .saturating_duration_since(Instant::now())
        } else {
            SWEEP_EVERY
        })
    }

    fn accept(&mut self) {
        match sys::fdpass::accept(self.settings.listener.as_fd()) {
            Ok(Some(socket)) => self.greet(socket),
            Ok(None) => {}
            Err(error) => (self.settings.say)(&format!("failed to accept a daemon: {error}")),
        }
    }

    fn greet(&mut self, socket: OwnedFd) {
        let own = rustix::process::geteuid().as_raw();
        // The socket's mode says so already; a descriptor may have been passed on.
        if sys::fdpass::peer_uid(socket.as_fd()).map_or(true, |uid| uid != own && uid != 0) {
            return;
        }
        self.last_number += 1;
        let token = DAEMON << KIND_SHIFT | self.last_number;
        match self
            .server
            .poll()
            .add(socket.as_fd(), token, Interest::READ)
        {
            Ok(()) => drop(self.daemons.insert(self.last_number, socket)),
            Err(error) => (self.settings.say)(&spec::error::chain(&error)),
        }
    }

    /// Reads, does and answers one request.
    fn hear(&mut self, number: Number) {
        let Some(socket) = self.daemons.get(&number) else {
            return;
        };
        let answered = match protocol::receive(socket.as_fd()) {
            Ok(Some((request, fds))) => self.obey(number, request, fds),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let text = error.to_string();
                Err(WireError::new(ErrorKind::InvalidArgument, text))
            }
            Ok(None) | Err(_) => return self.hang_up(number),
        };
        let (reply, fds) = answered.unwrap_or_else(|error| (Reply::Error(error), Vec::new()));
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // A daemon waits for each answer, so there is always room for one.
        if let Some(socket) = self.daemons.get(&number)
            && protocol::send(socket.as_fd(), &reply, &fds).is_err()
        {
            self.hang_up(number);
        }
    }

    fn obey(
        &mut self,
        from: Number,
        request: Request<<S::Helper as Helper>::Order>,
        fds: Vec<OwnedFd>,
    ) -> Result<Answer<S::Helper>, WireError> {
        match request {
            Request::Hello { version: _ } => {
                let about = About {
                    version: S::Helper::VERSION,
                    build: self.settings.build.clone(),
                    pid: rustix::process::getpid().as_raw_nonzero().get(),
                    load: self.server.load(),
                };
                return Ok((Reply::About(about), Vec::new()));
            }
            Request::Settle => self.server.settle(from),
            Request::Leave => self.leaving = true,
            Request::Own(order) => return self.server.obey(from, order, fds),
        }
        Ok((Reply::Done, Vec::new()))
    }

    fn hang_up(&mut self, number: Number) {
        if let Some(socket) = self.daemons.remove(&number) {
            let _ = self.server.poll().remove(socket.as_fd());
            self.server.hung_up(number);
        }
        // Whoever was spoken to once need not be waited for again.
        let now = Instant::now();
        self.expected_until = now;
        self.swept = now;
    }
}
