//! Networks of other drivers than `bridge`, and rate limits, as containers get them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use network::{EndpointRequest, IpamSpec, NetworkSpec, PoolText};

use super::{
    attach_to, connect_from, container, in_host, internet, is_cut_off, links, listen, live, open,
    output, settings, try_open, wait_for,
};

fn spec(driver: &str, subnet: &str, options: &[(&str, &str)]) -> NetworkSpec {
    let text = PoolText {
        subnet: subnet.to_owned(),
        ..PoolText::default()
    };
    let mut spec = NetworkSpec::new(format!("my-{driver}"));
    driver.clone_into(&mut spec.driver);
    spec.ipam.pools = IpamSpec::parse_pools(&[text]).unwrap();
    spec.options = all(options);
    spec
}

fn all(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    options.iter().map(owned).collect()
}

#[test]
fn a_macvlan_container_is_on_the_host_s_network() {
    in_host(|state| {
        let lan = internet();
        let networks = open(settings(state));
        let spec = spec("macvlan", "203.0.113.0/24", &[("parent", "uplink")]);
        let id = networks.create(spec).unwrap().id;
        let wish = |host: u8| EndpointRequest {
            ipv4: Some(Ipv4Addr::new(203, 0, 113, host)),
            ..EndpointRequest::new(id)
        };
        let one = try_open(&networks, 1, wish(11)).unwrap();
        let two = try_open(&networks, 2, wish(12)).unwrap();
        assert_eq!(one.endpoint.gateway4, Some(Ipv4Addr::new(203, 0, 113, 1)));
        let _server = listen(&lan, 80);
        connect_from(&one.netns, Ipv4Addr::new(203, 0, 113, 2), 80).unwrap();
        let _other = listen(&two.netns, 81);
        connect_from(&one.netns, two.address, 81).unwrap();
        // The next daemon finds it again.
        let endpoints = vec![one.endpoint.clone()];
        networks.close_sandbox(&container(2));
        drop((networks, two));
        let networks = network::Networks::open(settings(state)).unwrap();
        assert_eq!(networks.reconcile(vec![live(1, endpoints)]), []);
        assert!(networks.remove(&id).is_err());
        networks
            .disconnect(&container(1), &id, Some(one.netns.as_fd()))
            .unwrap();
        let left = sys::netns::with(&one.netns, || Ok::<_, sys::Error>(links())).unwrap();
        assert_eq!(left, ["lo"]);
        networks.close_sandbox(&container(1));
        networks.remove(&id).unwrap();
        assert!(links().contains(&"uplink".to_owned()));
    });
}

#[test]
fn an_internal_macvlan_has_no_gateway_and_all_addresses() {
    in_host(|state| {
        let networks = open(settings(state));
        let id = networks
            .create(spec("macvlan", "10.78.0.0/24", &[]))
            .unwrap()
            .id;
        let one = attach_to(&networks, 1, id);
        assert_eq!(one.address, Ipv4Addr::new(10, 78, 0, 1));
        assert_eq!(one.endpoint.gateway4, None);
        let routes = sys::netns::with(&one.netns, || {
            Ok::<_, sys::Error>(output("ip", &["-4", "route"]))
        });
        assert!(!routes.unwrap().contains("default"));
        let two = attach_to(&networks, 2, id);
        let _server = listen(&two.netns, 80);
        connect_from(&one.netns, two.address, 80).unwrap();
        networks.close_sandbox(&container(1));
        networks.close_sandbox(&container(2));
        networks.remove(&id).unwrap();
        assert!(
            !links().iter().any(|name| name.starts_with("dm-")),
            "{:?}",
            links()
        );
    });
}

#[test]
fn a_network_that_its_driver_refuses_leaves_nothing() {
    in_host(|state| {
        let networks = open(settings(state));
        let before = links();
        for (driver, options) in [
            ("macvlan", &[("parent", "nope")][..]),
            ("macvlan", &[("macvlan_mode", "foo")]),
            ("ipvlan", &[("ipvlan_flag", "foo")]),
            ("nosuchplugin", &[]),
            (
                "bridge",
                &[("com.corten.network.endpoint.rate.ingress", "fast")],
            ),
        ] {
            let error = networks.create(spec(driver, "10.78.0.0/24", options));
            assert!(error.is_err(), "{driver} {options:?}");
        }
        let error = networks
            .create(spec("nosuchplugin", "10.78.0.0/24", &[]))
            .unwrap_err();
        assert_eq!(error.to_string(), "plugin \"nosuchplugin\" not found");
        assert_eq!(networks.list().len(), 3);
        assert_eq!(links(), before);
        // The subnet is free.
        networks
            .create(spec("macvlan", "10.78.0.0/24", &[]))
            .unwrap();
    });
}

