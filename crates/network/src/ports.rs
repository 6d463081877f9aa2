//! The host's ports: who has which, and sockets that keep everybody else off them.
//!
//! A published port is held by a bound socket for as long as it is published. It does not listen and
//! no packet reaches it: translation comes first. It is there so that a conflict shows before the
//! container starts, and so that no other program takes the port later. Where there is no translation,
//! from IPv6 to a container with IPv4 alone and at `::1` to any container, the relay gets the socket
//! and listens.

mod holder;
mod socket;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use spec::id::ContainerId;

use crate::{Error, PortRequest, Protocol, PublishedPort, Result};

/// Used where the kernel does not tell its range for ephemeral ports.
const DEFAULT_RANGE: (u16, u16) = (32768, 60999);
const RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The ports of all containers of a daemon.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    table: Mutex<Table>,
}

/// Who asks for ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub container: ContainerId,
    /// Its name, for the texts of conflicts.
    pub name: String,
}

/// How a container's ports are reached in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    /// Its address.
    pub address: IpAddr,
    /// At its own address: the host's ports are not used.
    pub routed: bool,
}

/// Where ports are published that name no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Binding {
    /// The network's default; all addresses of both families if there is none.
    pub default: Option<IpAddr>,
    /// The container's IPv4 side, if it has one.
    pub ipv4: Option<Side>,
    /// The container's IPv6 side, if it has one.
    pub ipv6: Option<Side>,
    /// Its IPv4 side as the relay offers it at the host's IPv6 addresses, if it does.
    pub relayed: Option<Side>,
    /// Whether ports that name no address are not for the host's IPv6 addresses as well.
    pub ipv4_only: bool,
}

impl Binding {
    /// The container's side in the family of a host address.
    fn side(&self, host: IpAddr, protocol: Protocol) -> Option<Side> {
        match host {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => {
                let relayed = self.relayed.filter(|_| protocol != Protocol::Sctp);
                self.ipv6.or(relayed)
            }
        }
    }

    /// The host's addresses that a request is for, those that can lead to the container.
    fn addresses(&self, request: &PortRequest) -> Vec<(IpAddr, Side)> {
        let wanted = match request.host_ip.or(self.default) {
            Some(address) => vec![address],
            // A host without IPv6 has nothing to relay from.
            None if self.ipv6.is_none() && self.ipv4_only => {
                vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
            }
            None => vec![
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ],
        };
        let reached = |address| Some((address, self.side(address, request.protocol)?));
        wanted.into_iter().filter_map(reached).collect()
    }
}

/// A port that is held.
#[derive(Debug)]
struct Held {
    address: IpAddr,
    container: ContainerId,
    name: String,
    /// None where the kernel has no sockets of the protocol: then nobody else has them either.
    socket: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Default)]
struct Table {
    held: BTreeMap<(Protocol, u16), Vec<Held>>,
    /// Where the search for an ephemeral port begins, by protocol.
    next: BTreeMap<Protocol, u16>,
}

impl Ports {
    /// Makes an empty table.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Reserves a host port for each request: all or none.
    ///
    /// A request without an address gives one port per family that leads to the container, with the
    /// same number. A range gives its first free port.
    pub(crate) fn reserve(
        &self,
        owner: &Owner,
        requests: &[PortRequest],
        binding: &Binding,
    ) -> Result<Vec<PublishedPort>> {
        let mut table = self.lock();
        let mut published = Vec::with_capacity(requests.len() * 2);
        for request in requests {
            if let Err(error) = table.reserve(owner, request, binding, &mut published) {
                for port in &published {
                    table.give_back(&owner.container, port);
                }
                return Err(error);
            }
        }
        Ok(published)
    }

    /// Takes over the ports of a container that outlived the previous daemon; says which could not
    /// be kept from others meanwhile. `found` gives what somebody else has kept.
    pub(crate) fn adopt(
        &self,
        owner: &Owner,
        ports: &[PublishedPort],
        found: impl Fn(&PublishedPort) -> Option<OwnedFd>,
    ) -> Vec<String> {
        let mut table = self.lock();
        let mut lost = Vec::new();
        for port in ports.iter().filter(|port| port.host_port != 0) {
            let host = SocketAddr::new(port.host_ip, port.host_port);
            let kept = found(port).map(|socket| Ok(Some(socket)));
            let bound = kept.unwrap_or_else(|| socket::bind(port.protocol, host));
            let socket = bound.unwrap_or_else(|errno| {
                let held = holder::find(port.protocol, host);
                lost.push(format!("{host}/{}: {}", port.protocol, reason(errno, held)));
                None
            });
            table.insert(owner, port.protocol, host, socket);
        }
        lost
    }

    /// The socket that holds a port of a container.
    pub(crate) fn socket(
        &self,
        container: &ContainerId,
        port: &PublishedPort,
    ) -> Option<Arc<OwnedFd>> {
        let table = self.lock();
        let held = table.held.get(&(port.protocol, port.host_port))?;
        let own = |held: &&Held| held.container == *container && held.address == port.host_ip;
        held.iter().find(own)?.socket.clone()
    }

