//! Networks of users: created, described, found, refused, removed; what a crash leaves of them.

use std::net::Ipv4Addr;

use network::{EndpointRequest, IpamSpec, NetworkSpec, Networks, PoolSpec, PoolText};
use spec::error::{Classify as _, ErrorKind};

use super::{
    Attached, attach, attach_to, connect, container, create, in_host, internet, is_cut_off, links,
    listen, live, open, output, request, settings, try_open, wait_for,
};

fn spec(name: &str, subnet: &str) -> NetworkSpec {
    let text = PoolText {
        subnet: subnet.to_owned(),
        ..PoolText::default()
    };
    let mut spec = NetworkSpec::new(name);
    spec.ipam.pools = IpamSpec::parse_pools(&[text]).unwrap();
    spec
}

fn refusal(networks: &Networks, spec: NetworkSpec) -> (ErrorKind, String) {
    let error = networks.create(spec).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn a_network_is_created_described_found_and_removed() {
    in_host(|state| {
        let networks = open(settings(state));
        let id = create(&networks, "web");
        let about = networks.describe(&id).unwrap();
        let pool = &about.spec.ipam.pools[0];
        assert_eq!(pool.subnet, Some("172.18.0.0/16".parse().unwrap()));
        assert_eq!(pool.gateway, Some(Ipv4Addr::new(172, 18, 0, 1).into()));
        assert_eq!(
            (about.spec.driver.as_str(), about.predefined),
            ("bridge", false)
        );
        let name = format!("br-{}", &id.to_string()[..12]);
        assert!(links().contains(&name));
        for key in [
            "web".to_owned(),
            id.to_string(),
            id.to_string()[..6].to_owned(),
        ] {
            assert_eq!(networks.find(&key).unwrap(), id);
        }
        assert_eq!(
            networks.find("nope").unwrap_err().to_string(),
            "network nope not found"
        );
        let names: Vec<_> = networks.list().into_iter().map(|n| n.spec.name).collect();
        assert_eq!(names.len(), 4);
        let attached = attach_to(&networks, 1, id);
        assert_eq!(attached.address, Ipv4Addr::new(172, 18, 0, 2));
        let error = networks.remove(&id).unwrap_err();
        let short = &attached.endpoint.endpoint_id.to_string()[..12];
        assert_eq!(
            error.to_string(),
            format!(
                "error while removing network: network web has active endpoints \
                 (name:\"test\" id:\"{short}\")"
            )
        );
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        networks.close_sandbox(&container(1));
        networks.remove(&id).unwrap();
        assert!(!links().contains(&name) && networks.describe(&id).is_none());
        assert!(networks.find("web").is_err());
    });
}

#[test]
fn refusals_are_dockers_and_leave_nothing() {
    in_host(|state| {
        let networks = open(settings(state));
        create(&networks, "web");
        let before = (links(), networks.list().len());
        let text = |spec| refusal(&networks, spec);
        let forbidden = |text: &str| (ErrorKind::Forbidden, text.to_owned());
        let invalid = |text: &str| (ErrorKind::InvalidArgument, text.to_owned());
        assert_eq!(
            text(NetworkSpec::new("")),
            invalid("invalid name: name is empty")
        );
        assert_eq!(
            text(NetworkSpec::new("bridge")),
            forbidden("operation is not permitted on predefined bridge network ")
        );
        assert_eq!(
            text(NetworkSpec::new("web")),
            (
                ErrorKind::Conflict,
                "network with name web already exists".to_owned()
            )
        );
        assert_eq!(
            text(spec("x", "172.18.4.0/24")),
            forbidden("invalid pool request: Pool overlaps with other one on this address space")
        );
        let mut two = spec("x", "10.0.0.0/24");
        two.ipam
            .pools
            .push(spec("x", "10.0.1.0/24").ipam.pools.remove(0));
        assert_eq!(
            text(two),
            forbidden("bridge driver doesn't support multiple subnets")
        );
        let mut gateway = spec("x", "10.0.0.0/24");
        gateway.ipam.pools[0].gateway = Some(Ipv4Addr::new(10, 0, 0, 0).into());
        assert_eq!(
            text(gateway).1,
            "failed to allocate gateway (10.0.0.0): Address already in use"
        );
        let mut none = NetworkSpec::new("x");
        none.enable_ipv4 = false;
        assert_eq!(text(none), invalid("IPv4 or IPv6 must be enabled"));
        let with = |key: &str, value: &str| {
            let mut spec = NetworkSpec::new("x");
            spec.options.insert(key.to_owned(), value.to_owned());
            spec
        };
        let (kind, conflict) = text(with("com.docker.network.bridge.name", "corten0"));
        assert!(
            kind == ErrorKind::Forbidden && conflict.ends_with("networks have same bridge name")
        );
        let (_, lo) = text(with("com.docker.network.bridge.name", "lo"));
        assert!(lo.contains("not a bridge"), "{lo}");
        for driver in ["host", "null"] {
            let mut spec = NetworkSpec::new("x");
            spec.driver = driver.to_owned();
            let want = format!("only one instance of \"{driver}\" network is allowed");
            assert_eq!(text(spec), forbidden(&want));
        }
        let mut plugin = NetworkSpec::new("x");
        plugin.driver = "foo".to_owned();
        let (kind, found) = text(plugin);
        assert_eq!(
            (kind, found.as_str()),
            (ErrorKind::NotFound, "plugin \"foo\" not found")
        );
        for (name, id) in ["bridge", "host", "none"].map(|n| (n, networks.find(n).unwrap())) {
            let error = networks.remove(&id).unwrap_err();
            let want = format!("{name} is a pre-defined network and cannot be removed");
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::Forbidden, want)
            );
        }
        assert_eq!((links(), networks.list().len()), before);
        let records = std::fs::read_dir(state.join("networks")).unwrap();
        assert_eq!(records.count(), 1);
    });
}

