//! Where published ports are reached from, and where not.

use sys::netlink::{Protocol as Netlink, Socket};

use super::super::{GatewayMode, NetworkRules};
use super::world::{
    World, answers_ping, ask_by, at, bridge_netfilter, container, in_bare_world, in_world, inside,
    ip, is_cut_off, mapping, network, rules, run, seen, seen_from_host, serve, serve_udp, to_a,
    udp,
};
use crate::{FirewallMode, Protocol};

const MODES: [FirewallMode; 2] = [FirewallMode::Host, FirewallMode::Docker];

#[test]
fn a_port_is_reached_from_everywhere_and_gone_when_withdrawn() {
    for (mode, bridged) in MODES.into_iter().zip(["0", "1"]) {
        in_world(mode, |world| {
            bridge_netfilter(bridged);
            if bridged == "1" {
                // Then the bridge itself leads a container back to where it came from.
                let mut socket = Socket::open(Netlink::Route).unwrap();
                socket
                    .execute_one(|m| m.set_bridge_port("va", true, false))
                    .unwrap();
            }
            serve(&world.a, "0.0.0.0:80");
            world
                .firewall
                .publish(&container(1), &[to_a(Protocol::Tcp)])
                .unwrap();
            let port = "10.99.0.1:8080";
            assert_eq!(seen(&world.outside, port), ip("10.99.0.2"));
            assert_eq!(seen(&world.c, port), ip("172.30.0.1"), "another network");
            assert_eq!(seen(&world.b, port), ip("172.30.0.1"), "the same network");
            assert_eq!(
                seen(&world.a, port),
                ip("172.30.0.1"),
                "the container itself"
            );
            assert_eq!(
                seen(&world.b, "172.30.0.1:8080"),
                ip("172.30.0.1"),
                "by the bridge"
            );
            assert_eq!(seen_from_host(port), ip("10.99.0.1"));
            assert_eq!(seen_from_host("127.0.0.1:8080"), ip("172.30.0.1"));
            assert_eq!(seen_from_host("127.0.0.77:8080"), ip("172.30.0.1"));
            world.firewall.withdraw(&container(1)).unwrap();
            assert!(is_cut_off(&world.outside, port));
            assert!(is_cut_off(&world.b, port));
            assert!(std::net::TcpStream::connect("127.0.0.1:8080").is_err());
        });
    }
}

#[test]
fn a_port_at_one_address_is_at_that_address_only() {
    for mode in MODES {
        in_world(mode, |world| {
            run("ip address add 10.99.0.7/24 dev eth0");
            serve(&world.a, "0.0.0.0:80");
            let port = mapping(Protocol::Tcp, "10.99.0.7:8080", "172.30.0.2:80");
            world.firewall.publish(&container(1), &[port]).unwrap();
            assert_eq!(seen(&world.outside, "10.99.0.7:8080"), ip("10.99.0.2"));
            assert!(is_cut_off(&world.outside, "10.99.0.1:8080"));
            assert!(std::net::TcpStream::connect("127.0.0.1:8080").is_err());
            if mode == FirewallMode::Host {
                run("iptables-nft -A INPUT -d 10.99.0.7 -j DROP");
                assert!(is_cut_off(&world.outside, "10.99.0.7:8080"));
            }
        });
    }
}

#[test]
fn a_port_at_loopback_is_the_hosts_alone() {
    for mode in MODES {
        in_world(mode, |world| {
            serve(&world.a, "0.0.0.0:80");
            let port = mapping(Protocol::Tcp, "127.0.0.1:8080", "172.30.0.2:80");
            world.firewall.publish(&container(1), &[port]).unwrap();
            assert_eq!(seen_from_host("127.0.0.1:8080"), ip("172.30.0.1"));
            assert!(is_cut_off(&world.outside, "10.99.0.1:8080"));
            assert!(is_cut_off(&world.b, "172.30.0.1:8080"));
            // A neighbour that sends packets for 127.0.0.1 by the wire, to a host that takes them.
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/rp_filter", "0").unwrap();
            std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
            for (netns, gateway) in [(&world.outside, "10.99.0.1"), (&world.b, "172.30.0.1")] {
                reach_by_wire(netns, gateway);
                assert!(is_cut_off(netns, "127.0.0.1:8080"), "{gateway}");
                // A service of the host that is none of ours is not reached either.
                let _service = std::net::TcpListener::bind("127.0.0.1:7070").unwrap();
                assert!(is_cut_off(netns, "127.0.0.1:7070"), "{gateway}");
            }
        });
    }
}

/// Makes a network stack send packets for 127.0.0.1 to a neighbour.
fn reach_by_wire(netns: &std::os::fd::OwnedFd, gateway: &str) {
    inside(netns, || {
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        run("ip route flush table local 127.0.0.0/8; ip address flush dev lo");
        run(&format!("ip route add 127.0.0.1/32 via {gateway}"));
    });
}

