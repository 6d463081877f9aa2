//! What is kept apart.

use sys::netlink::{Protocol as Netlink, Socket};

use super::super::Link;
use super::world::{
    bridge_netfilter, container, in_bare_world, in_world, inside, ip, is_cut_off, network, rules,
    run, seen, seen_from_host, serve,
};
use crate::{FirewallMode, Protocol};

#[test]
fn networks_are_apart_and_containers_of_one_are_not() {
    in_world(FirewallMode::Host, |world| {
        for netns in [&world.a, &world.c] {
            serve(netns, "[::]:80");
        }
        assert_eq!(seen(&world.b, "172.30.0.2:80"), ip("::ffff:172.30.0.3"));
        assert_eq!(seen_from_host("172.30.0.2:80"), ip("::ffff:172.30.0.1"));
        for (from, to) in [(&world.c, "172.30.0.2:80"), (&world.a, "172.31.0.2:80")] {
            assert!(is_cut_off(from, to), "{to}");
        }
        assert!(is_cut_off(&world.c, "[fd00:30::2]:80"));
        assert_eq!(seen(&world.b, "[fd00:30::2]:80"), ip("fd00:30::3"));
    });
}

#[test]
fn containers_leave_under_the_hosts_address() {
    in_world(FirewallMode::Host, |world| {
        serve(&world.outside, "[::]:80");
        assert_eq!(seen(&world.a, "10.99.0.2:80"), ip("::ffff:10.99.0.1"));
        assert_eq!(seen(&world.a, "[fd00:99::2]:80"), ip("fd00:99::1"));
        world.firewall.remove_network(&network(0)).unwrap();
        let mut fixed = rules(0);
        fixed.host_ipv4 = Some("10.99.0.9".parse().unwrap());
        run("ip address add 10.99.0.9/24 dev eth0");
        world.firewall.add_network(fixed).unwrap();
        assert_eq!(seen(&world.a, "10.99.0.2:80"), ip("::ffff:10.99.0.9"));
        let mut bare = rules(0);
        bare.masquerade = false;
        world.firewall.add_network(bare).unwrap();
        inside(&world.outside, || {
            run("ip route add 172.30.0.0/16 via 10.99.0.1")
        });
        assert_eq!(seen(&world.a, "10.99.0.2:80"), ip("::ffff:172.30.0.2"));
    });
}

#[test]
fn an_internal_network_has_no_way_out() {
    in_bare_world(FirewallMode::Host, |world| {
        let mut internal = rules(0);
        internal.internal = true;
        world.firewall.add_network(internal).unwrap();
        world.firewall.add_network(rules(1)).unwrap();
        world.firewall.start().unwrap();
        serve(&world.a, "0.0.0.0:80");
        serve(&world.outside, "0.0.0.0:80");
        serve(&world.c, "0.0.0.0:80");
        inside(&world.outside, || {
            run("ip route add 172.30.0.0/16 via 10.99.0.1")
        });
        assert_eq!(seen(&world.b, "172.30.0.2:80"), ip("172.30.0.3"));
        // Even with a default route, which a container with privileges can give itself.
        assert!(is_cut_off(&world.a, "10.99.0.2:80"));
        assert!(is_cut_off(&world.a, "172.31.0.2:80"));
        assert!(is_cut_off(&world.outside, "172.30.0.2:80"));
        assert!(is_cut_off(&world.c, "172.30.0.2:80"));
        assert_eq!(
            seen(&world.c, "10.99.0.2:80"),
            ip("10.99.0.1"),
            "the other is not"
        );
    });
}

#[test]
fn without_icc_only_links_lead_from_container_to_container() {
    in_bare_world(FirewallMode::Host, |world| {
        // With it a frame to a published port nearby stays in the bridge, which keeps ports apart.
        bridge_netfilter("0");
        let mut apart = rules(0);
        apart.inter_container = false;
        world.firewall.add_network(apart).unwrap();
        world.firewall.prepare_bridge(&network(0)).unwrap();
        world.firewall.start().unwrap();
        let mut socket = Socket::open(Netlink::Route).unwrap();
        for port in ["va", "vb"] {
            socket
                .execute_one(|m| m.set_bridge_port(port, false, true))
                .unwrap();
        }
        serve(&world.a, "0.0.0.0:80");
        serve(&world.a, "0.0.0.0:81");
        serve(&world.outside, "0.0.0.0:80");
        assert!(is_cut_off(&world.b, "172.30.0.2:80"));
        let link = Link {
            from: (container(2), ip("172.30.0.3")),
            to: (container(1), ip("172.30.0.2")),
            protocol: Protocol::Tcp,
            port: 80,
        };
        world.firewall.link(&[link, link]).unwrap();
        assert_eq!(seen(&world.b, "172.30.0.2:80"), ip("172.30.0.3"));
        assert!(is_cut_off(&world.b, "172.30.0.2:81"));
        // Published ports are for everybody.
        let port = super::world::to_a(Protocol::Tcp);
        world.firewall.publish(&container(1), &[port]).unwrap();
        assert_eq!(seen(&world.b, "10.99.0.1:8080"), ip("172.30.0.1"));
        assert_eq!(
            seen(&world.b, "10.99.0.2:80"),
            ip("10.99.0.1"),
            "the world is open"
        );
        let (a, b) = (container(1), container(2));
        world.firewall.unlink(&a, &b).unwrap();
        assert_eq!(
            seen(&world.b, "172.30.0.2:80"),
            ip("172.30.0.3"),
            "the other way round"
        );
        world.firewall.unlink(&b, &a).unwrap();
        assert!(is_cut_off(&world.b, "172.30.0.2:80"));
        assert_eq!(
            seen(&world.b, "10.99.0.1:8080"),
            ip("172.30.0.1"),
            "published still"
        );
        world.firewall.link(&[link]).unwrap();
        assert_eq!(seen(&world.b, "172.30.0.2:80"), ip("172.30.0.3"));
        world.firewall.withdraw(&container(1)).unwrap();
        assert!(is_cut_off(&world.b, "172.30.0.2:80"));
    });
}
