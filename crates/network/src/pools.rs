//! Ranges of addresses that are cut into subnets of one size (`default-address-pools`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{Error, IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses that is cut into subnets of one size (`default-address-pools`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// The range.
    pub base: IpNet,
    /// Prefix length of each subnet cut from it.
    pub size: u8,
}

/// A pool is not searched beyond this many subnets: a /48 cut into /64s holds this many.
const MOST_SUBNETS: u128 = 1 << 16;

impl AddressPool {
    /// Docker's IPv4 defaults, in Docker's order.
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
        let pool = |&(base, prefix, size): &([u8; 4], u8, u8)| Self {
            base: Ipv4Net::new(Ipv4Addr::from(base), prefix)
                .expect("the prefix lengths above are those of IPv4")
                .into(),
            size,
        };
        POOLS.iter().map(pool).collect()
    }

    /// Where subnets come from when Docker's defaults are used up and the user named none.
    pub(crate) fn further() -> Self {
        let base = Ipv4Net::new(Ipv4Addr::new(10, 128, 0, 0), 9);
        Self {
            base: base.expect("9 is a prefix length of IPv4").into(),
            size: 24,
        }
    }

    /// Refuses a size that is no subnet of the base.
    pub fn check(&self) -> Result<(), Error> {
        let longest = if self.base.is_ipv6() { 128 } else { 32 };
        if self.size < self.base.prefix() || self.size > longest {
            return Err(Error::InvalidConfig {
                rule: format!(
                    "invalid pools provided: size {} is no subnet size of {}",
                    self.size, self.base
                ),
            });
        }
        Ok(())
    }

    /// The subnets of the pool, in order.
    pub fn subnets(self) -> impl Iterator<Item = IpNet> {
        let bits = u32::from(self.size.saturating_sub(self.base.prefix()));
        let count = 1u128.checked_shl(bits).unwrap_or(MOST_SUBNETS);
        (0..count.min(MOST_SUBNETS)).filter_map(move |i| self.subnet(i))
    }

    fn subnet(&self, number: u128) -> Option<IpNet> {
        match self.base.first() {
            IpAddr::V4(first) => {
                let step = 1u128 << (32 - u32::from(self.size.min(32)));
                let address = u128::from(u32::from(first)) + number * step;
                let address = Ipv4Addr::from(u32::try_from(address).ok()?);
                Ipv4Net::new(address, self.size).ok().map(IpNet::V4)
            }
            IpAddr::V6(first) => {
                let step = 1u128.checked_shl(128 - u32::from(self.size.min(128)))?;
                let address = u128::from(first).checked_add(number.checked_mul(step)?)?;
                let address = Ipv6Addr::from(address);
                Ipv6Net::new(address, self.size).ok().map(IpNet::V6)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
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

    #[test]
    fn ipv6_pools_are_cut_too_and_bad_sizes_refused() {
        let pool = |base: &str, size| AddressPool {
            base: net(base),
            size,
        };
        let all: Vec<_> = pool("fd00:1:2::/48", 64).subnets().collect();
        assert_eq!(all.len(), 65_536);
        assert_eq!(all[1], net("fd00:1:2:1::/64"));
        assert_eq!(all[65_535], net("fd00:1:2:ffff::/64"));
        assert_eq!(
            pool("fd00::/8", 128).subnets().next(),
            Some(net("fd00::/128"))
        );
        assert!(pool("10.0.0.0/8", 33).check().is_err());
        assert!(pool("10.0.0.0/16", 8).check().is_err());
        assert!(pool("fd00::/48", 64).check().is_ok());
    }
}
