//! A network namespace seen from outside: its route socket, opened inside, is used from any thread.
//!
//! ```text
//! throw-away thread            caller's thread
//!   unshare(NEWNET)
//!   open route socket, lo up
//!   open conf/default/disable_ipv6
//!                              for every endpoint: driver makes the link, which inherits that value
//!                              rename, addresses, up (one batch on the inner socket)
//!                              default routes
//! ```
//! If a step fails the namespace is dropped, and its links go with it.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sys::netlink::{Messages, Protocol, SetLink, Socket};

use crate::{Endpoint, IpNet, Ipv4Net, Ipv6Net, MacAddress};

/// Every namespace has its loopback as the first link.
const LOOPBACK: u32 = 1;
const DEFAULT_IPV6: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
/// What takes longer than this is not waited for: packets get through in the end.
const OWN_PATIENCE: Duration = Duration::from_millis(100);
const OWN_PAUSE: Duration = Duration::from_micros(100);
const LINK_LOCAL_PREFIX4: u8 = 16;
const LINK_LOCAL_PREFIX6: u8 = 64;

pub(crate) const UP: SetLink = SetLink {
    up: Some(true),
    master: None,
    address: None,
    mtu: None,
};

/// The inside of a namespace.
#[derive(Debug)]
pub(crate) struct Inside {
    socket: Socket,
    /// What new links inherit, and what it was; `None` on a kernel without IPv6.
    default6: Option<(File, u8)>,
    current6: u8,
}

/// One interface to be configured.
#[derive(Debug)]
pub(crate) struct Interface<'a> {
    /// Its name now.
    pub inner: &'a str,
    /// Its name to be.
    pub name: &'a str,
    pub mac: Option<MacAddress>,
    pub ipv4: Option<Ipv4Net>,
    pub ipv6: Option<Ipv6Net>,
    pub link_local: &'a [IpAddr],
    pub routes: &'a [(IpNet, Option<IpAddr>)],
    /// Files below `/proc/sys` and what is written to them before the interface is up.
    pub sysctls: &'a [(String, String)],
}

/// Makes a namespace with `lo` alone, which is up.
pub(crate) fn create() -> sys::Result<(OwnedFd, Inside)> {
    sys::netns::create(|_| {
        let mut inside = Inside::here()?;
        inside.socket.execute_one(|m| m.set_link(LOOPBACK, &UP))?;
        Ok(inside)
    })
}

/// Looks into a namespace that exists.
pub(crate) fn enter(netns: BorrowedFd<'_>) -> sys::Result<Inside> {
    sys::netns::with(netns, Inside::here)
}

impl Inside {
    /// Belongs to the calling thread's namespace, whatever thread uses it later.
    fn here() -> sys::Result<Self> {
        let socket = Socket::open(Protocol::Route)?;
        let default6 = match File::options().read(true).write(true).open(DEFAULT_IPV6) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            file => {
                let file = file.map_err(|e| sysctl_error("open", DEFAULT_IPV6, &e))?;
                let mut value = [b'0'];
                file.read_at(&mut value, 0)
                    .map_err(|e| sysctl_error("read", DEFAULT_IPV6, &e))?;
                Some((file, value[0]))
            }
        };
        let current6 = default6.as_ref().map_or(b'0', |(_, value)| *value);
        Ok(Self {
            socket,
            default6,
            current6,
        })
    }

    /// Decides whether links that come next have IPv6: it must be off before they are up.
    pub(crate) fn next_has_ipv6(&mut self, yes: bool) -> sys::Result<()> {
        self.set_default6(if yes { b'0' } else { b'1' })
    }

    fn set_default6(&mut self, value: u8) -> sys::Result<()> {
        if let Some((file, _)) = &self.default6
            && self.current6 != value
        {
            file.write_all_at(&[value], 0)
                .map_err(|e| sysctl_error("write", DEFAULT_IPV6, &e))?;
            self.current6 = value;
        }
        Ok(())
    }

    /// Gives an interface its name, addresses and routes, and sets it up.
    pub(crate) fn configure(
        &mut self,
        netns: BorrowedFd<'_>,
        interface: &Interface<'_>,
    ) -> sys::Result<()> {
        let inner = interface.inner;
        let link = self
            .socket
            .link(inner)?
            .ok_or_else(|| sys::Error::new(format!("RTM_GETLINK(`{inner}`)"), Errno::NODEV))?;
        let index = link.index;
        let mut requests = Messages::new();
        if inner != interface.name {
            requests.rename_link(index, interface.name);
        }
        if let Some(mac) = interface.mac.filter(|mac| link.address != mac.0) {
            let set = SetLink {
                address: Some(mac.0),
                ..SetLink::default()
            };
            requests.set_link(index, &set);
        }
        if !interface.sysctls.is_empty() {
            self.socket.execute(std::mem::take(&mut requests))?;
            sys::netns::with(netns.as_fd(), || write_sysctls(interface.sysctls))?;
        }
        if let Some(net) = interface.ipv4 {
            requests.add_address_at_once(index, net.address().into(), net.prefix());
        }
        if let Some(net) = interface.ipv6 {
            requests.add_address_at_once(index, net.address().into(), net.prefix());
        }
        for &address in interface.link_local {
            let prefix = if address.is_ipv4() {
                LINK_LOCAL_PREFIX4
            } else {
                LINK_LOCAL_PREFIX6
            };
            requests.add_address_at_once(index, address, prefix);
        }
        requests.set_link(index, &UP);
        for &(net, gateway) in interface.routes {
            requests.add_route_on((net.first(), net.prefix()), gateway, index);
        }
        self.socket.execute(requests)?;
        match interface.ipv6 {
            Some(net) => self.await_own(net.address().into()),
            None => Ok(()),
        }
    }

    /// Waits until packets to an IPv6 address are taken: an answer that comes before is lost, and
    /// its question is asked again after a second.
    fn await_own(&mut self, address: IpAddr) -> sys::Result<()> {
        let deadline = Instant::now() + OWN_PATIENCE;
        while !self.socket.is_own(address)? && Instant::now() < deadline {
            std::thread::sleep(OWN_PAUSE);
        }
        Ok(())
    }

    /// Replaces the default routes of before by those of now.
    ///
    /// A route or interface that the container removed itself is no error.
    pub(crate) fn reroute(&mut self, before: &Defaults, now: &Defaults) -> sys::Result<()> {
        let pairs = [
            (&before.ipv4, &now.ipv4, false),
            (&before.ipv6, &now.ipv6, true),
        ];
        for (before, now, ipv6) in pairs {
            if before == now {
                continue;
            }
            if let Some(hop) = before
                && let Some(link) = self.socket.link(&hop.interface)?
            {
                let done = self
                    .socket
                    .execute_one(|m| m.delete_default_route(ipv6, link.index));
                match done {
                    Err(e) if e.errno() == Errno::SRCH => {}
                    done => done?,
                }
            }
            let Some(hop) = now else { continue };
            let name = &hop.interface;
            let Some(link) = self.socket.link(name)? else {
                return Err(sys::Error::new(
                    format!("RTM_GETLINK(`{name}`)"),
                    Errno::NODEV,
                ));
            };
            let done = self.socket.execute_one(|m| match hop.gateway {
                Some(gateway) => m.add_default_route(gateway, link.index),
                None => m.add_default_route_on_link(ipv6, link.index),
            });
            match done {
                Err(e) if e.errno() == Errno::EXIST => {}
                done => done?,
            }
        }
        Ok(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let former = self.default6.as_ref().map(|(_, former)| *former);
        if let Some(former) = former
            && let Err(error) = self.set_default6(former)
        {
            tracing::warn!(%error, "the default for new interfaces could not be put back");
        }
    }
}

