//! Links that sit on another link: macvlan, ipvlan, VLANs; and links that lead nowhere.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::route::{
    IFF_UP, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU,
    IFLA_NET_NS_FD, RTM_NEWLINK, link_header,
};
use super::wire::{Attributes, Messages, NLM_F_CREATE, NLM_F_EXCL};
use super::{Answer, Attribute, Socket};
use crate::Result;

const IFLA_LINK: u16 = 5;
const IFLA_GROUP: u16 = 27;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;

/// How macvlan links of one parent reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Not at all.
    Private,
    /// Through the switch that the parent is connected to.
    Vepa,
    /// Directly.
    Bridge,
    /// There is only one.
    Passthru,
}

/// What ipvlan links do with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanMode {
    /// Frames, as on a switch.
    L2,
    /// Packets, routed by the parent.
    L3,
    /// Like [`L3`](Self::L3), through the parent's netfilter.
    L3s,
}

/// How ipvlan links of one parent reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// Through the switch that the parent is connected to.
    Vepa,
}

/// A kind of link that shares its parent with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stacked {
    /// With an Ethernet address of its own.
    Macvlan(MacvlanMode),
    /// With the parent's Ethernet address.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

impl Stacked {
    /// The kernel's name of the kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
        }
    }

    fn put(self, m: &mut Attributes<'_>) {
        match self {
            Self::Macvlan(mode) => {
                let number = match mode {
                    MacvlanMode::Private => 1,
                    MacvlanMode::Vepa => 2,
                    MacvlanMode::Bridge => 4,
                    MacvlanMode::Passthru => 8,
                };
                m.u32(IFLA_MACVLAN_MODE, number);
            }
            Self::Ipvlan(mode, flag) => {
                let mode: u16 = match mode {
                    IpvlanMode::L2 => 0,
                    IpvlanMode::L3 => 1,
                    IpvlanMode::L3s => 2,
                };
                let flag: u16 = match flag {
                    IpvlanFlag::Bridge => 0,
                    IpvlanFlag::Private => 1,
                    IpvlanFlag::Vepa => 2,
                };
                m.put(IFLA_IPVLAN_MODE, &mode.to_ne_bytes());
                m.put(IFLA_IPVLAN_FLAGS, &flag.to_ne_bytes());
            }
        }
    }
}

/// A stacked link that is born in another namespace, down.
#[derive(Debug, Clone, Copy)]
pub struct NewStacked<'a> {
    /// Its name there.
    pub name: &'a str,
    /// Index of its parent here.
    pub parent: u32,
    /// What it is.
    pub kind: Stacked,
    /// MTU; `None` takes the parent's.
    pub mtu: Option<u32>,
    /// Ethernet address; `None` lets the kernel choose.
    pub address: Option<[u8; 6]>,
    /// Its namespace.
    pub netns: BorrowedFd<'a>,
}

/// Links that no wire leads to; what is sent into them is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endless {
    /// Made for nothing else.
    Dummy,
    /// Made to shape what comes in (`ifb`); swallows whatever was not redirected to it.
    Ifb,
}

impl Endless {
    /// The kernel's name of the kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Dummy => "dummy",
            Self::Ifb => "ifb",
        }
    }
}

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

impl Messages {
    /// Adds a macvlan or ipvlan link; it vanishes with its namespace or its parent.
    pub fn add_stacked(&mut self, new: &NewStacked<'_>) {
        let label = format!("RTM_NEWLINK(`{}`, {})", new.name, new.kind.kind());
        let netns = new.netns.as_raw_fd().cast_unsigned();
        self.push(label, (RTM_NEWLINK, CREATE), &link_header(0, 0, 0), |m| {
            m.text(IFLA_IFNAME, new.name);
            m.u32(IFLA_LINK, new.parent);
            if let Some(mtu) = new.mtu {
                m.u32(IFLA_MTU, mtu);
            }
            if let Some(address) = new.address {
                m.put(IFLA_ADDRESS, &address);
            }
            m.u32(IFLA_NET_NS_FD, netns);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, new.kind.kind());
                m.nest(IFLA_INFO_DATA, |m| new.kind.put(m));
            });
        });
    }

    /// Adds an 802.1Q link of a parent, up; it vanishes with the parent. The group is a number
    /// that the kernel keeps with it.
    pub fn add_vlan(&mut self, name: &str, group: u32, parent: u32, id: u16) {
        let label = format!("RTM_NEWLINK(`{name}`, vlan {id})");
        let header = link_header(0, IFF_UP, IFF_UP);
        self.push(label, (RTM_NEWLINK, CREATE), &header, |m| {
            m.text(IFLA_IFNAME, name);
            m.u32(IFLA_GROUP, group);
            m.u32(IFLA_LINK, parent);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "vlan");
                m.nest(IFLA_INFO_DATA, |m| m.put(IFLA_VLAN_ID, &id.to_ne_bytes()));
            });
        });
    }

    /// Adds a link without an other end, up. The group is a number that the kernel keeps with it.
    pub fn add_endless(&mut self, name: &str, group: u32, kind: Endless) {
        let label = format!("RTM_NEWLINK(`{name}`, {})", kind.kind());
        let header = link_header(0, IFF_UP, IFF_UP);
        self.push(label, (RTM_NEWLINK, CREATE), &header, |m| {
            m.text(IFLA_IFNAME, name);
            m.u32(IFLA_GROUP, group);
            m.nest(IFLA_LINKINFO, |m| m.text(IFLA_INFO_KIND, kind.kind()));
        });
    }

    /// Moves a link to another namespace, where it gets a name and is down.
    pub fn move_link(&mut self, index: u32, name: &str, netns: BorrowedFd<'_>) {
        let label = format!("RTM_NEWLINK({index}, netns, `{name}`)");
        let netns = netns.as_raw_fd().cast_unsigned();
        self.push(label, (RTM_NEWLINK, 0), &link_header(index, 0, 0), |m| {
            m.u32(IFLA_NET_NS_FD, netns);
            m.text(IFLA_IFNAME, name);
        });
    }
}

