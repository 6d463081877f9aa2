//! The process: sockets in every sandbox, one epoll set, one thread.
//!
//! Invariants: nothing here ever waits but in the epoll set; every queue has a bound and every wait
//! an end; what one sandbox does costs another at most its turn.
//!
//! It ends by itself when no daemon is connected and no sandbox is left. While the daemon is away it
//! looks now and then whether a sandbox's namespace still has a process, since its sockets would
//! keep the namespace alive for ever. All that is so of every helper is [`helper::server`].

mod forward;
mod host;
mod orders;
mod sandbox;
mod slots;
mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use helper::server::{Number, ServeError, Settings};
use sys::poll::Poll;

use crate::lookup::{Decision, World};
use crate::wire::{self, Code, Question, Refusal};
use forward::Forward;
use host::HostServers;
use orders::Said;
use sandbox::Sandbox;
use slots::{Key, Slots};
use stream::Stream;

/// Longest question; what is longer is not understood.
pub const MAX_QUERY: usize = 4096;
/// Questions taken from one sandbox before others have their turn.
const BURST: usize = 64;
/// Random bytes fetched at once.
const RANDOM: usize = 256;

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
    said: HashMap<Number, Said>,
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
    /// Something was done since memory was last given back.
    busy: bool,
}

/// Serves until nobody needs it any more; `resolv_conf` names the host's name servers.
///
/// # Errors
///
/// Only what happens at the start; later failures are told and survived.
pub fn serve(settings: Settings, resolv_conf: PathBuf) -> Result<(), ServeError> {
    helper::server::serve(settings, |poll| Server {
        poll,
        said: HashMap::new(),
        world: World::default(),
        sandboxes: Slots::new(),
        ids: HashMap::new(),
        streams: Slots::new(),
        forwards: Slots::new(),
        host: HostServers::new(resolv_conf),
        sick: HashMap::new(),
        relieved: Vec::new(),
        resumed: Vec::new(),
        random: Random::default(),
        buffer: vec![0; wire::MAX_MESSAGE + 1],
        busy: true,
    })
}

impl Server {
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
