//! The bridge link: choosing its address, making it, finding it again.
//!
//! The choice is made under a lock that every daemon of this network namespace respects (an abstract
//! socket's name), so two daemons starting at once do not take the same subnet.

use std::net::{IpAddr, Ipv4Addr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sys::netlink::{Messages, Protocol, SetLink, Socket};

use crate::{AddressPool, Error, Ipv4Net, MacAddress, Result};

/// A default route that a VPN cut in halves (`0.0.0.0/1`, `128.0.0.0/1`) claims nothing.
const SHORTEST_CLAIM: u8 = 2;
/// Choosing takes milliseconds; a lock held longer is held by somebody who means harm.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
const LOCK_NAME: &str = "corten-network-address";

/// What the kernel must show for the bridge.
#[derive(Debug, Clone)]
pub(crate) struct Bridge {
    /// Interface name.
    pub name: String,
    /// Address and prefix.
    pub address: Ipv4Net,
    /// MTU of bridge and ports.
    pub mtu: u32,
}

/// A network that somebody else uses already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub net: Ipv4Net,
    pub index: u32,
    /// Whether it is reached through a gateway rather than being on a link of this host.
    pub remote: bool,
}

/// Opens a route socket of this thread's namespace.
pub(crate) fn route_socket() -> Result<Socket> {
    Socket::open(Protocol::Route).map_err(Error::kernel("open a netlink socket"))
}

impl Bridge {
    /// Makes or completes the bridge and returns its index. `former` is an address to give up.
    pub(crate) fn ensure(&self, former: Option<Ipv4Net>) -> Result<u32> {
        let step = || Error::kernel(format!("set up bridge {}", self.name));
        let mac = MacAddress::of(self.address.address()).0;
        let mut socket = route_socket()?;
        if socket.link(&self.name).map_err(step())?.is_none() {
            socket
                .execute_one(|m| m.add_bridge(&self.name, self.mtu, mac))
                .map_err(step())?;
        }
        let link = self.find(&mut socket)?.ok_or_else(|| Error::NotABridge {
            name: self.name.clone(),
        })?;
        let present: Vec<Ipv4Net> = addresses(&mut socket, link.index)?;
        let mut changes = Messages::new();
        if let Some(former) = former.filter(|f| *f != self.address && present.contains(f)) {
            changes.delete_address(link.index, former.address().into(), former.prefix());
        }
        if !present.contains(&self.address) {
            let address = self.address.address().into();
            changes.add_address(link.index, address, self.address.prefix());
        }
        if !link.up || link.mtu != self.mtu {
            let set = SetLink {
                up: Some(true),
                mtu: Some(self.mtu),
                ..SetLink::default()
            };
            changes.set_link(link.index, &set);
        }
        socket.execute(changes).map_err(step())?;
        Ok(link.index)
    }

    /// Finds the link, which must be a bridge.
    pub(crate) fn find(&self, socket: &mut Socket) -> Result<Option<sys::netlink::Link>> {
        let step = Error::kernel(format!("look for bridge {}", self.name));
        match socket.link(&self.name).map_err(step)? {
            Some(link) if link.kind != "bridge" => Err(Error::NotABridge {
                name: self.name.clone(),
            }),
            found => Ok(found),
        }
    }
}

/// The IPv4 addresses of a link.
pub(crate) fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<Ipv4Net>> {
    let all = socket
        .addresses()
        .map_err(Error::kernel("list the host's addresses"))?;
    Ok(all
        .into_iter()
        .filter(|a| a.index == index)
        .filter_map(|a| ipv4_net(a.address, a.prefix))
        .collect())
}

fn ipv4_net(address: IpAddr, prefix: u8) -> Option<Ipv4Net> {
    match address {
        IpAddr::V4(v4) => Ipv4Net::new(v4, prefix).ok(),
        IpAddr::V6(_) => None,
    }
}

