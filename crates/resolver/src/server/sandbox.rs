//! Sandboxes: their sockets, made in their namespaces, and what they have under way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use helper::server::Number;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spec::{ErrorKind, WireError};
use sys::nft::redirect::Redirect;
use sys::poll::Interest;

use super::forward::Waiting;
use super::slots::{Key, Kind};
use super::{Client, Server};
use crate::ADDRESS;
use crate::names::SandboxNames;
use crate::wire::{self, Code};

/// Name of the table with the rewritten ports, in each sandbox's namespace.
const TABLE: &str = "corten-dns";
/// The port that programs ask.
const PORT: u16 = 53;
/// Sockets for questions to others that are made at once: a thread has to enter the namespace.
const SPARES: usize = 16;
/// How long unused ones are kept.
const SPARES_FOR: Duration = Duration::from_secs(5);
/// How long a question waits for its turn, as Docker's.
const WAIT: Duration = Duration::from_secs(4);

/// A sandbox.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) names: SandboxNames,
    /// The daemon that named it last.
    pub(super) owner: Number,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    /// TCP connections that are open.
    pub(super) streams: usize,
    /// Questions to others under way, by what they ask.
    pub(super) questions: HashMap<u64, Key>,
    /// How many clients wait for them.
    pub(super) active: usize,
    /// Questions whose turn has not come.
    pub(super) waiting: VecDeque<Waiting>,
    netns: OwnedFd,
    /// Device and inode of the namespace.
    home: (u64, u64),
    /// Sockets for IPv4 and IPv6, not yet used.
    spares: [Vec<OwnedFd>; 2],
    spared: Instant,
}

/// The two sockets and the namespace they are in.
fn open(netns: &OwnedFd) -> sys::Result<(UdpSocket, TcpListener)> {
    let bound = |call: &str, error: &io::Error| {
        let errno = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
        sys::Error::new(format!("{call}(`{ADDRESS}`)"), errno)
    };
    sys::netns::with(netns, || {
        let udp = UdpSocket::bind((ADDRESS, 0)).map_err(|e| bound("bind", &e))?;
        let tcp = TcpListener::bind((ADDRESS, 0)).map_err(|e| bound("listen", &e))?;
        sys::fdpass::set_nonblocking(udp.as_fd())?;
        sys::fdpass::set_nonblocking(tcp.as_fd())?;
        let port = |address: io::Result<std::net::SocketAddr>| {
            address
                .map(|address| address.port())
                .map_err(|e| bound("getsockname", &e))
        };
        Redirect {
            table: TABLE,
            address: ADDRESS,
            port: PORT,
            udp: port(udp.local_addr())?,
            tcp: port(tcp.local_addr())?,
        }
        .install()?;
        Ok((udp, tcp))
    })
}

fn identity(netns: &OwnedFd) -> io::Result<(u64, u64)> {
    let about = std::fs::File::from(netns.try_clone()?).metadata()?;
    Ok((about.dev(), about.ino()))
}

impl Server {
    /// Makes a sandbox, or changes one that is in the same namespace.
    pub(super) fn set_sandbox(
        &mut self,
        names: SandboxNames,
        netns: OwnedFd,
        owner: Number,
    ) -> Result<(), WireError> {
        let failed = |what: &str, error: &dyn std::error::Error| WireError {
            source: Some(Box::new(WireError::from_error(ErrorKind::Internal, error))),
            ..WireError::new(ErrorKind::Internal, what)
        };
        let home =
            identity(&netns).map_err(|e| failed("failed to read a network namespace", &e))?;
        if let Some(key) = self.ids.get(&names.id).copied() {
            if let Some(sandbox) = self.sandboxes.get_mut(key)
                && sandbox.home == home
            {
                sandbox.names = names;
                sandbox.owner = owner;
                return Ok(());
            }
            self.drop_sandbox(key);
        }
        let (udp, tcp) =
            open(&netns).map_err(|e| failed("failed to serve names in a sandbox", &e))?;
        let id = names.id.clone();
        let key = self.sandboxes.insert(|_| Sandbox {
            names,
            owner,
            udp,
            tcp,
            streams: 0,
            questions: HashMap::new(),
            active: 0,
            waiting: VecDeque::new(),
            netns,
            home,
            spares: [Vec::new(), Vec::new()],
            spared: Instant::now(),
        });
        self.ids.insert(id, key);
        let watched = self.sandboxes.get(key).map(|sandbox| {
            let datagrams = key.token(Kind::Datagrams);
            let streams = key.token(Kind::Streams);
            self.poll
                .add(sandbox.udp.as_fd(), datagrams, Interest::READ)
                .and_then(|()| self.poll.add(sandbox.tcp.as_fd(), streams, Interest::READ))
        });
        if let Some(Err(error)) = watched {
            self.drop_sandbox(key);
            return Err(failed("failed to serve names in a sandbox", &error));
        }
        Ok(())
    }

