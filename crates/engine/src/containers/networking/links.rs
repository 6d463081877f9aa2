//! Links on the default bridge: who may call whom by which name, and what the caller is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Mutex;

use network::Protocol;
use serde::{Deserialize, Serialize};
use spec::{Classify, ContainerId};

use super::super::etc;
use super::super::record::Record;
use super::super::shared::Shared;
use super::wishes::HOST_AND_LINKS;
use super::{BRIDGE, Mode, is_user_defined, ports};
use crate::container::{Config, Container, HostConfig};
use crate::{Error, Result};

/// A container that another one calls by a name of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The container called.
    pub(crate) target: ContainerId,
    /// The name.
    pub(crate) alias: String,
}

/// Ports of a container.
pub(crate) type Ports = Vec<(u16, Protocol)>;

/// Who is called by whom; kept besides the records so that a start need not look at all containers.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    by_target: Mutex<BTreeMap<ContainerId, BTreeSet<ContainerId>>>,
}

impl Callers {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContainerId, BTreeSet<ContainerId>>> {
        self.by_target.lock().expect("no panics while held")
    }

    /// Makes a container's links known.
    pub(crate) fn add(&self, caller: ContainerId, links: &[Link]) {
        let mut by_target = self.lock();
        for link in links {
            by_target.entry(link.target).or_default().insert(caller);
        }
    }

    /// Makes these a container's only links.
    pub(crate) fn set(&self, caller: ContainerId, links: &[Link]) {
        self.lock().retain(|_, callers| {
            callers.remove(&caller);
            !callers.is_empty()
        });
        self.add(caller, links);
    }

    /// Forgets a container, as caller and as target.
    pub(crate) fn forget(&self, id: ContainerId) {
        let mut by_target = self.lock();
        by_target.remove(&id);
        by_target.retain(|_, callers| {
            callers.remove(&id);
            !callers.is_empty()
        });
    }

    /// Those that have a link to a container.
    pub(crate) fn of(&self, target: ContainerId) -> Vec<ContainerId> {
        let by_target = self.lock();
        by_target
            .get(&target)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

/// Splits `name[:alias]`, or `/name:/caller/alias` as inspect shows it.
///
/// # Errors
///
/// Docker's texts for what is neither.
pub(crate) fn parse(text: &str) -> Result<(&str, &str)> {
    if text.is_empty() {
        return Err(Error::invalid("empty string specified for links"));
    }
    match text.split_once(':') {
        None => Ok((text, text)),
        Some((_, rest)) if rest.contains(':') => {
            Err(Error::invalid(format!("bad format for links: {text}")))
        }
        Some((name, alias)) => match name.strip_prefix('/') {
            Some(name) => Ok((name, alias.rsplit('/').next().unwrap_or(alias))),
            None => Ok((name, alias)),
        },
    }
}

/// The links of a new container, resolved; those of a network of the user's own are names there.
///
/// # Errors
///
/// A container that does not exist, or uses the host's network.
pub(crate) fn resolve(shared: &Shared, host: &HostConfig) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    if is_user_defined(&host.network_mode) {
        return Ok(links);
    }
    for text in &host.links {
        let (name, alias) = parse(text)?;
        let find = |key: &str| {
            let found = shared.table().find(key).map(|handle| handle.container());
            // Not the class "not found": clients would take the image to be what is missing.
            found.map_err(|e| Error::invalid(format!("could not get container for {key}: {e}")))
        };
        let mut target = find(name)?;
        while let Mode::Container(key) = Mode::of(&target.host.network_mode) {
            target = find(key)?;
        }
        if Mode::of(&target.host.network_mode) == Mode::Host {
            return Err(Error::invalid(HOST_AND_LINKS));
        }
        // As in Docker, the first link of a name stays.
        if links.iter().all(|link| link.alias != alias) {
            let target = target.id;
            let alias = alias.to_owned();
            links.push(Link { target, alias });
        }
    }
    Ok(links)
}

/// What a caller is told of those it calls, while they run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Variables of its processes.
    pub(crate) env: Vec<String>,
    /// Names in `/etc/hosts` with their address.
    pub(crate) hosts: Vec<(String, IpAddr)>,
    /// Ports that it may use where containers are kept apart.
    pub(crate) opened: Vec<(ContainerId, Ports)>,
}

