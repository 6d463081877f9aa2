//! What may be asked of a container's place in a network; texts are Docker's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network::{EndpointRequest, IpNet, MacAddress};
use spec::NetworkId;

use super::{Mode, is_user_defined};
use crate::container::{Config, EndpointIpam, EndpointSettings, HostConfig};
use crate::{Error, Result};

/// Option that holds kernel parameters of an interface.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Checks what contradicts a network mode; before the image's settings are merged in.
///
/// # Errors
///
/// The first contradiction.
pub(crate) fn check_mode(config: &Config, host: &HostConfig) -> Result<()> {
    let refuse = |text: &str| Err(Error::invalid(text));
    let mode = Mode::of(&host.network_mode);
    if let Mode::Container(key) = mode {
        if key.is_empty() {
            return refuse("invalid network mode: invalid container format container:<name|id>");
        }
        if !config.hostname.is_empty() {
            return refuse("conflicting options: hostname and the network mode");
        }
        if !host.links.is_empty() {
            return refuse(
                "conflicting options: container type network can't be used with links. \
                 This would result in undefined behavior",
            );
        }
        if !host.dns.is_empty() {
            return refuse("conflicting options: dns and the network mode");
        }
        if !host.extra_hosts.is_empty() {
            return refuse("conflicting options: custom host-to-IP mapping and the network mode");
        }
        if !host.port_bindings.is_empty() || host.publish_all_ports {
            return refuse(
                "conflicting options: port publishing and the container type network mode",
            );
        }
        if !config.exposed_ports.is_empty() {
            return refuse(
                "conflicting options: port exposing and the container type network mode",
            );
        }
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if mode == Mode::Host && !host.links.is_empty() {
        return refuse(HOST_AND_LINKS);
    }
    Ok(())
}

/// Docker's text for links where there is nothing that they could open.
pub(super) const HOST_AND_LINKS: &str = "conflicting options: host type networking can't be used with links. \
     This would result in undefined behavior";

/// Checks the settings of one endpoint; `subnets` are those that the network's user gave, `None`
/// where the network does not exist (yet).
///
/// # Errors
///
/// Everything that is wrong, a line each.
pub(crate) fn check(
    network: &str,
    subnets: Option<&[IpNet]>,
    settings: &EndpointSettings,
) -> std::result::Result<(), String> {
    let none = EndpointIpam::default();
    let ipam = settings.ipam.as_ref().unwrap_or(&none);
    let mut wrong: Vec<String> = Vec::new();
    if !is_user_defined(network) {
        if !(ipam.ipv4.is_empty() && ipam.ipv6.is_empty()) {
            wrong.push(
                "user specified IP address is supported on user defined networks only".into(),
            );
        }
        if settings.aliases.as_ref().is_some_and(|a| !a.is_empty()) {
            wrong.push(
                "network-scoped alias is supported only for containers in user defined networks"
                    .into(),
            );
        }
    }
    let is_v4 = |t: &str| t.parse::<Ipv4Addr>().is_ok_and(|a| !a.is_unspecified());
    let is_v6 = |t: &str| t.parse::<Ipv6Addr>().is_ok_and(|a| !a.is_unspecified());
    if !(ipam.ipv4.is_empty() || is_v4(&ipam.ipv4)) {
        wrong.push(format!("invalid IPv4 address: {}", ipam.ipv4));
    }
    if !(ipam.ipv6.is_empty() || is_v6(&ipam.ipv6)) {
        wrong.push(format!("invalid IPv6 address: {}", ipam.ipv6));
    }
    for text in &ipam.link_local {
        if !(is_v4(text) || is_v6(text)) {
            wrong.push(format!("invalid link-local IP address: {text}"));
        }
    }
    if let Some(subnets) = subnets {
        for (text, six) in [(&ipam.ipv4, false), (&ipam.ipv6, true)] {
            wrong.extend(outside(text, subnets.iter().filter(|s| s.is_ipv6() == six)));
        }
    }
    let mac = settings.mac.as_str();
    if !(mac.is_empty() || mac.parse::<MacAddress>().is_ok()) {
        // Docker tells of this alone.
        return Err(format!("invalid MAC address {mac}"));
    }
    let sysctls = settings.driver_opts.as_ref().and_then(|o| o.get(SYSCTLS));
    wrong.extend(
        sysctls
            .into_iter()
            .flat_map(|s| s.split(','))
            .filter_map(bad_sysctl),
    );
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("invalid endpoint settings:\n{}", joined(&wrong))),
    }
}

