//! Links, addresses, routes and neighbours: [rtnetlink(7)](https://man7.org/linux/man-pages/man7/rtnetlink.7.html).

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::wire::{Attributes, Messages, NLM_F_CREATE, NLM_F_EXCL};

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_GETNEIGH: u16 = 30;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_OPERSTATE: u16 = 16;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_BROADCAST: u16 = 4;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const NDA_DST: u16 = 1;
pub(super) const NDA_LLADDR: u16 = 2;
/// First byte of every link's flags: administratively up.
pub(super) const IFF_UP: u32 = 1;
/// Operational state of a link that passes packets.
pub(super) const IF_OPER_UP: u8 = 6;
pub(super) const RT_TABLE_MAIN: u8 = 254;
pub(super) const RTPROT_BOOT: u8 = 3;
pub(super) const RT_SCOPE_UNIVERSE: u8 = 0;
pub(super) const RTN_UNICAST: u8 = 1;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// A veth pair whose far end is born in another namespace.
#[derive(Debug, Clone, Copy)]
pub struct NewVeth<'a> {
    /// Name of the near end.
    pub name: &'a str,
    /// Index of the bridge that the near end joins.
    pub master: u32,
    /// MTU of both ends.
    pub mtu: u32,
    /// Name of the far end.
    pub peer_name: &'a str,
    /// Ethernet address of the far end.
    pub peer_address: [u8; 6],
    /// Namespace of the far end.
    pub peer_netns: BorrowedFd<'a>,
}

/// Changes to a link; `None` leaves a value alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetLink {
    /// Administrative state.
    pub up: Option<bool>,
    /// The bridge to join, 0 to leave.
    pub master: Option<u32>,
    /// Ethernet address.
    pub address: Option<[u8; 6]>,
    /// MTU.
    pub mtu: Option<u32>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Driver kind (`bridge`, `veth`), empty for hardware.
    pub kind: String,
    /// Index of the bridge it belongs to, 0 for none.
    pub master: u32,
    /// MTU.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it passes packets: up, with a carrier that the kernel has acted upon.
    pub operational: bool,
    /// Ethernet address, empty for links without one.
    pub address: Vec<u8>,
    /// A text that somebody gave it, empty if nobody did.
    pub alias: String,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Interface index.
    pub index: u32,
    /// The local address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// A route of any table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Destination; `None` is the default route.
    pub destination: Option<IpAddr>,
    /// Prefix length of the destination.
    pub prefix: u8,
    /// The next hop, if it is not on the link itself.
    pub gateway: Option<IpAddr>,
    /// Index of the outgoing interface, 0 for none.
    pub index: u32,
    /// Table number; 254 is the main table.
    pub table: u32,
    /// Whether the route leads to hosts rather than being local, broadcast or multicast.
    pub unicast: bool,
}

/// An entry of a neighbour table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Interface index.
    pub index: u32,
    /// Network address.
    pub destination: IpAddr,
    /// Ethernet address, empty while unresolved.
    pub address: Vec<u8>,
}

/// The header of link messages: family, index, flags and which of the flags are meant.
pub(super) fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

pub(super) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

pub(super) fn put_ip(m: &mut Attributes<'_>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => m.put(kind, &v4.octets()),
        IpAddr::V6(v6) => m.put(kind, &v6.octets()),
    }
}

pub(super) const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

impl Messages {
    /// Adds a bridge, up.
    pub fn add_bridge(&mut self, name: &str, mtu: u32, address: [u8; 6]) {
        let header = link_header(0, IFF_UP, IFF_UP);
        let label = format!("RTM_NEWLINK(`{name}`, bridge)");
        self.push(label, (RTM_NEWLINK, CREATE), &header, |m| {
            m.text(IFLA_IFNAME, name);
            m.u32(IFLA_MTU, mtu);
            m.put(IFLA_ADDRESS, &address);
            m.nest(IFLA_LINKINFO, |m| m.text(IFLA_INFO_KIND, "bridge"));
        });
    }

