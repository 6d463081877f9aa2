//! A veth pair with both ends in this namespace, by which the host sends packets to itself.

use std::net::IpAddr;

use super::route::{
    CREATE, IFA_ADDRESS, IFA_LOCAL, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_LINKINFO, IFLA_MTU, NDA_DST, NDA_LLADDR, RT_TABLE_MAIN, RTA_DST, RTA_OIF, RTM_NEWADDR,
    RTM_NEWROUTE, RTN_UNICAST, RTPROT_BOOT, family, link_header, put_ip,
};
use super::wire::{FLAG_REPLACE, Messages};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWNEIGH: u16 = 28;
const VETH_INFO_PEER: u16 = 1;
const RTA_PRIORITY: u16 = 6;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const NUD_PERMANENT: u16 = 0x80;

/// One end of a pair: its name and its Ethernet address.
pub type End<'a> = (&'a str, [u8; 6]);

impl Messages {
    /// Adds a veth pair, both ends down.
    pub fn add_pair(&mut self, near: End<'_>, far: End<'_>, mtu: u32) {
        let label = format!("RTM_NEWLINK(`{}`, veth, peer `{}`)", near.0, far.0);
        let header = link_header(0, 0, 0);
        self.push(label, (RTM_NEWLINK, CREATE), &header, |m| {
            m.text(IFLA_IFNAME, near.0);
            m.u32(IFLA_MTU, mtu);
            m.put(IFLA_ADDRESS, &near.1);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "veth");
                m.nest(IFLA_INFO_DATA, |m| {
                    m.nest_after(VETH_INFO_PEER, &link_header(0, 0, 0), |m| {
                        m.text(IFLA_IFNAME, far.0);
                        m.u32(IFLA_MTU, mtu);
                        m.put(IFLA_ADDRESS, &far.1);
                    });
                });
            });
        });
    }

    /// Adds an address that is never chosen as a source.
    pub fn add_host_address(&mut self, index: u32, address: IpAddr) {
        let label = format!("RTM_NEWADDR({index}, {address}, host)");
        let mut header = [family(address), bits(address), 0, RT_SCOPE_HOST, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        self.push(label, (RTM_NEWADDR, FLAG_REPLACE), &header, |m| {
            put_ip(m, IFA_LOCAL, address);
            put_ip(m, IFA_ADDRESS, address);
        });
    }

    /// Adds a route to one address on a link; routes by other links differ by their metric.
    pub fn add_link_route(&mut self, index: u32, address: IpAddr, metric: u32) {
        let label = format!("RTM_NEWROUTE({address} dev {index})");
        let header = [
            family(address),
            bits(address),
            0,
            0,
            RT_TABLE_MAIN,
            RTPROT_BOOT,
            RT_SCOPE_LINK,
            RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        self.push(label, (RTM_NEWROUTE, FLAG_REPLACE), &header, |m| {
            put_ip(m, RTA_DST, address);
            m.u32(RTA_OIF, index);
            m.u32(RTA_PRIORITY, metric);
        });
    }

    /// Says for good which Ethernet address a neighbour has.
    pub fn add_neighbour(&mut self, index: u32, address: IpAddr, ethernet: [u8; 6]) {
        let label = format!("RTM_NEWNEIGH({address} dev {index})");
        let mut header = [family(address), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
        self.push(label, (RTM_NEWNEIGH, FLAG_REPLACE), &header, |m| {
            put_ip(m, NDA_DST, address);
            m.put(NDA_LLADDR, &ethernet);
        });
    }
}

/// The prefix length of a single address.
fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