/// Docker's form of several errors: a single one stands for itself.
pub(crate) fn joined(texts: &[String]) -> String {
    match texts {
        [one] => one.trim().to_owned(),
        all => {
            let all: Vec<String> = all.iter().map(|t| t.replace('\n', "\n\t")).collect();
            format!("* {}", all.join("\n* "))
        }
    }
}

fn outside<'a>(text: &str, subnets: impl Iterator<Item = &'a IpNet>) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let address = text.parse::<IpAddr>().ok();
    let mut given = false;
    for subnet in subnets {
        given = true;
        if address.is_some_and(|a| subnet.contains(a)) {
            return None;
        }
    }
    Some(match given {
        true => format!("no configured subnet or ip-range contain the IP address {text}"),
        false => "user specified IP address is supported only when connecting to networks with \
                  user configured subnets"
            .to_owned(),
    })
}

fn bad_sysctl(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.splitn(5, '.').collect();
    let good = matches!(
        parts.as_slice(),
        [_, "ipv4" | "ipv6" | "mpls", _, "IFNAME" | "ifname", _]
    );
    (!good).then(|| {
        format!(
            "unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as \
             'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
        )
    })
}

/// Settings that passed [`check`] as a request to the network.
pub(super) fn request(network: NetworkId, settings: &EndpointSettings) -> EndpointRequest {
    let mut request = EndpointRequest::new(network);
    if let Some(ipam) = &settings.ipam {
        request.ipv4 = ipam.ipv4.parse().ok();
        request.ipv6 = ipam.ipv6.parse().ok();
        request.link_local = ipam
            .link_local
            .iter()
            .filter_map(|t| t.parse().ok())
            .collect();
    }
    request.mac = settings.mac.parse().ok();
    request.options = settings.driver_opts.clone().unwrap_or_default();
    request.gateway_priority = settings.gateway_priority;
    request
}

/// Whether a container that is in some networks may be in another one too.
///
/// # Errors
///
/// Docker's texts for the host's network and for none.
pub(crate) fn compatible<'a>(
    mode: Mode<'_>,
    has: impl Iterator<Item = &'a str>,
    new: &str,
) -> Result<()> {
    if let Mode::Container(_) = mode {
        return Err(Error::invalid(SHARED));
    }
    if mode != Mode::Host && new == "host" {
        return Err(Error::invalid(
            "cannot connect container to host network - container must be created in host network mode",
        ));
    }
    for name in has.filter(|name| *name != new) {
        if name == "host" || new == "host" {
            return Err(Error::invalid(SHARED));
        }
        if name == "none" || new == "none" {
            return Err(Error::invalid(
                "container cannot be connected to multiple networks with one of the networks in \
                 private (none) mode",
            ));
        }
    }
    Ok(())
}

