//! IP networks as values: an address with a prefix length.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An IPv4 address with its prefix length; host bits may be set (`172.17.0.1/16`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Net {
    address: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Net {
    /// Makes a network of an address and a prefix length of at most 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, Error> {
        if prefix > 32 {
            let text = format!("{address}/{prefix}");
            return Err(Error::InvalidNet { text });
        }
        Ok(Self { address, prefix })
    }

    /// The address as written, host bits included.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The prefix length.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask as a number.
    pub fn mask(&self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix))
            .unwrap_or(0)
    }

    /// The first address: all host bits zero.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }

    /// The last address: all host bits one.
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !self.mask())
    }

    /// The same network without host bits.
    pub fn network(&self) -> Self {
        Self {
            address: self.first(),
            prefix: self.prefix,
        }
    }

    /// Tells whether the address lies inside.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.first())
    }

    /// Tells whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Net {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        split(text, 32)
            .and_then(|(address, prefix)| {
                let address = address.parse().ok()?;
                Some(Self { address, prefix })
            })
            .ok_or_else(|| invalid(text))
    }
}

impl TryFrom<String> for Ipv4Net {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Ipv4Net> for String {
    fn from(net: Ipv4Net) -> Self {
        net.to_string()
    }
}

/// An IPv6 address with its prefix length; host bits may be set (`fd00::1/64`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv6Net {
    address: Ipv6Addr,
    prefix: u8,
}

impl Ipv6Net {
    /// Makes a network of an address and a prefix length of at most 128.
    pub fn new(address: Ipv6Addr, prefix: u8) -> Result<Self, Error> {
        if prefix > 128 {
            let text = format!("{address}/{prefix}");
            return Err(Error::InvalidNet { text });
        }
        Ok(Self { address, prefix })
    }

    /// The address as written, host bits included.
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// The prefix length.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask as a number.
    pub fn mask(&self) -> u128 {
        u128::MAX
            .checked_shl(128 - u32::from(self.prefix))
            .unwrap_or(0)
    }

    /// The first address: all host bits zero.
    pub fn first(&self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.address) & self.mask())
    }

    /// The last address: all host bits one.
    pub fn last(&self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.address) | !self.mask())
    }

    /// The same network without host bits.
    pub fn network(&self) -> Self {
        Self {
            address: self.first(),
            prefix: self.prefix,
        }
    }

    /// Tells whether the address lies inside.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        u128::from(address) & self.mask() == u128::from(self.first())
    }

    /// Tells whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }
}

impl fmt::Display for Ipv6Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv6Net {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        split(text, 128)
            .and_then(|(address, prefix)| {
                let address = address.parse().ok()?;
                Some(Self { address, prefix })
            })
            .ok_or_else(|| invalid(text))
    }
}

impl TryFrom<String> for Ipv6Net {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Ipv6Net> for String {
    fn from(net: Ipv6Net) -> Self {
        net.to_string()
    }
}

/// A network of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IpNet {
    /// IPv4.
    V4(Ipv4Net),
    /// IPv6.
    V6(Ipv6Net),
}

impl IpNet {
    /// Makes a network of an address and a prefix length that fits its family.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, Error> {
        match address {
            IpAddr::V4(address) => Ipv4Net::new(address, prefix).map(Self::V4),
            IpAddr::V6(address) => Ipv6Net::new(address, prefix).map(Self::V6),
        }
    }

    /// The IPv4 network, if it is one.
    pub fn v4(&self) -> Option<Ipv4Net> {
        match self {
            Self::V4(net) => Some(*net),
            Self::V6(_) => None,
        }
    }

    /// The IPv6 network, if it is one.
    pub fn v6(&self) -> Option<Ipv6Net> {
        match self {
            Self::V4(_) => None,
            Self::V6(net) => Some(*net),
        }
    }

    /// Tells whether it is an IPv6 network.
    pub fn is_ipv6(&self) -> bool {
        matches!(self, Self::V6(_))
    }

    /// The address as written, host bits included.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::V4(net) => net.address().into(),
            Self::V6(net) => net.address().into(),
        }
    }

    /// The prefix length.
    pub fn prefix(&self) -> u8 {
        match self {
            Self::V4(net) => net.prefix(),
            Self::V6(net) => net.prefix(),
        }
    }

    /// The first address: all host bits zero.
    pub fn first(&self) -> IpAddr {
        match self {
            Self::V4(net) => net.first().into(),
            Self::V6(net) => net.first().into(),
        }
    }

    /// The last address: all host bits one.
    pub fn last(&self) -> IpAddr {
        match self {
            Self::V4(net) => net.last().into(),
            Self::V6(net) => net.last().into(),
        }
    }

    /// The same network without host bits.
    pub fn network(&self) -> Self {
        match self {
            Self::V4(net) => Self::V4(net.network()),
            Self::V6(net) => Self::V6(net.network()),
        }
    }

    /// Tells whether the address lies inside; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(net), IpAddr::V4(address)) => net.contains(address),
            (Self::V6(net), IpAddr::V6(address)) => net.contains(address),
            _ => false,
        }
    }

    /// Tells whether the two share an address; never across families.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::V4(a), Self::V4(b)) => a.overlaps(b),
            (Self::V6(a), Self::V6(b)) => a.overlaps(b),
            _ => false,
        }
    }
}