#[test]
fn unpublished_ports_are_not_reached_by_routing_to_the_container() {
    for mode in MODES {
        in_world(mode, |world| {
            serve(&world.a, "0.0.0.0:80");
            world
                .firewall
                .publish(&container(1), &[to_a(Protocol::Tcp)])
                .unwrap();
            inside(&world.outside, || {
                run("ip route add 172.30.0.0/16 via 10.99.0.1")
            });
            assert!(is_cut_off(&world.outside, "172.30.0.2:80"));
            assert!(is_cut_off(&world.outside, "172.30.0.2:8080"));
            // It was the firewall that stopped them.
            world.firewall.destroy().unwrap();
            assert_eq!(seen(&world.outside, "172.30.0.2:80"), ip("10.99.0.2"));
        });
    }
}

fn with_rules(change: impl FnOnce(&mut NetworkRules) + Send, test: impl FnOnce(&World) + Send) {
    in_bare_world(FirewallMode::Host, |world| {
        let mut changed = rules(0);
        change(&mut changed);
        world.firewall.add_network(changed).unwrap();
        world.firewall.add_network(rules(1)).unwrap();
        world.firewall.prepare_bridge(&network(0)).unwrap();
        world.firewall.start().unwrap();
        serve(&world.a, "0.0.0.0:80");
        serve(&world.a, "0.0.0.0:81");
        inside(&world.outside, || {
            run("ip route add 172.30.0.0/16 via 10.99.0.1")
        });
        test(world);
    });
}

#[test]
fn a_routed_network_opens_published_ports_at_the_containers_address() {
    with_rules(
        |rules| rules.gateway_mode4 = GatewayMode::Routed,
        |world| {
            let port = mapping(Protocol::Tcp, "0.0.0.0:0", "172.30.0.2:80");
            world.firewall.publish(&container(1), &[port]).unwrap();
            assert_eq!(seen(&world.outside, "172.30.0.2:80"), ip("10.99.0.2"));
            assert!(is_cut_off(&world.outside, "172.30.0.2:81"));
            assert!(answers_ping(&world.outside, "172.30.0.2"));
            // Its containers are seen with their own addresses.
            serve(&world.outside, "0.0.0.0:90");
            assert_eq!(seen(&world.a, "10.99.0.2:90"), ip("172.30.0.2"));
            world.firewall.withdraw(&container(1)).unwrap();
            assert!(is_cut_off(&world.outside, "172.30.0.2:80"));
        },
    );
}

#[test]
fn an_unprotected_network_opens_all_ports() {
    with_rules(
        |rules| rules.gateway_mode4 = GatewayMode::NatUnprotected,
        |world| {
            assert_eq!(seen(&world.outside, "172.30.0.2:81"), ip("10.99.0.2"));
            world
                .firewall
                .publish(&container(1), &[to_a(Protocol::Tcp)])
                .unwrap();
            assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
        },
    );
}

#[test]
fn a_trusted_interface_reaches_published_ports_at_the_containers_address() {
    with_rules(
        |rules| rules.trusted = vec!["eth0".to_owned()],
        |world| {
            world
                .firewall
                .publish(&container(1), &[to_a(Protocol::Tcp)])
                .unwrap();
            assert_eq!(seen(&world.outside, "172.30.0.2:80"), ip("10.99.0.2"));
            assert!(is_cut_off(&world.outside, "172.30.0.2:81"));
            assert!(is_cut_off(&world.c, "172.30.0.2:80"));
        },
    );
}

#[test]
fn a_udp_sender_that_never_pauses_is_led_to_the_new_container() {
    in_world(FirewallMode::Host, |world| {
        serve_udp(&world.a, "0.0.0.0:80", "a");
        serve_udp(&world.b, "0.0.0.0:80", "b");
        let socket = udp(&world.outside, "10.99.0.1:8080");
        // Before anything is published the host answers, and remembers the flow.
        assert!(ask_by(&socket, 1).is_err());
        let _nobody = std::net::UdpSocket::bind("0.0.0.0:8080").unwrap();
        assert!(ask_by(&socket, 1).is_err());
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Udp)])
            .unwrap();
        assert_eq!(ask_by(&socket, 1).unwrap(), "a 10.99.0.2 1");
        world.firewall.withdraw(&container(1)).unwrap();
        let mut moved = to_a(Protocol::Udp);
        moved.container = at("172.30.0.3:80");
        world.firewall.publish(&container(2), &[moved]).unwrap();
        assert_eq!(ask_by(&socket, 1).unwrap(), "b 10.99.0.2 1");
    });
}

#[test]
fn thousands_of_ports_come_and_go() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.a, "0.0.0.0:80");
        let port = |number| {
            let mut port = to_a(Protocol::Tcp);
            port.host.set_port(number);
            port
        };
        let ports: Vec<_> = (20_000..22_000).map(port).collect();
        for _ in 0..2 {
            world.firewall.publish(&container(1), &ports).unwrap();
            for number in [20_000, 20_999, 21_999] {
                let to = format!("10.99.0.1:{number}");
                assert_eq!(seen(&world.outside, &to), ip("10.99.0.2"));
            }
            world.firewall.withdraw(&container(1)).unwrap();
        }
        assert!(!run("nft list map ip corten ports").contains("elements"));
        assert!(!run("nft list set ip corten gate").contains("elements"));
    });
}
