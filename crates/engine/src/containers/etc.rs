//! `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` of a container: texts are pure, then written.
//!
//! The texts are Docker's to the byte. All three are written at every start; while the container
//! runs, they are changed in place, since they are bound into it by path.

mod hosts;
mod resolv_conf;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use resolver::names::Upstreams;
use spec::Digest;

use crate::config::EngineConfig;
use crate::container::{Config, Files, HostConfig};
use crate::{Error, Result};
use resolv_conf::{Kind, ResolvConf};

/// The host's name servers.
const HOST_FILE: &str = "/etc/resolv.conf";
/// Those that systemd-resolved asks, which has only a loopback address in the host's file.
const RESOLVED_FILE: &str = "/run/systemd/resolve/resolv.conf";
const RESOLVED: &str = "127.0.0.53";

/// What the texts depend on.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The container's settings.
    pub(super) config: &'a Config,
    /// The host's part.
    pub(super) host: &'a HostConfig,
    /// The daemon's.
    pub(super) engine: &'a EngineConfig,
    /// What kind of network it has.
    pub(super) mode: Mode,
    /// Its own addresses, in the order of its endpoints.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether a network of its own has IPv6.
    pub(super) ipv6: bool,
    /// What `host-gateway` stands for.
    pub(super) gateways: HostGateway,
    /// Names, separated by spaces, of linked containers, and their addresses.
    pub(super) links: Vec<(String, IpAddr)>,
}

/// What kind of network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The host's.
    Host,
    /// None but the loopback interface.
    Isolated,
    /// The default bridge, which has no names.
    Legacy,
    /// A user's network among others: names are served at `127.0.0.11`.
    Named,
}

/// The host as containers reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HostGateway {
    /// By IPv4.
    pub(super) v4: Option<Ipv4Addr>,
    /// By IPv6.
    pub(super) v6: Option<Ipv6Addr>,
}

/// Writes all three.
///
/// # Errors
///
/// A file cannot be written, or an extra host or a name server is no address.
pub(super) fn write(files: &Files, around: &Surroundings<'_>) -> Result<()> {
    let hosts = hosts::text(around, || {
        std::fs::read_to_string("/etc/hosts").unwrap_or_default()
    })?;
    put(&files.hostname, &format!("{}\n", around.config.hostname))?;
    put(&files.hosts, &hosts)?;
    put_resolv_conf(files, around)
}

/// Writes `resolv.conf` anew, unless it was changed by others than us.
pub(super) fn write_resolv_conf(files: &Files, around: &Surroundings<'_>) -> Result<()> {
    let written = std::fs::read_to_string(hash_path(&files.resolv_conf));
    let content = std::fs::read(&files.resolv_conf);
    match (written, content) {
        (Ok(hash), Ok(content)) if hash != hash_of(&content) => Ok(()),
        _ => put_resolv_conf(files, around),
    }
}

fn put_resolv_conf(files: &Files, around: &Surroundings<'_>) -> Result<()> {
    let source = source_path(&around.host.network_mode);
    let of_host = std::fs::read_to_string(source).unwrap_or_default();
    let text = resolv_conf_text(around, source, &of_host)?;
    put(&files.resolv_conf, &text)?;
    put(&hash_path(&files.resolv_conf), &hash_of(text.as_bytes()))
}

fn resolv_conf_text(around: &Surroundings<'_>, source: &str, of_host: &str) -> Result<String> {
    let mut conf = overridden(around.host, around.engine, of_host)?;
    let kind = match around.mode {
        Mode::Host => Kind::Host,
        Mode::Isolated | Mode::Legacy => Kind::Legacy { ipv6: around.ipv6 },
        Mode::Named => Kind::Named,
    };
    conf.fit(kind);
    Ok(conf.text(source))
}

/// The host's settings, with the container's or the daemon's in their place.
fn overridden(host: &HostConfig, engine: &EngineConfig, of_host: &str) -> Result<ResolvConf> {
    let pick = |own: &Vec<String>, daemon: &Vec<String>| -> Vec<String> {
        if own.is_empty() { daemon } else { own }.clone()
    };
    let mut conf = ResolvConf::parse(of_host);
    conf.override_servers(&pick(&host.dns, &engine.dns))?;
    conf.override_search(pick(&host.dns_search, &engine.dns_search));
    conf.override_options(pick(&host.dns_options, &engine.dns_options));
    Ok(conf)
}

/// Whom a container's name server asks about names that are not its own.
pub(super) fn upstreams(host: &HostConfig, engine: &EngineConfig) -> Upstreams {
    let own = if host.dns.is_empty() {
        &engine.dns
    } else {
        &host.dns
    };
    if own.is_empty() {
        return Upstreams::Host;
    }
    Upstreams::Own(own.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Whether anybody but us says how many dots a name needs.
pub(super) fn ndots_set(host: &HostConfig, engine: &EngineConfig) -> bool {
    let source = source_path(&host.network_mode);
    let of_host = std::fs::read_to_string(source).unwrap_or_default();
    overridden(host, engine, &of_host).is_ok_and(|conf| conf.has_option("ndots"))
}

/// Gives the entries of a name another address of the same family (a link's target has moved).
pub(super) fn update_host(path: &Path, name: &str, address: IpAddr) -> Result<()> {
    change(path, |text| hosts::moved(text, name, address))
}

/// Adds a container's own addresses.
pub(super) fn add_hosts(
    files: &Files,
    hostname: &str,
    domainname: &str,
    addresses: &[IpAddr],
) -> Result<()> {
    let names = hosts::own_names(hostname, domainname);
    change(&files.hosts, |text| {
        let entries = addresses.iter();
        let entries = entries.map(|address| hosts::entry(*address, &names));
        entries.fold(text.to_owned(), |text, entry| text + &entry)
    })
}

/// Takes a container's own addresses out.
pub(super) fn delete_hosts(
    files: &Files,
    hostname: &str,
    domainname: &str,
    addresses: &[IpAddr],
) -> Result<()> {
    let names = hosts::own_names(hostname, domainname);
    change(&files.hosts, |text| hosts::without(text, &names, addresses))
}

/// Which file of the host a container's settings begin with.
fn source_path(network_mode: &str) -> &'static str {
    let user_defined = !matches!(network_mode, "" | "default" | "bridge" | "host" | "none")
        && !network_mode.starts_with("container:");
    if user_defined || network_mode == "host" {
        return HOST_FILE;
    }
    let text = std::fs::read_to_string(HOST_FILE).unwrap_or_default();
    if ResolvConf::parse(&text).only_server_is(RESOLVED) {
        RESOLVED_FILE
    } else {
        HOST_FILE
    }
}

/// Beside the file: what it was when we wrote it.
fn hash_path(path: &Path) -> PathBuf {
    path.with_extension("conf.hash")
}

fn hash_of(content: &[u8]) -> String {
    Digest::of(content).to_string()
}

fn put(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |e| Error::io(format!("failed to write `{}`", path.display()), e);
    std::fs::write(path, text).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

fn change(path: &Path, change: impl FnOnce(&str) -> String) -> Result<()> {
    let failed = |e| Error::io(format!("failed to change `{}`", path.display()), e);
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let changed = change(&text);
    if changed == text {
        return Ok(());
    }
    std::fs::write(path, changed).map_err(failed)
}

#[cfg(test)]
mod tests;
