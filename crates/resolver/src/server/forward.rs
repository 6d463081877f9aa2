//! Questions to other name servers: relayed byte by byte, but for their identity.
//!
//! A question goes to one server after the other, as Docker does it: the next is asked when one
//! fails, refuses, cannot be reached or takes too long. Servers that lately did not answer come
//! last. Every question has a socket, and with it a port, of its own.
//!
//! Whoever asks what is being asked already waits for that answer. So a question that comes back to
//! us, because the host's name server asks a container that asks us, meets itself and ends there.

mod io;

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketType};
use sys::poll::Interest;

use super::host::PORT;
use super::sandbox::socket;
use super::slots::{Key, Kind};
use super::{Client, Server};
use crate::ADDRESS;
use crate::lookup::unanswered;
use crate::names::Upstreams;
use crate::wire::{self, HEADER, Question};
use io::{Heard, Io, flush, hear_datagram, hear_stream};

/// How long one server has, as Docker's.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How many servers are asked, as Docker's.
const MAX_SERVERS: usize = 3;
/// How many clients of a sandbox are waited for at once, as Docker's.
pub const MAX_CONCURRENT: usize = 1024;
/// How many questions of a sandbox wait for their turn.
const MAX_WAITING: usize = 1024;
/// How long a server that did not answer comes last.
const SICK_FOR: Duration = Duration::from_secs(30);
/// Codes of an answer after which the next server is asked: failure, refused.
const NEXT: [u8; 2] = [2, 5];

/// A name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Upstream {
    address: SocketAddr,
    /// Asked from the host's namespace.
    of_host: bool,
}

/// A question that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: Client,
    pub(super) query: Vec<u8>,
    /// Where the question ends.
    pub(super) end: usize,
    pub(super) since: Instant,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Forward {
    sandbox: Key,
    /// As the first client sent it, with an identity of ours.
    query: Vec<u8>,
    end: usize,
    hash: u64,
    /// Servers still to be asked, the next one last.
    servers: Vec<Upstream>,
    current: Option<Upstream>,
    io: Option<Io>,
    deadline: Instant,
    askers: Vec<Asker>,
}

/// A client that waits.
#[derive(Debug)]
struct Asker {
    client: Client,
    id: [u8; 2],
    /// The question in the client's own letters, if they are others.
    question: Option<Box<[u8]>>,
}

impl Server {
    /// Asks others, joins who asks already, or waits.
    pub(super) fn forward(&mut self, at: Key, client: Client, query: &[u8], question: &Question) {
        let end = question.end;
        self.busy = true;
        let hash = fingerprint(query, end, client);
        let Some(sandbox) = self.sandboxes.get_mut(at) else {
            return;
        };
        if sandbox.active >= MAX_CONCURRENT {
            if sandbox.waiting.len() >= MAX_WAITING {
                return self.refuse(at, client, query, end);
            }
            return sandbox.waiting.push_back(Waiting {
                client,
                query: query.to_vec(),
                end,
                since: Instant::now(),
            });
        }
        let id = [query[0], query[1]];
        let under_way = sandbox.questions.get(&hash).copied();
        if let Some(other) = under_way.and_then(|key| self.forwards.get_mut(key))
            && other.is_same(client, query)
        {
            let own = &query[HEADER..end];
            other.askers.push(Asker {
                client,
                id,
                question: (own != &other.query[HEADER..end]).then(|| own.into()),
            });
            sandbox.active += 1;
            return;
        }
        let servers = self.servers(at);
        if servers.is_empty() {
            return self.reply(at, client, &unanswered(query, end));
        }
        let mut query = query.to_vec();
        query[..2].copy_from_slice(&self.random.id());
        let key = self.forwards.insert(|_| Forward {
            sandbox: at,
            query,
            end,
            hash,
            servers,
            current: None,
            io: None,
            deadline: Instant::now(),
            askers: vec![Asker {
                client,
                id,
                question: None,
            }],
        });
        if let Some(sandbox) = self.sandboxes.get_mut(at) {
            sandbox.active += 1;
            sandbox.questions.insert(hash, key);
        }
        self.ask_next(key);
    }

