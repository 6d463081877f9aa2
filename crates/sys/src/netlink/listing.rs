//! Reading back links, addresses, routes and neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::interface::IFLA_IFALIAS;
use super::route::{
    IF_OPER_UP, IFA_ADDRESS, IFA_LOCAL, IFF_UP, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_OPERSTATE, NDA_DST, NDA_LLADDR, RTA_DST,
    RTA_GATEWAY, RTA_OIF, RTA_TABLE, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE,
    RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, RTN_UNICAST, link_header,
};
use super::wire::{Attribute, Messages, u32_at};
use super::{Address, Answer, Link, Neighbour, Route, Socket};
use crate::Result;

impl Socket {
    /// Finds a link by its name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        Ok(self.link_answer(name)?.as_ref().and_then(parse_link))
    }

    /// What the kernel says of a link of a name.
    pub(super) fn link_answer(&mut self, name: &str) -> Result<Option<Answer>> {
        let mut request = Messages::new();
        let label = format!("RTM_GETLINK(`{name}`)");
        let header = link_header(0, 0, 0);
        request.push(label, (RTM_GETLINK, 0), &header, |m| {
            m.text(IFLA_IFNAME, name);
        });
        self.get(request)
    }

    /// Finds a link by its index.
    pub fn link_at(&mut self, index: u32) -> Result<Option<Link>> {
        let label = format!("RTM_GETLINK({index})");
        let request = Messages::ask(label, RTM_GETLINK, &link_header(index, 0, 0));
        Ok(self.get(request)?.as_ref().and_then(parse_link))
    }

    /// Lists all links of the namespace.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let request = Messages::ask("RTM_GETLINK", RTM_GETLINK, &link_header(0, 0, 0));
        let answers = self.dump(&request)?;
        Ok(answers.iter().filter_map(parse_link).collect())
    }

    /// Lists all addresses of the namespace.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let request = Messages::ask("RTM_GETADDR", RTM_GETADDR, &[0; 8]);
        let answers = self.dump(&request)?;
        Ok(answers.iter().filter_map(parse_address).collect())
    }

    /// Lists the routes of all tables.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let request = Messages::ask("RTM_GETROUTE", RTM_GETROUTE, &[0; 12]);
        let answers = self.dump(&request)?;
        Ok(answers.iter().filter_map(parse_route).collect())
    }

    /// Lists the neighbours of all interfaces.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>> {
        let request = Messages::ask("RTM_GETNEIGH", RTM_GETNEIGH, &[0; 12]);
        let answers = self.dump(&request)?;
        Ok(answers.iter().filter_map(parse_neighbour).collect())
    }

    /// Carries out one request and waits for its verdict.
    pub fn execute_one(&mut self, fill: impl FnOnce(&mut Messages)) -> Result<()> {
        let mut messages = Messages::new();
        fill(&mut messages);
        self.execute(messages)
    }
}

pub(super) fn parse_link(answer: &Answer) -> Option<Link> {
    if answer.kind != RTM_NEWLINK {
        return None;
    }
    let mut link = Link {
        index: u32_at(&answer.body, 4)?,
        up: u32_at(&answer.body, 8)? & IFF_UP != 0,
        ..Link::default()
    };
    for attribute in Attribute::all(answer.body.get(16..)?) {
        match attribute.kind {
            IFLA_IFNAME => link.name = attribute.as_text()?,
            IFLA_MTU => link.mtu = attribute.as_u32()?,
            IFLA_MASTER => link.master = attribute.as_u32()?,
            IFLA_OPERSTATE => link.operational = attribute.value == [IF_OPER_UP],
            IFLA_IFALIAS => link.alias = attribute.as_text()?,
            IFLA_ADDRESS => link.address = attribute.value.to_vec(),
            IFLA_LINKINFO => {
                link.kind = Attribute::all(attribute.value)
                    .find(|a| a.kind == IFLA_INFO_KIND)
                    .and_then(|a| a.as_text())
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

pub(super) fn parse_ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

pub(super) fn parse_address(answer: &Answer) -> Option<Address> {
    if answer.kind != RTM_NEWADDR {
        return None;
    }
    let region = answer.body.get(8..)?;
    // IPv6 has only IFA_ADDRESS; on IPv4 links between two hosts that is the other side.
    let value =
        Attribute::find(region, IFA_LOCAL).or_else(|| Attribute::find(region, IFA_ADDRESS))?;
    Some(Address {
        index: u32_at(&answer.body, 4)?,
        address: parse_ip(value)?,
        prefix: *answer.body.get(1)?,
    })
}

pub(super) fn parse_route(answer: &Answer) -> Option<Route> {
    if answer.kind != RTM_NEWROUTE {
        return None;
    }
    let region = answer.body.get(12..)?;
    let number = |kind| Attribute::find(region, kind).and_then(|v| u32_at(v, 0));
    Some(Route {
        destination: Attribute::find(region, RTA_DST).and_then(parse_ip),
        prefix: *answer.body.get(1)?,
        gateway: Attribute::find(region, RTA_GATEWAY).and_then(parse_ip),
        index: number(RTA_OIF).unwrap_or(0),
        table: number(RTA_TABLE).unwrap_or(u32::from(*answer.body.get(4)?)),
        unicast: *answer.body.get(7)? == RTN_UNICAST,
    })
}

pub(super) fn parse_neighbour(answer: &Answer) -> Option<Neighbour> {
    let region = answer.body.get(12..)?;
    Some(Neighbour {
        index: u32_at(&answer.body, 4)?,
        destination: parse_ip(Attribute::find(region, NDA_DST)?)?,
        address: Attribute::find(region, NDA_LLADDR)
            .unwrap_or_default()
            .to_vec(),
    })
}
