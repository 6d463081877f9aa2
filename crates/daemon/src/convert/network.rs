//! Networks.

use api::network::{Ipam, IpamConfig, Network, NetworkContainer};
use engine::networks::NetworkView;

/// A network for the wire.
pub fn to_wire(view: &NetworkView) -> Network {
    let subnet = |s: &engine::networks::Subnet| IpamConfig {
        subnet: s.subnet.clone(),
        gateway: s.gateway.clone(),
    };
    let subnets: Vec<IpamConfig> = view.ipam.iter().map(subnet).collect();
    let member = |m: &engine::networks::NetworkMember| NetworkContainer {
        name: m.name.clone(),
        endpoint_id: m.endpoint_id.clone(),
        mac_address: m.mac.clone(),
        ipv4_address: m.address.clone(),
        ipv6_address: String::new(),
    };
    Network {
        name: view.name.clone(),
        id: view.id.clone(),
        created: view.created.to_string(),
        scope: "local".to_owned(),
        driver: view.driver.clone(),
        enable_ipv4: true,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: None,
            config: Some(subnets).filter(|l| !l.is_empty()),
        },
        containers: view
            .containers
            .iter()
            .map(|(id, m)| (id.clone(), member(m)))
            .collect(),
        options: view.options.clone(),
        ..Network::default()
    }
}