#[test]
fn settings_come_from_a_configuration_network() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut config = spec("config", "10.5.0.0/24");
        config.config_only = true;
        config.driver = String::new();
        let config = networks.create(config).unwrap().id;
        assert_eq!(networks.describe(&config).unwrap().spec.driver, "null");
        let from = |name: &str| NetworkSpec {
            config_from: Some(name.to_owned()),
            ..NetworkSpec::new("web")
        };
        assert_eq!(
            refusal(&networks, from("nope")),
            (
                ErrorKind::NotFound,
                "configuration network \"nope\" does not exist".to_owned()
            )
        );
        let mut both = from("config");
        both.ipam.pools.push(PoolSpec::default());
        assert!(
            refusal(&networks, both)
                .1
                .starts_with("user specified configurations")
        );
        let web = networks.create(from("config")).unwrap().id;
        assert_eq!(
            attach_to(&networks, 1, web).address,
            Ipv4Addr::new(10, 5, 0, 2)
        );
        let error = networks.remove(&config).unwrap_err();
        assert_eq!(
            error.to_string(),
            "configuration network \"config\" is in use"
        );
        let entered = try_open(&networks, 2, EndpointRequest::new(config));
        assert_eq!(entered.unwrap_err().kind(), ErrorKind::Forbidden);
    });
}

#[test]
fn ranges_gateways_and_addresses_of_others() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut part = spec("part", "10.5.0.0/16");
        part.ipam.pools[0].range = Some("10.5.4.0/30".parse().unwrap());
        part.ipam.pools[0].aux = [("router".to_owned(), Ipv4Addr::new(10, 5, 4, 2).into())].into();
        let part = networks.create(part).unwrap().id;
        // The gateway that nobody named is the first address of the range, as in Docker.
        let attached = attach_to(&networks, 1, part);
        assert_eq!(attached.endpoint.gateway4, Some(Ipv4Addr::new(10, 5, 4, 0)));
        assert_eq!(attached.endpoint.ipv4, Some("10.5.4.1/16".parse().unwrap()));
        assert_eq!(
            attach_to(&networks, 2, part).address,
            Ipv4Addr::new(10, 5, 4, 3)
        );
        let full = try_open(&networks, 3, EndpointRequest::new(part)).unwrap_err();
        assert_eq!(
            full.to_string(),
            format!("no available IPv4 addresses on this network's address pools: part ({part})")
        );
        let outside = EndpointRequest {
            ipv4: Some(Ipv4Addr::new(10, 5, 200, 7)),
            ..EndpointRequest::new(part)
        };
        assert!(try_open(&networks, 3, outside).is_ok());
        for (prefix, want) in [(31, Some(Ipv4Addr::new(10, 6, 0, 1))), (32, None)] {
            let id = networks
                .create(spec("small", &format!("10.6.0.0/{prefix}")))
                .unwrap()
                .id;
            let got = try_open(&networks, 4, EndpointRequest::new(id));
            assert_eq!(got.as_ref().ok().map(|a| a.address), want, "/{prefix}");
            networks.close_sandbox(&container(4));
            networks.remove(&id).unwrap();
        }
    });
}

