//! Macvlan and ipvlan networks on the real kernel. Needs root.

use std::net::Ipv4Addr;

use spec::error::{Classify as _, ErrorKind};

use super::super::testing::{in_host, join, links, neighbour, network, settings, socket, wait_for};
use super::*;

const NAME: &str = "macvlan";
const MODE: &str = "macvlan_mode";
const PARENT: &str = parent::PARENT;

fn driver(dir: &std::path::Path) -> Stacking {
    Stacking::macvlan(&settings(dir), &Users::default())
}

#[test]
fn containers_are_on_the_parent_s_network() {
    in_host(|dir| {
        let lan = neighbour("up0", Ipv4Addr::new(10, 7, 0, 1));
        let driver = driver(dir);
        let net = network(7, NAME, &[(PARENT, "up0")]);
        driver.create(&net).unwrap();
        let one = join(&driver, &net, 2).unwrap();
        let two = join(&driver, &net, 3).unwrap();
        assert!(one.reaches(&lan, Ipv4Addr::new(10, 7, 0, 1)));
        assert!(one.reaches(&two.netns, two.address()));
        // Nothing of them is in the host.
        assert_eq!(links(), ["up0"]);
        driver
            .leave(
                &net,
                Some(std::os::fd::AsFd::as_fd(&one.netns)),
                &one.endpoint,
            )
            .unwrap();
        assert_eq!(one.links(), [""; 0]);
        drop(two);
        driver.remove(&net).unwrap();
        assert_eq!(links(), ["up0"]);
    });
}

#[test]
fn a_link_that_could_not_be_renamed_goes_alone() {
    in_host(|dir| {
        let _lan = neighbour("up0", Ipv4Addr::new(10, 7, 0, 1));
        let driver = driver(dir);
        let net = network(7, NAME, &[(PARENT, "up0")]);
        driver.create(&net).unwrap();
        let mut one = join(&driver, &net, 2).unwrap();
        let netns = std::os::fd::AsFd::as_fd(&one.netns);
        // The container has a link of its own with the wanted name.
        sys::netns::with(netns, || {
            socket().execute_one(|m| m.add_endless("eth0", 0, sys::netlink::Endless::Ifb))
        })
        .unwrap();
        "eth0".clone_into(&mut one.endpoint.interface);
        driver.leave(&net, Some(netns), &one.endpoint).unwrap();
        assert_eq!(one.links(), ["eth0"]);
        driver.leave(&net, Some(netns), &one.endpoint).unwrap();
        assert_eq!(one.links(), [""; 0]);
    });
}

#[test]
fn private_containers_do_not_see_each_other() {
    in_host(|dir| {
        let lan = neighbour("up0", Ipv4Addr::new(10, 7, 0, 1));
        let driver = driver(dir);
        let net = network(7, NAME, &[(PARENT, "up0"), (MODE, "private")]);
        driver.create(&net).unwrap();
        let one = join(&driver, &net, 2).unwrap();
        let two = join(&driver, &net, 3).unwrap();
        assert!(one.reaches(&lan, Ipv4Addr::new(10, 7, 0, 1)));
        assert!(!one.reaches(&two.netns, two.address()));
    });
}

#[test]
fn without_a_parent_they_have_only_each_other() {
    in_host(|dir| {
        let first = driver(dir);
        let net = network(7, NAME, &[]);
        assert!(!first.has_gateway(&net.spec));
        first.create(&net).unwrap();
        assert_eq!(links(), ["dm-070707070707"]);
        let one = join(&first, &net, 2).unwrap();
        let two = join(&first, &net, 3).unwrap();
        assert!(one.reaches(&two.netns, two.address()));
        // Another daemon on the same data root knows what the first one made.
        drop(first);
        let second = driver(dir);
        second.restore(&net).unwrap();
        assert_eq!(links(), ["dm-070707070707"]);
        // Somebody removes it: the next container gets it back.
        let parent = socket().link("dm-070707070707").unwrap().unwrap();
        socket()
            .execute_one(|m| m.delete_link(parent.index))
            .unwrap();
        wait_for("links to go with their parent", || one.links().is_empty());
        let three = join(&second, &net, 4).unwrap();
        let four = join(&second, &net, 5).unwrap();
        assert!(three.reaches(&four.netns, four.address()));
        second.remove(&net).unwrap();
        assert_eq!(links(), [""; 0]);
        second.remove(&net).unwrap();
    });
}

