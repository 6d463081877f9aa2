//! Ports of the host: listening, accepting, and when they rest.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, listen, shutdown, sockopt};
use spec::{ErrorKind, WireError};
use sys::packet::Local;
use sys::poll::Interest;

use super::{Kind, Number, Server};
use crate::protocol::{Forward, Place, Protocol};

/// Connections that wait to be accepted; the kernel makes it less where it is told to.
const BACKLOG: i32 = 4096;
/// Connections accepted at once before others have their turn.
const BURST: usize = 64;
/// What a UDP port may queue: the kernel's default, where reservation made it nothing.
const ROOM: usize = 208 * 1024;

/// A port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) place: Place,
    pub(super) target: SocketAddr,
    pub(super) socket: OwnedFd,
    /// The daemon that named it last.
    pub(super) owner: Number,
    /// The interface that leads to the container.
    interface: String,
    pub(super) streams: HashSet<Number>,
    pub(super) flows: HashMap<(SocketAddrV6, Option<Local>), Number>,
}

impl Server {
    /// Serves a port.
    pub(super) fn open_port(
        &mut self,
        forward: Forward,
        socket: OwnedFd,
        owner: Number,
    ) -> Result<(), WireError> {
        let Forward {
            place,
            target,
            interface,
        } = forward;
        if let Some(number) = self.places.get(&place).copied() {
            match self.ports.get_mut(&number) {
                Some(port) if port.target == target => {
                    port.owner = owner;
                    port.interface = interface;
                    return Ok(());
                }
                _ => self.close_port(number),
            }
        }
        let number = self.number();
        let failed = |text: &str| WireError::new(ErrorKind::Internal, text);
        begin(place.protocol, &socket)
            .map_err(|e| failed(&format!("failed to listen on {}: {e}", place.listen)))?;
        self.poll
            .add(socket.as_fd(), Kind::Port.token(number), Interest::READ)
            .map_err(|e| failed(&spec::error::chain(&e)))?;
        let port = Port {
            place,
            target,
            socket,
            owner,
            interface,
            streams: HashSet::new(),
            flows: HashMap::new(),
        };
        self.ports.insert(number, port);
        self.places.insert(place, number);
        Ok(())
    }

    /// Ends a port, and what it carries.
    pub(super) fn close_port(&mut self, number: Number) {
        let Some(port) = self.forget_port(number) else {
            return;
        };
        for stream in port.streams {
            self.end_stream(stream, false);
        }
        if port.place.protocol == Protocol::Tcp {
            // The daemon has the socket too: it stays bound and no longer listens.
            let _ = shutdown(&port.socket, Shutdown::Both);
            let _ = sockopt::set_socket_reuseaddr(&port.socket, false);
        }
    }

    /// Lets go of a port that another relay serves; connections stay.
    pub(super) fn forget_port(&mut self, number: Number) -> Option<Port> {
        let port = self.ports.remove(&number)?;
        self.places.remove(&port.place);
        self.resting.remove(&number);
        let _ = self.poll.remove(port.socket.as_fd());
        for flow in port.flows.values() {
            self.drop_flow(*flow);
        }
        Some(port)
    }

    pub(super) fn port_ready(&mut self, number: Number) {
        let Some(port) = self.ports.get(&number) else {
            return;
        };
        match port.place.protocol {
            Protocol::Tcp => self.accept(number),
            Protocol::Udp => self.datagrams(number),
        }
    }

    fn accept(&mut self, number: Number) {
        for _ in 0..BURST {
            if !self.has_room(number) {
                return self.rest(number);
            }
            let Some(port) = self.ports.get(&number) else {
                return;
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(&port.socket, flags) {
                Ok(client) => self.carry(number, client),
                Err(Errno::AGAIN) => return,
                // Of this client only.
                Err(
                    Errno::CONNABORTED
                    | Errno::INTR
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTUNREACH,
                ) => {}
                Err(error) => {
                    (self.say)(&format!("failed to accept a connection: {error}"));
                    return self.rest(number);
                }
            }
        }
    }

    /// Whether a port may have one more connection.
    fn has_room(&self, number: Number) -> bool {
        let own = self.ports.get(&number).map_or(0, |port| port.streams.len());
        self.streams.len() < self.limits.connections && own < self.limits.connections / 2
    }

    /// Has clients wait where they cannot be served.
    fn rest(&mut self, number: Number) {
        self.watch_port(number, Interest::NONE);
        self.resting.insert(number);
    }

    /// Serves clients that have waited, if there is room now.
    pub(super) fn wake_ports(&mut self) {
        if self.resting.is_empty() || self.streams.len() >= self.limits.connections {
            return;
        }
        let resting = self.resting.iter().copied();
        let woken: Vec<Number> = resting.filter(|number| self.has_room(*number)).collect();
        for number in woken {
            self.resting.remove(&number);
            self.watch_port(number, Interest::READ);
        }
    }

    fn watch_port(&self, number: Number, interest: Interest) {
        let Some(port) = self.ports.get(&number) else {
            return;
        };
        let token = Kind::Port.token(number);
        if let Err(error) = self.poll.modify(port.socket.as_fd(), token, interest) {
            (self.say)(&spec::error::chain(&error));
        }
    }

    /// Closes ports of containers that have ended while no daemon was there to tell.
    pub(super) fn sweep_ports(&mut self) {
        for number in self.ports_where(|port| !is_there(port)) {
            self.close_port(number);
        }
    }
}

/// Has a bound socket take what comes.
fn begin(protocol: Protocol, socket: &OwnedFd) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(socket, true)?;
    match protocol {
        Protocol::Tcp => {
            // Connections that have ended keep the port for a minute, but not from who listens.
            sockopt::set_socket_reuseaddr(socket, true)?;
            listen(socket, BACKLOG)
        }
        Protocol::Udp => {
            sockopt::set_socket_recv_buffer_size(socket, ROOM)?;
            sys::packet::tell_destinations(socket.as_fd()).map_err(|error| error.errno())
        }
    }
}

/// Whether the container of a port may still be there; what cannot be told goes on.
fn is_there(port: &Port) -> bool {
    if port.interface.is_empty() {
        return true;
    }
    let index = rustix::net::netdevice::name_to_index(&port.socket, &port.interface);
    !matches!(index, Err(Errno::NODEV | Errno::NXIO))
}