#[test]
fn an_internal_network_leads_nowhere() {
    in_host(|state| {
        let world = internet();
        let networks = open(settings(state));
        let mut spec = NetworkSpec::new("inside");
        spec.internal = true;
        let inside = networks.create(spec).unwrap().id;
        let (a, b) = (
            attach_to(&networks, 1, inside),
            attach_to(&networks, 2, inside),
        );
        assert_eq!(a.endpoint.gateway4, None);
        let routes = sys::netns::with(&a.netns, || {
            sys::netlink::Socket::open(sys::netlink::Protocol::Route)?.routes()
        });
        assert!(
            !routes
                .unwrap()
                .iter()
                .any(|r| r.destination.is_none() && r.gateway.is_some())
        );
        let _server = listen(&world, 80);
        assert!(is_cut_off(&a.netns, Ipv4Addr::new(203, 0, 113, 2), 80));
        let _server = listen(&b.netns, 80);
        assert!(!is_cut_off(&a.netns, b.address, 80));
    });
}

#[test]
fn networks_are_apart() {
    in_host(|state| {
        let networks = open(settings(state));
        let (one, two) = (create(&networks, "one"), create(&networks, "two"));
        let (a, b) = (attach_to(&networks, 1, one), attach_to(&networks, 2, two));
        let c = attach(&networks, 3);
        let _servers = [listen(&a.netns, 80), listen(&b.netns, 80)];
        assert!(is_cut_off(&a.netns, b.address, 80));
        assert!(is_cut_off(&c.netns, a.address, 80));
        assert!(connect(a.address, 80).is_ok());
    });
}

#[test]
fn options_of_the_bridge() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut spec = NetworkSpec::new("web");
        for (key, value) in [
            ("com.docker.network.bridge.name", "br-own"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.container_iface_prefix", "net"),
            ("com.docker.network.bridge.inhibit_ipv4", "true"),
        ] {
            spec.options.insert(key.to_owned(), value.to_owned());
        }
        let web = networks.create(spec).unwrap().id;
        let shown = output("ip", &["-o", "address", "show", "br-own"]);
        assert!(!shown.contains("inet "), "{shown}");
        let attached = attach_to(&networks, 1, web);
        assert_eq!(attached.endpoint.interface, "net0");
        let mtu = super::read_in(&attached.netns, "/proc/sys/net/ipv4/conf/net0/forwarding");
        assert!(!mtu.is_empty());
        let link = output(
            "ip",
            &["-o", "link", "show", &attached.endpoint.host_interface],
        );
        assert!(link.contains("mtu 1400"), "{link}");
        let mut isolated = NetworkSpec::new("isolated");
        isolated.internal = true;
        let key = "com.docker.network.bridge.gateway_mode_ipv4".to_owned();
        isolated.options.insert(key, "isolated".to_owned());
        let isolated = networks.create(isolated).unwrap().id;
        let pool = networks
            .describe(&isolated)
            .unwrap()
            .spec
            .ipam
            .pools
            .remove(0);
        assert_eq!(pool.gateway, None);
        // No address is set aside for the bridge, as in Docker.
        assert_eq!(attach_to(&networks, 2, isolated).address.octets()[3], 1);
    });
}

#[test]
fn a_bridge_of_the_users_is_used_and_stays() {
    in_host(|state| {
        output("ip", &["link", "add", "br7", "type", "bridge"]);
        let networks = open(settings(state));
        let mut own = spec("own", "10.7.0.0/24");
        let key = "com.docker.network.bridge.name".to_owned();
        own.options.insert(key, "br7".to_owned());
        let id = networks.create(own).unwrap().id;
        assert_eq!(
            attach_to(&networks, 1, id).address,
            Ipv4Addr::new(10, 7, 0, 2)
        );
        networks.close_sandbox(&container(1));
        networks.remove(&id).unwrap();
        let shown = output("ip", &["-o", "address", "show", "br7"]);
        assert!(!shown.contains("10.7.0.1"), "{shown}");
    });
}

