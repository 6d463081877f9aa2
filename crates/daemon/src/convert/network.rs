//! Networks, and a container's place in one.

use std::collections::BTreeMap;

use api::network::{
    ConfigReference, EndpointIpamConfig, EndpointSettings as WireEndpoint, Ipam, IpamConfig,
    Network, NetworkContainer, NetworkCreateRequest,
};
use engine::container::{EndpointIpam, EndpointSettings, EndpointView};
use engine::networks::{IpamCreate, NetworkCreate, NetworkMember, NetworkView, PoolCreate};

/// What the engine is told of a network to be made.
pub fn create_from_wire(wire: NetworkCreateRequest) -> NetworkCreate {
    NetworkCreate {
        name: wire.name,
        driver: wire.driver,
        scope: wire.scope,
        enable_ipv4: wire.enable_ipv4,
        enable_ipv6: wire.enable_ipv6,
        internal: wire.internal,
        attachable: wire.attachable,
        ingress: wire.ingress,
        config_only: wire.config_only,
        config_from: wire.config_from.map(|from| from.network),
        ipam: wire.ipam.map(ipam_from_wire),
        options: wire.options.unwrap_or_default(),
        labels: wire.labels.unwrap_or_default(),
    }
}

fn ipam_from_wire(wire: Ipam) -> IpamCreate {
    let pool = |pool: IpamConfig| PoolCreate {
        subnet: pool.subnet,
        range: pool.ip_range,
        gateway: pool.gateway,
        aux: pool.auxiliary.unwrap_or_default(),
    };
    IpamCreate {
        driver: wire.driver,
        options: wire.options,
        pools: wire
            .config
            .unwrap_or_default()
            .into_iter()
            .map(pool)
            .collect(),
    }
}

/// A network for the wire.
pub fn to_wire(view: &NetworkView) -> Network {
    let pool = |pool: &PoolCreate| IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary: Some(pool.aux.clone()).filter(|aux| !aux.is_empty()),
    };
    let pools: Vec<IpamConfig> = view.ipam.pools.iter().map(pool).collect();
    let member = |member: &NetworkMember| NetworkContainer {
        name: member.name.clone(),
        endpoint_id: member.endpoint_id.clone(),
        mac_address: member.mac.clone(),
        ipv4_address: member.ipv4.clone(),
        ipv6_address: member.ipv6.clone(),
    };
    Network {
        name: view.name.clone(),
        id: view.id.clone(),
        created: view.created.to_string(),
        scope: view.scope.clone(),
        driver: view.driver.clone(),
        enable_ipv4: view.enable_ipv4,
        enable_ipv6: view.enable_ipv6,
        ipam: Ipam {
            driver: view.ipam.driver.clone(),
            options: view.ipam.options.clone(),
            config: Some(pools).filter(|pools| !pools.is_empty()),
        },
        internal: view.internal,
        attachable: view.attachable,
        // Swarm alone makes these.
        ingress: false,
        config_from: ConfigReference {
            network: view.config_from.clone(),
        },
        config_only: view.config_only,
        containers: view
            .containers
            .iter()
            .map(|(id, m)| (id.clone(), member(m)))
            .collect(),
        options: view.options.clone(),
        labels: view.labels.clone(),
    }
}

/// What the engine is told of a place in a network; what a place has is the engine's to say.
pub fn endpoint_from_wire(wire: WireEndpoint) -> EndpointSettings {
    EndpointSettings {
        ipam: wire.ipam_config.map(|ipam| EndpointIpam {
            ipv4: ipam.ipv4_address,
            ipv6: ipam.ipv6_address,
            link_local: ipam.link_local_ips.unwrap_or_default(),
        }),
        links: wire.links,
        aliases: wire.aliases,
        mac: wire.mac_address,
        driver_opts: wire.driver_opts,
        gateway_priority: wire.gw_priority,
    }
}

/// A place in a network as inspect shows it.
pub fn endpoint_to_wire(view: &EndpointView) -> WireEndpoint {
    let settings = &view.settings;
    WireEndpoint {
        ipam_config: settings.ipam.as_ref().map(|ipam| EndpointIpamConfig {
            ipv4_address: ipam.ipv4.clone(),
            ipv6_address: ipam.ipv6.clone(),
            link_local_ips: Some(ipam.link_local.clone()),
        }),
        links: settings.links.clone(),
        aliases: settings.aliases.clone(),
        mac_address: view.mac.clone(),
        driver_opts: settings.driver_opts.clone(),
        gw_priority: settings.gateway_priority,
        network_id: view.network_id.clone(),
        endpoint_id: view.endpoint_id.clone(),
        gateway: view.gateway.clone(),
        ip_address: view.address.clone(),
        ip_prefix_len: view.prefix_len.into(),
        ipv6_gateway: view.gateway6.clone(),
        global_ipv6_address: view.address6.clone(),
        global_ipv6_prefix_len: view.prefix_len6.into(),
        dns_names: view.dns_names.clone(),
    }
}

