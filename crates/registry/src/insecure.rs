//! Which registries may have a bad certificate or none, by Docker's rules.
//!
//! A registry is insecure if it is listed as it is written (`host:port`), or if one of its
//! addresses is in a listed network. 127.0.0.0/8 and ::1 always are listed.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::Result;
use crate::origin::{invalid, split_host};

/// The list, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Insecure {
    hosts: HashSet<String>,
    networks: Vec<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Insecure {
    /// Reads the list.
    pub(crate) fn new(list: &[String]) -> Result<Self> {
        let mut this = Self::default();
        let always = ["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
        for entry in list.iter().chain(&always) {
            this.add(entry)?;
        }
        Ok(this)
    }

    fn add(&mut self, entry: &str) -> Result<()> {
        if entry.starts_with('-') || entry.ends_with('-') {
            return Err(invalid(format!(
                "invalid index name ({entry}). Cannot begin or end with a hyphen"
            )));
        }
        let lower = entry.to_lowercase();
        let bare = ["http://", "https://"]
            .iter()
            .find_map(|scheme| lower.strip_prefix(scheme))
            .map_or(entry, |rest| &entry[entry.len() - rest.len()..]);
        if bare.contains("://") {
            return Err(invalid(format!(
                "insecure registry {entry} should not contain '://'"
            )));
        }
        if let Some(network) = Network::parse(bare) {
            self.networks.push(network);
            return Ok(());
        }
        if !is_host_port(bare) {
            let (host, _) = split_host(bare);
            return Err(invalid(format!(
                "insecure registry {bare} is not valid: invalid host \"{host}\""
            )));
        }
        self.hosts.insert(bare.to_owned());
        Ok(())
    }

    /// Tells whether a registry is listed as it is written.
    pub(crate) fn lists(&self, authority: &str) -> bool {
        // Docker never lets the official registry be insecure.
        self.hosts.contains(authority) && authority != "docker.io"
    }

    /// Tells whether an address is in a listed network.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= most).then_some(Self { address, prefix })
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
            v4 => v4,
        };
        match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                mine.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                mine.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

fn is_host_port(text: &str) -> bool {
    let (host, port) = split_host(text);
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    port_ok && (host.parse::<IpAddr>().is_ok() || host.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Result<Insecure> {
        Insecure::new(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn hosts_and_networks_are_found() {
        let insecure =
            list(&["reg.local:5000", "http://plain", "10.1.0.0/16", "fd00::/8"]).unwrap();
        assert!(insecure.lists("reg.local:5000"));
        assert!(insecure.lists("plain"));
        assert!(!insecure.lists("reg.local"));
        for (address, want) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(insecure.covers(address.parse().unwrap()), want, "{address}");
        }
        let all = list(&["0.0.0.0/0"]).unwrap();
        assert!(all.covers("8.8.8.8".parse().unwrap()));
        assert!(!all.covers("2001::1".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["-a", "a-", "ftp://a", "a b", "a:99999", "a/b", "a..b", ""] {
            assert!(list(&[bad]).is_err(), "{bad}");
        }
        assert!(!list(&["docker.io"]).unwrap().lists("docker.io"));
    }
}
