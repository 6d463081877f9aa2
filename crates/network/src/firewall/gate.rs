//! The veth pair by which a packet that the host has accepted comes in a second time.
//!
//! ```text
//!   input, at the end: copy ──► corten-out ═══ veth ═══ corten-in ──► prerouting: translated
//! ```
//!
//! The copy is sent to a next hop that exists nowhere but in the pair's own neighbour table. Its
//! source is reached by another interface than it comes in by, so reverse path filtering must be
//! loose there, and the interface needs an address for that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use sys::netlink::{Messages, Protocol, SetLink, Socket};
use sys::nft::Family;

use crate::{Error, Result};

/// [RFC 7600](https://www.rfc-editor.org/rfc/rfc7600): the IPv4 dummy address, never on a wire.
const NEXT_HOP4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Its neighbour in the same special block.
const INNER4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 9);
/// [RFC 6666](https://www.rfc-editor.org/rfc/rfc6666): the discard-only block.
const NEXT_HOP6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8);
/// The largest that a veth takes: a reassembled datagram must fit.
const MTU: u32 = 65535;
const OUTER_ETHERNET: [u8; 6] = [2, 0, 0xc0, 0x27, 0, 8];
const INNER_ETHERNET: [u8; 6] = [2, 0, 0xc0, 0x27, 0, 9];

/// The pair as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// The end that copies are sent by.
    pub outer: String,
    /// The end that they come in by.
    pub inner: String,
    /// Index of the outer end.
    pub index: u32,
}

/// Where copies are sent to.
pub(super) fn next_hop(family: Family) -> IpAddr {
    match family {
        Family::Ip6 => NEXT_HOP6.into(),
        _ => NEXT_HOP4.into(),
    }
}

/// The names of the ends: of the table's name, so that daemons stay apart.
pub(super) fn names(table: &str) -> (String, String) {
    let tag = table.strip_prefix("corten").unwrap_or(table);
    let tag: String = tag.chars().filter(char::is_ascii_alphanumeric).collect();
    let tag = &tag[tag.len().saturating_sub(8)..];
    match tag {
        "" => ("corten-out".to_owned(), "corten-in".to_owned()),
        tag => (format!("cout-{tag}"), format!("cin-{tag}")),
    }
}

/// Makes the pair, or completes what is there; says whether IPv6 works on it.
pub(super) fn ensure(table: &str) -> Result<Pair> {
    let step = || Error::kernel("set up the firewall's gate");
    let (outer, inner) = names(table);
    let mut socket = Socket::open(Protocol::Route).map_err(step())?;
    let ends =
        |socket: &mut Socket| Ok::<_, sys::Error>((socket.link(&outer)?, socket.link(&inner)?));
    let mut found = ends(&mut socket).map_err(step())?;
    if found.0.is_none() || found.1.is_none() {
        remove(table)?;
        let made = socket.execute_one(|m| {
            m.add_pair((&outer, OUTER_ETHERNET), (&inner, INNER_ETHERNET), MTU);
        });
        made.map_err(step())?;
        found = ends(&mut socket).map_err(step())?;
    }
    let (Some(near), Some(far)) = found else {
        return Err(step()(sys::Error::new("RTM_GETLINK", Errno::NODEV)));
    };
    let ipv6 = settings(&outer, &inner)?;
    let up = SetLink {
        up: Some(true),
        ..SetLink::default()
    };
    let mut requests = Messages::new();
    if !near.up {
        requests.set_link(near.index, &up);
    }
    if !far.up {
        requests.set_link(far.index, &up);
    }
    requests.add_host_address(far.index, INNER4.into());
    requests.add_link_route(near.index, NEXT_HOP4.into(), near.index);
    requests.add_neighbour(near.index, NEXT_HOP4.into(), INNER_ETHERNET);
    if ipv6 {
        requests.add_link_route(near.index, NEXT_HOP6.into(), near.index);
        requests.add_neighbour(near.index, NEXT_HOP6.into(), INNER_ETHERNET);
    }
    socket.execute(requests).map_err(step())?;
    let index = near.index;
    Ok(Pair {
        outer,
        inner,
        index,
    })
}

/// Makes the kernel leave the ends alone: no addresses of its own, no questions, no strictness.
fn settings(outer: &str, inner: &str) -> Result<bool> {
    write(&format!("/proc/sys/net/ipv4/conf/{inner}/rp_filter"), "2")?;
    let mut ipv6 = true;
    for end in [outer, inner] {
        let directory = format!("/proc/sys/net/ipv6/conf/{end}");
        if !std::fs::exists(&directory).unwrap_or(false) {
            ipv6 = false;
            continue;
        }
        write(&format!("{directory}/addr_gen_mode"), "1")?;
        write(&format!("{directory}/accept_ra"), "0")?;
        write(&format!("{directory}/disable_ipv6"), "0")?;
    }
    Ok(ipv6)
}

/// Writes a kernel setting unless it is so.
pub(super) fn write(path: &str, value: &str) -> Result<()> {
    let now = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    if now.trim() == value {
        return Ok(());
    }
    std::fs::write(path, value).map_err(Error::file("write", path))
}

/// Removes the pair, if it is there.
pub(super) fn remove(table: &str) -> Result<()> {
    let step = || Error::kernel("remove the firewall's gate");
    let (outer, inner) = names(table);
    let mut socket = Socket::open(Protocol::Route).map_err(step())?;
    for end in [outer, inner] {
        // The second goes with the first.
        if let Some(link) = socket.link(&end).map_err(step())? {
            match socket.execute_one(|m| m.delete_link(link.index)) {
                Err(error) if error.errno() == Errno::NODEV => {}
                other => other.map_err(step())?,
            }
        }
    }
    Ok(())
}

/// Tells whether the pair is as it was made.
pub(super) fn is_whole(pair: &Pair) -> bool {
    let look = || {
        let mut socket = Socket::open(Protocol::Route).ok()?;
        let near = socket.link(&pair.outer).ok()??;
        let far = socket.link(&pair.inner).ok()??;
        Some(near.index == pair.index && near.up && far.up)
    };
    look().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(names("corten"), ("corten-out".into(), "corten-in".into()));
        let (outer, inner) = names("corten-0011aaff");
        assert_eq!(
            (outer.as_str(), inner.as_str()),
            ("cout-0011aaff", "cin-0011aaff")
        );
        let long = names("a-table-with-a-long-name");
        assert_eq!(long.0, "cout-longname");
        assert!(long.0.len() <= 15);
    }
}
