//! The process: the ports of a daemon, one epoll set, one thread.
//!
//! Invariants: nothing here ever waits but in the epoll set; numbers of connections and flows have a
//! bound, and so has what one of them may hold; no port can use up what others need.
//!
//! It ends by itself when no daemon is connected and nothing is left to carry. While the daemon is
//! away it looks now and then whether the interfaces that lead to the containers are still there. All
//! that is so of every helper is [`helper::server`].

mod datagrams;
mod orders;
mod pipes;
mod ports;
mod stream;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use helper::server::{ServeError, Settings};
use sys::poll::Poll;

use crate::protocol::Place;
use datagrams::Flow;
use pipes::Pipes;
use ports::Port;
use stream::Stream;

/// Longest datagram.
const MAX_DATAGRAM: usize = 64 * 1024;
/// Descriptors that are neither of connections nor of flows: ports, controls, pipes kept ready.
const OTHER_DESCRIPTORS: usize = 4096;
/// Descriptors of a connection: two sockets, and a pipe each way while it is busy.
const DESCRIPTORS: usize = 6;

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

/// What a watched descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A port of the host.
    Port,
    /// The client's side of a connection.
    Client,
    /// The container's side of a connection.
    Container,
    /// A flow's socket to the container.
    Flow,
}

const KINDS: [Kind; 4] = [Kind::Port, Kind::Client, Kind::Container, Kind::Flow];

/// A thing's number, never used again: an event that comes too late finds nothing.
type Number = u64;

impl Kind {
    fn token(self, number: Number) -> u64 {
        helper::server::token(self as u64, number)
    }

    fn of(token: u64) -> Option<(Self, Number)> {
        let (kind, number) = helper::server::split(token)?;
        Some((*KINDS.get(kind)?, number))
    }
}

/// Everything.
#[derive(Debug)]
struct Server {
    poll: Poll,
    limits: Limits,
    say: fn(&str),
    last_number: Number,
    ports: HashMap<Number, Port>,
    places: BTreeMap<Place, Number>,
    /// Ports at which nothing is accepted for now.
    resting: HashSet<Number>,
    streams: HashMap<Number, Stream>,
    flows: HashMap<Number, Flow>,
    pipes: Pipes,
    buffer: Vec<u8>,
    /// Something was done since memory was last given back.
    busy: bool,
}

/// Serves until nobody needs it any more.
///
/// # Errors
///
/// Only what happens at the start; later failures are told and survived.
pub fn serve(settings: Settings, limits: Limits) -> Result<(), ServeError> {
    let say = settings.say;
    helper::server::serve(settings, |poll| Server {
        poll,
        limits,
        say,
        last_number: 0,
        ports: HashMap::new(),
        places: BTreeMap::new(),
        resting: HashSet::new(),
        streams: HashMap::new(),
        flows: HashMap::new(),
        pipes: Pipes::default(),
        buffer: Vec::new(),
        busy: false,
    })
}

impl Server {
    /// Whether nothing is carried just now.
    fn is_quiet(&self) -> bool {
        self.streams.is_empty() && self.flows.is_empty()
    }

    fn ports_where(&self, fits: impl Fn(&Port) -> bool) -> Vec<Number> {
        let ports = self.ports.iter().filter(|(_, port)| fits(port));
        ports.map(|(number, _)| *number).collect()
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
        for kind in KINDS {
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