/// Lists what is in use on this host, leaving out one link (our own bridge, if it exists).
pub(crate) fn claims(socket: &mut Socket, own: Option<u32>) -> Result<Vec<Claim>> {
    let step = || Error::kernel("list the host's addresses and routes");
    let mut claims = Vec::new();
    for address in socket.addresses().map_err(step())? {
        if let Some(net) = ipv4_net(address.address, address.prefix) {
            let index = address.index;
            let remote = false;
            claims.push(Claim { net, index, remote });
        }
    }
    for route in socket.routes().map_err(step())? {
        let net = route.destination.and_then(|d| ipv4_net(d, route.prefix));
        if let Some(net) = net.filter(|net| route.unicast && net.prefix() >= SHORTEST_CLAIM) {
            let index = route.index;
            let remote = route.gateway.is_some();
            claims.push(Claim { net, index, remote });
        }
    }
    claims.retain(|claim| own != Some(claim.index));
    Ok(claims)
}

/// Picks the first subnet that nobody uses; routes through gateways are respected if possible.
pub(crate) fn choose(pools: &[AddressPool], claims: &[Claim]) -> Result<Ipv4Net> {
    let free = |subnet: &Ipv4Net, claims: &[&Claim]| {
        !claims.iter().any(|claim| claim.net.overlaps(subnet))
    };
    let all: Vec<&Claim> = claims.iter().collect();
    let near: Vec<&Claim> = claims.iter().filter(|claim| !claim.remote).collect();
    let subnets = || pools.iter().flat_map(|pool| pool.subnets()).filter_map(|net| net.v4());
    let subnet = subnets()
        .find(|subnet| free(subnet, &all))
        .or_else(|| subnets().find(|subnet| free(subnet, &near)))
        .ok_or(Error::PoolsExhausted)?;
    let gateway = Ipv4Addr::from(u32::from(subnet.first()).saturating_add(1));
    Ipv4Net::new(gateway, subnet.prefix())
}

/// Holds the choice of addresses of this network namespace; freed when dropped or when we die.
#[derive(Debug)]
pub(crate) struct ChoiceLock {
    _socket: Option<UnixDatagram>,
}

impl ChoiceLock {
    /// Waits for the lock. Gives up after some seconds, because any local user can take the name:
    /// going on without it risks an overlap, which is detected, rather than a daemon that hangs.
    pub(crate) fn acquire() -> Self {
        let deadline = Instant::now() + LOCK_PATIENCE;
        let bind = || UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(LOCK_NAME)?);
        loop {
            match bind() {
                Ok(socket) => {
                    return Self {
                        _socket: Some(socket),
                    };
                }
                Err(e)
                    if e.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < deadline =>
                {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(error) => {
                    tracing::warn!(%error, "choosing a subnet without the lock");
                    return Self { _socket: None };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(net: &str, remote: bool) -> Claim {
        Claim {
            net: net.parse().unwrap(),
            index: 3,
            remote,
        }
    }

    fn chosen(claims: &[Claim]) -> String {
        choose(&AddressPool::defaults(), claims).map_or_else(|e| e.to_string(), |n| n.to_string())
    }

    #[test]
    fn the_first_free_subnet_is_chosen() {
        assert_eq!(chosen(&[]), "172.17.0.1/16");
        assert_eq!(chosen(&[claim("172.17.200.9/24", false)]), "172.18.0.1/16");
        let docker = [claim("172.17.0.1/16", false), claim("172.18.0.1/16", false)];
        assert_eq!(chosen(&docker), "172.19.0.1/16");
        assert_eq!(chosen(&[claim("172.16.0.0/12", false)]), "192.168.0.1/20");
    }

    #[test]
    fn a_vpn_for_everything_private_does_not_stop_us() {
        let vpn = [claim("172.16.0.0/12", true), claim("192.168.0.0/16", true)];
        assert_eq!(chosen(&vpn), "172.17.0.1/16");
        assert_eq!(chosen(&vpn[..1]), "192.168.0.1/20");
    }

    #[test]
    fn no_subnet_left() {
        let all = [
            claim("172.16.0.0/12", false),
            claim("192.168.0.0/16", false),
        ];
        assert_eq!(
            chosen(&all),
"all predefined address pools have been fully subnetted"
        );
    }
}
