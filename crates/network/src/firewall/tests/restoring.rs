//! What becomes of the tables when others flush, and when the daemon ends.

use super::super::{Firewall, lock};
use super::world::{
    World, container, in_bare_world, in_world, ip, is_cut_off, network, rules, run, seen, serve,
    to_a, wait_for,
};
use crate::{FirewallMode, Protocol, Settings};

/// The table without the line that says whose it is.
fn table() -> String {
    let text = run("nft list table ip corten || true");
    let lines = text.lines().skip(1);
    let changing = |line: &&str| line.starts_with("\tflags") || line.contains(" expires ");
    let lines = lines.filter(|line| !changing(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn publish(world: &World) {
    serve(&world.a, "0.0.0.0:80");
    world
        .firewall
        .publish(&container(1), &[to_a(Protocol::Tcp)])
        .unwrap();
}

#[test]
fn a_flush_by_others_passes_over_our_tables() {
    in_world(FirewallMode::Host, |world| {
        publish(world);
        let before = table();
        for flush in [
            "nft flush ruleset",
            "iptables-nft -F",
            "iptables-nft -t nat -F",
        ] {
            run(flush);
            assert_eq!(table(), before, "{flush}");
        }
        assert!(run("nft delete table ip corten || echo refused").contains("refused"));
        assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
    });
}

#[test]
fn where_tables_cannot_be_owned_they_are_restored() {
    in_bare_world(FirewallMode::Host, |world| {
        for number in [0, 1] {
            world.firewall.add_network(rules(number)).unwrap();
        }
        world.firewall.start().unwrap();
        // As on a kernel before 6.9.
        lock(&world.firewall.state).can_own = false;
        world.firewall.rewrite().unwrap();
        publish(world);
        serve(&world.c, "0.0.0.0:80");
        let before = table();
        let damages = [
            "nft flush ruleset",
            "nft flush table ip corten",
            "nft flush chain ip corten forward",
            "nft delete element ip corten ports '{ tcp . 8080 }'",
            "nft insert rule ip corten forward accept",
        ];
        for damage in damages {
            run(damage);
            wait_for(damage, || table() == before);
            assert!(is_cut_off(&world.a, "172.31.0.2:80"), "{damage}");
            assert_eq!(
                seen(&world.outside, "10.99.0.1:8080"),
                ip("10.99.0.2"),
                "{damage}"
            );
        }
    });
}

#[test]
fn the_gate_is_made_again_when_somebody_removes_it() {
    in_world(FirewallMode::Host, |world| {
        publish(world);
        run("ip link delete corten-in");
        wait_for("the pair", || run("ip link").contains("corten-in"));
        wait_for("the port", || !is_cut_off(&world.outside, "10.99.0.1:8080"));
        run("ip link set corten-out down");
        world.firewall.restore().unwrap();
        assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
    });
}

#[test]
fn the_tables_outlive_the_daemon_and_the_next_takes_them_over() {
    in_bare_world(FirewallMode::Host, |world| {
        let settings = Settings::new("/nowhere", "/nowhere", "br0", "corten");
        let open = || {
            let firewall = Firewall::open(&settings).unwrap();
            firewall.add_network(rules(0)).unwrap();
            firewall.add_network(rules(1)).unwrap();
            firewall
        };
        serve(&world.a, "0.0.0.0:80");
        let first = open();
        first.start().unwrap();
        first
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        let before = table();
        drop(first);
        assert_eq!(table(), before);
        assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
        let second = open();
        second
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        assert_eq!(
            table(),
            before,
            "nothing happens before everything is known"
        );
        second.start().unwrap();
        assert_eq!(table(), before);
        second.withdraw(&container(1)).unwrap();
        assert!(is_cut_off(&world.outside, "10.99.0.1:8080"));
    });
}

#[test]
fn networks_come_and_go() {
    in_world(FirewallMode::Host, |world| {
        publish(world);
        let before = table();
        let ip6 = run("nft list table ip6 corten");
        for _ in 0..2 {
            let mut third = rules(1);
            third.id = network(3);
            third.bridge = "br3".to_owned();
            third.ipv4 = Some("172.33.0.0/16".parse().unwrap());
            third.ipv6 = Some("fd00:33::/64".parse().unwrap());
            world.firewall.add_network(third).unwrap();
            assert!(table().contains("to-br3"));
            world.firewall.remove_network(&network(3)).unwrap();
            assert_eq!(table(), before);
            assert_eq!(run("nft list table ip6 corten"), ip6);
        }
        // With the last network of a family its table goes: nothing of it may wait for the next.
        for round in 0..2 {
            for number in [0, 1] {
                world.firewall.remove_network(&network(number)).unwrap();
            }
            assert!(
                !run("nft list tables").contains("table ip6 corten"),
                "{round}"
            );
            for number in [0, 1] {
                world.firewall.add_network(rules(number)).unwrap();
            }
            assert_eq!(run("nft list table ip6 corten"), ip6, "{round}");
        }
        // Neighbouring subnets in either order.
        for (number, subnet) in [
            (4, "172.29.0.0/16"),
            (5, "172.32.0.0/16"),
            (6, "172.28.0.0/16"),
        ] {
            let mut more = rules(1);
            more.id = network(number);
            more.bridge = format!("br{number}");
            (more.ipv4, more.ipv6) = (Some(subnet.parse().unwrap()), None);
            world.firewall.add_network(more).unwrap();
        }
        let text = run("nft list map ip corten leave");
        assert_eq!(text.matches("goto leave-br").count(), 5, "{text}");
    });
}
