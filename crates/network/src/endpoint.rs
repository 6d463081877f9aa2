//! An endpoint: one container's place in one network.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use spec::id::{ContainerId, NetworkId};

use crate::{Error, Ipv4Net, Ipv6Net};

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Derives the address that an endpoint gets by default: `02:42:` and the IPv4 address.
    ///
    /// A re-used IPv4 address keeps its Ethernet address, so no neighbour table goes stale.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Derives the address of an endpoint without IPv4: `02:43:` and the end of a digest.
    pub fn of_ipv6(address: Ipv6Addr) -> Self {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(address.octets());
        Self([0x02, 0x43, digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut out = [0; 6];
        // Six groups of two digits, or Cisco's three of four.
        let (separators, bytes): (&[char], usize) = match text.contains('.') {
            true => (&['.'], 2),
            false => (&[':', '-'], 1),
        };
        let mut parts = text.split(separators);
        let mut parse = || {
            for group in out.chunks_mut(bytes) {
                let part = parts.next()?;
                let plain = part.len() == 2 * bytes && part.bytes().all(|c| c.is_ascii_hexdigit());
                let number = u16::from_str_radix(part, 16).ok().filter(|_| plain)?;
                group.copy_from_slice(&number.to_be_bytes()[2 - bytes..]);
            }
            parts.next().is_none().then_some(())
        };
        match parse() {
            Some(()) => Ok(Self(out)),
            None => Err(Error::InvalidConfig {
                rule: format!("`{text}` is no MAC address"),
            }),
        }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

/// Identity of an endpoint: 64 hex digits, the same as long as container and address are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointId(pub(crate) [u8; 32]);

impl EndpointId {
    /// Derives the id, so that it needs no record of its own to survive a restart of the daemon.
    pub fn of(network: &NetworkId, container: &ContainerId, address: impl Into<IpAddr>) -> Self {
        use sha2::Digest as _;
        let text = format!("{network}/{container}/{}", address.into());
        Self(sha2::Sha256::digest(text.as_bytes()).into())
    }
}

impl TryFrom<String> for EndpointId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        let mut id = [0; 32];
        let plain = text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
        let filled = plain
            && id.iter_mut().enumerate().all(|(i, byte)| {
                u8::from_str_radix(&text[2 * i..2 * i + 2], 16)
                    .map(|value| *byte = value)
                    .is_ok()
            });
        if filled {
            return Ok(Self(id));
        }
        Err(Error::InvalidConfig {
            rule: "no id of an endpoint".to_owned(),
        })
    }
}

impl From<EndpointId> for String {
    fn from(id: EndpointId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A container's place in one network; kept with the running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Id of the network.
    pub network_id: NetworkId,
    /// Name of the network.
    pub network: String,
    /// Driver of the network.
    pub driver: String,
    /// Id of the endpoint.
    pub endpoint_id: EndpointId,
    /// Name of the interface inside (`eth0`); empty where the driver makes none.
    pub interface: String,
    /// Name of the other end in the host's namespace; empty where there is none.
    pub host_interface: String,
    /// The Ethernet address, if it has one of its own.
    pub mac: Option<MacAddress>,
    /// The IPv4 address with the subnet's prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// The IPv6 address with the subnet's prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// Further addresses (`--link-local-ip`).
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// Gateway of the network, whether or not it is the container's default route.
    pub gateway4: Option<Ipv4Addr>,
    /// Gateway of the network, IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// The default route leaves through the interface itself, without a gateway.
    #[serde(default)]
    pub default_on_link: bool,
    /// Whose gateway becomes the default route: the highest.
    #[serde(default)]
    pub gateway_priority: i64,
    /// Options as they were asked for.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_is_derived_and_parsed() {
        let mac = MacAddress::of(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for text in ["02:42:ac:11:00:02", "02-42-AC-11-00-02", "0242.ac11.0002"] {
            assert_eq!(text.parse::<MacAddress>().unwrap(), mac, "{text}");
        }
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "0:1:2:3:4:5",
            "+2:42:ac:11:00:02",
            "0242.ac11",
            "0242.ac11.0002.0003",
            "0242.ac11.+002",
            "02.42.ac.11.00.02",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoint_id_depends_on_all_three() {
        let network = NetworkId::from_bytes([1; 32]);
        let container = ContainerId::from_bytes([2; 32]);
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let id = EndpointId::of(&network, &container, address);
        assert_eq!(id, EndpointId::of(&network, &container, address));
        assert_eq!(id.to_string().len(), 64);
        assert_ne!(
            id,
            EndpointId::of(&network, &container, Ipv4Addr::new(10, 0, 0, 3))
        );
        assert_ne!(
            id,
            EndpointId::of(&network, &ContainerId::from_bytes([3; 32]), address)
        );
        assert_ne!(
            id,
            EndpointId::of(&NetworkId::from_bytes([3; 32]), &container, address)
        );
    }
}
