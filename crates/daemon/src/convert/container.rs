//! Containers as lists and inspect show them.

use std::collections::BTreeMap;
use std::path::Path;

use api::container::{
    ContainerJson, ContainerState, EndpointSettings, GraphDriver, MountPoint as WireMount,
    NetworkSettings, Port, Summary, SummaryHostConfig, SummaryNetworkSettings,
};
use engine::container::{Container, MountPoint, State};
use engine::containers::{Inspected, Listed};
use spec::Timestamp;

use super::{config, host_config};

/// What inspect shows.
pub fn inspect(inspected: &Inspected) -> ContainerJson {
    let container = &*inspected.container;
    // Docker makes these files at the first start and shows no paths before.
    let started = container.last.started_at.is_some() || container.state.running().is_some();
    let path = |p: &Path| {
        if started {
            p.display().to_string()
        } else {
            String::new()
        }
    };
    let log = container.files.log.as_deref();
    ContainerJson {
        id: container.id.to_string(),
        created: container.created.to_string(),
        path: container.path.clone(),
        args: container.args.clone(),
        state: state(container),
        image: container.image.to_string(),
        resolv_conf_path: path(&container.files.resolv_conf),
        hostname_path: path(&container.files.hostname),
        hosts_path: path(&container.files.hosts),
        log_path: log.map(path).unwrap_or_default(),
        name: format!("/{}", container.name),
        restart_count: container.restart_count,
        driver: container.driver.to_owned(),
        platform: container.platform.to_owned(),
        exec_ids: Some(container.execs.iter().map(ToString::to_string).collect())
            .filter(|l: &Vec<_>| !l.is_empty()),
        host_config: host_config::to_wire(&container.host),
        graph_driver: GraphDriver {
            data: Some(inspected.graph.clone()).filter(|g| !g.is_empty()),
            name: container.driver.to_owned(),
        },
        size_rw: inspected.size_rw.map(to_i64),
        size_root_fs: inspected.size_root_fs.map(to_i64),
        mounts: mounts(container),
        config: config::to_wire(&container.config),
        network_settings: network_settings(container),
        ..ContainerJson::default()
    }
}

/// Docker's six booleans, derived from one state.
fn state(container: &Container) -> ContainerState {
    let (state, last) = (&container.state, &container.last);
    let time = |t: Option<Timestamp>| t.unwrap_or(Timestamp::ZERO).to_string();
    let running = state.running();
    ContainerState {
        status: state.status().to_owned(),
        running: running.is_some() || *state == State::Restarting,
        paused: matches!(state, State::Paused(_)),
        restarting: *state == State::Restarting,
        oom_killed: last.oom_killed,
        dead: *state == State::Dead,
        pid: running.map_or(0, |r| r.pid),
        exit_code: last.exit_code,
        error: last.error.clone(),
        started_at: time(running.map(|r| r.started_at).or(last.started_at)),
        finished_at: time(last.finished_at),
    }
}

fn network_settings(container: &Container) -> NetworkSettings {
    let endpoint = container.endpoint.as_ref();
    let networks = networks(container);
    let flat = networks.get("bridge").cloned().unwrap_or_default();
    let sandbox_key = endpoint.map(|e| e.sandbox_key.clone()).unwrap_or_default();
    NetworkSettings {
        // There is one network namespace for each container, and nothing else names it.
        sandbox_id: endpoint
            .map(|_| container.id.to_string())
            .unwrap_or_default(),
        sandbox_key,
        // Nothing is published yet; ports that are only exposed are shown while it runs.
        ports: match container.state.running() {
            Some(_) => container
                .config
                .exposed_ports
                .iter()
                .map(|p| (p.clone(), None))
                .collect(),
            None => BTreeMap::new(),
        },
        endpoint_id: flat.endpoint_id,
        gateway: flat.gateway,
        ip_address: flat.ip_address,
        ip_prefix_len: flat.ip_prefix_len,
        mac_address: flat.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

/// The networks of a container; it is in one even before it has an address there.
fn networks(container: &Container) -> BTreeMap<String, EndpointSettings> {
    let mode = host_config::network_mode(&container.host);
    if container.config.network_disabled || mode.starts_with("container:") {
        return BTreeMap::new();
    }
    let settings = match &container.endpoint {
        None => EndpointSettings::default(),
        Some(endpoint) => EndpointSettings {
            mac_address: endpoint.mac.clone(),
            network_id: endpoint.network_id.clone(),
            endpoint_id: endpoint.endpoint_id.clone(),
            gateway: endpoint.gateway.clone(),
            ip_address: endpoint.address.clone(),
            ip_prefix_len: if endpoint.address.is_empty() {
                0
            } else {
                endpoint.prefix_len
            },
            ..EndpointSettings::default()
        },
    };
    let name = container
        .endpoint
        .as_ref()
        .map_or(mode, |e| e.network.clone());
    BTreeMap::from([(name, settings)])
}

fn mounts(container: &Container) -> Vec<WireMount> {
    let mount = |m: &MountPoint| WireMount {
        kind: m.kind.to_owned(),
        name: m.name.clone().unwrap_or_default(),
        source: m.source.clone(),
        destination: m.destination.clone(),
        driver: m.driver.clone(),
        mode: m.mode.clone(),
        rw: m.writable,
        propagation: m.propagation.clone(),
    };
    container.mounts.iter().map(mount).collect()
}

/// A line of a list.
pub fn summary(listed: &Listed) -> Summary {
    let container = &*listed.container;
    Summary {
        id: container.id.to_string(),
        names: vec![format!("/{}", container.name)],
        image: listed.image_name.clone(),
        image_id: container.image.to_string(),
        command: command(&container.path, &container.args),
        created: container.created.unix_seconds(),
        ports: ports(container),
        size_rw: listed.size_rw.map(to_i64),
        size_root_fs: listed.size_root_fs.map(to_i64),
        labels: container.config.labels.clone(),
        state: container.state.status().to_owned(),
        status: listed.status.clone(),
        host_config: SummaryHostConfig {
            network_mode: host_config::network_mode(&container.host),
            annotations: container.host.annotations.clone(),
        },
        network_settings: SummaryNetworkSettings {
            networks: networks(container),
        },
        mounts: mounts(container),
    }
}

/// Docker quotes arguments with spaces, and only those.
fn command(path: &str, args: &[String]) -> String {
    let mut text = path.to_owned();
    for arg in args {
        text.push(' ');
        if arg.contains(' ') {
            text.push('\'');
            text.push_str(arg);
            text.push('\'');
        } else {
            text.push_str(arg);
        }
    }
    text
}

fn ports(container: &Container) -> Vec<Port> {
    if container.state.running().is_none() {
        return Vec::new();
    }
    let port = |text: &String| {
        let (number, kind) = text.split_once('/').unwrap_or((text, "tcp"));
        Some(Port {
            private_port: number.parse().ok()?,
            kind: kind.to_owned(),
            ..Port::default()
        })
    };
    container
        .config
        .exposed_ports
        .iter()
        .filter_map(port)
        .collect()
}

/// Sizes are signed on the wire.
pub fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_as_dockers() {
        let args = ["-c".to_owned(), "echo hi; sleep 300".to_owned()];
        assert_eq!(command("sh", &args), "sh -c 'echo hi; sleep 300'");
        assert_eq!(command("sh", &[]), "sh");
    }
}