#[test]
fn parents_that_are_not_ours_stay() {
    in_host(|dir| {
        let (mine, other) = (driver(dir), network(9, NAME, &[]));
        let theirs = Stacking::macvlan(
            &crate::Settings::new("/s", "/r", "b", "another"),
            &Users::default(),
        );
        theirs.create(&other).unwrap();
        mine.create(&other).unwrap();
        mine.remove(&other).unwrap();
        assert_eq!(links(), ["dm-090909090909"]);
        theirs.remove(&other).unwrap();
        assert_eq!(links(), [""; 0]);
    });
}

#[test]
fn passthru_is_alone_on_its_parent() {
    in_host(|dir| {
        let _lan = neighbour("up0", Ipv4Addr::new(10, 7, 0, 1));
        let driver = driver(dir);
        let shared = network(7, NAME, &[(PARENT, "up0")]);
        let alone = network(8, NAME, &[(PARENT, "up0"), (MODE, "passthru")]);
        driver.create(&shared).unwrap();
        let id = shared.id;
        let error = driver.create(&alone).unwrap_err().to_string();
        let want = format!(
            "cannot use mode passthru, macvlan network {id} is already using parent interface up0"
        );
        assert_eq!(error, want);
        driver.remove(&shared).unwrap();
        driver.create(&alone).unwrap();
        let error = driver.create(&shared).unwrap_err().to_string();
        let id = alone.id;
        let want =
            format!("macvlan network {id} is already using parent interface up0 in mode passthru");
        assert_eq!(error, want);
        let one = join(&driver, &alone, 2).unwrap();
        let error = join(&driver, &alone, 3).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "failed to create the macvlan port");
        driver.leave(&alone, None, &one.endpoint).unwrap();
    });
}

#[test]
fn bad_options_are_told_in_docker_s_words() {
    in_host(|dir| {
        let driver = driver(dir);
        let told = |options: &[(&str, &str)]| {
            let mut net = network(7, NAME, options);
            let done = driver.check(&mut net.spec);
            let error = done.and_then(|()| driver.create(&net)).unwrap_err();
            (error.to_string(), error.kind())
        };
        let (text, kind) = told(&[(MODE, "foo")]);
        let want = "requested macvlan mode 'foo' is not valid, 'bridge' mode is the macvlan driver default";
        assert_eq!((text.as_str(), kind), (want, ErrorKind::Internal));
        let (text, _) = told(&[(PARENT, "lo")]);
        assert_eq!(
            text,
            "loopback interface is not a valid macvlan parent link"
        );
        let (text, _) = told(&[(PARENT, "nope")]);
        assert!(text.starts_with("invalid subinterface vlan name nope"));
        let (text, _) = told(&[(PARENT, "nope.10")]);
        assert_eq!(text, "-o parent interface was not found on the host: nope");
        let (text, _) = told(&[(PARENT, "a-name-that-no-interface-can-have")]);
        assert!(text.starts_with("invalid subinterface vlan name"));
        assert_eq!(links(), [""; 0]);
    });
}

