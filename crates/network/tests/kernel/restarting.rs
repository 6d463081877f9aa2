//! After the daemon: crashes, restarts, and hands that remove what is ours.

use std::net::Ipv4Addr;

use network::{AttachOptions, Network, NetworkConfig};
use sys::netlink::{Protocol, Socket};

use super::{
    accepted_from, attach, config, connect_from, container, in_host, is_cut_off, listen, output,
    wait_for,
};

/// Ends a daemon the hard way: nothing of its own is run, its descriptors are closed.
fn crash(network: Network) {
    // Without spares there is no thread and no descriptor; memory is all that is left behind.
    std::mem::forget(network);
}

#[test]
fn identity_subnet_and_live_containers_outlive_a_crash() {
    in_host(|state| {
        let network = Network::open(config(state)).unwrap();
        let (id, subnet) = (network.id(), network.subnet());
        let created = network.describe().created;
        let (live, dead) = (attach(&network, 1), attach(&network, 2));
        let server = listen(&live.netns, 80);
        let dead_address = dead.address;
        drop(dead);
        crash(network);

        let network = Network::open(config(state)).unwrap();
        assert_eq!((network.id(), network.subnet()), (id, subnet));
        assert_eq!(network.describe().created, created);
        let outside = (container(3), Ipv4Addr::new(10, 0, 0, 1));
        let doubled = (container(4), live.address);
        let refused = network.reconcile(&[(container(1), live.address), outside, doubled]);
        assert_eq!(refused, [outside, doubled]);
        let described = network.describe().endpoints;
        assert_eq!(described.len(), 1);
        assert_eq!(described[0].endpoint_id, live.endpoint_id);
        let new = attach(&network, 5);
        assert_ne!(new.address, live.address);
        let _stream = connect_from(&new.netns, live.address, 80).expect("old and new talk");
        assert_eq!(accepted_from(&server), new.address);
        // The dead one's address is not lost either.
        let wanted = AttachOptions {
            address: Some(dead_address),
            mac: None,
        };
        wait_for("the dead container's address", || {
            network.attach(&container(6), &wanted).is_ok()
        });
    });
}

#[test]
fn a_container_that_nobody_mentions_keeps_its_address_while_it_lives() {
    in_host(|state| {
        let small = || NetworkConfig {
            bip: Some("10.9.0.1/29".parse().unwrap()),
            ..config(state)
        };
        let network = Network::open(small()).unwrap();
        let orphan = attach(&network, 1);
        crash(network);
        let network = Network::open(small()).unwrap();
        network.reconcile(&[]);
        let endpoints: Vec<_> = (2..=5).map(|number| attach(&network, number)).collect();
        assert!(endpoints.iter().all(|e| e.address != orphan.address));
        let more = || network.attach(&container(6), &AttachOptions::default());
        assert!(more().is_err());
        let address = orphan.address;
        drop(orphan);
        wait_for("the orphan's end", || {
            more().is_ok_and(|endpoint| endpoint.address == address)
        });
    });
}

#[test]
fn reopening_changes_nothing() {
    in_host(|state| {
        let network = Network::open(config(state)).unwrap();
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
        let again = Network::open(config(state)).unwrap();
        assert_eq!(show().1, before.1);
        assert_eq!(index(&mut socket), first);
        // A new address replaces the old one instead of joining it.
        drop(again);
        let moved = NetworkConfig {
            bip: Some("10.77.0.1/24".parse().unwrap()),
            ..config(state)
        };
        drop(Network::open(moved).unwrap());
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
        let network = Network::open(config(state)).unwrap();
        let old = attach(&network, 1);
        let server = listen(&old.netns, 80);
        output("ip", &["link", "delete", "corten0"]);
        output("nft", &["flush", "ruleset"]);
        assert!(is_cut_off(&old.netns, network.gateway(), 80));
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
        let network = Network::open(NetworkConfig {
            spares: 2,
            ..config(state)
        })
        .unwrap();
        network.reconcile(&[]);
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
