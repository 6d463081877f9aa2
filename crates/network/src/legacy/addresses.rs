//! Which addresses of a subnet are taken: one bit each, given out in turn.
//!
//! A freed address is the last to be given out again, so that neighbours and remembered connections
//! of its previous owner have time to go. Nothing of this is on disk: after a restart the bits are
//! set anew from the kernel's interfaces and the engine's live containers, so a crash can neither
//! lose an address nor give one out twice.

use std::net::Ipv4Addr;

use crate::{Error, Ipv4Net};

/// The subnet is cut off at /8: 16 million addresses, 2 MiB of bits.
pub(crate) const SHORTEST_PREFIX: u8 = 8;
/// Network, gateway, broadcast and one container need four addresses.
pub(crate) const LONGEST_PREFIX: u8 = 30;

/// Why an address was not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Every address is taken.
    Exhausted,
    /// The wanted one is taken.
    InUse,
    /// The wanted one is not of this subnet, or its network or broadcast address.
    Outside,
}

/// The addresses of one subnet.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Ipv4Net,
    /// First and last number (counted from the subnet's first address) given out unasked.
    range: (u32, u32),
    /// Where the next search begins.
    next: u32,
    taken: Vec<u64>,
}

impl Addresses {
    /// Makes the addresses of a subnet; the network, broadcast and gateway addresses are taken.
    ///
    /// With `part`, only addresses in it are given out unasked.
    pub(crate) fn new(
        subnet: Ipv4Net,
        gateway: Ipv4Addr,
        part: Option<Ipv4Net>,
    ) -> Result<Self, Error> {
        let invalid = |rule| Err(Error::InvalidConfig { rule });
        if !(SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&subnet.prefix()) {
            return invalid(format!(
                "subnet {subnet} must have a prefix length of {SHORTEST_PREFIX} to {LONGEST_PREFIX}"
            ));
        }
        let subnet = subnet.network();
        let last = u32::from(subnet.last()) - u32::from(subnet.first());
        let range = match part {
            Some(part) if subnet.contains(part.first()) && subnet.contains(part.last()) => {
                let number = |address| u32::from(address) - u32::from(subnet.first());
                (number(part.first()), number(part.last()))
            }
            Some(part) => return invalid(format!("{part} is not within the subnet {subnet}")),
            None => (0, last),
        };
        let mut addresses = Self {
            subnet,
            range,
            next: range.0,
            taken: vec![0; (last as usize + 1).div_ceil(64)],
        };
        addresses.set(0, true);
        addresses.set(last, true);
        match addresses.number(gateway) {
            Some(number) if !addresses.is_set(number) => addresses.set(number, true),
            _ => return invalid(format!("{gateway} cannot be the gateway of {subnet}")),
        }
        Ok(addresses)
    }

    /// Takes the next free address.
    pub(crate) fn take(&mut self) -> Result<Ipv4Addr, Refusal> {
        let (first, last) = self.range;
        let found = self
            .search(self.next, last)
            .or_else(|| self.search(first, self.next.saturating_sub(1).min(last)));
        let number = found.ok_or(Refusal::Exhausted)?;
        self.set(number, true);
        self.next = if number == last { first } else { number + 1 };
        Ok(Ipv4Addr::from(u32::from(self.subnet.first()) + number))
    }

    /// Takes a certain address.
    pub(crate) fn take_this(&mut self, address: Ipv4Addr) -> Result<(), Refusal> {
        let number = self.number(address).ok_or(Refusal::Outside)?;
        if number == 0 || address == self.subnet.last() {
            return Err(Refusal::Outside);
        }
        if self.is_set(number) {
            return Err(Refusal::InUse);
        }
        self.set(number, true);
        Ok(())
    }