impl Socket {
    /// Tells whether the kernel has a kind of stacked link (`macvlan`, `ipvlan`, `vlan`).
    ///
    /// Asks for one without a parent, which no kernel makes: one that knows the kind calls that
    /// invalid, and one that does not know it says so.
    pub fn has_stacked(&mut self, kind: &str) -> Result<bool> {
        let asked = self.execute_one(|m| {
            let label = format!("RTM_NEWLINK({kind})");
            m.push(label, (RTM_NEWLINK, CREATE), &link_header(0, 0, 0), |m| {
                m.nest(IFLA_LINKINFO, |m| m.text(IFLA_INFO_KIND, kind));
            });
        });
        match asked {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Errno::OPNOTSUPP => Ok(false),
            Err(error) if error.errno() == Errno::INVAL => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The group of a link, 0 unless it was given one; `None` when there is no such link.
    pub fn group(&mut self, name: &str) -> Result<Option<u32>> {
        Ok(self.link_answer(name)?.as_ref().and_then(group))
    }
}

fn group(answer: &Answer) -> Option<u32> {
    let value = Attribute::find(answer.body.get(16..)?, IFLA_GROUP)?;
    super::wire::u32_at(value, 0)
}

#[cfg(test)]
mod tests {
    use super::super::wire::u32_at;
    use super::*;
    use std::os::fd::AsFd as _;

    fn data(messages: &Messages) -> Vec<u8> {
        let info = Attribute::find(&messages.bytes()[32..], IFLA_LINKINFO).unwrap();
        Attribute::find(info, IFLA_INFO_DATA).unwrap().to_vec()
    }

    #[test]
    fn kinds_carry_parent_mode_and_namespace() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let new = |kind| NewStacked {
            name: "eth0",
            parent: 7,
            kind,
            mtu: None,
            address: Some([2, 0, 0, 0, 0, 9]),
            netns: file.as_fd(),
        };
        let mut messages = Messages::new();
        messages.add_stacked(&new(Stacked::Macvlan(MacvlanMode::Bridge)));
        let region = &messages.bytes()[32..];
        assert_eq!(
            Attribute::find(region, IFLA_LINK).and_then(|v| u32_at(v, 0)),
            Some(7)
        );
        assert_eq!(Attribute::find(region, IFLA_MTU), None);
        let inner = data(&messages);
        let mode = Attribute::find(&inner, IFLA_MACVLAN_MODE);
        assert_eq!(mode, Some(&4u32.to_ne_bytes()[..]));

        let mut messages = Messages::new();
        messages.add_stacked(&new(Stacked::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Vepa)));
        assert_eq!(messages.label(0), "RTM_NEWLINK(`eth0`, ipvlan)");
        let inner = data(&messages);
        let value = |kind| Attribute::find(&inner, kind).unwrap().to_vec();
        assert_eq!(value(IFLA_IPVLAN_MODE), 2u16.to_ne_bytes());
        assert_eq!(value(IFLA_IPVLAN_FLAGS), 2u16.to_ne_bytes());

        let mut messages = Messages::new();
        messages.add_vlan("eth0.10", 77, 3, 10);
        let group = Attribute::find(&messages.bytes()[32..], IFLA_GROUP);
        assert_eq!(group, Some(&77u32.to_ne_bytes()[..]));
        let inner = data(&messages);
        let id = Attribute::find(&inner, IFLA_VLAN_ID);
        assert_eq!(id, Some(&10u16.to_ne_bytes()[..]));
    }
}
