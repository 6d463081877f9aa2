//! What a container's interfaces need beyond [`super::route`]: names, aliases, flags, default routes.

use std::net::IpAddr;

use rustix::io::Errno;

use super::Socket;
use super::route::{
    AF_INET, AF_INET6, CREATE, IFA_ADDRESS, IFA_BROADCAST, IFA_LOCAL, IFF_UP, IFLA_ADDRESS,
    IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, RT_SCOPE_UNIVERSE, RT_TABLE_MAIN,
    RTA_DST, RTA_GATEWAY, RTA_OIF, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE,
    RTN_UNICAST, RTPROT_BOOT, family, link_header, put_ip,
};
use super::wire::Messages;
use crate::Result;

pub(super) const IFLA_IFALIAS: u16 = 20;
const IFA_FLAGS: u16 = 8;
/// Usable at once, without asking whether somebody else has the address.
const IFA_F_NODAD: u32 = 0x02;
const RTM_DELROUTE: u16 = 25;
const RT_SCOPE_LINK: u8 = 253;
const RTN_LOCAL: u8 = 2;

impl Messages {
    /// Adds a bridge that is down.
    pub fn add_bridge_down(&mut self, name: &str, mtu: u32, address: [u8; 6]) {
        let header = link_header(0, 0, IFF_UP);
        let label = format!("RTM_NEWLINK(`{name}`, bridge)");
        self.push(label, (RTM_NEWLINK, CREATE), &header, |m| {
            m.text(IFLA_IFNAME, name);
            m.u32(IFLA_MTU, mtu);
            m.put(IFLA_ADDRESS, &address);
            m.nest(IFLA_LINKINFO, |m| m.text(IFLA_INFO_KIND, "bridge"));
        });
    }

    /// Gives a link a text that tells whose it is; at most 255 bytes.
    pub fn set_alias(&mut self, name: &str, alias: &str) {
        let label = format!("RTM_NEWLINK(`{name}`, alias `{alias}`)");
        self.push(label, (RTM_NEWLINK, 0), &link_header(0, 0, 0), |m| {
            m.text(IFLA_IFNAME, name);
            m.put(IFLA_IFALIAS, alias.as_bytes());
        });
    }

    /// Gives a link that is down another name.
    pub fn rename_link(&mut self, index: u32, name: &str) {
        let label = format!("RTM_NEWLINK({index}, name `{name}`)");
        self.push(label, (RTM_NEWLINK, 0), &link_header(index, 0, 0), |m| {
            m.text(IFLA_IFNAME, name);
        });
    }