#[test]
fn limits_of_network_and_endpoint_are_on_the_pair_and_go_with_it() {
    in_host(|state| {
        let networks = open(settings(state));
        let rate = "com.corten.network.endpoint.rate";
        let options = [
            (format!("{rate}.ingress"), "10mbit"),
            (format!("{rate}.egress"), "10mbit"),
        ];
        let options: Vec<_> = options
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        let id = networks
            .create(spec("bridge", "10.79.0.0/24", &options))
            .unwrap()
            .id;
        let one = attach_to(&networks, 1, id);
        let wish = EndpointRequest {
            options: all(&[(&format!("{rate}.egress"), "33mbit")]),
            ..EndpointRequest::new(id)
        };
        let two = try_open(&networks, 2, wish).unwrap();
        let shown = |of: &super::Attached| {
            let near = of.endpoint.host_interface.as_str();
            let through = near.replacen("cv", "cb", 1);
            let rate = |device: &str| {
                let text = output("tc", &["qdisc", "show", "dev", device, "root"]);
                let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
                let at = words.iter().position(|word| word == "rate").unwrap();
                words[at + 1].clone()
            };
            (rate(near), rate(&through))
        };
        assert_eq!(shown(&one), ("10Mbit".to_owned(), "10Mbit".to_owned()));
        assert_eq!(shown(&two), ("10Mbit".to_owned(), "33Mbit".to_owned()));
        // Through both, and back.
        {
            // A socket keeps its namespace.
            let _server = listen(&two.netns, 80);
            connect_from(&one.netns, two.address, 80).unwrap();
            assert!(is_cut_off(&one.netns, two.address, 81));
        }

        let shapers = || links().iter().filter(|name| name.starts_with("cb")).count();
        assert_eq!(shapers(), 2);
        networks.close_sandbox(&container(1));
        assert_eq!(shapers(), 1);
        // A daemon that was killed: its container is gone as well, and nobody said so.
        drop((networks, two.netns));
        let gone = || !links().contains(&two.endpoint.host_interface);
        wait_for("the pair to go", gone);
        let networks = open(settings(state));
        assert_eq!(shapers(), 0);
        networks.remove(&id).unwrap();
    });
}

/// A CNI program that writes what it was asked for to a log.
const PROGRAM: &str = r#"#!/bin/sh
echo "$CNI_COMMAND" >> "$(dirname "$0")/log"
[ "$CNI_COMMAND" = ADD ] || exit 0
nsenter --net="$CNI_NETNS" ip link add name "$CNI_IFNAME" type ifb
nsenter --net="$CNI_NETNS" ip address add 10.44.0.5/24 dev "$CNI_IFNAME"
nsenter --net="$CNI_NETNS" ip link set "$CNI_IFNAME" up
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.44.0.5/24","gateway":"10.44.0.1"}]}'
"#;

#[test]
fn a_cni_endpoint_outlives_the_daemon_and_is_deleted_once() {
    use std::os::unix::fs::PermissionsExt as _;
    in_host(|state| {
        let program = state.join("bin/program");
        std::fs::create_dir_all(state.join("bin")).unwrap();
        std::fs::create_dir_all(state.join("net.d")).unwrap();
        std::fs::write(&program, PROGRAM).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = r#"{"cniVersion":"1.0.0","name":"ours","plugins":[{"type":"program"}]}"#;
        std::fs::write(state.join("net.d/ours.conflist"), config).unwrap();
        let settings = || {
            let mut settings = settings(state);
            settings.cni_config_dir = Some(state.join("net.d"));
            settings.cni_bin_dirs = vec![state.join("bin")];
            settings
        };
        let log = || std::fs::read_to_string(state.join("bin/log")).unwrap();
        let networks = open(settings());
        let mut spec = NetworkSpec::new("ours");
        spec.driver = "cni".to_owned();
        let id = networks.create(spec).unwrap().id;
        let one = attach_to(&networks, 1, id);
        assert_eq!(one.address, Ipv4Addr::new(10, 44, 0, 5));
        assert_eq!(one.endpoint.gateway4, Some(Ipv4Addr::new(10, 44, 0, 1)));
        drop(networks);

        let networks = network::Networks::open(settings()).unwrap();
        let mut sandbox = live(1, vec![one.endpoint.clone()]);
        sandbox.netns = Some(one.netns.try_clone().unwrap());
        assert_eq!(networks.reconcile(vec![sandbox]), []);
        assert_eq!(log(), "ADD\nCHECK\n");
        let about = networks.describe(&id).unwrap();
        assert_eq!(about.endpoints[0].ipv4, one.endpoint.ipv4);
        drop(networks);

        // Now the container is gone as well, and nobody said so.
        drop(one);
        let networks = open(settings());
        assert_eq!(log(), "ADD\nCHECK\nDEL\n");
        networks.remove(&id).unwrap();
        assert_eq!(log(), "ADD\nCHECK\nDEL\n");
    });
}
