//! Links on links and traffic control on the real kernel, each test in namespaces of its own. Needs
//! root, and macvlan, ifb, tbf, u32 and mirred in the kernel.

// Helpers fail a test as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;

use sys::netlink::{
    Bucket, Endless, MacvlanMode, NewStacked, NewVeth, Protocol, SetLink, Socket, Stacked,
};

fn in_host(test: impl FnOnce(&mut Socket) + Send) {
    sys::netns::create(|_| {
        test(&mut Socket::open(Protocol::Route)?);
        Ok::<_, sys::Error>(())
    })
    .unwrap();
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_macvlan_link_is_born_elsewhere_and_dies_with_its_namespace() {
    in_host(|host| {
        host.execute_one(|m| m.add_endless("parent", 77, Endless::Ifb))
            .unwrap();
        let parent = host.link("parent").unwrap().unwrap();
        assert!(parent.up);
        assert_eq!(host.group("parent").unwrap(), Some(77));
        assert_eq!(host.group("lo").unwrap(), Some(0));
        assert_eq!(host.group("nolink").unwrap(), None);
        let mut host = Socket::open(Protocol::Route).unwrap();
        let (netns, link) = sys::netns::create(|netns| {
            host.execute_one(|m| {
                m.add_stacked(&NewStacked {
                    name: "eth0",
                    parent: parent.index,
                    kind: Stacked::Macvlan(MacvlanMode::Private),
                    mtu: Some(1400),
                    address: Some([2, 1, 2, 3, 4, 5]),
                    netns: netns.as_fd(),
                });
            })?;
            let mut inside = Socket::open(Protocol::Route)?;
            let text = output("ip", &["-d", "link", "show", "eth0"]);
            assert!(text.contains("macvlan mode private"), "{text}");
            inside.link("eth0")
        })
        .unwrap();
        let link = link.unwrap();
        assert_eq!((link.kind.as_str(), link.mtu), ("macvlan", 1400));
        assert_eq!(link.address, [2, 1, 2, 3, 4, 5]);
        drop(netns);
        // The parent is free again as soon as the namespace has been taken apart.
        let index = parent.index;
        host.execute_one(|m| m.delete_link(index)).unwrap();
        assert_eq!(host.link("parent").unwrap(), None);
    });
}

#[test]
fn kinds_that_the_kernel_has_are_told_without_making_anything() {
    in_host(|host| {
        assert!(host.has_stacked("macvlan").unwrap());
        assert!(!host.has_stacked("nosuchkind").unwrap());
        let names = host.links().unwrap().into_iter().map(|link| link.name);
        assert_eq!(names.filter(|name| name != "lo").count(), 0);
    });
}

#[test]
fn a_link_moves_and_is_renamed() {
    in_host(|host| {
        host.execute_one(|m| m.add_endless("before", 0, Endless::Ifb))
            .unwrap();
        let index = host.link("before").unwrap().unwrap().index;
        let down = SetLink {
            up: Some(false),
            ..SetLink::default()
        };
        host.execute_one(|m| m.set_link(index, &down)).unwrap();
        let mut outside = Socket::open(Protocol::Route).unwrap();
        let (_netns, found) = sys::netns::create(|netns| {
            outside.execute_one(|m| m.move_link(index, "after0", netns.as_fd()))?;
            Socket::open(Protocol::Route)?.link("after0")
        })
        .unwrap();
        assert_eq!(found.unwrap().kind, "ifb");
        assert_eq!(host.link("before").unwrap(), None);
    });
}

#[test]
fn buckets_and_redirections_are_what_tc_reads_back() {
    in_host(|host| {
        let mut outside = Socket::open(Protocol::Route).unwrap();
        let (_netns, ()) = sys::netns::create(|netns| {
            outside.execute_one(|m| {
                m.add_veth(&NewVeth {
                    name: "near",
                    master: 0,
                    mtu: 1500,
                    peer_name: "far",
                    peer_address: [2, 0, 0, 0, 0, 1],
                    peer_netns: netns.as_fd(),
                });
            })
        })
        .unwrap();
        host.execute_one(|m| m.add_endless("through", 0, Endless::Ifb))
            .unwrap();
        let near = host.link("near").unwrap().unwrap().index;
        let through = host.link("through").unwrap().unwrap().index;
        let bucket = |rate| Bucket {
            rate,
            burst: 32_000,
            queue: 64_000,
        };
        host.execute_one(|m| {
            m.shape(near, &bucket(1_250_000));
            // A second time: the first is replaced.
            m.shape(near, &bucket(2_500_000));
            m.shape(through, &bucket(12_500_000_000));
            m.redirect_arriving(near, through);
            m.add_address(near, Ipv4Addr::new(10, 0, 0, 1).into(), 24);
        })
        .unwrap();
        let text = output("tc", &["qdisc", "show"]);
        let has = |line: &str| assert!(text.contains(line), "{line}:\n{text}");
        has(" rate 20Mbit burst 32000b");
        has("qdisc tbf 1: dev through root");
        has(" rate 100Gbit burst");
        has("qdisc ingress ffff: dev near");
        assert!(!text.contains("rate 10Mbit"), "{text}");
        let text = output("tc", &["filter", "show", "dev", "near", "ingress"]);
        let redirection = "mirred (Egress Redirect to device through) stolen";
        assert!(text.contains(redirection), "{text}");
    });
}
