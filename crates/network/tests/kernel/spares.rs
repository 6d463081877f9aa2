//! Spare sandboxes: they are used, refilled, given up when addresses are short, and never left.

use network::{AttachOptions, Network, NetworkConfig};

use super::{
    accepted_from, attach, config, connect, connect_from, container, in_host, links, listen,
    output, wait_for,
};

fn interfaces() -> usize {
    let ours = |name: &String| name.starts_with("cv");
    links().iter().filter(|name| ours(name)).count()
}

#[test]
fn spares_are_used_and_refilled_and_die_with_the_daemon() {
    in_host(|state| {
        let network = Network::open(NetworkConfig {
            spares: 3,
            ..config(state)
        })
        .unwrap();
        assert_eq!(
            interfaces(),
            0,
            "not before it is known which addresses are free"
        );
        network.reconcile(&[]);
        wait_for("three spares", || interfaces() == 3);
        assert!(network.describe().endpoints.is_empty());
        let ready = links();
        let endpoint = attach(&network, 1);
        assert!(ready.contains(&endpoint.host_interface));
        assert_eq!(endpoint.address.octets()[3], 2);
        let server = listen(&endpoint.netns, 80);
        let _stream = connect(endpoint.address, 80).expect("a spare works");
        assert_eq!(accepted_from(&server), network.gateway());
        wait_for("a refill", || interfaces() == 4);
        drop(network);
        wait_for("the end of the spares", || interfaces() == 1);
        assert!(
            connect(endpoint.address, 80).is_ok(),
            "the container goes on"
        );
    });
}

#[test]
fn spares_give_way_when_addresses_are_short() {
    in_host(|state| {
        let network = Network::open(NetworkConfig {
            spares: 4,
            bip: Some("10.9.0.1/29".parse().unwrap()),
            ..config(state)
        })
        .unwrap();
        network.reconcile(&[]);
        wait_for("four spares", || interfaces() == 4);
        // Every address but one is a spare's.
        let wanted = |last: u8| AttachOptions {
            address: Some(std::net::Ipv4Addr::new(10, 9, 0, last)),
            mac: None,
        };
        for last in 2..=6 {
            network.attach(&container(last), &wanted(last)).unwrap();
        }
        assert!(
            network
                .attach(&container(9), &AttachOptions::default())
                .is_err()
        );
        assert_eq!(network.describe().endpoints.len(), 5);
    });
}

#[test]
fn a_spare_without_its_bridge_is_not_handed_out() {
    in_host(|state| {
        let network = Network::open(NetworkConfig {
            spares: 2,
            ..config(state)
        })
        .unwrap();
        network.reconcile(&[]);
        wait_for("two spares", || interfaces() == 2);
        output("ip", &["link", "delete", "corten0"]);
        let (a, b) = (attach(&network, 1), attach(&network, 2));
        let server = listen(&a.netns, 80);
        let _stream = connect_from(&b.netns, a.address, 80).expect("both are connected");
        assert_eq!(accepted_from(&server), b.address);
    });
}