    /// Who may be asked from a sandbox, the first one last.
    fn servers(&mut self, at: Key) -> Vec<Upstream> {
        let now = Instant::now();
        let Some(sandbox) = self.sandboxes.get(at) else {
            return Vec::new();
        };
        let mut servers: Vec<Upstream> = match &sandbox.names.upstreams {
            Upstreams::Host if !sandbox.names.forward => Vec::new(),
            Upstreams::Host => {
                let servers = self.host.get(now).iter();
                let of_host = |address: &SocketAddr| Upstream {
                    address: *address,
                    of_host: true,
                };
                servers.take(MAX_SERVERS).map(of_host).collect()
            }
            Upstreams::Own(servers) => servers
                .iter()
                // In its namespace that is ourselves.
                .filter(|address| **address != IpAddr::V4(ADDRESS))
                .take(MAX_SERVERS)
                .map(|address| Upstream {
                    address: SocketAddr::new(*address, PORT),
                    of_host: false,
                })
                .collect(),
        };
        let sick = |server: &Upstream| {
            let since = self.sick.get(&server.health(at));
            since.is_some_and(|since| now.duration_since(*since) < SICK_FOR)
        };
        servers.sort_by_key(sick);
        servers.reverse();
        servers
    }

    /// Asks the next server that can be asked, or gives up.
    fn ask_next(&mut self, key: Key) {
        loop {
            let Some(forward) = self.forwards.get_mut(key) else {
                return;
            };
            if let Some(io) = forward.io.take() {
                let _ = self.poll.remove(io.socket().as_fd());
            }
            let (at, is_stream) = (forward.sandbox, forward.is_stream());
            let Some(server) = forward.servers.pop() else {
                let failure = unanswered(&forward.query, forward.end);
                return self.finish(key, &mut failure.into_boxed_slice());
            };
            forward.current = Some(server);
            match self.connect(key, at, server, is_stream) {
                Ok(io) => {
                    if let Some(forward) = self.forwards.get_mut(key) {
                        forward.io = Some(io);
                        forward.deadline = Instant::now() + TIMEOUT;
                    }
                    return;
                }
                Err(_) => self.blame(at, server),
            }
        }
    }

    /// Opens a socket to a server and sends the question, or as much as can be sent now.
    fn connect(
        &mut self,
        key: Key,
        at: Key,
        server: Upstream,
        is_stream: bool,
    ) -> Result<Io, Errno> {
        let kind = if is_stream {
            SocketType::STREAM
        } else {
            SocketType::DGRAM
        };
        let ipv6 = server.address.is_ipv6();
        let opened = if server.of_host {
            socket(ipv6, kind)
        } else {
            self.socket_in(at, ipv6, kind)
        };
        let opened = opened.map_err(|e| e.errno())?;
        match rustix::net::connect(&opened, &server.address) {
            Err(Errno::INPROGRESS) if is_stream => {}
            connected => connected?,
        }
        let query = &self.forwards.get(key).ok_or(Errno::CANCELED)?.query;
        let (io, interest) = if is_stream {
            let length = u16::try_from(query.len()).map_err(|_| Errno::MSGSIZE)?;
            let mut output = length.to_be_bytes().to_vec();
            output.extend_from_slice(query);
            let io = Io::Stream {
                socket: opened,
                output,
                written: 0,
                input: Vec::new(),
            };
            (io, Interest::WRITE)
        } else {
            rustix::net::send(&opened, query, SendFlags::NOSIGNAL)?;
            (Io::Datagram(opened), Interest::READ)
        };
        let token = key.token(Kind::Forward);
        self.poll
            .add(io.socket().as_fd(), token, interest)
            .map_err(|e| e.errno())?;
        Ok(io)
    }

    fn blame(&mut self, at: Key, server: Upstream) {
        self.sick.insert(server.health(at), Instant::now());
    }

