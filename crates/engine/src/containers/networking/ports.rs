//! Ports: from Docker's port map to what the network is asked to publish, and back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use network::{PortRequest, Protocol, PublishedPort};

use crate::container::{Config, HostConfig, PortBinding};
use crate::{Error, Result};

/// Reads `80`, `80/tcp` or `80-90/udp`: first and last port, and protocol.
pub(crate) fn parse(text: &str) -> Option<(Range, Protocol)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some((range(ports)?, protocol.parse().ok()?))
}

/// First and last port.
type Range = (u16, u16);

fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| {
        let plain = !t.is_empty() && t.bytes().all(|c| c.is_ascii_digit());
        t.parse::<u16>().ok().filter(|_| plain)
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// What is to be published, in Docker's order: fixed host ports first, then larger ports first.
///
/// As in Docker, a port that is not exposed is not published.
///
/// # Errors
///
/// A host address or port that is none.
pub(crate) fn requests(config: &Config, host: &HostConfig) -> Result<Vec<PortRequest>> {
    let mut requests = Vec::new();
    if host.port_bindings.is_empty() && !host.publish_all_ports {
        return Ok(requests);
    }
    let bindings_of: BTreeMap<_, &[PortBinding]> = host
        .port_bindings
        .iter()
        .filter_map(|(key, list)| Some((parse(key)?, list.as_slice())))
        .collect();
    for exposed in &config.exposed_ports {
        let Some(port @ ((container_port, _), protocol)) = parse(exposed) else {
            continue;
        };
        let bindings = bindings_of.get(&port).copied().unwrap_or_default();
        for binding in bindings {
            let (host_ip, host_ports) = read(binding)?;
            requests.push(PortRequest {
                container_port,
                protocol,
                host_ip,
                host_ports,
            });
        }
        if bindings.is_empty() && host.publish_all_ports {
            requests.push(PortRequest {
                container_port,
                protocol,
                host_ip: None,
                host_ports: None,
            });
        }
    }
    // Certain ports first, so that no free choice takes one of them. Stable: bindings of one port
    // keep the user's order.
    requests.sort_by_key(|r| {
        let fixed = r.host_ports.map_or(0, |(first, _)| first);
        let protocol = r.protocol != Protocol::Tcp;
        (
            fixed == 0,
            std::cmp::Reverse(r.container_port),
            protocol,
            fixed,
        )
    });
    Ok(requests)
}

fn read(binding: &PortBinding) -> Result<(Option<IpAddr>, Option<Range>)> {
    let address = match binding.host_ip.as_str() {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| {
            // Docker takes what is no address for all addresses, which nobody can have meant.
            Error::invalid(format!("invalid IP address: {text}"))
        })?),
    };
    let ports = match binding.host_port.as_str() {
        "" => None,
        text => Some(
            range(text.split('/').next().unwrap_or(text))
                .ok_or_else(|| Error::invalid(format!("invalid port specification: {text:?}")))?,
        ),
    };
    Ok((address, ports.filter(|(first, _)| *first != 0)))
}

/// Ports as inspect shows them while a container runs.
pub(crate) fn shown(
    config: &Config,
    published: &[PublishedPort],
) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let exposed = config.exposed_ports.iter().filter_map(|text| {
        let ((port, _), protocol) = parse(text)?;
        Some((format!("{port}/{protocol}"), None))
    });
    let mut shown: BTreeMap<String, Option<Vec<PortBinding>>> = exposed.collect();
    for port in published {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let list = shown.entry(key).or_default().get_or_insert_with(Vec::new);
        list.push(PortBinding {
            host_ip: port.host_ip.to_string(),
            // Where containers are reached directly there is none.
            host_port: match port.host_port {
                0 => String::new(),
                number => number.to_string(),
            },
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(bindings: &[(&str, &str, &str)]) -> HostConfig {
        let mut host = HostConfig::default();
        for (port, host_ip, host_port) in bindings {
            let list = host.port_bindings.entry((*port).to_owned()).or_default();
            list.push(PortBinding {
                host_ip: (*host_ip).to_owned(),
                host_port: (*host_port).to_owned(),
            });
        }
        host
    }

    fn exposing(ports: &[&str]) -> Config {
        Config {
            exposed_ports: ports.iter().map(|p| (*p).to_owned()).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn only_exposed_ports_are_published() {
        let host = host(&[("80/tcp", "", "8080"), ("81/tcp", "127.0.0.1", "8081-8083")]);
        let requests = requests(&exposing(&["81/tcp", "9/udp"]), &host).unwrap();
        assert_eq!(
            requests,
            [PortRequest {
                container_port: 81,
                protocol: Protocol::Tcp,
                host_ip: Some("127.0.0.1".parse().unwrap()),
                host_ports: Some((8081, 8083)),
            }]
        );
    }

    #[test]
    fn fixed_ports_come_first_and_all_means_the_rest() {
        let mut host = host(&[
            ("80/tcp", "", ""),
            ("53/udp", "", "5353"),
            ("53", "", "5353"),
        ]);
        host.publish_all_ports = true;
        let ports = requests(&exposing(&["80/tcp", "53/udp", "53/tcp", "99/sctp"]), &host).unwrap();
        let order: Vec<_> = ports
            .iter()
            .map(|r| (r.container_port, r.protocol.as_str()))
            .collect();
        assert_eq!(order, [(53, "tcp"), (53, "udp"), (99, "sctp"), (80, "tcp")]);
    }

    #[test]
    fn addresses_and_ports_must_be_some() {
        let exposed = exposing(&["80/tcp"]);
        for (ip, port) in [
            ("nowhere", "1"),
            ("", "x"),
            ("", "99999"),
            ("", "9-1"),
            ("", "+1"),
        ] {
            assert!(
                requests(&exposed, &host(&[("80/tcp", ip, port)])).is_err(),
                "{ip} {port}"
            );
        }
        let ephemeral = requests(&exposed, &host(&[("80/tcp", "::1", "0")])).unwrap();
        assert_eq!(ephemeral[0].host_ports, None);
    }

    #[test]
    fn published_ports_are_shown_with_the_exposed_ones() {
        let published = |ip: &str| PublishedPort {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: ip.parse().unwrap(),
            host_port: 8080,
        };
        let shown = shown(
            &exposing(&["80", "9/udp"]),
            &[published("0.0.0.0"), published("::")],
        );
        assert_eq!(shown.keys().collect::<Vec<_>>(), ["80/tcp", "9/udp"]);
        assert_eq!(shown["9/udp"], None);
        let ips: Vec<_> = shown["80/tcp"]
            .iter()
            .flatten()
            .map(|b| b.host_ip.as_str())
            .collect();
        assert_eq!(ips, ["0.0.0.0", "::"]);
    }
}
