//! News of changes to nf_tables and of links that go or are set down.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with, sockopt,
};

use super::{Family, NFNL_SUBSYS_NFTABLES, NFTA_TABLE_NAME};
use crate::netlink::{Attribute, Reader};
use crate::{Error, Result};

/// Multicast groups as bits: changes to nf_tables; changes to links.
const NFNLGRP_NFTABLES: u32 = 1 << (7 - 1);
const RTMGRP_LINK: u32 = 1;
const NFT_MSG_NEWGEN: u16 = 15;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const IFF_UP: u32 = 1;
const LINK_FLAGS: std::ops::Range<usize> = 8..12;
const IFLA_IFNAME: u16 = 3;
const LINK_HEADER: usize = 16;
const READ_BYTES: usize = 64 * 1024;
/// Room for the news of a large batch of somebody else's.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Hears of every change to nf_tables, and of links that are removed or set down, in one namespace.
#[derive(Debug)]
pub struct Monitor {
    tables: OwnedFd,
    links: OwnedFd,
    buffer: Vec<u8>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something of a table, by the connection with this port.
    Table(Family, String, u32),
    /// A link with this name is gone, or down.
    LinkGone(String),
    /// Nobody knows what: there was too much of it.
    Unknown,
}

impl Monitor {
    /// Begins to listen, in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self {
            tables: listen(Some(netlink::NETFILTER), NFNLGRP_NFTABLES)?,
            links: listen(None, RTMGRP_LINK)?,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// What becomes readable when there is news.
    pub fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.tables.as_fd(), self.links.as_fd()]
    }

    /// Takes the changes that have arrived; does not wait.
    pub fn take(&mut self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for fd in [&self.tables, &self.links] {
            take(fd, &mut self.buffer, &mut changes)?;
        }
        changes.dedup();
        Ok(changes)
    }
}

fn listen(protocol: Option<rustix::net::Protocol>, groups: u32) -> Result<OwnedFd> {
    let call = |name: &str| format!("{name}(AF_NETLINK, groups {groups:#x})");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)
        .map_err(|e| Error::new(call("socket"), e))?;
    // Without the privilege it stays small; then an overflow is a change like any other.
    let _ = sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER_BYTES);
    bind(&fd, &netlink::SocketAddrNetlink::new(0, groups))
        .map_err(|e| Error::new(call("bind"), e))?;
    Ok(fd)
}

fn take(fd: &OwnedFd, buffer: &mut [u8], changes: &mut Vec<Change>) -> Result<()> {
    loop {
        match recv(fd, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, whole)) if whole > buffer.len() => changes.push(Change::Unknown),
            Ok((length, _)) => {
                let messages = Reader::new(&buffer[..length]);
                let parse = |message: crate::netlink::Received<'_>| {
                    parse(message.kind, message.port, message.body)
                };
                changes.extend(messages.filter_map(parse));
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::NOBUFS) => changes.push(Change::Unknown),
            Err(errno) => return Err(Error::new("recv(AF_NETLINK, groups)", errno)),
        }
    }
}

fn parse(kind: u16, port: u32, body: &[u8]) -> Option<Change> {
    let text = |region, kind| Attribute::all(region).find(|a| a.kind == kind)?.as_text();
    // One that is set down is as good as gone.
    let flags = body.get(LINK_FLAGS).and_then(|f| f.try_into().ok());
    let is_down = flags.is_some_and(|flags| u32::from_ne_bytes(flags) & IFF_UP == 0);
    if kind == RTM_DELLINK || kind == RTM_NEWLINK && is_down {
        return text(body.get(LINK_HEADER..)?, IFLA_IFNAME).map(Change::LinkGone);
    }
    if kind >> 8 != NFNL_SUBSYS_NFTABLES || kind & 0xff == NFT_MSG_NEWGEN {
        return None;
    }
    let family = Family::of(*body.first()?);
    // The first attribute of every kind of object is its table's name.
    let name = text(body.get(4..)?, NFTA_TABLE_NAME)?;
    Some(Change::Table(family, name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_their_table_and_their_author() {
        let mut messages = crate::netlink::Messages::new();
        messages.push("rule", (0xa06, 0), &[2, 0, 0, 0], |m| m.text(1, "filter"));
        messages.push("generation", (0xa0f, 0), &[0, 0, 0, 0], |m| m.be32(1, 7));
        messages.push("link", (RTM_DELLINK, 0), &[0; 16], |m| m.text(3, "br-1"));
        messages.push("down", (RTM_NEWLINK, 0), &[0; 16], |m| m.text(3, "br-2"));
        let mut up = [0; 16];
        up[LINK_FLAGS].copy_from_slice(&IFF_UP.to_ne_bytes());
        messages.push("up", (RTM_NEWLINK, 0), &up, |m| m.text(3, "br-3"));
        let changes: Vec<_> = Reader::new(messages.bytes())
            .filter_map(|m| parse(m.kind, 77, m.body))
            .collect();
        let want = [
            Change::Table(Family::Ip, "filter".to_owned(), 77),
            Change::LinkGone("br-1".to_owned()),
            Change::LinkGone("br-2".to_owned()),
        ];
        assert_eq!(changes, want);
        assert_eq!(parse(0xa06, 1, &[]), None);
    }
}
