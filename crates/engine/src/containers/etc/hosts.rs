//! `/etc/hosts`: names and addresses, one entry a line.

use std::net::IpAddr;

use super::{Mode, Surroundings};
use crate::{Error, Result};

const IPV4: &str = "127.0.0.1\tlocalhost\n";
const IPV6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n";
/// Stands for the host in `--add-host`.
const HOST_GATEWAY: &str = "host-gateway";
/// With one of them there is no IPv6 at the loopback interface.
const NO_IPV6: [&str; 2] = [
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.lo.disable_ipv6",
];

/// The whole file; `of_host` is asked for the host's own.
pub(super) fn text(around: &Surroundings<'_>, of_host: impl FnOnce() -> String) -> Result<String> {
    if around.mode == Mode::Host && around.host.extra_hosts.is_empty() {
        return Ok(of_host());
    }
    let mut entries = Vec::new();
    for extra in &around.host.extra_hosts {
        entries.extend(extra_host(around, extra)?);
    }
    let links = around.links.iter();
    entries.extend(links.map(|(names, address)| (*address, names.clone())));
    let own = own_names(&around.config.hostname, &around.config.domainname);
    let addresses = around.addresses.iter();
    entries.extend(addresses.map(|address| (*address, own.clone())));
    let has_ipv6 = has_ipv6(around);
    let mut text = IPV4.to_owned();
    if has_ipv6 {
        text.push_str(IPV6);
    }
    for (address, names) in entries {
        if has_ipv6 || address.is_ipv4() {
            text.push_str(&entry(address, &names));
        }
    }
    Ok(text)
}

/// Whether the container's loopback interface has IPv6.
fn has_ipv6(around: &Surroundings<'_>) -> bool {
    let off = |key: &str| {
        let value = around.host.sysctls.get(key);
        value.is_some_and(|value| value.trim() == "1")
    };
    !NO_IPV6.iter().any(|key| off(key)) && std::path::Path::new("/proc/net/if_inet6").exists()
}

/// One `--add-host`: of the gateway there may be two addresses.
fn extra_host(around: &Surroundings<'_>, extra: &str) -> Result<Vec<(IpAddr, String)>> {
    let Some((name, address)) = extra.split_once(':') else {
        return Err(Error::invalid(format!(
            "bad format for add-host: \"{extra}\""
        )));
    };
    if address == HOST_GATEWAY {
        let v4 = around.gateways.v4.map(IpAddr::V4);
        let v6 = around.gateways.v6.map(IpAddr::V6);
        let gateways: Vec<_> = v4.into_iter().chain(v6).collect();
        if gateways.is_empty() {
            return Err(Error::invalid(
                "unable to derive the IP value for host-gateway",
            ));
        }
        let entries = gateways.into_iter();
        return Ok(entries.map(|address| (address, name.to_owned())).collect());
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    let parsed = bare
        .unwrap_or(address)
        .parse()
        .map_err(|_| Error::invalid(format!("could not parse extra host IP {address}")))?;
    Ok(vec![(parsed, name.to_owned())])
}

/// Full name and first part of it.
pub(super) fn own_names(hostname: &str, domainname: &str) -> String {
    let full = if domainname.is_empty() {
        hostname.to_owned()
    } else {
        format!("{hostname}.{domainname}")
    };
    match full.split_once('.') {
        Some((first, _)) => format!("{full} {first}"),
        None => full,
    }
}

/// One line.
pub(super) fn entry(address: IpAddr, names: &str) -> String {
    format!("{address}\t{names}\n")
}

/// The text with another address for a name that comes first in its entry.
pub(super) fn moved(text: &str, name: &str, address: IpAddr) -> String {
    let move_line = |line: &str| -> String {
        let Some((old, names)) = line.split_once('\t') else {
            return line.to_owned();
        };
        let rest = names.strip_prefix(name);
        let is_meant = rest.is_some_and(|rest| rest.starts_with(['.', ' ', '\t', '\n']));
        let same_family = old
            .parse::<IpAddr>()
            .is_ok_and(|old| old.is_ipv4() == address.is_ipv4());
        if is_meant && same_family {
            format!("{address}\t{names}")
        } else {
            line.to_owned()
        }
    };
    text.split_inclusive('\n').map(move_line).collect()
}

/// The text without entries of exactly these names with one of these addresses.
pub(super) fn without(text: &str, names: &str, addresses: &[IpAddr]) -> String {
    let stays = |line: &&str| {
        let entry = line.strip_suffix('\n').unwrap_or(line);
        let Some((address, of)) = entry.split_once('\t') else {
            return true;
        };
        let address = address.trim().parse::<IpAddr>();
        of != names || address.map_or(true, |address| !addresses.contains(&address))
    };
    text.split_inclusive('\n').filter(stays).collect()
}
