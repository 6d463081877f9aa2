//! The process: the ports of a daemon, one epoll set, one thread.
//!
//! Invariants: nothing here ever waits but in the epoll set; numbers of connections and flows have a
//! bound, and so has what one of them may hold; no port can use up what others need.
//!
//! It ends by itself when no daemon is connected and nothing is left to carry. While the daemon is
//! away it looks now and then whether the interfaces that lead to the containers are still there.

mod control;
mod datagrams;
mod pipes;
mod ports;
mod stream;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use sys::poll::{Interest, Poll, Ready};

use crate::protocol::Place;
use control::Control;
use datagrams::Flow;
use pipes::Pipes;
use ports::Port;
use stream::Stream;

/// How often ends of waits are looked for, while anything waits.
const TICK: Duration = Duration::from_secs(1);
/// How often containers without an interface are looked for, while no daemon is connected.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long the first daemon has to connect.
const GRACE: Duration = Duration::from_secs(10);
/// Longest datagram.
const MAX_DATAGRAM: usize = 64 * 1024;
/// Descriptors that are neither of connections nor of flows: ports, controls, pipes kept ready.
const OTHER_DESCRIPTORS: usize = 4096;
/// Descriptors of a connection: two sockets, and a pipe each way while it is busy.
const DESCRIPTORS: usize = 6;

/// What [`serve`] needs.
#[derive(Debug)]
pub struct Settings {
    /// The listening socket where daemons connect.
    pub listener: OwnedFd,
    /// What distinguishes this program from others.
    pub build: String,
    /// How much it may carry.
    pub limits: Limits,
    /// Tells the operator something.
    pub say: fn(&str),
}

/// How much is carried at once; one port has half of it at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections: the next ones wait to be accepted.
    pub connections: usize,
    /// UDP flows: a new one takes the place of the one that was silent longest.
    pub flows: usize,
    /// How long a flow may be silent.
    pub silence: Duration,
}

impl Limits {
    /// What a process with so many descriptors can do.
    pub fn of(descriptors: usize) -> Self {
        let half = descriptors.saturating_sub(OTHER_DESCRIPTORS.min(descriptors / 2)) / 2;
        Self {
            connections: (half / DESCRIPTORS).clamp(2, 16 * 1024),
            flows: half.clamp(2, 16 * 1024),
            // As docker-proxy.
            silence: Duration::from_secs(90),
        }
    }
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

/// What a watched descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The socket where daemons connect.
    Listener = 0,
    /// A daemon.
    Control = 1,
    /// A port of the host.
    Port = 2,
    /// The client's side of a connection.
    Client = 3,
    /// The container's side of a connection.
    Container = 4,
    /// A flow's socket to the container.
    Flow = 5,
}

/// A thing's number, never used again: an event that comes too late finds nothing.
type Number = u64;

const KIND_SHIFT: u32 = 60;

impl Kind {
    fn token(self, number: Number) -> u64 {
        (self as u64) << KIND_SHIFT | number
    }

    fn of(token: u64) -> Option<(Self, Number)> {
        let kind = match token >> KIND_SHIFT {
            0 => Self::Listener,
            1 => Self::Control,
            2 => Self::Port,
            3 => Self::Client,
            4 => Self::Container,
            5 => Self::Flow,
            _ => return None,
        };
        Some((kind, token & ((1 << KIND_SHIFT) - 1)))
    }
}

/// Everything.
#[derive(Debug)]
struct Server {
    poll: Poll,
    listener: OwnedFd,
    build: String,
    limits: Limits,
    say: fn(&str),
    last_number: Number,
    controls: HashMap<Number, Control>,
    ports: HashMap<Number, Port>,
    places: BTreeMap<Place, Number>,
    /// Ports at which nothing is accepted for now.
    resting: HashSet<Number>,
    streams: HashMap<Number, Stream>,
    flows: HashMap<Number, Flow>,
    pipes: Pipes,
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
        Kind::Listener.token(0),
        Interest::READ,
    )
    .map_err(failed("watch the socket"))?;
    let now = Instant::now();
    let mut server = Server {
        poll,
        listener: settings.listener,
        build: settings.build,
        limits: settings.limits,
        say: settings.say,
        last_number: 0,
        controls: HashMap::new(),
        ports: HashMap::new(),
        places: BTreeMap::new(),
        resting: HashSet::new(),
        streams: HashMap::new(),
        flows: HashMap::new(),
        pipes: Pipes::default(),
        buffer: Vec::new(),
        expected_until: now + GRACE,
        ticked: now,
        swept: now,
        busy: false,
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
            let now = Instant::now();
            if now.duration_since(self.ticked) >= TICK {
                self.ticked = now;
                self.tick(now);
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let alone = self.controls.is_empty() && self.ports.is_empty() && self.streams.is_empty();
        self.leaving || alone && Instant::now() >= self.expected_until
    }

    /// How long nothing but an event is of interest.
    fn timeout(&self) -> Option<Duration> {
        let quiet = self.streams.is_empty() && self.flows.is_empty();
        if self.busy && quiet || !self.flows.is_empty() || !self.resting.is_empty() {
            return Some(TICK);
        }
        if !self.controls.is_empty() {
            return None;
        }
        if self.ports.is_empty() && self.streams.is_empty() {
            let left = self
                .expected_until
                .saturating_duration_since(Instant::now());
            return Some(left);
        }
        Some(SWEEP_EVERY)
    }

    fn handle(&mut self, ready: Ready) {
        match Kind::of(ready.token) {
            Some((Kind::Listener, _)) => self.accept_daemon(),
            Some((Kind::Control, number)) => self.hear(number),
            Some((Kind::Port, number)) => self.port_ready(number),
            Some((side @ (Kind::Client | Kind::Container), number)) => {
                self.stream_ready(number, side, ready);
            }
            Some((Kind::Flow, number)) => self.flow_ready(number),
            None => {}
        }
    }

    /// Looks for what has waited too long.
    fn tick(&mut self, now: Instant) {
        self.expire_flows(now);
        self.wake_ports();
        if self.controls.is_empty() && now.duration_since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.sweep_ports();
        }
        if self.busy && self.streams.is_empty() && self.flows.is_empty() {
            self.busy = false;
            self.pipes.clear();
            self.buffer = Vec::new();
            self.streams.shrink_to_fit();
            self.flows.shrink_to_fit();
            sys::signal::trim_heap();
        }
    }

    fn number(&mut self) -> Number {
        self.last_number += 1;
        self.last_number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_it_was_made_of() {
        for kind in [Kind::Listener, Kind::Port, Kind::Client, Kind::Flow] {
            assert_eq!(Kind::of(kind.token(77)), Some((kind, 77)));
        }
        assert_eq!(Kind::of(u64::MAX), None);
    }

    #[test]
    fn few_descriptors_are_shared_out() {
        let limits = Limits::of(1024);
        assert!(limits.connections * DESCRIPTORS + limits.flows <= 1024);
        assert!(limits.connections > 20);
        let limits = Limits::of(1 << 20);
        assert_eq!((limits.connections, limits.flows), (16 * 1024, 16 * 1024));
    }
}