    /// Closes everything of a sandbox; the table stays, and goes with the namespace.
    pub(super) fn drop_sandbox(&mut self, key: Key) {
        let Some(sandbox) = self.sandboxes.remove(key) else {
            return;
        };
        // Not being in the set is what is wanted.
        let _ = self.poll.remove(sandbox.udp.as_fd());
        let _ = self.poll.remove(sandbox.tcp.as_fd());
        self.ids.remove(&sandbox.names.id);
        self.sick.retain(|(of, _), _| *of != Some(key));
        self.drop_forwards(key);
        self.drop_streams(key);
    }

    /// Ends waits of sandboxes; tells whether anything still waits.
    pub(super) fn expire_sandboxes(&mut self, now: Instant) -> bool {
        let mut late = Vec::new();
        let mut waits = false;
        for key in self.sandboxes.keys(Sandbox::has_timers) {
            let Some(sandbox) = self.sandboxes.get_mut(key) else {
                continue;
            };
            if now.duration_since(sandbox.spared) >= SPARES_FOR {
                sandbox.spares = [Vec::new(), Vec::new()];
            }
            while let Some(first) = sandbox.waiting.front()
                && now.duration_since(first.since) >= WAIT
            {
                late.extend(sandbox.waiting.pop_front().map(|waiting| (key, waiting)));
            }
            waits |= sandbox.has_timers();
        }
        for (key, waiting) in late {
            self.refuse(key, waiting.client, &waiting.query, waiting.end);
        }
        waits
    }

    pub(super) fn refuse(&mut self, at: Key, client: Client, query: &[u8], end: usize) {
        self.reply(at, client, &wire::failure(query, end, Code::Refused));
    }

    /// Drops sandboxes in whose namespace nobody is any more.
    pub(super) fn sweep_namespaces(&mut self) {
        let Some(inhabited) = inhabited() else {
            return;
        };
        for key in self.sandboxes.keys(|s| !inhabited.contains(&s.home)) {
            self.drop_sandbox(key);
        }
    }

    /// A socket in a sandbox's namespace; `kind` is of IPv4 unless `ipv6`.
    pub(super) fn socket_in(
        &mut self,
        key: Key,
        ipv6: bool,
        kind: SocketType,
    ) -> sys::Result<OwnedFd> {
        let sandbox = self
            .sandboxes
            .get_mut(key)
            .ok_or_else(|| sys::Error::new("socket()", rustix::io::Errno::NETDOWN))?;
        if kind != SocketType::DGRAM {
            return sys::netns::with(&sandbox.netns, || socket(ipv6, kind));
        }
        let spares = &mut sandbox.spares[usize::from(ipv6)];
        if spares.is_empty() {
            sandbox.spared = Instant::now();
            *spares = sys::netns::with(&sandbox.netns, || {
                (0..SPARES).map(|_| socket(ipv6, kind)).collect()
            })?;
        }
        let spare = spares.pop();
        spare.ok_or_else(|| sys::Error::new("socket()", rustix::io::Errno::MFILE))
    }
}

impl Sandbox {
    fn has_timers(&self) -> bool {
        !self.waiting.is_empty() || self.spares.iter().any(|spares| !spares.is_empty())
    }
}

/// A socket that does not block, in the calling thread's namespace.
pub(super) fn socket(ipv6: bool, kind: SocketType) -> sys::Result<OwnedFd> {
    let family = if ipv6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, kind, flags, None)
        .map_err(|e| sys::Error::new(format!("socket({family:?}, {kind:?})"), e))
}

/// Network namespaces that processes are in; `None` if that cannot be told.
fn inhabited() -> Option<HashSet<(u64, u64)>> {
    let mut found = HashSet::new();
    for entry in std::fs::read_dir("/proc").ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        // A process that ends meanwhile is in no namespace.
        if is_process && let Ok(about) = std::fs::metadata(entry.path().join("ns/net")) {
            found.insert((about.dev(), about.ino()));
        }
    }
    Some(found)
}
