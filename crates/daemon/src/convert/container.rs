//! Containers as lists and inspect show them.

use std::path::Path;

use api::container::{
    ContainerJson, ContainerState, GraphDriver, MountPoint as WireMount, NetworkSettings, Port,
    PortBinding as WirePort, Summary, SummaryHostConfig, SummaryNetworkSettings,
};
use engine::container::{Container, MountPoint, Networking, PortBinding, State};
use engine::containers::{Inspected, Listed};
use spec::Timestamp;

use super::{config, host_config, network, networking};
use crate::router::compare_versions;

/// What inspect shows to a client of this version of the API.
pub fn inspect(inspected: &Inspected, version: &str) -> ContainerJson {
    let mut whole = inspect_newest(inspected);
    if compare_versions(version, "1.45").is_lt() {
        names_as_aliases(&mut whole);
    }
    whole
}

/// Until API 1.45 the short id and the host name were among the aliases in user networks.
fn names_as_aliases(whole: &mut ContainerJson) {
    let short = whole.id.get(..12).unwrap_or(&whole.id).to_owned();
    for (name, endpoint) in &mut whole.network_settings.networks {
        if matches!(name.as_str(), "bridge" | "host" | "none") {
            continue;
        }
        let aliases = endpoint.aliases.get_or_insert_default();
        for more in [&short, &whole.config.hostname] {
            if !aliases.contains(more) {
                aliases.push(more.clone());
            }
        }
    }
}