fn write_sysctls(sysctls: &[(String, String)]) -> sys::Result<()> {
    for (path, value) in sysctls {
        std::fs::write(path, value).map_err(|e| sysctl_error("write", path, &e))?;
    }
    Ok(())
}

fn sysctl_error(call: &str, path: &str, error: &std::io::Error) -> sys::Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    sys::Error::new(format!("{call}(`{path}`)"), errno)
}

/// Where packets leave a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    pub interface: String,
    /// `None` leaves through the interface itself.
    pub gateway: Option<IpAddr>,
}

/// The default routes of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub ipv4: Option<Hop>,
    pub ipv6: Option<Hop>,
}

impl Defaults {
    /// Those of endpoints that are in order: the first that has a way out of a family gives it.
    pub(crate) fn of(endpoints: &[Endpoint]) -> Self {
        let hop = |endpoint: &Endpoint, gateway: Option<IpAddr>, has_address: bool| {
            let on_link = endpoint.default_on_link && has_address;
            (gateway.is_some() || on_link).then(|| Hop {
                interface: endpoint.interface.clone(),
                gateway,
            })
        };
        Self {
            ipv4: endpoints
                .iter()
                .find_map(|e| hop(e, e.gateway4.map(IpAddr::from), e.ipv4.is_some())),
            ipv6: endpoints
                .iter()
                .find_map(|e| hop(e, e.gateway6.map(IpAddr::from), e.ipv6.is_some())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointId;
    use spec::id::NetworkId;

    fn endpoint(interface: &str, gateway4: Option<&str>, gateway6: Option<&str>) -> Endpoint {
        Endpoint {
            network_id: NetworkId::from_bytes([1; 32]),
            network: String::new(),
            driver: "bridge".to_owned(),
            endpoint_id: EndpointId([1; 32]),
            interface: interface.to_owned(),
            host_interface: String::new(),
            mac: None,
            ipv4: Some("10.0.0.2/24".parse().unwrap()),
            ipv6: None,
            link_local: Vec::new(),
            gateway4: gateway4.map(|g| g.parse().unwrap()),
            gateway6: gateway6.map(|g| g.parse().unwrap()),
            default_on_link: false,
            gateway_priority: 0,
            options: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn each_family_leaves_through_the_first_that_has_a_way_out() {
        let first = endpoint("eth0", Some("10.0.0.1"), None);
        let second = endpoint("eth1", Some("10.1.0.1"), Some("fd00::1"));
        let defaults = Defaults::of(&[first, second]);
        assert_eq!(defaults.ipv4.unwrap().interface, "eth0");
        let six = defaults.ipv6.unwrap();
        assert_eq!(six.interface, "eth1");
        assert_eq!(six.gateway, Some("fd00::1".parse().unwrap()));
        assert_eq!(
            Defaults::of(&[endpoint("eth0", None, None)]),
            Defaults::default()
        );
        let mut on_link = endpoint("eth0", None, None);
        on_link.default_on_link = true;
        let defaults = Defaults::of(&[on_link]);
        assert_eq!(defaults.ipv4.unwrap().gateway, None);
        assert_eq!(defaults.ipv6, None);
    }
}
