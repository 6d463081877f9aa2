//! An endpoint: one container's place in one network, and what a caller may ask of it.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use spec::id::{ContainerId, NetworkId};

use crate::Error;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Derives the address that an endpoint gets by default: `02:42:` and the IPv4 address.
    ///
    /// A re-used IPv4 address keeps its Ethernet address, so no neighbour table goes stale.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
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
        let mut parts = text.split([':', '-']);
        let mut parse = || {
            for byte in &mut out {
                let part = parts.next()?;
                let plain = part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
                *byte = u8::from_str_radix(part, 16).ok().filter(|_| plain)?;
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

/// Identity of an endpoint: 64 hex digits, the same as long as container and address are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub(crate) [u8; 32]);

impl EndpointId {
    /// Derives the id, so that it needs no record of its own to survive a restart of the daemon.
    pub fn of(network: &NetworkId, container: &ContainerId, address: Ipv4Addr) -> Self {
        use sha2::Digest as _;
        let text = format!("{network}/{container}/{address}");
        Self(sha2::Sha256::digest(text.as_bytes()).into())
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

/// What a container may ask of its endpoint; everything is optional.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// A certain address (`--ip`) instead of the next free one.
    pub address: Option<Ipv4Addr>,
    /// A certain Ethernet address (`--mac-address`) instead of the derived one.
    pub mac: Option<MacAddress>,
}

/// A container's place in the network, and the namespace that holds its end.
///
/// Dropping `netns` without a process in it destroys the interface; the address stays reserved
/// until [`Network::detach`](crate::Network::detach).
#[derive(Debug)]
pub struct Endpoint {
    /// The sandbox: `lo` and `interface` are up, addressed and routed.
    pub netns: OwnedFd,
    /// Name of the interface inside (`eth0`).
    pub interface: String,
    /// Name of the other end in the host's namespace.
    pub host_interface: String,
    /// The IPv4 address.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// The bridge's address, which is the default route.
    pub gateway: Ipv4Addr,
    /// The Ethernet address.
    pub mac: MacAddress,
    /// Id of the endpoint.
    pub endpoint_id: EndpointId,
    /// Id of the network.
    pub network_id: NetworkId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_is_derived_and_parsed() {
        let mac = MacAddress::of(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:ac:11:00:02".parse::<MacAddress>().unwrap(), mac);
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "0:1:2:3:4:5",
            "+2:42:ac:11:00:02",
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
