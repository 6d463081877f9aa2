//! The process: sockets in every sandbox, one epoll set, one thread.
//!
//! Invariants: nothing here ever waits but in the epoll set; every queue has a bound and every wait
//! an end; what one sandbox does costs another at most its turn.
//!
//! It ends by itself when no daemon is connected and no sandbox is left. While the daemon is away it
//! looks now and then whether a sandbox's namespace still has a process, since its sockets would
//! keep the namespace alive for ever.

mod control;
mod forward;
mod host;
mod sandbox;
mod slots;
mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sys::poll::{Interest, Poll, Ready};

use crate::lookup::{Decision, World};
use crate::wire::{self, Code, Question, Refusal};
use control::Control;
use forward::Forward;
use host::HostServers;
use sandbox::Sandbox;
use slots::{Key, Kind, Slots};
use stream::Stream;

/// Longest question; what is longer is not understood.
pub const MAX_QUERY: usize = 4096;
/// Questions taken from one sandbox before others have their turn.
const BURST: usize = 64;
/// How often ends of waits are looked for, while anything waits.
const TICK: Duration = Duration::from_millis(100);
/// How often namespaces without a process are looked for, while no daemon is connected.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long the first daemon has to connect.
const GRACE: Duration = Duration::from_secs(10);
/// Random bytes fetched at once.
const RANDOM: usize = 256;

/// What [`serve`] needs.
#[derive(Debug)]
pub struct Settings {
    /// The listening socket where daemons connect.
    pub listener: OwnedFd,
    /// What distinguishes this program from others.
    pub build: String,
    /// The host's `resolv.conf`.
    pub resolv_conf: PathBuf,
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

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// A UDP socket.
    Datagram(SocketAddr),
    /// A TCP connection.
    Stream(Key),
}

/// Everything.
#[derive(Debug)]
struct Server {
    poll: Poll,
    listener: OwnedFd,
    build: String,
    say: fn(&str),
    controls: Slots<Control>,
    world: World,
    sandboxes: Slots<Sandbox>,
    /// Sandboxes by their identity.
    ids: HashMap<String, Key>,
    streams: Slots<Stream>,
    forwards: Slots<Forward>,
    host: HostServers,
    /// Name servers that lately did not answer, and since when.
    sick: HashMap<(Option<Key>, SocketAddr), Instant>,
    /// Sandboxes with questions that may now be asked.
    relieved: Vec<Key>,
    /// Connections that may go on.
    resumed: Vec<Key>,
    random: Random,
    buffer: Vec<u8>,
    /// Until when a daemon is waited for when there is nothing to do.
    expected_until: Instant,
    ticked: Instant,
    swept: Instant,
    /// Something was done since memory was last given back.
    busy: bool,
    leaving: bool,
}

/// Serves until nobody needs it any more.
///
/// # Errors
///
/// Only what happens at the start; later failures are told and survived.
pub fn serve(settings: Settings) -> Result<(), ServeError> {
    let failed = |action| move |source| ServeError::Kernel { action, source };
    let poll = Poll::new().map_err(failed("make an epoll set"))?;
    sys::fdpass::set_nonblocking(settings.listener.as_fd()).map_err(failed("set up the socket"))?;
    poll.add(
        settings.listener.as_fd(),
        Key::ONLY.token(Kind::Listener),
        Interest::READ,
    )
    .map_err(failed("watch the socket"))?;
    let now = Instant::now();
    let mut server = Server {
        poll,
        listener: settings.listener,
        build: settings.build,
        say: settings.say,
        controls: Slots::new(),
        world: World::default(),
        sandboxes: Slots::new(),
        ids: HashMap::new(),
        streams: Slots::new(),
        forwards: Slots::new(),
        host: HostServers::new(settings.resolv_conf),
        sick: HashMap::new(),
        relieved: Vec::new(),
        resumed: Vec::new(),
        random: Random::default(),
        buffer: vec![0; wire::MAX_MESSAGE + 1],
        expected_until: now + GRACE,
        ticked: now,
        swept: now,
        busy: true,
        leaving: false,
    };
    server.run().map_err(failed("wait"))
}

