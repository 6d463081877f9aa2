//! The settings of the default network, and IPv4 networks as values.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An IPv4 address with its prefix length; host bits may be set (`172.17.0.1/16`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            // `u8::from_str` accepts a plus sign and leading zeros; CIDR notation does not.
            let plain = prefix.bytes().all(|c| c.is_ascii_digit())
                && (prefix == "0" || !prefix.starts_with('0'));
            let prefix = prefix.parse().ok().filter(|p| plain && *p <= 32)?;
            Some(Self {
                address: address.parse().ok()?,
                prefix,
            })
        };
        parse().ok_or_else(|| Error::InvalidNet {
            text: text.chars().take(80).collect(),
        })
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

/// A range of addresses that is cut into subnets of one size (`default-address-pools`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// The range.
    pub base: Ipv4Net,
    /// Prefix length of each subnet cut from it.
    pub size: u8,
}

impl AddressPool {
    /// Docker's defaults, in Docker's order.
    pub fn defaults() -> Vec<Self> {
        const POOLS: [([u8; 4], u8, u8); 7] = [
            ([172, 17, 0, 0], 16, 16),
            ([172, 18, 0, 0], 16, 16),
            ([172, 19, 0, 0], 16, 16),
            ([172, 20, 0, 0], 14, 16),
            ([172, 24, 0, 0], 14, 16),
            ([172, 28, 0, 0], 14, 16),
            ([192, 168, 0, 0], 16, 20),
        ];
        POOLS
            .iter()
            .map(|&(base, prefix, size)| Self {
                base: Ipv4Net {
                    address: Ipv4Addr::from(base),
                    prefix,
                },
                size,
            })
            .collect()
    }

    /// The subnets of the pool, in order.
    pub fn subnets(self) -> impl Iterator<Item = Ipv4Net> {
        let bits = u32::from(self.size.saturating_sub(self.base.prefix));
        let step = 1u64 << (32 - u32::from(self.size.min(32)));
        let first = u64::from(u32::from(self.base.first()));
        (0..1u64 << bits).filter_map(move |i| {
            let address = u32::try_from(first + i * step).ok()?;
            Ipv4Net::new(Ipv4Addr::from(address), self.size).ok()
        })
    }
}

/// What [`Network::open`](crate::Network::open) needs to know.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Directory for `network.json`; created when absent.
    pub state_dir: PathBuf,
    /// Name of the bridge interface, at most 15 bytes; one per data root.
    pub bridge: String,
    /// Name of the nf_tables table; one per data root.
    pub nft_table: String,
    /// Address and prefix of the bridge (`--bip`); otherwise the first free subnet of the pools.
    pub bip: Option<Ipv4Net>,
    /// Restricts container addresses to this part of the subnet (`--fixed-cidr`).
    pub fixed_cidr: Option<Ipv4Net>,
    /// Pools to take the subnet from (`--default-address-pool`).
    pub pools: Vec<AddressPool>,
    /// MTU of the bridge and the container interfaces (`--mtu`); 0 means 1500.
    pub mtu: u32,
    /// Whether containers reach other networks under the host's address (`--ip-masq`).
    pub masquerade: bool,
    /// Whether containers may talk to each other (`--icc`).
    pub inter_container: bool,
    /// Whether `net.ipv4.ip_forward` is switched on when it is off (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether the firewall table is made at all (`--iptables`).
    pub firewall: bool,
    /// How many sandboxes are kept ready; 0 disables the background thread.
    pub spares: usize,
}

/// Spare sandboxes kept by default: a burst of four starts costs about 2.6 MB of kernel memory.
pub const DEFAULT_SPARES: usize = 4;

impl NetworkConfig {
    /// Makes a configuration with Docker's defaults for everything else.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        bridge: impl Into<String>,
        nft_table: impl Into<String>,
    ) -> Self {
        Self {
            state_dir: state_dir.into(),
            bridge: bridge.into(),
            nft_table: nft_table.into(),
            bip: None,
            fixed_cidr: None,
            pools: AddressPool::defaults(),
            mtu: 0,
            masquerade: true,
            inter_container: true,
            ip_forward: true,
            firewall: true,
            spares: DEFAULT_SPARES,
        }
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
    fn pools_are_cut_in_order() {
        let all: Vec<_> = AddressPool::defaults()
            .into_iter()
            .flat_map(AddressPool::subnets)
            .collect();
        assert_eq!(all.len(), 3 + 3 * 4 + 16);
        assert_eq!(all[0], net("172.17.0.0/16"));
        assert_eq!(all[4], net("172.21.0.0/16"));
        assert_eq!(all.last(), Some(&net("192.168.240.0/20")));
    }
}
