//! Spare sandboxes: they are used, refilled, given up when addresses are short, and never left.

use network::{EndpointRequest, Networks, Settings};

use super::{
    accepted_from, attach, attach_to, bridge, connect, connect_from, create, gateway, in_host,
    links, listen, output, settings, try_open, wait_for, with_bip,
};

fn interfaces() -> usize {
    let ours = |name: &String| name.starts_with("cv");
    links().iter().filter(|name| ours(name)).count()
}

#[test]
fn spares_are_used_and_refilled_and_die_with_the_daemon() {
    in_host(|state| {
        let network = Networks::open(Settings {
            spares: 3,
            ..settings(state)
        })
        .unwrap();
        assert_eq!(
            interfaces(),
            0,
            "not before it is known which addresses are free"
        );
        assert!(network.reconcile(Vec::new()).is_empty());
        wait_for("three spares", || interfaces() == 3);
        assert!(
            network
                .describe(&bridge(&network))
                .unwrap()
                .endpoints
                .is_empty()
        );
        let ready = links();
        let endpoint = attach(&network, 1);
        assert!(ready.contains(&endpoint.endpoint.host_interface));
        assert_eq!(endpoint.address.octets()[3], 2);
        let server = listen(&endpoint.netns, 80);
        let _stream = connect(endpoint.address, 80).expect("a spare works");
        assert_eq!(accepted_from(&server), gateway(&network));
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
        let network = Networks::open(Settings {
            spares: 4,
            ..with_bip(state, "10.9.0.1/29")
        })
        .unwrap();
        assert!(network.reconcile(Vec::new()).is_empty());
        wait_for("four spares", || interfaces() == 4);
        // Every address but one is a spare's.
        let wanted = |last: u8| EndpointRequest {
            ipv4: Some(std::net::Ipv4Addr::new(10, 9, 0, last)),
            ..EndpointRequest::new(bridge(&network))
        };
        for last in 2..=6 {
            try_open(&network, last, wanted(last)).unwrap();
        }
        assert!(try_open(&network, 9, EndpointRequest::new(bridge(&network))).is_err());
        assert_eq!(
            network.describe(&bridge(&network)).unwrap().endpoints.len(),
            5
        );
    });
}

#[test]
fn a_spare_without_its_bridge_is_not_handed_out() {
    in_host(|state| {
        let network = Networks::open(Settings {
            spares: 2,
            ..settings(state)
        })
        .unwrap();
        assert!(network.reconcile(Vec::new()).is_empty());
        wait_for("two spares", || interfaces() == 2);
        output("ip", &["link", "delete", "corten0"]);
        let (a, b) = (attach(&network, 1), attach(&network, 2));
        let server = listen(&a.netns, 80);
        let _stream = connect_from(&b.netns, a.address, 80).expect("both are connected");
        assert_eq!(accepted_from(&server), b.address);
    });
}

#[test]
fn a_spare_that_was_taken_out_of_its_bridge_is_not_handed_out() {
    in_host(|state| {
        let network = Networks::open(Settings {
            spares: 2,
            ..settings(state)
        })
        .unwrap();
        assert!(network.reconcile(Vec::new()).is_empty());
        wait_for("two spares", || interfaces() == 2);
        let detached: Vec<String> = links()
            .into_iter()
            .filter(|l| l.starts_with("cv"))
            .collect();
        for link in &detached {
            output("ip", &["link", "set", link, "nomaster"]);
        }
        let endpoint = attach(&network, 1);
        assert!(!detached.contains(&endpoint.endpoint.host_interface));
        let server = listen(&endpoint.netns, 80);
        let _stream = connect(endpoint.address, 80).expect("it is connected");
        assert_eq!(accepted_from(&server), gateway(&network));
    });
}

#[test]
fn a_network_of_a_users_gets_spares_once_it_is_used_and_goes_with_them() {
    in_host(|state| {
        let network = Networks::open(Settings {
            spares: 1,
            ..settings(state)
        })
        .unwrap();
        assert!(network.reconcile(Vec::new()).is_empty());
        let web = create(&network, "web");
        wait_for("the spare of the default network", || interfaces() == 1);
        let first = attach_to(&network, 1, web);
        wait_for("two spares", || interfaces() == 4);
        let ready = links();
        let second = attach_to(&network, 2, web);
        assert!(ready.contains(&second.endpoint.host_interface));
        assert_ne!(first.endpoint.endpoint_id, second.endpoint.endpoint_id);
        let server = listen(&second.netns, 80);
        let stream = connect_from(&first.netns, second.address, 80).expect("a spare works");
        assert_eq!(accepted_from(&server), first.address);
        network.close_sandbox(&super::container(1));
        network.close_sandbox(&super::container(2));
        network.remove(&web).expect("spares are no endpoints");
        drop((first, second, server, stream));
        wait_for("the end of the spares", || interfaces() == 1);
    });
}

#[test]
fn a_network_that_is_removed_while_a_spare_is_made_for_it_does_not_come_back() {
    in_host(|state| {
        let network = Networks::open(Settings {
            spares: 3,
            ..settings(state)
        })
        .unwrap();
        assert!(network.reconcile(Vec::new()).is_empty());
        for round in 0..60 {
            let web = create(&network, "web");
            let first = attach_to(&network, 1, web);
            network.close_sandbox(&super::container(1));
            drop(first);
            // At another moment of the making each time.
            for _ in 0..round / 3 {
                links();
            }
            network.remove(&web).expect("nobody is in it");
        }
        // Whatever was being made has been when the thread has ended.
        drop(network);
        let left: Vec<_> = links()
            .into_iter()
            .filter(|link| link.starts_with("br-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}
