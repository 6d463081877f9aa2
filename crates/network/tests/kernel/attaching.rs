//! What an endpoint is, and who gets which address.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use network::{AttachOptions, EndpointId, Error, MacAddress, Network, NetworkConfig};
use spec::error::{Classify as _, ErrorKind};
use sys::netlink::{Protocol, Socket};

use super::{attach, config, container, in_host, links, read_in, wait_for};

#[test]
fn an_endpoint_is_addressed_routed_and_free_of_ipv6() {
    in_host(|state| {
        let network = Network::open(config(state)).unwrap();
        let endpoint = attach(&network, 1);
        assert_eq!(endpoint.address, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(endpoint.gateway, Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!((endpoint.prefix, endpoint.interface.as_str()), (16, "eth0"));
        assert_eq!(endpoint.mac.to_string(), "02:42:ac:11:00:02");
        assert!(links().contains(&endpoint.host_interface));
        let (links, addresses, routes) = sys::netns::with(&endpoint.netns, || {
            let mut socket = Socket::open(Protocol::Route)?;
            Ok::<_, sys::Error>((socket.links()?, socket.addresses()?, socket.routes()?))
        })
        .unwrap();
        let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
        assert!(links.iter().any(|link| link.name == "lo" && link.up));
        assert!(eth0.up && eth0.mtu == 1500 && eth0.kind == "veth");
        assert_eq!(eth0.address, endpoint.mac.0);
        let mut texts: Vec<String> = addresses
            .iter()
            .map(|a| format!("{}/{}", a.address, a.prefix))
            .collect();
        texts.sort();
        assert_eq!(texts, ["127.0.0.1/8", "172.17.0.2/16", "::1/128"]);
        let default = routes.iter().find(|r| r.destination.is_none() && r.unicast);
        assert_eq!(
            default.and_then(|r| r.gateway),
            Some(endpoint.gateway.into())
        );
        let disabled = |of: &str| {
            let path = format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6");
            read_in(&endpoint.netns, &path).trim().to_owned()
        };
        assert_eq!(
            (disabled("eth0"), disabled("all")),
            ("1".to_owned(), "0".to_owned())
        );
    });
}

#[test]
fn none_is_loopback_alone() {
    in_host(|state| {
        let network = Network::open(config(state)).unwrap();
        let before = links();
        let netns = network.none().unwrap();
        let inside = sys::netns::with(&netns, || Socket::open(Protocol::Route)?.links()).unwrap();
        let lo = inside.iter().find(|link| link.name == "lo").unwrap();
        assert!(lo.up);
        assert!(!inside.iter().any(|link| link.name == "eth0"));
        assert_eq!(links(), before);
    });
}

#[test]
fn addresses_are_exhausted_with_dockers_text_and_come_back() {
    in_host(|state| {
        let network = Network::open(NetworkConfig {
            bip: Some("10.9.0.1/29".parse().unwrap()),
            ..config(state)
        })
        .unwrap();
        let endpoints: Vec<_> = (1..=5).map(|number| attach(&network, number)).collect();
        let error = network
            .attach(&container(6), &AttachOptions::default())
            .unwrap_err();
        let text = "no available IPv4 addresses on this network's address pools: bridge";
        assert_eq!(error.to_string(), format!("{text} ({})", network.id()));
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        network.detach(&container(3));
        assert_eq!(attach(&network, 6).address, endpoints[2].address);
        // Once more for the same container is a conflict and takes nothing.
        let error = network
            .attach(&container(6), &AttachOptions::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(network.describe().endpoints.len(), 5);
    });
}

#[test]
fn certain_addresses_can_be_asked_for() {
    in_host(|state| {
        let network = Network::open(config(state)).unwrap();
        let wanted = |address| AttachOptions {
            address: Some(address),
            mac: Some(MacAddress([2, 1, 1, 1, 1, 1])),
        };
        let address = Ipv4Addr::new(172, 17, 9, 9);
        let endpoint = network.attach(&container(1), &wanted(address)).unwrap();
        assert_eq!(endpoint.address, address);
        assert_eq!(endpoint.mac.to_string(), "02:01:01:01:01:01");
        let refused = |address| {
            let result = network.attach(&container(2), &wanted(address));
            result.unwrap_err()
        };
        assert!(matches!(refused(address), Error::AddressInUse { .. }));
        let gateway = refused(network.gateway());
        assert!(matches!(gateway, Error::AddressInUse { .. }), "{gateway}");
        let outside = refused(Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(outside.kind(), ErrorKind::InvalidArgument);
        assert_eq!(network.describe().endpoints.len(), 1);
    });
}

#[test]
fn many_at_once_get_different_addresses() {
    in_host(|state| {
        let network = Network::open(NetworkConfig {
            spares: 3,
            ..config(state)
        })
        .unwrap();
        let endpoints: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let network = &network;
                    scope.spawn(move || {
                        (0..6u8)
                            .map(|i| attach(network, thread * 6 + i))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        let addresses: BTreeSet<_> = endpoints.iter().map(|e| e.address).collect();
        let ids: BTreeSet<EndpointId> = endpoints.iter().map(|e| e.endpoint_id).collect();
        assert_eq!((addresses.len(), ids.len()), (48, 48));
        let described = network.describe().endpoints;
        assert_eq!(described.len(), 48);
        assert!(
            described
                .iter()
                .all(|e| addresses.contains(&e.address.address()))
        );
    });
}

#[test]
fn a_dropped_sandbox_takes_its_interface_along() {
    in_host(|state| {
        let network = Network::open(config(state)).unwrap();
        let endpoint = attach(&network, 1);
        assert!(network.strays().unwrap().is_empty());
        network.detach(&container(1));
        assert_eq!(network.strays().unwrap(), [endpoint.host_interface]);
        drop(endpoint.netns);
        wait_for("the end of the interface", || {
            network.strays().unwrap().is_empty()
        });
    });
}
