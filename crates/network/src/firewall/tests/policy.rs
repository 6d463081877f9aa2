//! Published ports obey what the host says about packets to itself.

use super::world::{
    ask, container, in_world, ip, is_cut_off, mapping, run, seen, seen_from_host, serve, serve_udp,
    to_a,
};
use crate::{FirewallMode, Protocol};

/// Each blocks port 8080 of the host, and lifts that again.
const FIREWALLS: [(&str, &str); 5] = [
    (
        "nft add table inet f; nft add chain inet f in '{ type filter hook input priority 0; }'; \
         nft add rule inet f in tcp dport 8080 drop; nft add rule inet f in udp dport 8080 drop",
        "nft delete table inet f",
    ),
    (
        "nft add table ip f; \
         nft add chain ip f in '{ type filter hook input priority 10; policy drop; }'",
        "nft delete table ip f",
    ),
    (
        "iptables-nft -A INPUT -i eth0 -p tcp --dport 8080 -j DROP; \
         iptables-nft -A INPUT -i eth0 -p udp --dport 8080 -j DROP",
        "iptables-nft -F INPUT",
    ),
    (
        "iptables-legacy -P INPUT DROP",
        "iptables-legacy -P INPUT ACCEPT",
    ),
    (
        "iptables-legacy -A INPUT -p tcp --dport 8080 -j REJECT; \
         iptables-legacy -A INPUT -p udp --dport 8080 -j REJECT",
        "iptables-legacy -F INPUT",
    ),
];

#[test]
fn the_hosts_input_rules_block_published_ports_and_lifting_them_opens() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.a, "0.0.0.0:80");
        serve_udp(&world.a, "0.0.0.0:80", "a");
        let ports = [to_a(Protocol::Tcp), to_a(Protocol::Udp)];
        world.firewall.publish(&container(1), &ports).unwrap();
        let port = "10.99.0.1:8080";
        assert_eq!(
            seen(&world.outside, port),
            ip("10.99.0.2"),
            "the client's own address"
        );
        for (block, lift) in FIREWALLS {
            run(block);
            assert!(is_cut_off(&world.outside, port), "{block}");
            assert!(ask(&world.outside, port, 1).is_err(), "{block}");
            run(lift);
            assert_eq!(seen(&world.outside, port), ip("10.99.0.2"), "{lift}");
            assert_eq!(
                ask(&world.outside, port, 1).unwrap(),
                "a 10.99.0.2 1",
                "{lift}"
            );
        }
    });
}

#[test]
fn connections_that_run_go_on_as_those_to_the_host_would() {
    in_world(FirewallMode::Host, |world| {
        serve_udp(&world.a, "0.0.0.0:80", "a");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Udp)])
            .unwrap();
        let socket = super::world::udp(&world.outside, "10.99.0.1:8080");
        super::world::ask_by(&socket, 1).unwrap();
        run("iptables-nft -P INPUT DROP");
        super::world::ask_by(&socket, 1).expect("the flow is known");
        assert!(
            ask(&world.outside, "10.99.0.1:8080", 1).is_err(),
            "a new one is not let in"
        );
    });
}

#[test]
fn large_first_datagrams_arrive_whole() {
    in_world(FirewallMode::Host, |world| {
        serve_udp(&world.a, "0.0.0.0:80", "a");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Udp)])
            .unwrap();
        for bytes in [1, 1472, 1473, 20_000, 60_000] {
            let answer = ask(&world.outside, "10.99.0.1:8080", bytes);
            assert_eq!(answer.unwrap(), format!("a 10.99.0.2 {bytes}"));
        }
    });
}

#[test]
fn ipv6_obeys_as_well() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.a, "[::]:80");
        serve_udp(&world.a, "[::]:81", "a");
        let ports = [
            mapping(Protocol::Tcp, "[::]:8080", "[fd00:30::2]:80"),
            mapping(Protocol::Udp, "[::]:8080", "[fd00:30::2]:81"),
        ];
        world.firewall.publish(&container(1), &ports).unwrap();
        let port = "[fd00:99::1]:8080";
        assert_eq!(seen(&world.outside, port), ip("fd00:99::2"));
        assert_eq!(
            ask(&world.outside, port, 20_000).unwrap(),
            "a fd00:99::2 20000"
        );
        assert_eq!(seen(&world.b, port), ip("fd00:30::1"), "hairpin");
        assert_eq!(seen_from_host(port), ip("fd00:99::1"));
        run("ip6tables-nft -A INPUT -p tcp --dport 8080 -j DROP");
        assert!(is_cut_off(&world.outside, port));
        run("ip6tables-nft -F INPUT");
        assert_eq!(seen(&world.outside, port), ip("fd00:99::2"));
    });
}

#[test]
fn dockers_mode_is_past_the_input_policy() {
    in_world(FirewallMode::Docker, |world| {
        serve(&world.a, "0.0.0.0:80");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        run("iptables-nft -P INPUT DROP");
        assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
    });
}

#[test]
fn many_connections_at_once() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.a, "0.0.0.0:80");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
                    }
                });
            }
        });
    });
}
