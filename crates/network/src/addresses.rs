//! Which addresses of a subnet are taken, and the next one to give out.
//!
//! A freed address is the last to be given out again, so that neighbours and remembered connections
//! of its previous owner have time to go. Nothing of this is on disk: after a restart it follows
//! from the kernel's interfaces and the engine's live containers, so a crash can neither lose an
//! address nor give one out twice.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Error, IpNet};

/// Why an address was not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Every address is taken.
    Exhausted,
    /// The wanted one is taken, or is the network's or the broadcast address.
    InUse,
    /// The wanted one is not of this subnet.
    Outside,
}

/// The addresses of one subnet; numbers count from its first one.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: IpNet,
    /// First and last number given out unasked.
    range: (u128, u128),
    /// Where the next search begins.
    next: u128,
    taken: BTreeSet<u128>,
}

impl Addresses {
    /// Makes the addresses of a subnet; with `range`, only addresses in it are given out unasked.
    ///
    /// As in Docker, the network and broadcast addresses of IPv4 are taken, but not those of `/31`
    /// and `/32`; of IPv6 the first, which routers share, is taken.
    pub(crate) fn new(subnet: IpNet, range: Option<IpNet>) -> Result<Self, Error> {
        let subnet = subnet.network();
        let last = number(subnet.last()) - number(subnet.first());
        let range = match range {
            Some(part) if subnet.contains(part.first()) && subnet.contains(part.last()) => (
                number(part.first()) - number(subnet.first()),
                number(part.last()) - number(subnet.first()),
            ),
            Some(part) => {
                let rule = format!("{part} is not within the subnet {subnet}");
                return Err(Error::InvalidConfig { rule });
            }
            None => (0, last),
        };
        let mut taken = BTreeSet::new();
        if subnet.is_ipv6() || last > 1 {
            taken.insert(0);
        }
        if !subnet.is_ipv6() && last > 1 {
            taken.insert(last);
        }
        Ok(Self {
            subnet,
            range,
            next: range.0,
            taken,
        })
    }

    /// The subnet.
    pub(crate) fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// Takes the next free address.
    pub(crate) fn take(&mut self) -> Result<IpAddr, Refusal> {
        let (first, last) = self.range;
        let found = self
            .search(self.next, last)
            .or_else(|| self.search(first, last));
        let number = found.ok_or(Refusal::Exhausted)?;
        self.taken.insert(number);
        self.next = if number == last { first } else { number + 1 };
        Ok(self.address(number))
    }

    /// Takes a certain address.
    pub(crate) fn take_this(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let number = self.number(address).ok_or(Refusal::Outside)?;
        if self.taken.insert(number) {
            Ok(())
        } else {
            Err(Refusal::InUse)
        }
    }

    /// Gives an address back.
    pub(crate) fn free(&mut self, address: IpAddr) {
        if let Some(number) = self.number(address) {
            self.taken.remove(&number);
        }
    }

    /// The first free number from `first` to `last`, both included.
    fn search(&self, first: u128, last: u128) -> Option<u128> {
        let mut free = first;
        for &taken in self.taken.range(first..) {
            if taken != free {
                break;
            }
            free = taken.checked_add(1)?;
        }
        (free <= last).then_some(free)
    }

    fn number(&self, address: IpAddr) -> Option<u128> {
        self.subnet
            .contains(address)
            .then(|| number(address) - number(self.subnet.first()))
    }

    fn address(&self, offset: u128) -> IpAddr {
        let value = number(self.subnet.first()) + offset;
        if self.subnet.is_ipv6() {
            Ipv6Addr::from(value).into()
        } else {
            let value = u32::try_from(value).expect("a number within an IPv4 subnet");
            Ipv4Addr::from(value).into()
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(subnet: &str, range: Option<&str>) -> Result<Addresses, Error> {
        Addresses::new(subnet.parse().unwrap(), range.map(|r| r.parse().unwrap()))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn drain(all: &mut Addresses) -> Vec<String> {
        std::iter::from_fn(|| all.take().ok())
            .map(|address| address.to_string())
            .collect()
    }

    #[test]
    fn every_address_once_and_in_turn() {
        let mut all = addresses("10.0.0.0/29", None).unwrap();
        assert_eq!(all.take(), Ok(ip("10.0.0.1")));
        let rest = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
        assert_eq!(drain(&mut all), rest);
        assert_eq!(all.take(), Err(Refusal::Exhausted));
        all.free(ip("10.0.0.3"));
        all.free(ip("10.0.0.5"));
        assert_eq!(drain(&mut all), ["10.0.0.3", "10.0.0.5"]);
        // A freed address comes last.
        let mut all = addresses("10.0.0.0/24", None).unwrap();
        let first = all.take().unwrap();
        all.free(first);
        assert_eq!(all.take(), Ok(ip("10.0.0.2")));
        assert_eq!(drain(&mut all).last(), Some(&"10.0.0.1".to_owned()));
    }

    #[test]
    fn small_subnets_as_docker_has_them() {
        let all = |subnet| drain(&mut addresses(subnet, None).unwrap());
        assert_eq!(all("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(all("10.0.0.0/31"), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(all("10.0.0.7/32"), ["10.0.0.7"]);
        assert_eq!(all("fd00::/127"), ["fd00::1"]);
        assert_eq!(all("fd00::8/128"), Vec::<String>::new());
    }

    #[test]
    fn subnets_of_any_size() {
        let mut all = addresses("172.17.0.0/16", None).unwrap();
        assert_eq!(drain(&mut all).len(), 65_536 - 2);
        let mut all = addresses("fd00::/8", None).unwrap();
        assert_eq!(all.take(), Ok(ip("fd00::1")));
        let mut all = addresses("::/0", Some("ffff::/16")).unwrap();
        assert_eq!(all.take(), Ok(ip("ffff::")));
        let last = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(all.take_this(last), Ok(()));
        assert_eq!(all.take(), Ok(ip("ffff::1")));
        assert_eq!(
            addresses("0.0.0.0/0", None).unwrap().take(),
            Ok(ip("0.0.0.1"))
        );
    }

    #[test]
    fn certain_addresses() {
        let mut all = addresses("10.0.0.0/24", None).unwrap();
        assert_eq!(all.take_this(ip("10.0.0.9")), Ok(()));
        for taken in ["10.0.0.9", "10.0.0.0", "10.0.0.255"] {
            assert_eq!(all.take_this(ip(taken)), Err(Refusal::InUse), "{taken}");
        }
        for outside in ["10.0.1.2", "fd00::1", "::a00:2"] {
            assert_eq!(all.take_this(ip(outside)), Err(Refusal::Outside));
        }
        assert!(!drain(&mut all).contains(&"10.0.0.9".to_owned()));
    }

    #[test]
    fn only_a_range_is_given_out_unasked() {
        let mut all = addresses("10.0.0.0/24", Some("10.0.0.128/30")).unwrap();
        // Docker's gateway of such a network is the first address of the range.
        let range = ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"];
        assert_eq!(drain(&mut all), range);
        assert_eq!(all.take_this(ip("10.0.0.7")), Ok(()));
        assert!(addresses("10.0.0.0/24", Some("10.0.1.0/30")).is_err());
        assert!(addresses("10.0.0.0/24", Some("10.0.0.0/16")).is_err());
    }
}
