//! `network create`

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::client::Request;
use api::network::{ConfigReference, Ipam, IpamConfig, NetworkCreateRequest};
use serde_json::json;

use crate::app::App;
use crate::flags::Parsed;
use crate::output::text;
use crate::tree::Run;

/// `network create`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let request = Request::post("/networks/create").json(&json!(body(&flags)?));
        let made = app.client.json(request).await?;
        app.line(text(&made, "Id"))
    })
}

fn body(flags: &Parsed) -> Result<NetworkCreateRequest, String> {
    let switch = |name: &str| flags.changed(name).then(|| flags.bool(name));
    let config_from = flags.str("config-from");
    Ok(NetworkCreateRequest {
        driver: flags.str("driver").to_owned(),
        scope: flags.str("scope").to_owned(),
        enable_ipv4: switch("ipv4"),
        enable_ipv6: switch("ipv6"),
        ipam: Some(Ipam {
            driver: flags.str("ipam-driver").to_owned(),
            options: Some(pairs(flags, "ipam-opt")),
            config: Some(pools(flags)?),
        }),
        internal: flags.bool("internal"),
        attachable: flags.bool("attachable"),
        ingress: flags.bool("ingress"),
        config_only: flags.bool("config-only"),
        config_from: (!config_from.is_empty()).then(|| ConfigReference {
            network: config_from.to_owned(),
        }),
        options: Some(pairs(flags, "opt")),
        labels: Some(pairs(flags, "label")),
        name: flags.args.first().cloned().unwrap_or_default(),
        check_duplicate: None,
    })
}

fn pairs(flags: &Parsed, name: &str) -> BTreeMap<String, String> {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    };
    flags.list(name).iter().map(split).collect()
}

