//! Addresses of a network as the user writes them, read with all of Docker's refusals at once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use network::{IpNet, IpamSpec, PoolSpec};

use super::request::{IpamCreate, PoolCreate};
use crate::containers::joined_errors;
use crate::{Error, Result};

/// Reads pools.
///
/// # Errors
///
/// Everything that is wrong with them, a line each.
pub(super) fn read(ipam: &IpamCreate, ipv6: bool) -> Result<IpamSpec> {
    let mut wrong = Vec::new();
    let pools: Vec<PoolSpec> = ipam
        .pools
        .iter()
        .filter_map(|pool| read_pool(pool, ipv6, &mut wrong))
        .collect();
    if !wrong.is_empty() {
        let text = joined_errors(&wrong);
        return Err(Error::invalid(format!("invalid network config:\n{text}")));
    }
    Ok(IpamSpec {
        driver: ipam.driver.clone(),
        options: ipam.options.clone().unwrap_or_default(),
        pools,
    })
}

fn read_pool(pool: &PoolCreate, ipv6: bool, wrong: &mut Vec<String>) -> Option<PoolSpec> {
    let text = &pool.subnet;
    let Ok(subnet) = text.parse::<IpNet>() else {
        wrong.push(format!(
            "invalid subnet {text}: invalid CIDR block notation"
        ));
        return None;
    };
    // As in Docker, an IPv6 subnet of a network without IPv6 is neither looked at nor used.
    if subnet.is_ipv6() && !ipv6 {
        return Some(PoolSpec {
            subnet: Some(subnet.network()),
            ..PoolSpec::default()
        });
    }
    if subnet != subnet.network() {
        wrong.push(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.network()
        ));
    }
    let range = read_range(&pool.range, &subnet, wrong);
    let gateway = read_address(&pool.gateway, &subnet).unwrap_or_else(|e| {
        wrong.push(format!("invalid gateway {}: {e}", pool.gateway));
        None
    });
    let mut aux = BTreeMap::new();
    for (name, text) in &pool.aux {
        match read_address(text, &subnet) {
            Ok(Some(address)) => {
                aux.insert(name.clone(), address);
            }
            Ok(None) => {}
            Err(e) => wrong.push(format!("invalid auxiliary address {name}: {e}")),
        }
    }
    Some(PoolSpec {
        subnet: Some(subnet),
        range,
        gateway,
        aux,
        ..PoolSpec::default()
    })
}

fn read_range(text: &str, subnet: &IpNet, wrong: &mut Vec<String>) -> Option<IpNet> {
    if text.is_empty() {
        return None;
    }
    let Ok(range) = text.parse::<IpNet>() else {
        wrong.push(format!(
            "invalid ip-range {text}: invalid CIDR block notation"
        ));
        return None;
    };
    if range.is_ipv6() != subnet.is_ipv6() {
        let family = family(subnet);
        wrong.push(format!(
            "invalid ip-range {text}: parent subnet is an {family} block"
        ));
        return None;
    }
    if range.prefix() < subnet.prefix() {
        wrong.push(format!(
            "invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range != range.network() {
        wrong.push(format!(
            "invalid ip-range {range}: it should be {}",
            range.network()
        ));
    }
    if !subnet.overlaps(&range) {
        wrong.push(format!(
            "invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    Some(range)
}

fn read_address(text: &str, subnet: &IpNet) -> std::result::Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err("invalid address".to_owned());
    };
    if address.is_ipv6() != subnet.is_ipv6() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    if !subnet.contains(address) {
        return Err(format!(
            "parent subnet {subnet} doesn't contain this address"
        ));
    }
    Ok(Some(address))
}

fn family(subnet: &IpNet) -> &'static str {
    if subnet.is_ipv6() { "IPv6" } else { "IPv4" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, range: &str, gateway: &str) -> PoolCreate {
        PoolCreate {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            aux: BTreeMap::new(),
        }
    }

    fn refusal(pool: PoolCreate) -> String {
        let ipam = IpamCreate {
            pools: vec![pool],
            ..IpamCreate::default()
        };
        let error = read(&ipam, true).unwrap_err().to_string();
        error
            .strip_prefix("invalid network config:\n")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn every_refusal_has_dockers_words() {
        for (pool, text) in [
            (
                pool("", "", ""),
                "invalid subnet : invalid CIDR block notation",
            ),
            (
                pool("10.0.0.1/24", "", ""),
                "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24",
            ),
            (
                pool("10.0.0.0/24", "10.0.0.0/16", ""),
                "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24",
            ),
            (
                pool("10.0.0.0/24", "10.1.0.1/25", ""),
                "* invalid ip-range 10.1.0.1/25: it should be 10.1.0.0/25\n* invalid ip-range \
                 10.1.0.1/25: parent subnet 10.0.0.0/24 doesn't contain ip-range",
            ),
            (
                pool("10.0.0.0/24", "fd00::/80", ""),
                "invalid ip-range fd00::/80: parent subnet is an IPv4 block",
            ),
            (
                pool("fd00::/64", "", "10.0.0.1"),
                "invalid gateway 10.0.0.1: parent subnet is an IPv6 block",
            ),
            (
                pool("10.0.0.0/24", "", "10.0.1.1"),
                "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address",
            ),
            (
                pool("10.0.0.0/24", "", "x"),
                "invalid gateway x: invalid address",
            ),
        ] {
            assert_eq!(refusal(pool), text);
        }
        let mut pool = pool("10.0.0.0/24", "", "");
        pool.aux.insert("router".to_owned(), "10.9.0.1".to_owned());
        assert_eq!(
            refusal(pool),
            "invalid auxiliary address router: parent subnet 10.0.0.0/24 doesn't contain this address"
        );
    }

    #[test]
    fn good_pools_are_read() {
        let ipam = IpamCreate {
            pools: vec![
                pool("10.0.0.0/24", "10.0.0.128/25", "10.0.0.1"),
                pool("fd00::1/64", "", ""),
            ],
            ..IpamCreate::default()
        };
        let spec = read(&ipam, false).unwrap();
        assert_eq!(spec.pools[0].gateway, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(spec.pools[1].subnet, Some("fd00::/64".parse().unwrap()));
    }
}