/// Looks at the targets of a container's links.
///
/// # Errors
///
/// A target does not run, or is not in the default network.
pub(crate) fn tell(shared: &Shared, caller: &str, links: &[Link]) -> Result<Told> {
    let mut told = Told::default();
    for Link { target, alias } in links {
        // A target that was removed took its link with it.
        let Ok(handle) = shared.table().find(&target.to_string()) else {
            continue;
        };
        let target = handle.container();
        if target.state.running().is_none() {
            return Err(Error::internal(format!(
                "Cannot link to a non running container: /{} AS /{caller}/{alias}",
                target.name
            )));
        }
        let Some(endpoint) = target.networking.endpoints.get(BRIDGE) else {
            return Err(Error::internal(format!(
                "container {} not attached to default bridge network",
                target.id
            )));
        };
        told.env
            .extend(variables(caller, alias, &endpoint.address, &target));
        let mut names = format!("{alias} {}", target.config.hostname);
        if *alias != target.name.as_str() {
            names.push(' ');
            names.push_str(target.name.as_str());
        }
        for address in [&endpoint.address, &endpoint.address6] {
            if let Ok(address) = address.parse() {
                told.hosts.push((names.clone(), address));
            }
        }
        told.opened.push((target.id, exposed(&target.config)));
    }
    Ok(told)
}

/// Ports that a container exposes.
pub(crate) fn exposed(config: &Config) -> Ports {
    let ports = config.exposed_ports.iter();
    ports
        .filter_map(|text| ports::parse(text).map(|((port, _), protocol)| (port, protocol)))
        .collect()
}

/// Docker's variables for one link, in its order.
fn variables(caller: &str, alias: &str, address: &str, target: &Container) -> Vec<String> {
    let name = alias.to_uppercase().replace('-', "_");
    let mut ports = exposed(&target.config);
    ports.sort_by_key(|(port, protocol)| (*protocol != Protocol::Tcp, protocol.as_str(), *port));
    let mut env = Vec::new();
    if let Some((port, protocol)) = ports.first() {
        env.push(format!("{name}_PORT={protocol}://{address}:{port}"));
    }
    let mut run: Option<(u16, u16, Protocol)> = None;
    for (index, (port, protocol)) in ports.iter().copied().enumerate() {
        let upper = protocol.as_str().to_uppercase();
        let prefix = format!("{name}_PORT_{port}_{upper}");
        env.push(format!("{prefix}={protocol}://{address}:{port}"));
        env.push(format!("{prefix}_ADDR={address}"));
        env.push(format!("{prefix}_PORT={port}"));
        env.push(format!("{prefix}_PROTO={protocol}"));
        let (first, last) = match run {
            Some((first, last, of)) if of == protocol && u32::from(port) == u32::from(last) + 1 => {
                if index + 1 < ports.len() {
                    run = Some((first, port, of));
                    continue;
                }
                (first, port)
            }
            Some((first, last, _)) => (first, last),
            None => (port, port),
        };
        if first != last {
            let of = run.map_or(protocol, |(_, _, of)| of);
            let upper = of.as_str().to_uppercase();
            let prefix = format!("{name}_PORT_{first}_{upper}");
            env.push(format!("{prefix}_START={of}://{address}:{first}"));
            env.push(format!("{prefix}_PORT_START={first}"));
            env.push(format!("{prefix}_END={of}://{address}:{last}"));
            env.push(format!("{prefix}_PORT_END={last}"));
        }
        run = Some((port, port, protocol));
    }
    env.push(format!("{name}_NAME=/{caller}/{alias}"));
    for entry in &target.config.env {
        if let Some((key, value)) = entry.split_once('=')
            && !matches!(key, "HOME" | "PATH")
        {
            env.push(format!("{name}_ENV_{key}={value}"));
        }
    }
    env
}

/// Tells the callers of a container that is being started: its address may be another one now.
///
/// # Errors
///
/// A file cannot be written, or the firewall refuses.
pub(crate) fn refresh_callers(
    shared: &Shared,
    record: &Record,
    addresses: &[IpAddr],
) -> Result<()> {
    let target = record.id;
    for caller in shared.callers.of(target) {
        let Ok(handle) = shared.table().find(&caller.to_string()) else {
            continue;
        };
        let container = handle.container();
        if container.state.running().is_none()
            || !container.networking.endpoints.contains_key(BRIDGE)
        {
            continue;
        }
        for link in container.links.iter().filter(|link| link.target == target) {
            for address in addresses {
                etc::update_host(&container.files.hosts, &link.alias, *address)?;
            }
        }
        let ports = exposed(&record.config);
        if !shared.config.inter_container {
            shared.network.allow_link(&caller, &target, &ports)?;
        }
    }
    Ok(())
}

/// Links of a container as inspect shows them: `/target:/caller/alias`.
pub(crate) fn shown(shared: &Shared, caller: &Container) -> Vec<String> {
    let links = caller.links.iter().filter_map(|link| {
        let target = shared
            .table()
            .find(&link.target.to_string())
            .ok()?
            .container();
        Some(format!("/{}:/{}/{}", target.name, caller.name, link.alias))
    });
    links.collect()
}