impl From<Ipv4Net> for IpNet {
    fn from(net: Ipv4Net) -> Self {
        Self::V4(net)
    }
}

impl From<Ipv6Net> for IpNet {
    fn from(net: Ipv6Net) -> Self {
        Self::V6(net)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(net) => net.fmt(f),
            Self::V6(net) => net.fmt(f),
        }
    }
}

impl FromStr for IpNet {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') {
            text.parse().map(Self::V6)
        } else {
            text.parse().map(Self::V4)
        }
    }
}

impl TryFrom<String> for IpNet {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<IpNet> for String {
    fn from(net: IpNet) -> Self {
        net.to_string()
    }
}

/// Splits CIDR notation; `u8::from_str` accepts a plus sign and leading zeros, CIDR does not.
fn split(text: &str, longest: u8) -> Option<(&str, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let plain =
        prefix.bytes().all(|c| c.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let prefix = prefix.parse().ok().filter(|p| plain && *p <= longest)?;
    Some((address, prefix))
}

fn invalid(text: &str) -> Error {
    Error::InvalidNet {
        text: text.chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn nets_parse_strictly_and_print_back() {
        for good in ["172.17.0.1/16", "0.0.0.0/0", "10.0.0.5/32"] {
            assert_eq!(net(good).to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0/8",
            "::/0",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(bad.parse::<Ipv4Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_and_overlap() {
        let net16 = net("172.17.3.1/16");
        assert_eq!(net16.first(), Ipv4Addr::new(172, 17, 0, 0));
        assert_eq!(net16.last(), Ipv4Addr::new(172, 17, 255, 255));
        assert!(net16.overlaps(&net("172.17.200.0/24")));
        assert!(net("172.17.200.0/24").overlaps(&net16));
        assert!(!net16.overlaps(&net("172.18.0.0/16")));
        assert!(net("0.0.0.0/0").overlaps(&net16));
        assert_eq!(net("10.0.0.1/32").last(), Ipv4Addr::new(10, 0, 0, 1));
    }

    #[test]
    fn both_families() {
        for text in ["10.0.0.1/8", "fd00::1/64", "::/0", "2001:db8::/128"] {
            assert_eq!(text.parse::<IpNet>().unwrap().to_string(), text);
        }
        for bad in [
            "fd00::/129",
            "fd00::",
            "fd00:/64",
            "fd00::1/064",
            "10.0.0.1/64",
        ] {
            assert!(bad.parse::<IpNet>().is_err(), "{bad}");
        }
        let six: Ipv6Net = "fd00::1/64".parse().unwrap();
        assert_eq!(six.last().to_string(), "fd00::ffff:ffff:ffff:ffff");
        assert!(six.overlaps(&"fd00::/16".parse().unwrap()));
        assert!(!six.overlaps(&"fd00:0:0:1::/64".parse().unwrap()));
        let any: IpNet = "::/0".parse().unwrap();
        assert!(!any.overlaps(&"0.0.0.0/0".parse().unwrap()));
        assert!(
            any.contains("::1".parse().unwrap()) && !any.contains("127.0.0.1".parse().unwrap())
        );
    }
}
