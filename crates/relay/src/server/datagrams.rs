//! UDP: flows from a client to a container and back, told apart by who asked and what was asked.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use sys::packet::{self, Local};
use sys::poll::Interest;

use super::{Kind, MAX_DATAGRAM, Number, Server};

/// Datagrams taken from one socket before others have their turn.
const BURST: usize = 64;

/// A client's flow.
#[derive(Debug)]
pub(super) struct Flow {
    port: Number,
    client: SocketAddrV6,
    /// By which address of the host the client asked.
    at: Option<Local>,
    /// Connected to the container.
    socket: UdpSocket,
    last: Instant,
}

impl Server {
    /// Passes on what clients say.
    pub(super) fn datagrams(&mut self, number: Number) {
        let mut buffer = self.take_buffer();
        for _ in 0..BURST {
            let Some(port) = self.ports.get(&number) else {
                break;
            };
            match packet::receive(port.socket.as_fd(), &mut buffer) {
                Ok(arrived) => {
                    // Nobody can answer from an address of many.
                    let at = arrived.at.filter(|at| !at.address.is_multicast());
                    let at = at.map(|at| Local {
                        interface: if is_local(at.address) {
                            at.interface
                        } else {
                            0
                        },
                        ..at
                    });
                    if let Some(flow) = self.flow(number, arrived.from, at) {
                        // A container that does not listen, or not fast enough, goes without.
                        let _ = flow.socket.send(&buffer[..arrived.length]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        self.buffer = buffer;
    }

    /// The flow of a client, made if there is none.
    fn flow(&mut self, at: Number, client: SocketAddrV6, by: Option<Local>) -> Option<&Flow> {
        let key = (client, by);
        let known = self.ports.get(&at)?.flows.get(&key).copied();
        if let Some(number) = known {
            let flow = self.flows.get_mut(&number)?;
            flow.last = Instant::now();
            return Some(flow);
        }
        self.make_room(at);
        let target = self.ports.get(&at)?.target;
        let made = || -> io::Result<UdpSocket> {
            let socket = if target.is_ipv4() {
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?
            } else {
                UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?
            };
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = made().ok()?;
        let number = self.number();
        self.poll
            .add(socket.as_fd(), Kind::Flow.token(number), Interest::READ)
            .ok()?;
        self.ports.get_mut(&at)?.flows.insert(key, number);
        self.busy = true;
        let flow = Flow {
            port: at,
            client,
            at: by,
            socket,
            last: Instant::now(),
        };
        Some(self.flows.entry(number).insert_entry(flow).into_mut())
    }

    /// Ends the flow that was silent longest where there are too many: of the port, or of all.
    fn make_room(&mut self, at: Number) {
        let own = self.ports.get(&at).map_or(0, |port| port.flows.len());
        let oldest = |flows: &mut dyn Iterator<Item = (&Number, &Flow)>| {
            flows.min_by_key(|(_, flow)| flow.last).map(|(n, _)| *n)
        };
        let found = if own >= self.limits.flows / 2 {
            oldest(&mut self.flows.iter().filter(|(_, flow)| flow.port == at))
        } else if self.flows.len() >= self.limits.flows {
            oldest(&mut self.flows.iter())
        } else {
            None
        };
        if let Some(number) = found {
            self.end_flow(number);
        }
    }

    /// Passes on what a container answers.
    pub(super) fn flow_ready(&mut self, number: Number) {
        let mut buffer = self.take_buffer();
        for _ in 0..BURST {
            let Some(flow) = self.flows.get_mut(&number) else {
                break;
            };
            match flow.socket.recv(&mut buffer) {
                Ok(length) => {
                    flow.last = Instant::now();
                    let Some(port) = self.ports.get(&flow.port) else {
                        break;
                    };
                    // A client that is gone goes without.
                    let socket = port.socket.as_fd();
                    let _ = packet::send(socket, &buffer[..length], &flow.client, flow.at);
                }
                // Nothing listens in the container, so far.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        self.buffer = buffer;
    }

    pub(super) fn expire_flows(&mut self, now: Instant) {
        let silence = self.limits.silence;
        let over: Vec<Number> = self
            .flows
            .iter()
            .filter(|(_, flow)| now.duration_since(flow.last) >= silence)
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            self.end_flow(number);
        }
    }

    fn end_flow(&mut self, number: Number) {
        let Some(flow) = self.drop_flow(number) else {
            return;
        };
        if let Some(port) = self.ports.get_mut(&flow.port) {
            port.flows.remove(&(flow.client, flow.at));
        }
    }

    /// Ends a flow whose port knows.
    pub(super) fn drop_flow(&mut self, number: Number) -> Option<Flow> {
        let flow = self.flows.remove(&number)?;
        let _ = self.poll.remove(flow.socket.as_fd());
        Some(flow)
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(MAX_DATAGRAM, 0);
        buffer
    }
}

/// Whether an address means something only together with an interface.
fn is_local(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}