#[test]
fn what_the_kernel_lacks_is_named() {
    in_host(|dir| {
        let _lan = neighbour("up0", Ipv4Addr::new(10, 7, 0, 1));
        let has = |kind: &str| socket().has_stacked(kind).unwrap();
        let (vlans, ipvlans) = (has("vlan"), has("ipvlan"));
        let driver = driver(dir);
        let net = network(7, NAME, &[(PARENT, "up0.10")]);
        match driver.create(&net) {
            Ok(()) => {
                assert!(vlans);
                assert!(links().contains(&"up0.10".to_owned()));
                driver.remove(&net).unwrap();
                assert_eq!(links(), ["up0"]);
            }
            Err(error) => {
                assert!(!vlans, "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                let text = error.to_string();
                assert!(
                    text.starts_with("failed to create up0.10 vlan link"),
                    "{text}"
                );
                assert!(text.contains("CONFIG_VLAN_8021Q"), "{text}");
            }
        }
        let driver = Stacking::ipvlan(&settings(dir), &Users::default());
        let net = network(8, "ipvlan", &[(PARENT, "up0")]);
        match driver.create(&net) {
            Ok(()) => {
                assert!(ipvlans);
                let again = network(9, "ipvlan", &[(PARENT, "up0")]);
                let error = driver.create(&again).unwrap_err().to_string();
                let want = "network di-080808080808 is already using parent interface up0";
                assert_eq!(error, want);
                let one = join(&driver, &net, 2).unwrap();
                let two = join(&driver, &net, 3).unwrap();
                assert!(one.reaches(&two.netns, two.address()));
            }
            Err(error) => {
                assert!(!ipvlans, "{error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains("CONFIG_IPVLAN"), "{error}");
            }
        }
    });
}

#[test]
fn modes_and_flags_are_docker_s() {
    let told = |option: &str, value: &str| {
        let mut spec = NetworkSpec::new("n");
        spec.options.insert(option.to_owned(), value.to_owned());
        let settings = Settings::new("/s", "/r", "b", "t");
        let checked = Stacking::ipvlan(&settings, &Users::default()).check(&mut spec);
        checked.err().map(|error| error.to_string())
    };
    for good in ["", "l2", "l3", "l3s"] {
        assert_eq!(told("ipvlan_mode", good), None);
    }
    for good in ["", "bridge", "private", "vepa"] {
        assert_eq!(told("ipvlan_flag", good), None);
    }
    let bad = "requested ipvlan mode 'zz' is not valid, 'l2' mode is the ipvlan driver default";
    assert_eq!(told("ipvlan_mode", "zz").as_deref(), Some(bad));
    let bad = "requested ipvlan flag 'zz' is not valid, 'bridge' is the ipvlan driver default";
    assert_eq!(told("ipvlan_flag", "zz").as_deref(), Some(bad));
    let bad = "loopback interface is not a valid ipvlan parent link";
    assert_eq!(told(PARENT, "lo").as_deref(), Some(bad));
}

#[test]
fn routed_modes_have_no_gateway_but_a_route() {
    let settings = Settings::new("/s", "/r", "b", "t");
    let driver = Stacking::ipvlan(&settings, &Users::default());
    let mut spec = NetworkSpec::new("n");
    assert!(!driver.has_gateway(&spec));
    spec.options.insert(PARENT.into(), "eth0".into());
    assert!(driver.has_gateway(&spec));
    spec.options.insert("ipvlan_mode".into(), "l3".into());
    assert!(!driver.has_gateway(&spec) && leads_out(&spec));
    assert!(is_routed(driver.link(&spec).unwrap()));
    assert_eq!(driver.skips_gateways(&spec).unwrap(), (true, true));
}

#[test]
fn every_subnet_has_its_gateway() {
    let mut net = network(7, NAME, &[(PARENT, "eth0")]);
    for (subnet, gateway) in [("10.9.0.0/24", Some("10.9.0.254")), ("fd09::/64", None)] {
        net.spec.ipam.pools.push(crate::PoolSpec {
            subnet: Some(subnet.parse().unwrap()),
            gateway: gateway.map(|text| text.parse().unwrap()),
            ..crate::PoolSpec::default()
        });
    }
    let of = |address: &str| net.gateway_of(address.parse().unwrap());
    assert_eq!(of("10.7.0.20"), Some("10.7.0.1".parse().unwrap()));
    assert_eq!(of("10.9.0.20"), Some("10.9.0.254".parse().unwrap()));
    assert_eq!(of("fd09::20"), None);
    assert_eq!(of("10.8.0.20"), None);
}