/// A place in a network as lists show it: Docker leaves names and options out.
pub fn endpoint_summary(view: &EndpointView) -> WireEndpoint {
    let whole = endpoint_to_wire(view);
    WireEndpoint {
        ipam_config: whole.ipam_config.map(|ipam| EndpointIpamConfig {
            link_local_ips: None,
            ..ipam
        }),
        links: None,
        aliases: None,
        driver_opts: None,
        dns_names: None,
        ..whole
    }
}

/// All places of a container, by network.
pub fn endpoints(
    views: &BTreeMap<String, EndpointView>,
    form: fn(&EndpointView) -> WireEndpoint,
) -> BTreeMap<String, WireEndpoint> {
    views
        .iter()
        .map(|(name, view)| (name.clone(), form(view)))
        .collect()
}

#[cfg(test)]
mod tests {
    use api::gojson::encode;
    use serde_json::Value;

    use super::*;

    fn text<T: serde::Serialize>(value: &T) -> String {
        String::from_utf8(encode(value)).unwrap()
    }

    #[test]
    fn requests_become_networks() {
        let body = br#"{"Name":"n","Driver":"macvlan","Scope":"local","EnableIPv6":true,"IPAM":{"Options":{"a":"b"},"Config":[{"Subnet":"10.0.0.0/8","IPRange":"10.1.0.0/16","Gateway":"10.0.0.1","AuxiliaryAddresses":{"x":"10.0.0.2"}}]},"Internal":true,"ConfigFrom":{"Network":"c"},"Options":{"parent":"eth0"},"Labels":null}"#;
        let made = create_from_wire(NetworkCreateRequest::decode(body).unwrap());
        assert_eq!((made.name.as_str(), made.driver.as_str()), ("n", "macvlan"));
        assert_eq!((made.enable_ipv4, made.enable_ipv6), (None, Some(true)));
        assert!(made.internal && !made.attachable && made.labels.is_empty());
        assert_eq!(made.config_from.as_deref(), Some("c"));
        assert_eq!(made.options["parent"], "eth0");
        let ipam = made.ipam.unwrap();
        assert_eq!(ipam.options.unwrap()["a"], "b");
        let pool = &ipam.pools[0];
        assert_eq!(
            (
                pool.subnet.as_str(),
                pool.range.as_str(),
                pool.gateway.as_str()
            ),
            ("10.0.0.0/8", "10.1.0.0/16", "10.0.0.1")
        );
        assert_eq!(pool.aux["x"], "10.0.0.2");
        assert!(
            create_from_wire(NetworkCreateRequest::default())
                .ipam
                .is_none()
        );
    }

    #[test]
    fn wishes_survive_the_way_there_and_back() {
        for body in [
            r#"{"IPAMConfig":{"IPv4Address":"10.0.0.9","LinkLocalIPs":["169.254.1.1"]},"Links":["a:b"],"Aliases":["x"],"DriverOpts":{"k":"v"},"GwPriority":-2}"#,
            r#"{"IPAMConfig":{},"Links":null,"Aliases":[],"DriverOpts":{},"GwPriority":0}"#,
            r#"{"IPAMConfig":null,"Links":null,"Aliases":null,"DriverOpts":null,"GwPriority":0}"#,
        ] {
            let wire: WireEndpoint = serde_json::from_str(body).unwrap();
            let view = EndpointView {
                settings: endpoint_from_wire(wire),
                ..EndpointView::default()
            };
            let back: Value = serde_json::from_str(&text(&endpoint_to_wire(&view))).unwrap();
            let want: Value = serde_json::from_str(body).unwrap();
            for (key, value) in want.as_object().unwrap() {
                assert_eq!(&back[key], value, "{key}");
            }
        }
    }

    #[test]
    fn lists_leave_names_out() {
        let view = EndpointView {
            settings: EndpointSettings {
                ipam: Some(EndpointIpam {
                    ipv4: "10.99.1.77".to_owned(),
                    link_local: vec!["169.254.1.1".to_owned()],
                    ..EndpointIpam::default()
                }),
                aliases: Some(vec!["al".to_owned()]),
                driver_opts: Some(BTreeMap::from([("k".to_owned(), "v".to_owned())])),
                gateway_priority: 5,
                ..EndpointSettings::default()
            },
            network_id: "3465".to_owned(),
            endpoint_id: "0529".to_owned(),
            mac: "4e:9f:30:b9:8e:38".to_owned(),
            address: "10.99.1.77".to_owned(),
            prefix_len: 24,
            gateway: "10.99.1.1".to_owned(),
            dns_names: Some(vec!["c".to_owned()]),
            ..EndpointView::default()
        };
        assert_eq!(
            text(&endpoint_summary(&view)),
            r#"{"IPAMConfig":{"IPv4Address":"10.99.1.77"},"Links":null,"Aliases":null,"MacAddress":"4e:9f:30:b9:8e:38","DriverOpts":null,"GwPriority":5,"NetworkID":"3465","EndpointID":"0529","Gateway":"10.99.1.1","IPAddress":"10.99.1.77","IPPrefixLen":24,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}"#
        );
        assert!(text(&endpoint_to_wire(&view)).contains(r#""Aliases":["al"]"#));
    }
}
