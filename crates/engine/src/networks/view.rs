//! Networks as their readers see them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network::{Description, IpNet, NetworkSpec};
use spec::NetworkId;

use super::request::{IpamView, NetworkMember, NetworkView, PoolView};
use crate::container::Container;

/// The driver that readers see: settings for others have none.
pub(super) fn kind(spec: &NetworkSpec) -> &str {
    match spec.config_only {
        true => "null",
        false => &spec.driver,
    }
}

/// A network as its readers see it, without its containers.
pub(super) fn view(about: &Description) -> NetworkView {
    let spec = &about.spec;
    let text = |value: Option<String>| value.unwrap_or_default();
    let pool = |pool: &network::PoolSpec| PoolView {
        subnet: text(pool.subnet.map(|s| s.to_string())),
        range: text(pool.range.map(|r| r.to_string())),
        gateway: text(pool.gateway.map(|g| g.to_string())),
        aux: pool
            .aux
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    };
    NetworkView {
        id: about.id.to_string(),
        name: spec.name.clone(),
        driver: kind(spec).to_owned(),
        scope: spec.scope.clone(),
        created: about.created,
        enable_ipv4: spec.enable_ipv4,
        enable_ipv6: spec.enable_ipv6,
        internal: spec.internal,
        attachable: spec.attachable,
        config_only: spec.config_only,
        config_from: spec.config_from.clone().unwrap_or_default(),
        ipam: IpamView {
            driver: match spec.ipam.driver.as_str() {
                "" => "default".to_owned(),
                other => other.to_owned(),
            },
            // As in Docker: none at all where nobody said anything, an empty set where a client did.
            options: (!about.predefined).then(|| spec.ipam.options.clone()),
            pools: spec.ipam.pools.iter().map(pool).collect(),
        },
        options: spec.options.clone(),
        labels: spec.labels.clone(),
        containers: BTreeMap::new(),
    }
}

/// A container as a member of a network, if it has a place there now.
pub(super) fn member(container: &Container, network: &str) -> Option<(String, NetworkMember)> {
    let endpoint = container.networking.endpoints.get(network)?;
    if endpoint.endpoint_id.is_empty() {
        return None;
    }
    let with_prefix = |address: &str, prefix: u8| match address {
        "" => String::new(),
        address => format!("{address}/{prefix}"),
    };
    let member = NetworkMember {
        name: container.name.to_string(),
        endpoint_id: endpoint.endpoint_id.clone(),
        mac: endpoint.mac.clone(),
        ipv4: with_prefix(&endpoint.address, endpoint.prefix_len),
        ipv6: with_prefix(&endpoint.address6, endpoint.prefix_len6),
    };
    Some((container.id.to_string(), member))
}

/// Subnets that the user of a network gave.
pub(crate) fn given_subnets(spec: &NetworkSpec) -> Vec<IpNet> {
    let pools = spec.ipam.pools.iter().filter(|pool| !pool.chosen);
    pools.filter_map(|pool| pool.subnet).collect()
}

/// The gateways of a network, IPv4 and IPv6.
pub(crate) fn gateways(
    networks: &network::Networks,
    id: &NetworkId,
) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let about = networks.describe(id);
    let pools = about.iter().flat_map(|about| &about.pools);
    let (mut v4, mut v6) = (None, None);
    for gateway in pools.filter_map(|pool| pool.gateway) {
        match gateway {
            IpAddr::V4(address) => v4 = v4.or(Some(address)),
            IpAddr::V6(address) => v6 = v6.or(Some(address)),
        }
    }
    (v4, v6)
}
