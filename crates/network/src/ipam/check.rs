//! Whether what a user wrote about subnets makes sense; all complaints at once, in Docker's words.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

use spec::error::ErrorKind;

use crate::definition::PoolText;
use crate::{Error, IpNet, IpamSpec, PoolSpec, Result};

impl IpamSpec {
    /// Reads pools as a client wrote them; the error lists everything that is wrong.
    pub fn parse_pools(texts: &[PoolText]) -> Result<Vec<PoolSpec>> {
        let mut wrong = Vec::new();
        let pools: Vec<_> = texts.iter().map(|text| parse(text, &mut wrong)).collect();
        complain(&wrong).map(|()| pools)
    }
}

/// Refuses pools whose parts do not belong together.
pub(crate) fn check(pools: &[PoolSpec]) -> Result<()> {
    let mut wrong = Vec::new();
    for pool in pools {
        match pool.subnet {
            Some(subnet) => check_pool(pool, subnet, &mut wrong),
            None => wrong.push("invalid subnet : invalid CIDR block notation".to_owned()),
        }
    }
    complain(&wrong)
}

fn parse(text: &PoolText, wrong: &mut Vec<String>) -> PoolSpec {
    let before = wrong.len();
    let subnet = net(&text.subnet);
    if subnet.is_none() {
        wrong.push(format!(
            "invalid subnet {}: invalid CIDR block notation",
            text.subnet
        ));
        // Docker says nothing about the rest of a pool without a subnet.
        return PoolSpec::default();
    }
    let range = net(&text.range);
    if range.is_none() && !text.range.is_empty() {
        wrong.push(format!(
            "invalid ip-range {}: invalid CIDR block notation",
            text.range
        ));
    }
    let gateway: Option<IpAddr> = text.gateway.parse().ok();
    if gateway.is_none() && !text.gateway.is_empty() {
        wrong.push(format!("invalid gateway {}: invalid address", text.gateway));
    }
    let mut aux = BTreeMap::new();
    for (name, address) in &text.aux {
        match address.parse() {
            Ok(address) => drop(aux.insert(name.clone(), address)),
            Err(_) => wrong.push(format!("invalid auxiliary address {name}: invalid address")),
        }
    }
    let pool = PoolSpec {
        subnet,
        range,
        gateway,
        aux,
        ..PoolSpec::default()
    };
    if let (Some(subnet), true) = (subnet, wrong.len() == before) {
        check_pool(&pool, subnet, wrong);
    }
    pool
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok()
}

fn check_pool(pool: &PoolSpec, subnet: IpNet, wrong: &mut Vec<String>) {
    let network = subnet.network();
    if subnet != network {
        wrong.push(format!("invalid subnet {subnet}: it should be {network}"));
    }
    if let Some(range) = pool.range {
        if range.is_ipv6() != subnet.is_ipv6() {
            wrong.push(format!(
                "invalid ip-range {range}: parent subnet is {}",
                family(subnet)
            ));
        } else if range.prefix() < subnet.prefix() {
            wrong.push(format!(
                "invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"
            ));
        } else if !subnet.contains(range.first()) {
            wrong.push(format!(
                "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
            ));
        } else if range != range.network() {
            wrong.push(format!(
                "invalid ip-range {range}: it should be {}",
                range.network()
            ));
        }
    }
    let mut inside = |what: &dyn Display, address: IpAddr| {
        if address.is_ipv6() != subnet.is_ipv6() {
            wrong.push(format!(
                "invalid {what}: parent subnet is {}",
                family(subnet)
            ));
        } else if !subnet.contains(address) {
            let parent = format!("parent subnet {subnet} doesn't contain this address");
            wrong.push(format!("invalid {what}: {parent}"));
        }
    };
    if let Some(gateway) = pool.gateway {
        inside(&format!("gateway {gateway}"), gateway);
    }
    for (name, address) in &pool.aux {
        inside(&format!("auxiliary address {name}"), *address);
    }
}

fn family(net: IpNet) -> &'static str {
    if net.is_ipv6() {
        "an IPv6 block"
    } else {
        "an IPv4 block"
    }
}

fn complain(wrong: &[String]) -> Result<()> {
    let text = match wrong {
        [] => return Ok(()),
        [one] => format!("invalid network config:\n{one}"),
        all => format!("invalid network config:\n* {}", all.join("\n* ")),
    };
    Err(Error::refused(ErrorKind::InvalidArgument, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(subnet: &str, range: &str, gateway: &str, aux: &str) -> String {
        let mut text = PoolText {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            ..PoolText::default()
        };
        if !aux.is_empty() {
            text.aux.insert("a".to_owned(), aux.to_owned());
        }
        match IpamSpec::parse_pools(&[text]) {
            Ok(_) => String::new(),
            Err(error) => error.to_string().replace("invalid network config:\n", ""),
        }
    }

    #[test]
    fn complaints_are_dockers() {
        let of = |subnet| refusal(subnet, "", "", "");
        assert_eq!(of("10.0.0.0/8"), "");
        for bad in ["", "10.0.0.0/33", "10.0.0.0", "x"] {
            assert_eq!(
                of(bad),
                format!("invalid subnet {bad}: invalid CIDR block notation")
            );
        }
        assert_eq!(
            of("10.124.0.5/16"),
            "invalid subnet 10.124.0.5/16: it should be 10.124.0.0/16"
        );
        assert_eq!(
            refusal("10.0.0.0/24", "10.0.0.7/24", "10.0.1.0", "10.1.1.1"),
            "* invalid ip-range 10.0.0.7/24: it should be 10.0.0.0/24\n\
             * invalid gateway 10.0.1.0: parent subnet 10.0.0.0/24 doesn't contain this address\n\
             * invalid auxiliary address a: parent subnet 10.0.0.0/24 doesn't contain this address"
        );
        assert_eq!(
            refusal("10.0.0.0/24", "x", "y", "z"),
            "* invalid ip-range x: invalid CIDR block notation\n\
             * invalid gateway y: invalid address\n\
             * invalid auxiliary address a: invalid address"
        );
        assert_eq!(
            refusal("10.0.0.0/24", "10.0.0.0/16", "", ""),
            "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24"
        );
    }
}
