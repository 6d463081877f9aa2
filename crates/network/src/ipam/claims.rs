//! What the host uses already: its addresses and routes, as they are now.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sys::netlink::Socket;

use crate::{Error, IpNet, Result};

/// A default route that a VPN cut in halves (`0.0.0.0/1`, `128.0.0.0/1`) claims nothing.
const SHORTEST_CLAIM: u8 = 2;
/// Choosing takes milliseconds; a lock held longer is held by somebody who means harm.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
const LOCK_NAME: &str = "corten-network-address";

/// A network that somebody else uses already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub net: IpNet,
    pub index: u32,
    /// Whether it is reached through a gateway rather than being on a link of this host.
    pub remote: bool,
}

/// Lists what is in use on this host, leaving out our own links.
pub(crate) fn claims(socket: &mut Socket, own: &[u32]) -> Result<Vec<Claim>> {
    let step = || Error::kernel("list the host's addresses and routes");
    let mut claims = Vec::new();
    for address in socket.addresses().map_err(step())? {
        if let Ok(net) = IpNet::new(address.address, address.prefix) {
            let index = address.index;
            let remote = false;
            claims.push(Claim { net, index, remote });
        }
    }
    for route in socket.routes().map_err(step())? {
        let net = route.destination.map(|d| IpNet::new(d, route.prefix));
        if let Some(Ok(net)) = net
            && route.unicast
            && net.prefix() >= SHORTEST_CLAIM
        {
            let index = route.index;
            let remote = route.gateway.is_some();
            claims.push(Claim { net, index, remote });
        }
    }
    claims.retain(|claim| !own.contains(&claim.index));
    Ok(claims)
}

/// Lists the addresses of one link.
pub(crate) fn link_nets(socket: &mut Socket, index: u32) -> Result<Vec<IpNet>> {
    let all = socket
        .addresses()
        .map_err(Error::kernel("list the host's addresses"))?;
    Ok(all
        .into_iter()
        .filter(|a| a.index == index)
        .filter_map(|a| IpNet::new(a.address, a.prefix).ok())
        .collect())
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
