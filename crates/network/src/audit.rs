//! What of ours is in a network namespace: for leak audits, which compare before and after.

use sys::netlink::{Link, Protocol, Socket};

use crate::driver::bridge::{is_marked, veth};
use crate::{Error, Result};

/// Names of the kernel objects that Corten made in the calling thread's network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Near ends of container interfaces.
    pub interfaces: Vec<String>,
    /// Bridges that are marked as ours, or have a name that a data root gets by default.
    pub bridges: Vec<String>,
    /// IPv4 addresses of those bridges, as `corten0 172.17.0.1/16`.
    pub addresses: Vec<String>,
    /// nf_tables tables with a name that a data root gets by default.
    pub tables: Vec<String>,
}

/// Lists what is there, sorted. Networks with names of the user's choice are not found.
pub fn audit() -> Result<Audit> {
    let step = || Error::kernel("list the host's interfaces");
    let mut socket = Socket::open(Protocol::Route).map_err(step())?;
    let links = socket.links().map_err(step())?;
    let is_bridge = |link: &&Link| {
        is_marked(link) || link.kind == "bridge" && is_ours(&link.name, "corten0", "cr-")
    };
    let mut found = Audit::default();
    for link in links.iter().filter(is_bridge) {
        found.bridges.push(link.name.clone());
    }
    for address in socket.addresses().map_err(step())? {
        // The kernel adds IPv6 link-local ones whenever the first port comes up.
        if address.address.is_ipv6() {
            continue;
        }
        let of = |link: &&Link| link.index == address.index;
        if let Some(link) = links.iter().filter(is_bridge).find(of) {
            let text = format!("{} {}/{}", link.name, address.address, address.prefix);
            found.addresses.push(text);
        }
    }
    found.interfaces = links
        .into_iter()
        .map(|link| link.name)
        .filter(|name| veth::is_ours(name))
        .collect();
    let tables = sys::nft::tables().map_err(Error::kernel("list the host's firewall tables"))?;
    found.tables = tables
        .into_iter()
        .map(|(_, name)| name)
        .filter(|name| is_ours(name, "corten", "corten-"))
        .collect();
    for list in [
        &mut found.interfaces,
        &mut found.bridges,
        &mut found.addresses,
        &mut found.tables,
    ] {
        list.sort();
    }
    Ok(found)
}

/// Tells whether a name is the default one, or the prefix and 8 hex digits of a data root's digest.
fn is_ours(name: &str, default: &str, prefix: &str) -> bool {
    let digits = |text: &str| text.len() == 8 && text.bytes().all(|c| c.is_ascii_hexdigit());
    name == default || name.strip_prefix(prefix).is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_default_names_are_ours() {
        for ours in ["corten0", "cr-0011aaff"] {
            assert!(is_ours(ours, "corten0", "cr-"), "{ours}");
        }
        for foreign in ["corten1", "cr-", "cr-0011aaf", "cr-0011aafg", "docker0"] {
            assert!(!is_ours(foreign, "corten0", "cr-"), "{foreign}");
        }
    }
}
