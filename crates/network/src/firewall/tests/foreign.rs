//! Getting along with the forward rules of others.

use super::world::{World, container, in_world, ip, run, seen, serve, to_a, wait_for};
use crate::{FirewallMode, Protocol};

/// Each drops what is forwarded unless told otherwise.
const DROPS: [&str; 5] = [
    "iptables-nft -P FORWARD DROP",
    "iptables-nft -A FORWARD -j REJECT --reject-with icmp-host-prohibited",
    "nft add table inet f; \
     nft add chain inet f way '{ type filter hook forward priority 5; policy drop; }'; \
     nft add rule inet f way ip daddr 192.0.2.1 accept",
    "nft add table ip f; nft add chain ip f way '{ type filter hook forward priority 0; }'; \
     nft add rule ip f way ct state established accept; nft add rule ip f way counter drop",
    "iptables-nft -N OWN; iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -j OWN",
];

fn works(world: &World) {
    assert_eq!(seen(&world.a, "10.99.0.2:80"), ip("10.99.0.1"));
    assert_eq!(seen(&world.outside, "10.99.0.1:8080"), ip("10.99.0.2"));
}

#[test]
fn a_host_that_drops_what_it_forwards_lets_containers_pass() {
    for drops in DROPS {
        in_world(FirewallMode::Host, |world| {
            serve(&world.outside, "0.0.0.0:80");
            serve(&world.a, "0.0.0.0:80");
            world
                .firewall
                .publish(&container(1), &[to_a(Protocol::Tcp)])
                .unwrap();
            // At any time: before, and while the daemon runs.
            run(drops);
            wait_for(drops, || {
                run("nft list ruleset").contains("corten: from br0")
            });
            works(world);
            let rules = run("nft list ruleset");
            for rule in ["from br0", "to br0", "from br1", "to br1"] {
                assert_eq!(
                    rules.matches(&format!("corten: {rule}\"")).count(),
                    1,
                    "{rules}"
                );
            }
            world.firewall.destroy().unwrap();
            assert!(!run("nft list ruleset").contains("corten"));
        });
    }
}

#[test]
fn iptables_shows_our_rules_and_a_flush_by_it_is_made_up_for() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.outside, "0.0.0.0:80");
        serve(&world.a, "0.0.0.0:80");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        // The policy last: with it ours come, and rules of later are behind them.
        run("iptables-nft -A FORWARD -s 172.31.0.0/16 -j DROP; iptables-nft -P FORWARD DROP");
        let listed = || run("iptables-nft -S FORWARD");
        wait_for("our rules", || {
            listed().contains("--comment \"corten: to br1\" -j ACCEPT")
        });
        // What somebody decided is not overruled: theirs come first.
        let text = listed();
        let (theirs, ours) = (text.find("-s 172.31"), text.find("corten"));
        assert!(theirs < ours, "{text}");
        assert!(super::world::is_cut_off(&world.c, "10.99.0.2:80"));
        run("iptables-nft -F");
        wait_for("our rules again", || listed().contains("corten: to br1"));
        works(world);
        run("iptables-nft -P FORWARD ACCEPT");
        wait_for("their end", || !listed().contains("corten"));
    });
}

#[test]
fn the_legacy_iptables_lets_containers_pass_too() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.outside, "0.0.0.0:80");
        serve(&world.a, "0.0.0.0:80");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        let listed = || run("iptables-legacy -S FORWARD");
        assert!(!listed().contains("corten"));
        run("iptables-legacy -P FORWARD DROP");
        wait_for("our rules", || {
            listed().contains("--comment \"corten: to br1\" -j ACCEPT")
        });
        works(world);
        run("iptables-legacy -F");
        wait_for("our rules again", || listed().contains("corten: to br1"));
        works(world);
        world.firewall.destroy().unwrap();
        assert!(!listed().contains("corten"));
    });
}

#[test]
fn foreign_rules_are_left_as_they_are() {
    let foreign = "nft add table ip foreign; nft add set ip foreign s '{ type ipv4_addr; }'; \
                   nft add chain ip foreign in '{ type filter hook input priority 7; }'; \
                   nft add rule ip foreign in ip saddr @s counter drop";
    in_world(FirewallMode::Host, |world| {
        run(foreign);
        let before = run("nft list table ip foreign");
        world
            .firewall
            .publish(&container(1), &[to_a(Protocol::Tcp)])
            .unwrap();
        world.firewall.restore().unwrap();
        world.firewall.destroy().unwrap();
        assert_eq!(run("nft list ruleset"), before);
        assert!(!run("ip link").contains("corten-"));
    });
}