    /// Something came from a server.
    pub(super) fn forward_ready(&mut self, key: Key) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let heard = match self.forwards.get_mut(key) {
            None => Heard::Nothing,
            Some(forward) => forward.hear(&mut buffer, |socket, interest| {
                let token = key.token(Kind::Forward);
                self.poll.modify(socket.as_fd(), token, interest).is_ok()
            }),
        };
        match heard {
            Heard::Nothing => {}
            Heard::Failure => self.ask_next(key),
            Heard::Answer(length) => {
                if let Some((at, Some(server))) = self
                    .forwards
                    .get(key)
                    .map(|forward| (forward.sandbox, forward.current))
                {
                    self.sick.remove(&server.health(at));
                }
                self.finish(key, &mut buffer[..length]);
            }
        }
        self.buffer = buffer;
    }

    /// Gives an answer to all who wait for it.
    fn finish(&mut self, key: Key, answer: &mut [u8]) {
        let Some(forward) = self.forwards.remove(key) else {
            return;
        };
        if let Some(io) = &forward.io {
            let _ = self.poll.remove(io.socket().as_fd());
        }
        if let Some(sandbox) = self.sandboxes.get_mut(forward.sandbox) {
            sandbox.active -= forward.askers.len();
            if sandbox.questions.get(&forward.hash) == Some(&key) {
                sandbox.questions.remove(&forward.hash);
            }
            if !sandbox.waiting.is_empty() {
                self.relieved.push(forward.sandbox);
            }
        }
        for asker in &forward.askers {
            answer[..2].copy_from_slice(&asker.id);
            let own = asker.question.as_deref();
            let own = own.unwrap_or(&forward.query[HEADER..forward.end]);
            // Who has understood the question repeats it, in letters of the client's case.
            if answer[4..6] == [0, 1]
                && let Some(question) = answer.get_mut(HEADER..forward.end)
            {
                question.copy_from_slice(own);
            }
            self.reply(forward.sandbox, asker.client, answer);
        }
    }

    /// Asks what had to wait and need not any more.
    pub(super) fn ask_relieved(&mut self) {
        while let Some(key) = self.relieved.pop() {
            while let Some(sandbox) = self.sandboxes.get_mut(key)
                && sandbox.active < MAX_CONCURRENT
                && let Some(waiting) = sandbox.waiting.pop_front()
            {
                if let Ok(question) = Question::read(&waiting.query) {
                    self.forward(key, waiting.client, &waiting.query, &question);
                }
            }
        }
    }

    /// Turns from servers that take too long to the next.
    pub(super) fn expire_forwards(&mut self, now: Instant) {
        for key in self.forwards.keys(|forward| forward.deadline <= now) {
            if let Some((at, Some(server))) = self
                .forwards
                .get(key)
                .map(|forward| (forward.sandbox, forward.current))
            {
                self.blame(at, server);
            }
            self.ask_next(key);
        }
        self.sick
            .retain(|_, since| now.duration_since(*since) < SICK_FOR);
    }

    /// Forgets what a sandbox has asked.
    pub(super) fn drop_forwards(&mut self, sandbox: Key) {
        for key in self.forwards.keys(|forward| forward.sandbox == sandbox) {
            if let Some(Forward { io: Some(io), .. }) = self.forwards.remove(key) {
                let _ = self.poll.remove(io.socket().as_fd());
            }
        }
    }
}

impl Upstream {
    /// What its health is remembered by: another namespace may have another server there.
    fn health(&self, at: Key) -> (Option<Key>, SocketAddr) {
        ((!self.of_host).then_some(at), self.address)
    }
}

impl Forward {
    fn is_stream(&self) -> bool {
        let first = self.askers.first().map(|asker| asker.client);
        matches!(first, Some(Client::Stream(_)))
    }

    fn is_same(&self, client: Client, query: &[u8]) -> bool {
        matches!(client, Client::Stream(_)) == self.is_stream()
            && wire::same_question(&self.query, self.end, query)
    }

    /// Reads an answer into the buffer, or goes on sending the question.
    fn hear(&mut self, buffer: &mut [u8], watch: impl Fn(&OwnedFd, Interest) -> bool) -> Heard {
        let heard = match &mut self.io {
            None => return Heard::Nothing,
            Some(Io::Datagram(socket)) => hear_datagram(socket, &self.query, self.end, buffer),
            Some(Io::Stream {
                socket,
                output,
                written,
                input,
            }) => match flush(socket, output, written) {
                Err(()) => return Heard::Failure,
                Ok(false) => return Heard::Nothing,
                Ok(true) => {
                    if !output.is_empty() {
                        output.clear();
                        *written = 0;
                        if !watch(socket, Interest::READ) {
                            return Heard::Failure;
                        }
                    }
                    hear_stream(socket, input, buffer)
                }
            },
        };
        match heard {
            Heard::Answer(length) => {
                let answer = &buffer[..length];
                let fits = wire::matches(&self.query, self.end, answer);
                let next = wire::code_of(answer).is_none_or(|code| NEXT.contains(&code));
                if !fits || next {
                    return Heard::Failure;
                }
                Heard::Answer(length)
            }
            other => other,
        }
    }
}

/// A number for what a question asks and how, but not for who asks it.
fn fingerprint(query: &[u8], end: usize, client: Client) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(u8::from(matches!(client, Client::Stream(_))));
    hasher.write(&query[2..HEADER]);
    for byte in &query[HEADER..end] {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.write(&query[end..]);
    hasher.finish()
}
