//! Settings of networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine::config::{FirewallMode, NetworkDefaults};

use super::{Reader, SettingsError, absolute, refused};

/// Defaults of all networks and settings of the default bridge.
///
/// # Errors
///
/// What makes no sense together; the texts are dockerd's.
pub(super) fn network_defaults(values: &Reader<'_>) -> Result<NetworkDefaults, SettingsError> {
    let on = |name: &str| values.flag(name).unwrap_or(true);
    let off = |name: &str| values.flag(name).unwrap_or(false);
    let mut defaults = NetworkDefaults {
        bip6: values.owned("bip6"),
        fixed_cidr: values.owned("fixed-cidr"),
        fixed_cidr6: fixed_cidr6(values)?,
        default_gateway: values.owned("default-gateway"),
        default_gateway6: values.owned("default-gateway-v6"),
        ipv6: off("ipv6"),
        ip6tables: on("ip6tables"),
        ip_masquerade: on("ip-masq"),
        ip_forward: on("ip-forward"),
        ip_forward_no_drop: off("ip-forward-no-drop"),
        default_bind_address: values.text("ip").and_then(|ip| ip.parse().ok()),
        userland_proxy: on("userland-proxy"),
        allow_direct_routing: off("allow-direct-routing"),
        default_network_options: driver_options(values),
        host_gateway_ips: host_gateways(values)?,
        firewall_mode: match values.text("firewall") {
            Some("docker") => FirewallMode::Docker,
            _ => FirewallMode::Host,
        },
        ..NetworkDefaults::default()
    };
    if let Some(dir) = values.owned("cni-config-dir") {
        defaults.cni_config_dir = Some(absolute(&dir)?);
    }
    let dirs = values.list("cni-bin-dir").iter().map(|dir| absolute(dir));
    let dirs: Vec<_> = dirs.collect::<Result<_, _>>()?;
    if !dirs.is_empty() {
        defaults.cni_bin_dirs = dirs;
    }
    Ok(defaults)
}

/// Name servers: a flag may hold several.
pub(super) fn servers(values: &Reader<'_>) -> Vec<String> {
    let all = values.list("dns").iter();
    all.flat_map(|servers| servers.split(','))
        .filter(|server| !server.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The MTU of the default bridge.
pub(super) fn mtu(values: &Reader<'_>) -> Result<Option<u32>, SettingsError> {
    let Some(text) = values.text("mtu") else {
        return Ok(None);
    };
    match text.parse::<u32>() {
        Ok(mtu) => Ok(Some(mtu).filter(|mtu| *mtu > 0)),
        Err(_) => refused(format!("invalid default MTU: {text}")),
    }
}

fn fixed_cidr6(values: &Reader<'_>) -> Result<Option<String>, SettingsError> {
    let Some(text) = values.owned("fixed-cidr-v6") else {
        return Ok(None);
    };
    if !text.contains('/') {
        return refused(format!(
            "invalid fixed-cidr-v6: invalid fixed-cidr-v6: netip.ParsePrefix({text:?}): no '/'"
        ));
    }
    Ok(Some(text))
}

fn driver_options(values: &Reader<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (driver, option) in values.pairs("default-network-opt") {
        if let Some((key, value)) = option.split_once('=') {
            let options = all.entry(driver).or_default();
            options.insert(key.to_owned(), value.to_owned());
        }
    }
    all
}

/// At most one address of each family.
fn host_gateways(values: &Reader<'_>) -> Result<Vec<IpAddr>, SettingsError> {
    let all = values.list("host-gateway-ip").iter();
    let all: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    for (family, is_of) in [
        ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("IPv6", IpAddr::is_ipv6),
    ] {
        if all.iter().filter(|ip| is_of(ip)).count() > 1 {
            return refused(format!(
                "only one {family} host gateway IP address can be specified"
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse;

    fn read(line: &str) -> Result<NetworkDefaults, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let values = parse("cortend", &args).map_err(|e| e.to_string())?;
        network_defaults(&Reader(&values)).map_err(|e| e.to_string())
    }

    #[test]
    fn dockerds_defaults() {
        let got = read("").unwrap();
        assert!(got.ip6tables && got.ip_masquerade && got.ip_forward && got.userland_proxy);
        assert!(!got.ipv6 && !got.allow_direct_routing && !got.ip_forward_no_drop);
        assert_eq!(got.firewall_mode, FirewallMode::Host);
        assert_eq!(got.default_bind_address, None);
    }

    #[test]
    fn flags_reach_the_engine() {
        let got = read("--ip 127.0.0.1 --ipv6 --ip-masq=false --fixed-cidr 10.0.0.0/24 --fixed-cidr-v6 fd00::/64 --default-gateway 10.0.0.9 --bip6 fd00::1/64 --host-gateway-ip 10.0.0.1 --host-gateway-ip ::1 --default-network-opt bridge=a=b=c --default-network-opt macvlan=x=y --firewall docker --cni-bin-dir /a --cni-bin-dir /b").unwrap();
        assert_eq!(got.default_bind_address, Some(IpAddr::from([127, 0, 0, 1])));
        assert!(got.ipv6 && !got.ip_masquerade);
        assert_eq!(got.fixed_cidr.as_deref(), Some("10.0.0.0/24"));
        assert_eq!(got.fixed_cidr6.as_deref(), Some("fd00::/64"));
        assert_eq!(got.default_gateway.as_deref(), Some("10.0.0.9"));
        assert_eq!(got.bip6.as_deref(), Some("fd00::1/64"));
        assert_eq!(got.host_gateway_ips.len(), 2);
        assert_eq!(got.default_network_options["bridge"]["a"], "b=c");
        assert_eq!(got.default_network_options["macvlan"]["x"], "y");
        assert_eq!(got.firewall_mode, FirewallMode::Docker);
        assert_eq!(got.cni_bin_dirs.len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, want) in [
            (
                "--host-gateway-ip 1.2.3.4 --host-gateway-ip 1.2.3.5",
                "only one IPv4 host gateway IP address can be specified",
            ),
            (
                "--fixed-cidr-v6 x",
                "invalid fixed-cidr-v6: invalid fixed-cidr-v6: netip.ParsePrefix(\"x\"): no '/'",
            ),
            (
                "--ip x",
                "invalid argument \"x\" for \"--ip\" flag: failed to parse IP: \"x\"",
            ),
        ] {
            assert_eq!(read(line).unwrap_err(), want, "{line}");
        }
        let values = parse("cortend", &["--mtu=-1".to_owned()]).unwrap();
        assert_eq!(
            mtu(&Reader(&values)).unwrap_err().to_string(),
            "invalid default MTU: -1"
        );
        let values = parse(
            "cortend",
            &["--dns=1.1.1.1,::1".to_owned(), "--dns=9.9.9.9".to_owned()],
        )
        .unwrap();
        assert_eq!(servers(&Reader(&values)), ["1.1.1.1", "::1", "9.9.9.9"]);
    }
}