/// Joins the lists of subnets, ranges, gateways and further addresses: each goes to the subnet that
/// holds it.
fn pools(flags: &Parsed) -> Result<Vec<IpamConfig>, String> {
    let subnets = flags.list("subnet");
    let (ranges, gateways) = (flags.list("ip-range"), flags.list("gateway"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<IpamConfig> = Vec::new();
    for subnet in &subnets {
        for other in &pools {
            if holds(subnet, &other.subnet)? || holds(&other.subnet, subnet)? {
                return Err("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        pools.push(IpamConfig {
            subnet: subnet.clone(),
            ..IpamConfig::default()
        });
    }
    for range in &ranges {
        let mut placed = false;
        for pool in &mut pools {
            Cidr::parse(range)?;
            if !holds(&pool.subnet, range)? {
                continue;
            }
            let (had, subnet) = (&pool.ip_range, &pool.subnet);
            if !had.is_empty() {
                return Err(format!(
                    "cannot configure multiple ranges ({range}, {had}) on the same subnet ({subnet})"
                ));
            }
            pool.ip_range.clone_from(range);
            placed = true;
        }
        if !placed {
            return Err(format!("no matching subnet for range {range}"));
        }
    }
    for gateway in &gateways {
        let mut placed = false;
        for pool in &mut pools {
            if !holds(&pool.subnet, gateway)? {
                continue;
            }
            let (had, subnet) = (&pool.gateway, &pool.subnet);
            if !had.is_empty() {
                return Err(format!(
                    "cannot configure multiple gateways ({gateway}, {had}) for the same subnet ({subnet})"
                ));
            }
            pool.gateway.clone_from(gateway);
            placed = true;
        }
        if !placed {
            return Err(format!("no matching subnet for gateway {gateway}"));
        }
    }
    for (name, address) in pairs(flags, "aux-address") {
        let mut placed = false;
        for pool in &mut pools {
            if holds(&pool.subnet, &address)? {
                let auxiliary = pool.auxiliary.get_or_insert_default();
                auxiliary.insert(name.clone(), address.clone());
                placed = true;
            }
        }
        if !placed {
            return Err(format!("no matching subnet for aux-address {address}"));
        }
    }
    Ok(pools)
}

/// Whether an address, or the address of a subnet, lies in a subnet.
fn holds(subnet: &str, inner: &str) -> Result<bool, String> {
    let subnet = Cidr::parse(subnet).map_err(|why| format!("invalid subnet: {why}"))?;
    let address = match inner.contains('/') {
        true => Some(Cidr::parse(inner)?.address),
        false => inner.parse::<IpAddr>().ok().map(|ip| ip.to_canonical()),
    };
    Ok(address.is_some_and(|address| subnet.contains(address)))
}

/// An address and a length of prefix, as Go's `net.ParseCIDR` reads them.
struct Cidr {
    address: IpAddr,
    length: u32,
}

impl Cidr {
    fn parse(text: &str) -> Result<Self, String> {
        let read = || {
            let (address, length) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            let length: u32 = length.parse().ok().filter(|_| digits)?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            // An IPv4 subnet in the clothes of an IPv6 one is an IPv4 subnet.
            let spare = match (address, address.to_canonical()) {
                (IpAddr::V6(_), IpAddr::V4(_)) => 96,
                _ => 0,
            };
            (length <= most).then_some(Self {
                address: address.to_canonical(),
                length: length.saturating_sub(spare),
            })
        };
        read().ok_or_else(|| format!("invalid CIDR address: {text}"))
    }

    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let kept = u32::MAX.checked_shl(32 - self.length).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & kept == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let kept = u128::MAX.checked_shl(128 - self.length).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & kept == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Mixing, parse};

    fn read(args: &str) -> Result<NetworkCreateRequest, String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        body(&parse(super::super::CREATE.flags, Mixing::Anywhere, &args).unwrap())
    }

    #[test]
    fn a_name_alone() {
        assert_eq!(
            json!(read("n").unwrap()),
            json!({
                "Driver": "bridge", "Scope": "", "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "Internal": false,
                "Attachable": false, "Ingress": false, "ConfigOnly": false, "ConfigFrom": null, "Options": {}, "Labels": {}, "Name": "n",
            })
        );
    }

    #[test]
    fn flags_reach_the_body() {
        let made = read(
            "--subnet 10.1.0.0/16,fd00::/64 --gateway fd00::1 --gateway 10.1.9.1 --ip-range 10.1.9.0/24 --aux-address a=10.1.9.2 --aux-address b=fd00::2 -d macvlan -o parent=eth0 -o x --label l=1 --ipv6 --ipv4=false --internal --attachable --scope local --ipam-opt k=v --config-from c n",
        )
        .unwrap();
        assert_eq!(
            json!(made),
            json!({
                "Driver": "macvlan", "Scope": "local", "EnableIPv4": false, "EnableIPv6": true,
                "IPAM": {"Driver": "default", "Options": {"k": "v"}, "Config": [
                    {"Subnet": "10.1.0.0/16", "IPRange": "10.1.9.0/24", "Gateway": "10.1.9.1", "AuxiliaryAddresses": {"a": "10.1.9.2"}},
                    {"Subnet": "fd00::/64", "Gateway": "fd00::1", "AuxiliaryAddresses": {"b": "fd00::2"}},
                ]},
                "Internal": true, "Attachable": true, "Ingress": false, "ConfigOnly": false, "ConfigFrom": {"Network": "c"},
                "Options": {"parent": "eth0", "x": ""}, "Labels": {"l": "1"}, "Name": "n",
            })
        );
    }

    #[test]
    fn refusals() {
        for (args, want) in [
            (
                "--subnet 10.1.0.0/16 --subnet 10.1.2.0/24 n",
                "multiple overlapping subnet configuration is not supported",
            ),
            (
                "--gateway 1.2.3.4 n",
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                "--subnet 10.0.0.0/8 --gateway 1.2.3.4 n",
                "no matching subnet for gateway 1.2.3.4",
            ),
            (
                "--subnet 10.0.0.0/8 --ip-range x n",
                "invalid CIDR address: x",
            ),
            (
                "--subnet 10.0.0.0/8 --ip-range 11.0.0.0/16 n",
                "no matching subnet for range 11.0.0.0/16",
            ),
            (
                "--subnet 10.0.0.0/8 --subnet 11.0.0.0/8 --ip-range 10.1.0.0/16 --ip-range 10.2.0.0/16 n",
                "cannot configure multiple ranges (10.2.0.0/16, 10.1.0.0/16) on the same subnet (10.0.0.0/8)",
            ),
            (
                "--subnet 10.0.0.0/8 --subnet 11.0.0.0/8 --gateway 10.0.0.1 --gateway 10.0.0.2 n",
                "cannot configure multiple gateways (10.0.0.2, 10.0.0.1) for the same subnet (10.0.0.0/8)",
            ),
            (
                "--subnet 10.0.0.0/8 --aux-address a=1.2.3.4 n",
                "no matching subnet for aux-address 1.2.3.4",
            ),
            (
                "--subnet x --gateway 1.2.3.4 n",
                "invalid subnet: invalid CIDR address: x",
            ),
            (
                "--subnet 10.0.0.0/8 --gateway 10.0.0.1/xx n",
                "invalid CIDR address: 10.0.0.1/xx",
            ),
        ] {
            assert_eq!(read(args).unwrap_err(), want, "{args}");
        }
    }

    #[test]
    fn subnets_hold_addresses() {
        for (subnet, inner, want) in [
            ("0.0.0.0/0", "1.2.3.4", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("10.0.0.0/8", "fd00::1", false),
            ("::/0", "fd00::1", true),
            ("fd00::/64", "fd00:0:0:1::1", false),
            ("10.0.0.1/32", "10.0.0.1/8", true),
            ("10.0.0.0/8", "nonsense", false),
            ("::ffff:10.0.0.0/120", "10.0.0.9", true),
            ("::ffff:10.0.0.0/120", "10.0.1.9", false),
        ] {
            assert_eq!(holds(subnet, inner), Ok(want), "{subnet} {inner}");
        }
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0/8",
            "/8",
            "",
        ] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }
}