const SHARED: &str = "container sharing network namespace with another container or host cannot be \
                      connected to any other network";

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(v4: &str, v6: &str) -> EndpointSettings {
        EndpointSettings {
            ipam: Some(EndpointIpam {
                ipv4: v4.to_owned(),
                ipv6: v6.to_owned(),
                link_local: Vec::new(),
            }),
            ..EndpointSettings::default()
        }
    }

    #[test]
    fn addresses_need_a_subnet_that_the_user_gave() {
        let given: Vec<IpNet> = vec!["10.1.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
        assert_eq!(
            check("n", Some(&given), &ipam("10.1.0.9", "fd00::9")),
            Ok(())
        );
        assert_eq!(check("n", None, &ipam("10.1.0.9", "")), Ok(()));
        for (subnets, settings, text) in [
            (
                given.as_slice(),
                ipam("x", ""),
                "invalid endpoint settings:\n* invalid IPv4 address: x\n* no configured subnet or \
                 ip-range contain the IP address x",
            ),
            (
                &given,
                ipam("10.2.0.9", ""),
                "invalid endpoint settings:\nno configured subnet or ip-range contain the IP \
                 address 10.2.0.9",
            ),
            (
                &[],
                ipam("10.2.0.9", ""),
                "invalid endpoint settings:\nuser specified IP address is supported only when \
                 connecting to networks with user configured subnets",
            ),
            (
                &given,
                ipam("", "10.1.0.9"),
                "invalid endpoint settings:\n* invalid IPv6 address: 10.1.0.9\n* no configured \
                 subnet or ip-range contain the IP address 10.1.0.9",
            ),
        ] {
            assert_eq!(check("n", Some(subnets), &settings).unwrap_err(), text);
        }
    }

    #[test]
    fn the_default_bridge_takes_neither_addresses_nor_aliases() {
        let mut settings = ipam("10.1.0.9", "");
        settings.aliases = Some(vec!["a".to_owned()]);
        let text = check("bridge", None, &settings).unwrap_err();
        assert_eq!(
            text,
            "invalid endpoint settings:\n* user specified IP address is supported on user defined \
             networks only\n* network-scoped alias is supported only for containers in user \
             defined networks"
        );
        let settings = EndpointSettings {
            mac: "zz".to_owned(),
            ..EndpointSettings::default()
        };
        assert_eq!(
            check("n", None, &settings).unwrap_err(),
            "invalid MAC address zz"
        );
    }

    #[test]
    fn interface_parameters_are_written_with_ifname() {
        let with = |text: &str| EndpointSettings {
            driver_opts: Some([(SYSCTLS.to_owned(), text.to_owned())].into()),
            ..EndpointSettings::default()
        };
        assert!(check("n", None, &with("net.ipv4.conf.IFNAME.log_martians=1")).is_ok());
        for bad in [
            "net.ipv4.conf.eth0.log_martians=1",
            "",
            "net.core.a.IFNAME.b=1",
        ] {
            assert!(check("n", None, &with(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_and_none_stay_alone() {
        let may = |mode: &str, has: &[&str], new: &str| {
            compatible(Mode::of(mode), has.iter().copied(), new).map_err(|e| e.to_string())
        };
        assert!(may("bridge", &["bridge"], "mine").is_ok());
        assert!(may("mine", &["mine"], "mine").is_ok());
        assert!(
            may("host", &["host"], "mine")
                .unwrap_err()
                .starts_with("container sharing")
        );
        assert!(
            may("bridge", &["bridge"], "host")
                .unwrap_err()
                .starts_with("cannot connect")
        );
        assert!(
            may("none", &["none"], "mine")
                .unwrap_err()
                .contains("private (none)")
        );
        assert!(
            may("bridge", &["bridge"], "none")
                .unwrap_err()
                .contains("private (none)")
        );
        assert!(
            may("container:x", &[], "mine")
                .unwrap_err()
                .starts_with("container sharing")
        );
    }

    #[test]
    fn modes_contradict_options() {
        let with = |change: fn(&mut Config, &mut HostConfig)| {
            let (mut config, mut host) = (Config::default(), HostConfig::default());
            host.network_mode = "container:x".to_owned();
            change(&mut config, &mut host);
            check_mode(&config, &host).map_err(|e| e.to_string())
        };
        assert!(with(|_, _| {}).is_ok());
        let port = "conflicting options: port publishing and the container type network mode";
        assert_eq!(with(|_, h| h.publish_all_ports = true).unwrap_err(), port);
        let exposing = "conflicting options: port exposing and the container type network mode";
        let expose = |c: &mut Config, _: &mut HostConfig| {
            c.exposed_ports.insert("80/tcp".to_owned());
        };
        assert_eq!(with(expose).unwrap_err(), exposing);
        assert!(with(|_, h| h.links.push("a".into())).is_err());
        assert!(
            with(|_, h| {
                h.network_mode = "host".into();
                h.links.push("a".into());
            })
            .unwrap_err()
            .starts_with("conflicting options: host type networking")
        );
    }
}