    /// Adds a veth pair: the near end up and in its bridge, the far end down in its namespace.
    pub fn add_veth(&mut self, veth: &NewVeth<'_>) {
        let header = link_header(0, IFF_UP, IFF_UP);
        let label = format!("RTM_NEWLINK(`{}`, veth)", veth.name);
        let netns = veth.peer_netns.as_raw_fd().cast_unsigned();
        self.push(label, (RTM_NEWLINK, CREATE), &header, |m| {
            m.text(IFLA_IFNAME, veth.name);
            m.u32(IFLA_MTU, veth.mtu);
            m.u32(IFLA_MASTER, veth.master);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "veth");
                m.nest(IFLA_INFO_DATA, |m| {
                    m.nest_after(VETH_INFO_PEER, &link_header(0, 0, 0), |m| {
                        m.text(IFLA_IFNAME, veth.peer_name);
                        m.u32(IFLA_MTU, veth.mtu);
                        m.put(IFLA_ADDRESS, &veth.peer_address);
                        m.u32(IFLA_NET_NS_FD, netns);
                    });
                });
            });
        });
    }

    /// Changes a link.
    pub fn set_link(&mut self, index: u32, set: &SetLink) {
        let (flags, change) = match set.up {
            Some(up) => (if up { IFF_UP } else { 0 }, IFF_UP),
            None => (0, 0),
        };
        let label = format!("RTM_NEWLINK({index}, {set:?})");
        let header = link_header(index, flags, change);
        self.push(label, (RTM_NEWLINK, 0), &header, |m| {
            if let Some(master) = set.master {
                m.u32(IFLA_MASTER, master);
            }
            if let Some(address) = set.address {
                m.put(IFLA_ADDRESS, &address);
            }
            if let Some(mtu) = set.mtu {
                m.u32(IFLA_MTU, mtu);
            }
        });
    }

    /// Sets whether a bridge port gets its own frames back, and whether it is kept from the others.
    pub fn set_bridge_port(&mut self, name: &str, hairpin: bool, isolated: bool) {
        let label = format!("RTM_NEWLINK(`{name}`, hairpin={hairpin}, isolated={isolated})");
        let header = link_header(0, 0, 0);
        self.push(label, (RTM_NEWLINK, 0), &header, |m| {
            m.text(IFLA_IFNAME, name);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_SLAVE_KIND, "bridge");
                m.nest(IFLA_INFO_SLAVE_DATA, |m| {
                    m.put(IFLA_BRPORT_MODE, &[u8::from(hairpin)]);
                    m.put(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)]);
                });
            });
        });
    }

    /// Removes a link. For a veth this waits for grace periods: tens of milliseconds.
    pub fn delete_link(&mut self, index: u32) {
        let header = link_header(index, 0, 0);
        let label = format!("RTM_DELLINK({index})");
        self.push(label, (RTM_DELLINK, 0), &header, |_| {});
    }

    /// Adds an address to a link.
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix: u8) {
        let label = format!("RTM_NEWADDR({index}, {address}/{prefix})");
        self.address(label, (RTM_NEWADDR, CREATE), index, (address, prefix));
    }

    /// Removes an address from a link.
    pub fn delete_address(&mut self, index: u32, address: IpAddr, prefix: u8) {
        let label = format!("RTM_DELADDR({index}, {address}/{prefix})");
        self.address(label, (RTM_DELADDR, 0), index, (address, prefix));
    }

    fn address(
        &mut self,
        label: String,
        kind: (u16, u16),
        index: u32,
        (address, prefix): (IpAddr, u8),
    ) {
        let mut header = [family(address), prefix, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        self.push(label, kind, &header, |m| {
            put_ip(m, IFA_LOCAL, address);
            put_ip(m, IFA_ADDRESS, address);
            if let (IpAddr::V4(v4), 0..=30) = (address, prefix) {
                let hosts = u32::MAX >> prefix;
                m.put(IFA_BROADCAST, &(u32::from(v4) | hosts).to_be_bytes());
            }
        });
    }

    /// Adds a route of the main table; no destination is the default route.
    pub fn add_route(&mut self, destination: Option<(IpAddr, u8)>, gateway: IpAddr) {
        let prefix = destination.map_or(0, |(_, prefix)| prefix);
        let header = [
            family(gateway),
            prefix,
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_BOOT,
            RT_SCOPE_UNIVERSE,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let label = match destination {
            Some((address, prefix)) => format!("RTM_NEWROUTE({address}/{prefix} via {gateway})"),
            None => format!("RTM_NEWROUTE(default via {gateway})"),
        };
        self.push(label, (RTM_NEWROUTE, CREATE), &header, |m| {
            if let Some((address, _)) = destination {
                put_ip(m, RTA_DST, address);
            }
            put_ip(m, RTA_GATEWAY, gateway);
        });
    }

    pub(super) fn ask(label: impl Into<String>, kind: u16, header: &[u8]) -> Self {
        let mut messages = Self::new();
        messages.push(label, (kind, 0), header, |_| {});
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::super::Answer;
    use super::super::listing::{parse_address, parse_link, parse_route};
    use super::super::wire::{Attribute, u16_at, u32_at};
    use super::*;
    use std::net::Ipv4Addr;
    use std::os::fd::AsFd as _;

    #[test]
    fn veth_is_one_message_with_the_peer_inside() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut messages = Messages::new();
        messages.add_veth(&NewVeth {
            name: "cv1",
            master: 7,
            mtu: 1500,
            peer_name: "eth0",
            peer_address: [2, 0x42, 172, 17, 0, 2],
            peer_netns: file.as_fd(),
        });
        assert_eq!(messages.len(), 1);
        assert_eq!(messages.label(0), "RTM_NEWLINK(`cv1`, veth)");
        let bytes = messages.bytes();
        assert_eq!(u16_at(bytes, 4), Some(RTM_NEWLINK));
        assert_eq!(u16_at(bytes, 6), Some(0x601));
        assert_eq!(u32_at(bytes, 24), Some(IFF_UP));
        let region = &bytes[32..];
        assert_eq!(
            Attribute::find(region, IFLA_MASTER).and_then(|v| u32_at(v, 0)),
            Some(7)
        );
        let info = Attribute::find(region, IFLA_LINKINFO).unwrap();
        assert_eq!(Attribute::find(info, IFLA_INFO_KIND), Some(&b"veth\0"[..]));
        let data = Attribute::find(info, IFLA_INFO_DATA).unwrap();
        let peer = Attribute::find(data, VETH_INFO_PEER).unwrap();
        let inner = &peer[16..];
        assert_eq!(Attribute::find(inner, IFLA_IFNAME), Some(&b"eth0\0"[..]));
        let mac: &[u8] = &[2, 0x42, 172, 17, 0, 2];
        assert_eq!(Attribute::find(inner, IFLA_ADDRESS), Some(mac));
        let netns = Attribute::find(inner, IFLA_NET_NS_FD).and_then(|v| u32_at(v, 0));
        assert_eq!(netns, Some(file.as_raw_fd().cast_unsigned()));
    }

    #[test]
    fn addresses_carry_their_broadcast_address() {
        let mut messages = Messages::new();
        messages.add_address(2, Ipv4Addr::new(172, 17, 0, 2).into(), 16);
        let bytes = messages.bytes();
        assert_eq!(&bytes[16..24], &[2, 16, 0, 0, 2, 0, 0, 0]);
        let broadcast: &[u8] = &[172, 17, 255, 255];
        assert_eq!(
            Attribute::find(&bytes[24..], IFA_BROADCAST),
            Some(broadcast)
        );
        let answer = Answer {
            kind: RTM_NEWADDR,
            body: bytes[16..].to_vec(),
        };
        let want = Address {
            index: 2,
            address: Ipv4Addr::new(172, 17, 0, 2).into(),
            prefix: 16,
        };
        assert_eq!(parse_address(&answer), Some(want));
    }

    #[test]
    fn routes_read_back_and_short_answers_are_left_out() {
        let mut messages = Messages::new();
        let gateway = Ipv4Addr::new(10, 0, 0, 1).into();
        let net = Ipv4Addr::new(10, 9, 0, 0).into();
        messages.add_route(Some((net, 16)), gateway);
        let body = messages.bytes()[16..].to_vec();
        let kind = RTM_NEWROUTE;
        let route = parse_route(&Answer {
            kind,
            body: body.clone(),
        })
        .unwrap();
        assert_eq!(route.destination, Some(net));
        assert_eq!((route.prefix, route.table, route.unicast), (16, 254, true));
        assert_eq!(route.gateway, Some(gateway));
        for cut in 0..12 {
            let body = body[..cut].to_vec();
            assert_eq!(
                parse_route(&Answer {
                    kind,
                    body: body.clone()
                }),
                None
            );
            let kind = RTM_NEWLINK;
            assert_eq!(parse_link(&Answer { kind, body }), None);
        }
    }
}