    /// Adds an address that is usable at once: IPv6 without duplicate address detection.
    pub fn add_address_at_once(&mut self, index: u32, address: IpAddr, prefix: u8) {
        let mut header = [family(address), prefix, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let label = format!("RTM_NEWADDR({index}, {address}/{prefix})");
        self.push(label, (RTM_NEWADDR, CREATE), &header, |m| {
            put_ip(m, IFA_LOCAL, address);
            put_ip(m, IFA_ADDRESS, address);
            match address {
                IpAddr::V4(v4) if prefix <= 30 => {
                    let hosts = u32::MAX >> prefix;
                    m.put(IFA_BROADCAST, &(u32::from(v4) | hosts).to_be_bytes());
                }
                IpAddr::V4(_) => {}
                IpAddr::V6(_) => m.u32(IFA_FLAGS, IFA_F_NODAD),
            }
        });
    }

    /// Adds the default route through a gateway on a link.
    pub fn add_default_route(&mut self, gateway: IpAddr, index: u32) {
        let label = format!("RTM_NEWROUTE(default via {gateway} dev {index})");
        let header = route_header(family(gateway), 0, RT_SCOPE_UNIVERSE);
        self.push(label, (RTM_NEWROUTE, CREATE), &header, |m| {
            put_ip(m, RTA_GATEWAY, gateway);
            m.u32(RTA_OIF, index);
        });
    }

    /// Adds a default route that leaves a link without a gateway.
    pub fn add_default_route_on_link(&mut self, ipv6: bool, index: u32) {
        let family = if ipv6 { AF_INET6 } else { AF_INET };
        let label = format!("RTM_NEWROUTE(default dev {index})");
        let header = route_header(family, 0, RT_SCOPE_LINK);
        self.push(label, (RTM_NEWROUTE, CREATE), &header, |m| {
            m.u32(RTA_OIF, index);
        });
    }

    /// Removes the default route of a link; of whichever there is, if it has several.
    pub fn delete_default_route(&mut self, ipv6: bool, index: u32) {
        let family = if ipv6 { AF_INET6 } else { AF_INET };
        let label = format!("RTM_DELROUTE(default dev {index})");
        // Scope nowhere matches any.
        let mut header = route_header(family, 0, 255);
        header[5] = 0;
        header[7] = 0;
        self.push(label, (RTM_DELROUTE, 0), &header, |m| {
            m.u32(RTA_OIF, index);
        });
    }

    /// Adds a route through a gateway, or on the link itself.
    pub fn add_route_on(
        &mut self,
        (destination, prefix): (IpAddr, u8),
        gateway: Option<IpAddr>,
        index: u32,
    ) {
        let label = format!("RTM_NEWROUTE({destination}/{prefix} dev {index})");
        let scope = match gateway {
            Some(_) => RT_SCOPE_UNIVERSE,
            None => RT_SCOPE_LINK,
        };
        let header = route_header(family(destination), prefix, scope);
        self.push(label, (RTM_NEWROUTE, CREATE), &header, |m| {
            put_ip(m, RTA_DST, destination);
            if let Some(gateway) = gateway {
                put_ip(m, RTA_GATEWAY, gateway);
            }
            m.u32(RTA_OIF, index);
        });
    }
}

impl Socket {
    /// Tells whether the namespace takes packets to an address for its own.
    ///
    /// The kernel makes the route to an IPv6 address some moments after it has accepted the address.
    pub fn is_own(&mut self, address: IpAddr) -> Result<bool> {
        let mut request = Messages::new();
        let label = format!("RTM_GETROUTE({address})");
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let header = [family(address), prefix, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        request.push(label, (RTM_GETROUTE, 0), &header, |m| {
            put_ip(m, RTA_DST, address);
        });
        match self.get(request) {
            Ok(answer) => Ok(answer.is_some_and(|a| a.body.get(7) == Some(&RTN_LOCAL))),
            Err(e) if matches!(e.errno(), Errno::NETUNREACH | Errno::HOSTUNREACH) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn route_header(family: u8, prefix: u8, scope: u8) -> [u8; 12] {
    [
        family,
        prefix,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        scope,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Attribute, u32_at};
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn ipv6_addresses_are_usable_at_once_and_ipv4_has_no_such_flag() {
        let mut messages = Messages::new();
        messages.add_address_at_once(3, Ipv6Addr::LOCALHOST.into(), 64);
        let region = &messages.bytes()[24..];
        assert_eq!(
            Attribute::find(region, IFA_FLAGS).and_then(|v| u32_at(v, 0)),
            Some(IFA_F_NODAD)
        );
        assert_eq!(Attribute::find(region, IFA_BROADCAST), None);
        for (prefix, broadcast) in [(24, true), (31, false)] {
            let mut messages = Messages::new();
            messages.add_address_at_once(3, Ipv4Addr::new(10, 0, 0, 1).into(), prefix);
            let region = &messages.bytes()[24..];
            assert_eq!(Attribute::find(region, IFA_FLAGS), None);
            assert_eq!(Attribute::find(region, IFA_BROADCAST).is_some(), broadcast);
        }
    }

    #[test]
    fn default_routes_name_their_link() {
        let mut messages = Messages::new();
        messages.add_default_route(Ipv4Addr::new(10, 0, 0, 1).into(), 7);
        messages.delete_default_route(true, 7);
        let bytes = messages.bytes();
        assert_eq!(bytes[16..24], [2, 0, 0, 0, 254, 3, 0, 1]);
        assert_eq!(
            Attribute::find(&bytes[28..], RTA_OIF).and_then(|v| u32_at(v, 0)),
            Some(7)
        );
        let second = &bytes[28 + 16..];
        assert_eq!(second[16..24], [10, 0, 0, 0, 254, 0, 255, 0]);
    }
}