    /// Gives back the ports of a container.
    pub(crate) fn release(&self, container: &ContainerId) {
        let mut table = self.lock();
        table.held.retain(|_, held| {
            held.retain(|one| one.container != *container);
            !held.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table
            .lock()
            .expect("no panic happens while it is held")
    }
}

impl Table {
    fn reserve(
        &mut self,
        owner: &Owner,
        request: &PortRequest,
        binding: &Binding,
        published: &mut Vec<PublishedPort>,
    ) -> Result<()> {
        let addresses = binding.addresses(request);
        let port = |host_ip, host_port| PublishedPort {
            container_port: request.container_port,
            protocol: request.protocol,
            host_ip,
            host_port,
        };
        let routed = addresses.iter().filter(|(_, side)| side.routed);
        published.extend(routed.map(|(address, _)| port(*address, 0)));
        let bound: Vec<_> = addresses.iter().filter(|(_, side)| !side.routed).collect();
        if bound.is_empty() {
            return Ok(());
        }
        let (first, last, begin) = self.candidates(request);
        let mut refusal = Error::PortsExhausted;
        for number in (begin..=last).chain(first..begin) {
            match self.take_all(owner, request, number, &bound) {
                Ok(()) => {
                    if wants_any(request) {
                        let next = number.checked_add(1).filter(|next| *next <= last);
                        self.next.insert(request.protocol, next.unwrap_or(first));
                    }
                    published.extend(bound.iter().map(|(address, _)| port(*address, number)));
                    return Ok(());
                }
                Err(error) if !tries_on(&error) => return Err(error),
                Err(error) if first == last => refusal = error,
                // Of a range it is only told that it is full.
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// The first and the last port to be tried, and where to begin.
    fn candidates(&self, request: &PortRequest) -> (u16, u16, u16) {
        if let Some((first, last)) = request.host_ports
            && !wants_any(request)
        {
            return (first, last, first);
        }
        let (first, last) = ephemeral_range();
        let next = self.next.get(&request.protocol).copied();
        (
            first,
            last,
            next.filter(|n| (first..=last).contains(n)).unwrap_or(first),
        )
    }

    /// Takes a port at all addresses, or at none.
    fn take_all(
        &mut self,
        owner: &Owner,
        request: &PortRequest,
        number: u16,
        addresses: &[&(IpAddr, Side)],
    ) -> Result<()> {
        for (index, (address, side)) in addresses.iter().enumerate() {
            let host = SocketAddr::new(*address, number);
            let target = SocketAddr::new(side.address, request.container_port);
            if let Err(error) = self.take(owner, request.protocol, host, target) {
                for (address, _) in &addresses[..index] {
                    let taken = PublishedPort {
                        container_port: request.container_port,
                        protocol: request.protocol,
                        host_ip: *address,
                        host_port: number,
                    };
                    self.give_back(&owner.container, &taken);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        owner: &Owner,
        protocol: Protocol,
        host: SocketAddr,
        target: SocketAddr,
    ) -> Result<()> {
        let meets = |held: &&Held| {
            held.address.is_ipv6() == host.is_ipv6()
                && (held.address == host.ip()
                    || held.address.is_unspecified()
                    || host.ip().is_unspecified())
        };
        let held = self.held.get(&(protocol, host.port()));
        if let Some(held) = held.into_iter().flatten().find(meets) {
            return Err(Error::PortAllocated {
                address: held.address,
                port: host.port(),
                holder: format!(" (held by container {})", held.name),
            });
        }
        let socket = socket::bind(protocol, host).map_err(|errno| Error::PortInUse {
            host,
            target,
            protocol,
            reason: reason(errno, holder::find(protocol, host)),
            taken: errno == Errno::ADDRINUSE,
        })?;
        self.insert(owner, protocol, host, socket);
        Ok(())
    }

    fn insert(
        &mut self,
        owner: &Owner,
        protocol: Protocol,
        host: SocketAddr,
        socket: Option<OwnedFd>,
    ) {
        let held = Held {
            address: host.ip(),
            container: owner.container,
            name: owner.name.clone(),
            socket: socket.map(Arc::new),
        };
        let place = self.held.entry((protocol, host.port())).or_default();
        place.push(held);
    }

    fn give_back(&mut self, container: &ContainerId, port: &PublishedPort) {
        let key = (port.protocol, port.host_port);
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        held.retain(|one| one.container != *container || one.address != port.host_ip);
        if held.is_empty() {
            self.held.remove(&key);
        }
    }
}

/// Whether any port of the host will do.
fn wants_any(request: &PortRequest) -> bool {
    matches!(request.host_ports, None | Some((0, 0)))
}

/// Whether another port of the range may do.
fn tries_on(error: &Error) -> bool {
    matches!(
        error,
        Error::PortAllocated { .. } | Error::PortInUse { taken: true, .. }
    )
}

/// The range that the kernel takes ports for clients from, as Docker does.
fn ephemeral_range() -> (u16, u16) {
    let read = || {
        let text = std::fs::read_to_string(RANGE_FILE).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u16>);
        let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (first > 0 && first <= last).then_some((first, last))
    };
    read().unwrap_or(DEFAULT_RANGE)
}

/// Why a port could not be bound, in Docker's words, and who has it.
fn reason(errno: Errno, holder: Option<holder::Process>) -> String {
    let text = match errno {
        Errno::ADDRINUSE => "address already in use".to_owned(),
        Errno::ADDRNOTAVAIL => "cannot assign requested address".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::MFILE | Errno::NFILE => "too many open files".to_owned(),
        other => other.to_string(),
    };
    match holder.filter(|_| errno == Errno::ADDRINUSE) {
        Some(process) => format!(
            "{text} (held by process {}, pid {})",
            process.name, process.pid
        ),
        None => text,
    }
}

#[cfg(test)]
mod tests;