    /// Gives an address back.
    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        if let Some(number) = self.number(address) {
            self.set(number, false);
        }
    }

    /// The first free number from `first` to `last`, both included.
    fn search(&self, first: u32, last: u32) -> Option<u32> {
        let mut number = first;
        while number <= last {
            let word = self.taken[number as usize / 64] >> (number % 64);
            // The shift fills with zeros from above, which look free: hence the bound below.
            let free = word.trailing_ones();
            if free < 64 - number % 64 {
                let found = number + free;
                return (found <= last).then_some(found);
            }
            number = (number / 64 + 1) * 64;
        }
        None
    }

    fn number(&self, address: Ipv4Addr) -> Option<u32> {
        let number = || u32::from(address) - u32::from(self.subnet.first());
        self.subnet.contains(address).then(number)
    }

    fn is_set(&self, number: u32) -> bool {
        self.taken[number as usize / 64] >> (number % 64) & 1 == 1
    }

    fn set(&mut self, number: u32, taken: bool) {
        let bit = 1u64 << (number % 64);
        let word = &mut self.taken[number as usize / 64];
        *word = if taken { *word | bit } else { *word & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(subnet: &str, gateway: &str, part: Option<&str>) -> Result<Addresses, Error> {
        let part = part.map(|part| part.parse().unwrap());
        Addresses::new(subnet.parse().unwrap(), gateway.parse().unwrap(), part)
    }

    fn drain(all: &mut Addresses) -> Vec<u8> {
        std::iter::from_fn(|| all.take().ok())
            .map(|address| address.octets()[3])
            .collect()
    }

    #[test]
    fn every_address_once_and_in_turn() {
        let mut all = addresses("10.0.0.0/29", "10.0.0.1", None).unwrap();
        assert_eq!(drain(&mut all), [2, 3, 4, 5, 6]);
        assert_eq!(all.take(), Err(Refusal::Exhausted));
        all.free(Ipv4Addr::new(10, 0, 0, 3));
        all.free(Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(drain(&mut all), [3, 5]);
        // A freed address comes last.
        let mut all = addresses("10.0.0.0/24", "10.0.0.1", None).unwrap();
        let first = all.take().unwrap();
        all.free(first);
        assert_eq!(all.take().unwrap(), Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(drain(&mut all).last(), Some(&2));
    }

    #[test]
    fn large_subnets_cross_word_and_octet_bounds() {
        let mut all = addresses("172.17.0.0/16", "172.17.0.1", None).unwrap();
        let given: Vec<_> = std::iter::from_fn(|| all.take().ok()).collect();
        assert_eq!(given.len(), 65_536 - 3);
        assert!(given.is_sorted());
        assert_eq!(given.last(), Some(&Ipv4Addr::new(172, 17, 255, 254)));
    }

    #[test]
    fn certain_addresses() {
        let mut all = addresses("10.0.0.0/24", "10.0.0.1", None).unwrap();
        let this = |last| Ipv4Addr::new(10, 0, 0, last);
        assert_eq!(all.take_this(this(9)), Ok(()));
        assert_eq!(all.take_this(this(9)), Err(Refusal::InUse));
        assert_eq!(all.take_this(this(1)), Err(Refusal::InUse));
        for outside in [this(0), this(255), Ipv4Addr::new(10, 0, 1, 2)] {
            assert_eq!(all.take_this(outside), Err(Refusal::Outside));
        }
        assert!(!drain(&mut all).contains(&9));
    }

    #[test]
    fn only_a_part_is_given_out_unasked() {
        let mut all = addresses("10.0.0.0/24", "10.0.0.1", Some("10.0.0.128/30")).unwrap();
        assert_eq!(drain(&mut all), [128, 129, 130, 131]);
        assert_eq!(all.take_this(Ipv4Addr::new(10, 0, 0, 7)), Ok(()));
        assert!(addresses("10.0.0.0/24", "10.0.0.1", Some("10.0.1.0/30")).is_err());
        assert!(addresses("10.0.0.0/24", "10.0.0.1", Some("10.0.0.0/16")).is_err());
    }

    #[test]
    fn unusable_subnets_are_refused() {
        assert!(addresses("10.0.0.0/31", "10.0.0.1", None).is_err());
        assert!(addresses("10.0.0.0/7", "10.0.0.1", None).is_err());
        for gateway in ["10.0.0.0", "10.0.0.255", "10.0.1.1"] {
            assert!(
                addresses("10.0.0.0/24", gateway, None).is_err(),
                "{gateway}"
            );
        }
        let mut all = addresses("10.0.0.0/30", "10.0.0.1", None).unwrap();
        assert_eq!(drain(&mut all), [2]);
    }
}