#[test]
fn networks_outlive_a_crash_and_what_it_left_goes() {
    in_host(|state| {
        let networks = open(settings(state));
        let web = create(&networks, "web");
        let about = networks.describe(&web).unwrap();
        let alive = attach_to(&networks, 1, web);
        let _server = listen(&alive.netns, 80);
        // A crash between the removal of a record and that of the bridge.
        let half = create(&networks, "half");
        std::fs::remove_file(state.join("networks").join(format!("{half}.json"))).unwrap();
        let bridge = format!("br-{}", &half.to_string()[..12]);
        assert!(links().contains(&bridge));
        drop(networks);
        // And one between a record and its bridge.
        output(
            "ip",
            &["link", "delete", &format!("br-{}", &web.to_string()[..12])],
        );

        let networks = Networks::open(settings(state)).unwrap();
        assert!(!links().contains(&bridge));
        let lost = networks.reconcile(vec![live(1, vec![alive.endpoint.clone()])]);
        assert!(lost.is_empty(), "{lost:?}");
        let again = networks.describe(&web).unwrap();
        assert_eq!((again.spec, again.created), (about.spec, about.created));
        assert_eq!(again.endpoints.len(), 1);
        let new = attach_to(&networks, 2, web);
        assert_ne!(new.address, alive.address);
        assert!(!is_cut_off(&new.netns, alive.address, 80));
        assert!(networks.strays().unwrap().is_empty());
    });
}

#[test]
fn three_hundred_networks() {
    in_host(|state| {
        let networks = open(settings(state));
        for number in 0..300 {
            create(&networks, &format!("n{number}"));
        }
        assert_eq!(networks.list().len(), 303);
        networks.destroy().unwrap();
        wait_for("an empty host", || links() == ["lo"]);
    });
}

#[test]
fn a_bridge_that_is_set_down_or_removed_comes_back_by_itself() {
    in_host(|state| {
        let networks = open(settings(state));
        let web = create(&networks, "web");
        let (a, b) = (attach_to(&networks, 1, web), attach_to(&networks, 2, web));
        let _server = listen(&a.netns, 80);
        let bridge = format!("br-{}", &web.to_string()[..12]);
        for way in [
            ["link", "set", &bridge, "down"].as_slice(),
            &["link", "delete", &bridge],
        ] {
            output("ip", way);
            wait_for("the bridge", || !is_cut_off(&b.netns, a.address, 80));
            wait_for("the way to the host", || connect(a.address, 80).is_ok());
        }
    });
}

#[test]
fn host_and_none_take_members_without_interfaces() {
    in_host(|state| {
        let networks = open(settings(state));
        let before = links();
        for (number, name) in [(1, "host"), (2, "none")] {
            let id = networks.find(name).unwrap();
            let endpoints = vec![EndpointRequest::new(id)];
            let mut sandbox = networks
                .open_sandbox(&container(number), &request(endpoints))
                .unwrap();
            let attached = Attached::new(sandbox.netns, sandbox.endpoints.remove(0));
            assert_eq!(attached.endpoint.interface, "");
            assert_eq!(networks.describe(&id).unwrap().endpoints.len(), 1);
            networks.close_sandbox(&container(number));
            assert!(networks.describe(&id).unwrap().endpoints.is_empty());
        }
        assert_eq!(links(), before);
    });
}

#[test]
fn a_bridge_that_cannot_be_completed_does_not_stay() {
    in_host(|state| {
        let networks = open(settings(state));
        let before = links();
        let mut narrow = NetworkSpec::new("narrow");
        narrow.enable_ipv6 = true;
        // The kernel has no IPv6 below 1280.
        let mtu = ("com.docker.network.driver.mtu", "1000");
        narrow.options = [(mtu.0.to_owned(), mtu.1.to_owned())].into();
        let (kind, _) = refusal(&networks, narrow.clone());
        assert_eq!(kind, ErrorKind::Internal);
        assert_eq!(links(), before);
        assert!(networks.strays().unwrap().is_empty());
        // Nor does its subnet stay taken.
        narrow.options.clear();
        let id = networks.create(narrow).unwrap().id;
        let subnet = networks.describe(&id).unwrap().spec.ipam.pools[0].subnet;
        assert_eq!(subnet, Some("172.18.0.0/16".parse().unwrap()));
    });
}
