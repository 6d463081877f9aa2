//! Packets: between containers, to the host, to the world, and those that must not pass.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sys::netlink::{Protocol, Socket};

use super::{
    accepted_from, attach, connect, connect_from, gateway, in_host, internet, is_cut_off, listen,
    open, settings, subnet,
};

const WORLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const UPLINK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

#[test]
fn containers_reach_each_other_and_the_host_reaches_them() {
    in_host(|state| {
        let network = open(settings(state));
        let (a, b) = (attach(&network, 1), attach(&network, 2));
        let server = listen(&a.netns, 80);
        let _stream = connect_from(&b.netns, a.address, 80).expect("container to container");
        assert_eq!(accepted_from(&server), b.address);
        let _stream = connect(a.address, 80).expect("host to container");
        assert_eq!(accepted_from(&server), gateway(&network));
        let host = std::net::TcpListener::bind((gateway(&network), 80)).unwrap();
        let _stream = connect_from(&a.netns, gateway(&network), 80).expect("container to host");
        assert_eq!(accepted_from(&host), a.address);
    });
}

#[test]
fn the_first_packet_is_not_lost() {
    in_host(|state| {
        let network = open(settings(state));
        let host = std::net::TcpListener::bind((gateway(&network), 80)).unwrap();
        let mut slow = 0;
        for number in 1..=30 {
            let endpoint = attach(&network, number);
            let begin = Instant::now();
            let _stream = connect_from(&endpoint.netns, gateway(&network), 80).unwrap();
            // A lost packet is sent again after a second.
            slow += usize::from(begin.elapsed() > Duration::from_millis(900));
            assert_eq!(accepted_from(&host), endpoint.address);
        }
        assert_eq!(slow, 0);
    });
}

#[test]
fn without_icc_containers_are_apart_and_still_reach_the_host() {
    in_host(|state| {
        let mut apart = settings(state);
        apart.default_bridge.inter_container = false;
        let network = open(apart);
        let (a, b) = (attach(&network, 1), attach(&network, 2));
        let _server = listen(&a.netns, 80);
        assert!(is_cut_off(&b.netns, a.address, 80));
        assert!(connect(a.address, 80).is_ok());
    });
}

#[test]
fn the_world_sees_the_hosts_address_and_cannot_come_in_unasked() {
    in_host(|state| {
        let world = internet();
        let network = open(settings(state));
        let a = attach(&network, 1);
        // The world has no route back to containers: only the masquerade lets answers find home.
        let server = listen(&world, 80);
        let _stream = connect_from(&a.netns, WORLD, 80).expect("container to the world");
        assert_eq!(accepted_from(&server), UPLINK);
        let _inside = listen(&a.netns, 8080);
        sys::netns::with(&world, || {
            Socket::open(Protocol::Route)?.execute_one(|m| {
                m.add_route(Some((subnet(&network).first().into(), 16)), UPLINK.into())
            })
        })
        .unwrap();
        assert!(is_cut_off(&world, a.address, 8080));
        // The same packets pass without our tables: it was they that stopped them.
        network.destroy().unwrap();
        drop(network);
        let mut off = settings(state);
        off.firewall = network::FirewallMode::Off;
        let network = open(off);
        let a = attach(&network, 2);
        let inside = listen(&a.netns, 8080);
        let _stream = connect_from(&world, a.address, 8080).expect("no table, no guard");
        assert_eq!(accepted_from(&inside), WORLD);
    });
}

#[test]
fn forwarding_is_switched_on_when_it_was_off() {
    in_host(|state| {
        let path = "/proc/sys/net/ipv4/ip_forward";
        let forwarding = || std::fs::read_to_string(path).unwrap().trim().to_owned();
        std::fs::write(path, "0").unwrap();
        let mut off = settings(state);
        off.ip_forward = false;
        drop(open(off));
        assert_eq!(forwarding(), "0");
        drop(open(settings(state)));
        assert_eq!(forwarding(), "1");
    });
}
