//! The bridge link: making it, completing it, finding it again.

use std::net::IpAddr;

use rustix::io::Errno;
use spec::error::ErrorKind;
use spec::id::NetworkId;
use sys::netlink::{Link, Messages, Protocol, SetLink, Socket};

use crate::{Error, IpNet, Result, ipam};

/// What our bridges are marked with, followed by the table's name and the network's id.
const MARK: &str = "corten";

/// What the kernel must show for a bridge.
#[derive(Debug, Clone)]
pub(crate) struct BridgeLink {
    /// Interface name.
    pub name: String,
    /// Addresses with the prefix lengths of their subnets.
    pub addresses: Vec<IpNet>,
    /// Ethernet address of a new one: fixed, or it would change with its ports.
    pub mac: [u8; 6],
    /// MTU of bridge and ports.
    pub mtu: u32,
    /// Whether it has IPv6 at all.
    pub ipv6: bool,
    /// See [`mark`].
    pub mark: String,
}

/// The text that tells whose a bridge is.
pub(crate) fn mark(table: &str, network: &NetworkId) -> String {
    format!("{MARK} {table} {network}")
}

/// The network that a link of ours was made for.
pub(crate) fn marked(link: &Link, table: &str) -> Option<NetworkId> {
    let (owner, id) = link
        .alias
        .strip_prefix(MARK)?
        .trim_start()
        .split_once(' ')?;
    if owner != table {
        return None;
    }
    id.parse().ok()
}

/// Tells whether a link is marked as a bridge of ours, of whichever daemon.
pub(crate) fn is_marked(link: &Link) -> bool {
    link.kind == "bridge"
        && link
            .alias
            .strip_prefix(MARK)
            .is_some_and(|rest| rest.starts_with(' '))
}

/// Opens a route socket of this thread's namespace.
pub(crate) fn route_socket() -> Result<Socket> {
    Socket::open(Protocol::Route).map_err(Error::kernel("open a netlink socket"))
}

impl BridgeLink {
    /// Makes or completes the bridge and returns its index; one that was made and cannot be
    /// completed does not stay.
    pub(crate) fn ensure(&self) -> Result<u32> {
        let step = || Error::kernel(format!("set up bridge {}", self.name));
        let mut socket = route_socket()?;
        if self.find(&mut socket)?.is_some() {
            return self.complete(&mut socket);
        }
        let mut requests = Messages::new();
        requests.add_bridge_down(&self.name, self.mtu, self.mac);
        requests.set_alias(&self.name, &self.mark);
        socket.execute(requests).map_err(step())?;
        let done = self.complete(&mut socket);
        if done.is_err()
            && let Err(error) = self.discard(&mut socket)
        {
            let error = spec::error::chain(&error);
            tracing::warn!(bridge = self.name, error, "an unfinished bridge stays");
        }
        done
    }

    fn discard(&self, socket: &mut Socket) -> Result<()> {
        let Some(link) = self.find(socket)? else {
            return Ok(());
        };
        let step = Error::kernel(format!("remove bridge {}", self.name));
        socket
            .execute_one(|m| m.delete_link(link.index))
            .map_err(step)
    }

    fn complete(&self, socket: &mut Socket) -> Result<u32> {
        let step = || Error::kernel(format!("set up bridge {}", self.name));
        let link = self.find(socket)?.ok_or_else(|| Error::NotABridge {
            name: self.name.clone(),
        })?;
        if !link.up {
            self.write_sysctls()?;
        }
        let present = ipam::link_nets(socket, link.index)?;
        let mut changes = Messages::new();
        if is_marked(&link) && link.alias != self.mark {
            changes.set_alias(&self.name, &self.mark);
        }
        if !link.up || link.mtu != self.mtu {
            let set = SetLink {
                up: Some(true),
                mtu: Some(self.mtu),
                ..SetLink::default()
            };
            changes.set_link(link.index, &set);
        }
        for net in self.addresses.iter().filter(|net| !present.contains(net)) {
            changes.add_address_at_once(link.index, net.address(), net.prefix());
        }
        match socket.execute(changes) {
            // Somebody was faster.
            Err(e) if e.errno() == Errno::EXIST => Ok(link.index),
            done => done.map_err(step()).map(|()| link.index),
        }
    }

    /// Finds the link, which must be a bridge.
    pub(crate) fn find(&self, socket: &mut Socket) -> Result<Option<Link>> {
        let step = Error::kernel(format!("look for bridge {}", self.name));
        match socket.link(&self.name).map_err(step)? {
            Some(link) if link.kind != "bridge" => Err(Error::NotABridge {
                name: self.name.clone(),
            }),
            found => Ok(found),
        }
    }

    /// Keeps a bridge without IPv6 from getting addresses, and one with it from heeding routers.
    fn write_sysctls(&self) -> Result<()> {
        let conf = format!("/proc/sys/net/ipv6/conf/{}", self.name);
        let disabled = if self.ipv6 { "0" } else { "1" };
        for (file, value) in [("disable_ipv6", disabled), ("accept_ra", "0")] {
            let path = format!("{conf}/{file}");
            match std::fs::write(&path, value) {
                // A kernel without IPv6: an error only where it is wanted.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.ipv6 => {}
                done => done.map_err(Error::file("write", path))?,
            }
        }
        Ok(())
    }
}

/// Refuses names that the kernel would refuse later or read differently.
pub(crate) fn check_name(name: &str) -> Result<()> {
    const NAME_BYTES: usize = 15;
    let plain = name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    let text = if name.is_empty() || name.len() > NAME_BYTES || !plain || name.starts_with('.') {
        format!("`{name}` cannot be the name of a bridge")
    } else if super::veth::is_ours(name) {
        format!("bridge name `{name}` is reserved for container interfaces")
    } else {
        return Ok(());
    };
    Err(Error::refused(ErrorKind::InvalidArgument, text))
}

/// Ethernet address of a bridge: the same whenever it is made again.
pub(crate) fn bridge_mac(address: Option<IpAddr>, network: &NetworkId) -> [u8; 6] {
    if let Some(IpAddr::V4(v4)) = address {
        return crate::MacAddress::of(v4).0;
    }
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(network.to_string().as_bytes());
    [0x02, 0x43, digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_again_and_those_of_others_are_not_ours() {
        let id = NetworkId::from_bytes([7; 32]);
        let link = |alias: &str| Link {
            alias: alias.to_owned(),
            ..Link::default()
        };
        let ours = link(&mark("corten-1", &id));
        assert_eq!(marked(&ours, "corten-1"), Some(id));
        assert_eq!(marked(&ours, "corten"), None);
        for foreign in [
            "",
            "corten",
            "corten corten-1",
            "uplink to the world",
            "corten corten-1 x",
        ] {
            assert_eq!(marked(&link(foreign), "corten-1"), None, "{foreign}");
        }
    }

    #[test]
    fn unusable_names() {
        assert!(check_name("br-0123456789ab").is_ok());
        for name in ["", "a/b", "this-name-is-too-long", "cvac110002f1234", ".."] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