fn inspect_newest(inspected: &Inspected) -> ContainerJson {
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
        host_config: host_config(inspected),
        graph_driver: GraphDriver {
            data: Some(inspected.graph.clone()).filter(|g| !g.is_empty()),
            name: container.driver.to_owned(),
        },
        size_rw: inspected.size_rw.map(to_i64),
        size_root_fs: inspected.size_root_fs.map(to_i64),
        mounts: mounts(container),
        config: config(container),
        network_settings: network_settings(&container.networking),
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

/// Links are shown as the engine keeps them: both names whole.
fn host_config(inspected: &Inspected) -> api::container::HostConfig {
    api::container::HostConfig {
        links: Some(inspected.links.clone()).filter(|links| !links.is_empty()),
        ..host_config::to_wire(&inspected.container.host)
    }
}

/// Older clients look for the MAC address that was asked for beside the process.
fn config(container: &Container) -> api::container::Config {
    let mut wire = config::to_wire(&container.config);
    let mode = host_config::network_mode(&container.host);
    if wire.mac_address.is_empty() && networking::has_addresses(&mode) {
        let endpoint = container.networking.endpoints.get(&mode);
        wire.mac_address = endpoint
            .map(|endpoint| endpoint.settings.mac.clone())
            .unwrap_or_default();
    }
    wire
}

fn network_settings(of: &Networking) -> NetworkSettings {
    let flat = of.default_bridge().map(network::endpoint_to_wire);
    let flat = flat.unwrap_or_default();
    NetworkSettings {
        sandbox_id: of.sandbox_id.clone(),
        sandbox_key: of.sandbox_key.clone(),
        ports: of
            .ports
            .iter()
            .map(|(port, places)| (port.clone(), places.as_deref().map(bindings)))
            .collect(),
        endpoint_id: flat.endpoint_id,
        gateway: flat.gateway,
        global_ipv6_address: flat.global_ipv6_address,
        global_ipv6_prefix_len: flat.global_ipv6_prefix_len,
        ip_address: flat.ip_address,
        ip_prefix_len: flat.ip_prefix_len,
        ipv6_gateway: flat.ipv6_gateway,
        mac_address: flat.mac_address,
        networks: network::endpoints(&of.endpoints, network::endpoint_to_wire),
        ..NetworkSettings::default()
    }
}

fn bindings(places: &[PortBinding]) -> Vec<WirePort> {
    let binding = |place: &PortBinding| WirePort {
        host_ip: place.host_ip.clone(),
        host_port: place.host_port.clone(),
    };
    places.iter().map(binding).collect()
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
        names: names(listed),
        image: listed.image_name.clone(),
        image_id: container.image.to_string(),
        command: command(&container.path, &container.args),
        created: container.created.unix_seconds(),
        ports: ports(&container.networking),
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
            networks: network::endpoints(
                &container.networking.endpoints,
                network::endpoint_summary,
            ),
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

/// Its own name, and those that linked containers have for it.
fn names(listed: &Listed) -> Vec<String> {
    let mut names = vec![format!("/{}", listed.container.name)];
    names.extend(listed.links.iter().cloned());
    names
}

fn ports(of: &Networking) -> Vec<Port> {
    let mut out = Vec::new();
    for (text, places) in &of.ports {
        let (number, kind) = text.split_once('/').unwrap_or((text, "tcp"));
        let Ok(private_port) = number.parse() else {
            continue;
        };
        let port = Port {
            private_port,
            kind: kind.to_owned(),
            ..Port::default()
        };
        match places.as_deref() {
            None | Some([]) => out.push(port),
            Some(places) => out.extend(places.iter().filter_map(|place| {
                Some(Port {
                    ip: place.host_ip.clone(),
                    public_port: Some(place.host_port.parse().ok()?),
                    ..port.clone()
                })
            })),
        }
    }
    out
}

/// Sizes are signed on the wire.
pub fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::container::EndpointView;

    use super::*;

    fn published() -> Networking {
        let place = |ip: &str, port: &str| PortBinding {
            host_ip: ip.to_owned(),
            host_port: port.to_owned(),
        };
        let both = vec![place("0.0.0.0", "8080"), place("::", "8080")];
        Networking {
            sandbox_id: "4baa".to_owned(),
            sandbox_key: "/run/x/netns/4baa".to_owned(),
            ports: BTreeMap::from([
                ("80/tcp".to_owned(), Some(both)),
                ("90/udp".to_owned(), None),
            ]),
            endpoints: BTreeMap::from([(
                "bridge".to_owned(),
                EndpointView {
                    endpoint_id: "67d2".to_owned(),
                    address: "172.17.0.2".to_owned(),
                    prefix_len: 16,
                    address6: "fd00::2".to_owned(),
                    prefix_len6: 64,
                    gateway6: "fd00::1".to_owned(),
                    ..EndpointView::default()
                },
            )]),
        }
    }

    #[test]
    fn published_ports_are_shown_as_dockers() {
        let settings = network_settings(&published());
        let text = String::from_utf8(api::gojson::encode(&settings)).unwrap();
        assert!(
            text.starts_with(r#"{"Bridge":"","SandboxID":"4baa","SandboxKey":"/run/x/netns/4baa","Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"90/udp":null},"HairpinMode":false,"LinkLocalIPv6Address":"","LinkLocalIPv6PrefixLen":0,"SecondaryIPAddresses":null,"SecondaryIPv6Addresses":null,"EndpointID":"67d2","Gateway":"","GlobalIPv6Address":"fd00::2","GlobalIPv6PrefixLen":64,"IPAddress":"172.17.0.2","IPPrefixLen":16,"IPv6Gateway":"fd00::1","MacAddress":"","Networks":{"bridge":{"IPAMConfig":null,"#),
            "{text}"
        );
        assert_eq!(
            String::from_utf8(api::gojson::encode(&ports(&published()))).unwrap(),
            r#"[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":90,"Type":"udp"}]"#
        );
    }

    #[test]
    fn older_clients_find_names_among_the_aliases() {
        let mut whole = ContainerJson {
            id: "0123456789abcdef".to_owned(),
            ..ContainerJson::default()
        };
        whole.config.hostname = "box".to_owned();
        let networks = &mut whole.network_settings.networks;
        networks.insert("bridge".to_owned(), Default::default());
        networks.insert(
            "n".to_owned(),
            api::network::EndpointSettings {
                aliases: Some(vec!["box".to_owned()]),
                ..Default::default()
            },
        );
        names_as_aliases(&mut whole);
        let networks = &whole.network_settings.networks;
        assert_eq!(networks["bridge"].aliases, None);
        assert_eq!(
            networks["n"].aliases.as_deref().unwrap(),
            ["box", "0123456789ab"]
        );
    }

    #[test]
    fn commands_are_quoted_as_dockers() {
        let args = ["-c".to_owned(), "echo hi; sleep 300".to_owned()];
        assert_eq!(command("sh", &args), "sh -c 'echo hi; sleep 300'");
        assert_eq!(command("sh", &[]), "sh");
    }
}