impl Server {
    fn run(&mut self) -> sys::Result<()> {
        while !self.is_done() {
            for ready in self.poll.wait(self.timeout())? {
                self.handle(ready);
            }
            self.ask_relieved();
            self.resume_streams();
            let now = Instant::now();
            if now.duration_since(self.ticked) >= TICK {
                self.ticked = now;
                self.tick(now);
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let alone = self.controls.is_empty() && self.sandboxes.is_empty();
        self.leaving || alone && Instant::now() >= self.expected_until
    }

    /// How long nothing but an event is of interest.
    fn timeout(&self) -> Option<Duration> {
        if self.busy {
            return Some(TICK);
        }
        if !self.controls.is_empty() {
            return None;
        }
        Some(if self.sandboxes.is_empty() {
            self.expected_until
                .saturating_duration_since(Instant::now())
        } else {
            SWEEP_EVERY
        })
    }

    fn handle(&mut self, ready: Ready) {
        let Some((kind, key)) = Key::of(ready.token) else {
            return;
        };
        match kind {
            Kind::Listener => self.accept_daemon(),
            Kind::Control => self.hear(key),
            Kind::Datagrams => self.datagrams(key),
            Kind::Streams => self.accept_stream(key),
            Kind::Stream => self.stream_ready(key, ready),
            Kind::Forward => self.forward_ready(key),
        }
    }

    /// Looks for what has waited too long.
    fn tick(&mut self, now: Instant) {
        self.expire_forwards(now);
        self.expire_streams(now);
        let waits = self.expire_sandboxes(now);
        if self.controls.is_empty() && now.duration_since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.sweep_namespaces();
        }
        let was_busy = self.busy;
        self.busy = waits || !self.forwards.is_empty() || !self.streams.is_empty();
        if was_busy && !self.busy {
            sys::signal::trim_heap();
        }
    }

    /// Takes questions from a sandbox's UDP socket.
    fn datagrams(&mut self, key: Key) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..BURST {
            let Some(sandbox) = self.sandboxes.get(key) else {
                break;
            };
            match sandbox.udp.recv_from(&mut buffer[..=MAX_QUERY]) {
                Ok((length, from)) => self.ask(key, Client::Datagram(from), &buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // A client that has gone; the next may still be there.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
    }

    /// Answers a question, or sees to it that it will be.
    fn ask(&mut self, at: Key, client: Client, query: &[u8]) {
        let read = match Question::read(query) {
            Ok(_) if query.len() > MAX_QUERY => Err(Refusal::Answer(Code::FormatError)),
            read => read,
        };
        let question = match read {
            Ok(question) => question,
            Err(Refusal::Ignore) => return,
            Err(Refusal::Answer(code)) => {
                return self.reply(at, client, &wire::header_only(query, code));
            }
        };
        let random = self.random.number();
        let Some(sandbox) = self.sandboxes.get(at) else {
            return;
        };
        let limit = match client {
            Client::Datagram(_) => question.udp_size,
            Client::Stream(_) => wire::MAX_MESSAGE,
        };
        let decision = self
            .world
            .decide(&sandbox.names, query, &question, limit, random);
        match decision {
            Decision::Answer(message) => self.reply(at, client, &message),
            Decision::Forward => self.forward(at, client, query, &question),
        }
    }

    /// Sends an answer; a client that is gone or does not listen goes without.
    fn reply(&mut self, at: Key, client: Client, message: &[u8]) {
        match client {
            Client::Datagram(to) => {
                if let Some(sandbox) = self.sandboxes.get(at) {
                    let _ = sandbox.udp.send_to(message, to);
                }
            }
            Client::Stream(key) => self.stream_reply(key, message),
        }
    }
}

/// Numbers that nobody can foresee.
#[derive(Debug, Default)]
struct Random {
    bytes: Vec<u8>,
}

impl Random {
    fn number(&mut self) -> u64 {
        if self.bytes.len() < 8 {
            self.bytes.resize(RANDOM, 0);
            let flags = rustix::rand::GetRandomFlags::empty();
            let filled = rustix::rand::getrandom(&mut self.bytes[..], flags);
            // Up to 256 bytes the kernel gives all or, before the machine has any, waits.
            debug_assert_eq!(filled, Ok(RANDOM));
        }
        let at = self.bytes.len() - 8;
        let number = self.bytes[at..].try_into().map_or(0, u64::from_ne_bytes);
        self.bytes.truncate(at);
        number
    }

    fn id(&mut self) -> [u8; 2] {
        let [a, b, ..] = self.number().to_ne_bytes();
        [a, b]
    }
}
