//! What an endpoint is, and who gets which address.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use network::{EndpointId, EndpointRequest, Error, MacAddress, Settings};
use spec::error::{Classify as _, ErrorKind};
use sys::netlink::{Protocol, Socket};

use super::{
    attach, bridge, container, gateway, in_host, links, open, read_in, request, settings, try_open,
    wait_for, with_bip,
};

#[test]
fn an_endpoint_is_addressed_routed_and_free_of_ipv6() {
    in_host(|state| {
        let network = open(settings(state));
        let attached = attach(&network, 1);
        let endpoint = &attached.endpoint;
        assert_eq!(endpoint.ipv4, Some("172.17.0.2/16".parse().unwrap()));
        assert_eq!(endpoint.gateway4, Some(Ipv4Addr::new(172, 17, 0, 1)));
        assert_eq!(endpoint.interface, "eth0");
        let mac = endpoint.mac.unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert!(links().contains(&endpoint.host_interface));
        let (links, addresses, routes) = sys::netns::with(&attached.netns, || {
            let mut socket = Socket::open(Protocol::Route)?;
            Ok::<_, sys::Error>((socket.links()?, socket.addresses()?, socket.routes()?))
        })
        .unwrap();
        let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
        assert!(links.iter().any(|link| link.name == "lo" && link.up));
        assert!(eth0.up && eth0.mtu == 1500 && eth0.kind == "veth");
        assert_eq!(eth0.address, mac.0);
        let mut texts: Vec<String> = addresses
            .iter()
            .map(|a| format!("{}/{}", a.address, a.prefix))
            .collect();
        texts.sort();
        assert_eq!(texts, ["127.0.0.1/8", "172.17.0.2/16", "::1/128"]);
        let default = routes.iter().find(|r| r.destination.is_none() && r.unicast);
        assert_eq!(
            default.and_then(|r| r.gateway),
            endpoint.gateway4.map(std::net::IpAddr::from)
        );
        let disabled = |of: &str| {
            let path = format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6");
            read_in(&attached.netns, &path).trim().to_owned()
        };
        let values = ["eth0", "all", "default"].map(disabled);
        assert_eq!(values, ["1", "0", "0"]);
    });
}

#[test]
fn none_is_loopback_alone() {
    in_host(|state| {
        let network = open(settings(state));
        let before = links();
        let sandbox = network.open_sandbox(&container(1), &request(Vec::new()));
        let netns = sandbox.unwrap().netns;
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
        let network = open(with_bip(state, "10.9.0.1/29"));
        let plain = || EndpointRequest::new(bridge(&network));
        let endpoints: Vec<_> = (1..=5).map(|number| attach(&network, number)).collect();
        let error = try_open(&network, 6, plain()).unwrap_err();
        let text = "no available IPv4 addresses on this network's address pools: bridge";
        assert_eq!(error.to_string(), format!("{text} ({})", bridge(&network)));
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        network.close_sandbox(&container(3));
        assert_eq!(attach(&network, 6).address, endpoints[2].address);
        // Once more for the same container is a conflict and takes nothing.
        let error = try_open(&network, 6, plain()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(
            network.describe(&bridge(&network)).unwrap().endpoints.len(),
            5
        );
    });
}

#[test]
fn further_addresses_are_of_the_link_alone() {
    in_host(|state| {
        let network = open(settings(state));
        let wish = |address: &str| EndpointRequest {
            link_local: vec![address.parse().unwrap()],
            ..EndpointRequest::new(bridge(&network))
        };
        for address in ["10.1.1.1", "fd00::1"] {
            let error = try_open(&network, 1, wish(address)).unwrap_err();
            let text = format!("invalid link local IP address: {address}");
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::InvalidArgument, text)
            );
        }
        // Nothing stays of it.
        let about = network.describe(&bridge(&network)).unwrap();
        assert!(about.endpoints.is_empty());
        try_open(&network, 1, wish("169.254.1.1")).unwrap();
    });
}

#[test]
fn certain_addresses_can_be_asked_for() {
    in_host(|state| {
        let network = open(settings(state));
        let wanted = |address| EndpointRequest {
            ipv4: Some(address),
            mac: Some(MacAddress([2, 1, 1, 1, 1, 1])),
            ..EndpointRequest::new(bridge(&network))
        };
        let address = Ipv4Addr::new(172, 17, 9, 9);
        let attached = try_open(&network, 1, wanted(address)).unwrap();
        assert_eq!(attached.address, address);
        let mac = attached.endpoint.mac.unwrap();
        assert_eq!(mac.to_string(), "02:01:01:01:01:01");
        let refused = |address| try_open(&network, 2, wanted(address)).unwrap_err();
        assert!(matches!(refused(address), Error::AddressInUse { .. }));
        let taken = refused(gateway(&network));
        assert!(matches!(taken, Error::AddressInUse { .. }), "{taken}");
        let outside = refused(Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(outside.kind(), ErrorKind::InvalidArgument);
        assert_eq!(
            network.describe(&bridge(&network)).unwrap().endpoints.len(),
            1
        );
    });
}

#[test]
fn many_at_once_get_different_addresses() {
    in_host(|state| {
        let network = open(Settings {
            spares: 3,
            ..settings(state)
        });
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
        let ids: BTreeSet<EndpointId> = endpoints.iter().map(|e| e.endpoint.endpoint_id).collect();
        assert_eq!((addresses.len(), ids.len()), (48, 48));
        let described = network.describe(&bridge(&network)).unwrap().endpoints;
        assert_eq!(described.len(), 48);
        assert!(
            described
                .iter()
                .all(|e| addresses.contains(&e.ipv4.unwrap().address()))
        );
    });
}

#[test]
fn a_dropped_sandbox_takes_its_interface_along() {
    in_host(|state| {
        let network = open(settings(state));
        let endpoint = attach(&network, 1);
        assert!(network.strays().unwrap().is_empty());
        network.close_sandbox(&container(1));
        let near_end = std::slice::from_ref(&endpoint.endpoint.host_interface);
        assert_eq!(network.strays().unwrap(), near_end);
        drop(endpoint.netns);
        wait_for("the end of the interface", || {
            network.strays().unwrap().is_empty()
        });
    });
}