/// Names that others have for a container: `/caller/alias`, in order.
pub(crate) fn names_of(shared: &Shared, target: ContainerId) -> Vec<String> {
    let mut names = Vec::new();
    for caller in shared.callers.of(target) {
        let Ok(handle) = shared.table().find(&caller.to_string()) else {
            continue;
        };
        let caller = handle.container();
        let links = caller.links.iter().filter(|link| link.target == target);
        names.extend(links.map(|link| format!("/{}/{}", caller.name, link.alias)));
    }
    names
}

/// Finds the link `[/]caller/alias`: the caller and the target.
///
/// # Errors
///
/// Docker's texts.
pub(crate) fn find(shared: &Shared, path: &str) -> Result<(ContainerId, Link)> {
    let plain = path.trim_start_matches('/');
    let gone = || Error::NoSuchContainer {
        key: path.to_owned(),
    };
    let Some((caller, alias)) = plain.rsplit_once('/') else {
        shared.table().find(plain)?;
        return Err(Error::internal(
            "Conflict, cannot remove the default link name of the container",
        ));
    };
    let caller = shared.table().find(caller).map_err(|e| match e.kind() {
        spec::ErrorKind::NotFound => gone(),
        _ => e,
    })?;
    let container = caller.container();
    let link = container.links.iter().find(|link| link.alias == alias);
    link.map(|link| (container.id, link.clone()))
        .ok_or_else(gone)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::containers::record::sample;

    #[test]
    fn links_are_read_as_dockers() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:x").unwrap(), ("db", "x"));
        assert_eq!(parse("/db:/web/x").unwrap(), ("db", "x"));
        assert_eq!(
            parse("").unwrap_err().to_string(),
            "empty string specified for links"
        );
        assert_eq!(
            parse("a:b:c").unwrap_err().to_string(),
            "bad format for links: a:b:c"
        );
    }

    fn env(ports: &[&str]) -> Vec<String> {
        let mut target = sample();
        target.config = Arc::new(Config {
            exposed_ports: ports.iter().map(|p| (*p).to_owned()).collect(),
            env: vec!["PATH=/bin".into(), "PASSWORD=secret".into(), "BARE".into()],
            ..Config::default()
        });
        variables("web", "my-db", "172.17.0.2", &target)
    }

    #[test]
    fn variables_tell_of_ports_name_and_environment() {
        assert_eq!(
            env(&["6379/tcp"]),
            [
                "MY_DB_PORT=tcp://172.17.0.2:6379",
                "MY_DB_PORT_6379_TCP=tcp://172.17.0.2:6379",
                "MY_DB_PORT_6379_TCP_ADDR=172.17.0.2",
                "MY_DB_PORT_6379_TCP_PORT=6379",
                "MY_DB_PORT_6379_TCP_PROTO=tcp",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_PASSWORD=secret",
            ]
        );
        assert_eq!(env(&[])[0], "MY_DB_NAME=/web/my-db");
    }

    #[test]
    fn ranges_have_a_start_and_an_end() {
        let all = env(&["53/udp", "81/tcp", "80/tcp", "82/tcp", "90/tcp"]);
        assert_eq!(all[0], "MY_DB_PORT=tcp://172.17.0.2:80");
        let ends: Vec<&String> = all
            .iter()
            .filter(|v| v.contains("_START") || v.contains("_END"))
            .collect();
        assert_eq!(
            ends,
            [
                "MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80",
                "MY_DB_PORT_80_TCP_PORT_START=80",
                "MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:82",
                "MY_DB_PORT_80_TCP_PORT_END=82",
            ]
        );
        assert!(
            env(&["80/tcp", "81/tcp"])
                .iter()
                .any(|v| v == "MY_DB_PORT_80_TCP_PORT_END=81")
        );
    }

    #[test]
    fn callers_are_forgotten_with_either_end() {
        let id = |n: u8| ContainerId::from_bytes([n; 32]);
        let callers = Callers::default();
        let link = |n| Link {
            target: id(n),
            alias: "a".to_owned(),
        };
        callers.add(id(1), &[link(8), link(9)]);
        callers.add(id(2), &[link(9)]);
        assert_eq!(callers.of(id(9)), [id(1), id(2)]);
        callers.forget(id(1));
        assert_eq!(callers.of(id(9)), [id(2)]);
        assert!(callers.of(id(8)).is_empty());
        callers.forget(id(9));
        assert!(callers.of(id(9)).is_empty());
    }
}
