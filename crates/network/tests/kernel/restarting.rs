//! After the daemon: crashes, restarts, and hands that remove what is ours.

use network::{EndpointRequest, Networks, Settings};
use sys::netlink::{Protocol, Socket};

use super::{
    accepted_from, attach, bridge, connect_from, container, create, in_host, listen, live, open,
    output, settings, subnet, try_open, wait_for, with_bip,
};

/// Ends a daemon the hard way. Without spares, dropping closes descriptors and does nothing else.
fn crash(network: Networks) {
    drop(network);
}

#[test]
fn identity_subnet_and_live_containers_outlive_a_crash() {
    in_host(|state| {
        let network = open(settings(state));
        let (id, net) = (bridge(&network), subnet(&network));
        let created = network.describe(&id).unwrap().created;
        let (alive, dead) = (attach(&network, 1), attach(&network, 2));
        let server = listen(&alive.netns, 80);
        let dead_address = dead.address;
        drop(dead);
        crash(network);

        let network = Networks::open(settings(state)).unwrap();
        assert_eq!((bridge(&network), subnet(&network)), (id, net));
        assert_eq!(network.describe(&id).unwrap().created, created);
        let mut outside = alive.endpoint.clone();
        outside.ipv4 = Some("10.0.0.1/16".parse().unwrap());
        let doubled = alive.endpoint.clone();
        let lost = network.reconcile(vec![
            live(1, vec![alive.endpoint.clone()]),
            live(3, vec![outside]),
            live(4, vec![doubled]),
        ]);
        let of: Vec<_> = lost.iter().map(|lost| lost.container).collect();
        assert_eq!(of, [container(3), container(4)], "{lost:?}");
        let described = network.describe(&id).unwrap().endpoints;
        assert_eq!(described.len(), 1);
        assert_eq!(described[0].endpoint_id, alive.endpoint.endpoint_id);
        // The dead one's address is not lost, the living one's is not given out.
        let wanted = EndpointRequest {
            ipv4: Some(dead_address),
            ..EndpointRequest::new(id)
        };
        try_open(&network, 6, wanted).expect("it is free again");
        let new = attach(&network, 5);
        assert_ne!(new.address, alive.address);
        let _stream = connect_from(&new.netns, alive.address, 80).expect("old and new talk");
        assert_eq!(accepted_from(&server), new.address);
    });
}

#[test]
fn an_interface_that_nobody_mentions_keeps_its_address_until_it_is_removed() {
    in_host(|state| {
        let small = || with_bip(state, "10.9.0.1/29");
        let network = open(small());
        let (orphan, alive) = (attach(&network, 1), attach(&network, 2));
        crash(network);
        let network = Networks::open(small()).unwrap();
        // Nobody knows yet who lives.
        let early = attach(&network, 3);
        assert!(![orphan.address, alive.address].contains(&early.address));
        let lost = network.reconcile(vec![live(2, vec![alive.endpoint.clone()])]);
        assert!(lost.is_empty(), "{lost:?}");
        let names = super::links();
        assert!(!names.contains(&orphan.endpoint.host_interface));
        assert!(names.contains(&alive.endpoint.host_interface));
        assert!(names.contains(&early.endpoint.host_interface));
        let rest: Vec<_> = (4..=6).map(|number| attach(&network, number)).collect();
        assert!(rest.iter().any(|e| e.address == orphan.address));
        assert!(rest.iter().all(|e| e.address != alive.address));
    });
}

#[test]
fn reopening_changes_nothing() {
    in_host(|state| {
        let network = open(settings(state));
        let show = || {
            (
                output("ip", &["-o", "address", "show", "corten0"]),
                output("nft", &["list", "ruleset"]),
            )
        };
        let before = show();
        let index = |socket: &mut Socket| socket.link("corten0").unwrap().unwrap().index;
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let first = index(&mut socket);
        drop(network);
        let again = open(settings(state));
        assert_eq!(show().1, before.1);
        assert_eq!(index(&mut socket), first);
        // A new address replaces the old one instead of joining it.
        drop(again);
        drop(open(with_bip(state, "10.77.0.1/24")));
        let addresses = show().0;
        assert!(
            addresses.contains("10.77.0.1/24") && !addresses.contains("172.17"),
            "{addresses}"
        );
    });
}

#[test]
fn a_deleted_bridge_and_table_come_back_with_their_containers() {
    in_host(|state| {
        let network = open(settings(state));
        let old = attach(&network, 1);
        let server = listen(&old.netns, 80);
        output("ip", &["link", "delete", "corten0"]);
        // The firewall's monitor would do it as well, some moments later.
        network.restore().unwrap();
        let new = attach(&network, 2);
        let _stream = connect_from(&new.netns, old.address, 80).expect("the old one is back");
        assert_eq!(accepted_from(&server), new.address);
        assert!(output("nft", &["list", "ruleset"]).contains("masquerade"));
    });
}

#[test]
fn destroy_leaves_nothing() {
    in_host(|state| {
        let before = (
            output("ip", &["-o", "link"]),
            output("nft", &["list", "ruleset"]),
        );
        let network = open(Settings {
            spares: 2,
            ..settings(state)
        });
        create(&network, "web");
        drop(attach(&network, 1));
        network.destroy().unwrap();
        wait_for("an empty host", || {
            (
                output("ip", &["-o", "link"]),
                output("nft", &["list", "ruleset"]),
            ) == before
        });
    });
}

#[test]
fn a_damaged_record_costs_the_identity_and_nothing_else() {
    in_host(|state| {
        let network = open(settings(state));
        let (id, net) = (bridge(&network), subnet(&network));
        let alive = attach(&network, 1);
        let server = listen(&alive.netns, 80);
        crash(network);
        std::fs::write(state.join("network.json"), "{").unwrap();
        let network = Networks::open(settings(state)).unwrap();
        assert_ne!(bridge(&network), id);
        assert_eq!(subnet(&network), net);
        let mut endpoint = alive.endpoint.clone();
        endpoint.network_id = bridge(&network);
        assert!(network.reconcile(vec![live(1, vec![endpoint])]).is_empty());
        let new = attach(&network, 2);
        let _stream = connect_from(&new.netns, alive.address, 80).expect("old and new talk");
        assert_eq!(accepted_from(&server), new.address);
        assert!(network.strays().unwrap().is_empty());
    });
}
