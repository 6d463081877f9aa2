//! `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` of a container: texts are pure, then written.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::config::EngineConfig;
use crate::container::{Config, Files, HostConfig};
use crate::{Error, Result};

/// Name servers where the host's are not reachable from a container.
const PUBLIC_RESOLVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What the texts depend on.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The container's settings.
    pub(super) config: &'a Config,
    /// The host's part.
    pub(super) host: &'a HostConfig,
    /// The daemon's.
    pub(super) engine: &'a EngineConfig,
    /// Address of the container, if it has one of its own.
    pub(super) address: Option<Ipv4Addr>,
    /// What `host-gateway` stands for.
    pub(super) gateway: Option<Ipv4Addr>,
    /// The container uses the host's network.
    pub(super) host_network: bool,
}

/// Writes all three; they are bound into the container by path.
pub(super) fn write(files: &Files, around: &Surroundings<'_>) -> Result<()> {
    let host_resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let host_hosts = if around.host_network {
        std::fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        String::new()
    };
    put(&files.hostname, &format!("{}\n", around.config.hostname))?;
    put(&files.hosts, &hosts(around, &host_hosts))?;
    put(&files.resolv_conf, &resolv_conf(around, &host_resolv))
}

fn put(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |e| Error::io(format!("failed to write `{}`", path.display()), e);
    std::fs::write(path, text).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

fn hosts(around: &Surroundings<'_>, of_host: &str) -> String {
    let mut text = if around.host_network {
        let mut copy = of_host.to_owned();
        if !copy.is_empty() && !copy.ends_with('\n') {
            copy.push('\n');
        }
        copy
    } else {
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n"
            .to_owned()
    };
    for entry in &around.host.extra_hosts {
        let Some((name, address)) = entry.split_once(':') else {
            continue;
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        match (address, around.gateway) {
            ("host-gateway", Some(gateway)) => text.push_str(&format!("{gateway}\t{name}\n")),
            ("host-gateway", None) => text.push_str(&format!("127.0.0.1\t{name}\n")),
            (address, _) => text.push_str(&format!("{address}\t{name}\n")),
        }
    }
    if let Some(address) = around.address {
        let (host, domain) = (&around.config.hostname, &around.config.domainname);
        if domain.is_empty() {
            text.push_str(&format!("{address}\t{host}\n"));
        } else {
            text.push_str(&format!("{address}\t{host}.{domain} {host}\n"));
        }
    }
    text
}

fn resolv_conf(around: &Surroundings<'_>, of_host: &str) -> String {
    let pick = |own: &[String], daemon: &[String]| -> Vec<String> {
        if own.is_empty() {
            daemon.to_vec()
        } else {
            own.to_vec()
        }
    };
    let lines_of = |word: &str| -> Vec<String> {
        of_host
            .lines()
            .filter_map(|line| line.trim().strip_prefix(word)?.strip_prefix([' ', '\t']))
            .flat_map(str::split_ascii_whitespace)
            .map(str::to_owned)
            .collect()
    };
    let mut servers = pick(&around.host.dns, &around.engine.dns);
    if servers.is_empty() {
        servers = lines_of("nameserver");
        if !around.host_network {
            // The host's own loopback is not the container's.
            servers.retain(|s| s.parse::<IpAddr>().is_ok_and(|a| !a.is_loopback()));
            if servers.is_empty() {
                servers = PUBLIC_RESOLVERS.map(str::to_owned).to_vec();
            }
        }
    }
    let mut search = pick(&around.host.dns_search, &around.engine.dns_search);
    if search.is_empty() {
        search = lines_of("search");
    }
    // A single dot means: no search domains at all.
    if search == ["."] {
        search.clear();
    }
    let mut options = pick(&around.host.dns_options, &around.engine.dns_options);
    if options.is_empty() {
        options = lines_of("options");
    }
    let mut text = String::new();
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (word, values) in [("search", search), ("options", options)] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(host: &HostConfig, host_network: bool, f: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let config = Config {
            hostname: "web".to_owned(),
            domainname: "example.org".to_owned(),
            ..Config::default()
        };
        f(&Surroundings {
            config: &config,
            host,
            engine: &EngineConfig::new("/d", "/r"),
            address: (!host_network).then_some(Ipv4Addr::new(172, 17, 0, 2)),
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
            host_network,
        })
    }

    #[test]
    fn hosts_has_extra_entries_then_its_own() {
        let host = HostConfig {
            extra_hosts: vec![
                "db:10.0.0.1".into(),
                "up:host-gateway".into(),
                "six:[fe80::1]".into(),
            ],
            ..HostConfig::default()
        };
        let text = with(&host, false, |a| hosts(a, ""));
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with(
            "10.0.0.1\tdb\n172.17.0.1\tup\nfe80::1\tsix\n172.17.0.2\tweb.example.org web\n"
        ));
        let text = with(&host, true, |a| hosts(a, "1.2.3.4 x"));
        assert!(text.starts_with("1.2.3.4 x\n10.0.0.1\tdb\n"));
    }

    #[test]
    fn loopback_resolvers_of_the_host_are_left_out() {
        let host = HostConfig::default();
        let of_host = "nameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\noptions edns0\n";
        let text = with(&host, false, |a| resolv_conf(a, of_host));
        assert_eq!(text, "nameserver 10.0.0.1\nsearch a b\noptions edns0\n");
        let text = with(&host, false, |a| resolv_conf(a, "nameserver ::1\n"));
        assert_eq!(text, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        let own = HostConfig {
            dns: vec!["9.9.9.9".into()],
            dns_search: vec![".".into()],
            ..host
        };
        let text = with(&own, false, |a| resolv_conf(a, "search a\n"));
        assert_eq!(text, "nameserver 9.9.9.9\n");
    }
}
