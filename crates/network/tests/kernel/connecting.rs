//! Several networks at once, and running containers that enter and leave them.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;

use network::{EndpointRequest, NetworkSpec, PortRequest, Protocol, PublishedPort, SandboxRequest};
use sys::netlink::{Protocol as Netlink, Socket};

use super::{
    attach_to, bridge, connect, container, create, in_host, links, listen, open, output, request,
    settings, try_open,
};

/// The default route of a namespace: gateway and interface.
fn default_route(netns: impl std::os::fd::AsFd + Sync) -> Option<(String, String)> {
    sys::netns::with(netns, || {
        let mut socket = Socket::open(Netlink::Route)?;
        let routes = socket.routes()?;
        let route = routes
            .into_iter()
            .find(|r| r.destination.is_none() && r.gateway.is_some());
        let Some(route) = route else { return Ok(None) };
        let link = socket.link_at(route.index)?;
        let name = link.map_or_else(String::new, |link| link.name);
        let gateway = route.gateway.map_or_else(String::new, |g| g.to_string());
        Ok::<_, sys::Error>(Some((gateway, name)))
    })
    .unwrap()
}

fn interfaces(netns: impl std::os::fd::AsFd + Sync) -> Vec<String> {
    let all = sys::netns::with(netns, || Socket::open(Netlink::Route)?.links()).unwrap();
    let names = all.into_iter().map(|link| link.name);
    names.filter(|name| name.starts_with("eth")).collect()
}

fn route(gateway: &str, interface: &str) -> Option<(String, String)> {
    Some((gateway.to_owned(), interface.to_owned()))
}

#[test]
fn the_best_network_gives_the_first_interface_and_the_default_route() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut inside = NetworkSpec::new("a-inside");
        inside.internal = true;
        let inside = networks.create(inside).unwrap().id;
        let (one, two) = (create(&networks, "one"), create(&networks, "two"));
        let all = |priority| {
            vec![
                EndpointRequest::new(inside),
                EndpointRequest {
                    gateway_priority: priority,
                    ..EndpointRequest::new(two)
                },
                EndpointRequest::new(one),
            ]
        };
        let names = |sandbox: &network::Sandbox| -> Vec<String> {
            let endpoints = sandbox.endpoints.iter();
            endpoints
                .map(|e| format!("{} {}", e.interface, e.network))
                .collect()
        };
        let sandbox = networks
            .open_sandbox(&container(1), &request(all(0)))
            .unwrap();
        assert_eq!(names(&sandbox), ["eth0 one", "eth1 two", "eth2 a-inside"]);
        assert_eq!(default_route(&sandbox.netns), route("172.19.0.1", "eth0"));
        let sandbox = networks
            .open_sandbox(&container(2), &request(all(7)))
            .unwrap();
        assert_eq!(names(&sandbox), ["eth0 two", "eth1 one", "eth2 a-inside"]);
        assert_eq!(default_route(&sandbox.netns), route("172.20.0.1", "eth0"));
    });
}

#[test]
fn a_running_container_enters_and_leaves_networks() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut inside = NetworkSpec::new("inside");
        inside.internal = true;
        let inside = networks.create(inside).unwrap().id;
        let (one, two) = (create(&networks, "one"), create(&networks, "two"));
        let attached = attach_to(&networks, 1, inside);
        let netns = attached.netns.as_fd();
        assert_eq!(default_route(netns), None);
        let connect = |id| networks.connect(&container(1), netns, &EndpointRequest::new(id));
        let endpoint = connect(two).unwrap();
        assert_eq!(
            (endpoint.interface.as_str(), endpoint.network.as_str()),
            ("eth1", "two")
        );
        assert_eq!(default_route(netns), route("172.20.0.1", "eth1"));
        let error = connect(two).unwrap_err();
        assert_eq!(
            error.to_string(),
            "endpoint with name test already exists in network two"
        );
        connect(one).unwrap();
        assert_eq!(default_route(netns), route("172.19.0.1", "eth2"));
        let (endpoints, _) = networks.sandbox(&container(1)).unwrap();
        let order: Vec<_> = endpoints.iter().map(|e| e.network.as_str()).collect();
        assert_eq!(order, ["one", "two", "inside"]);
        networks
            .disconnect(&container(1), &one, Some(netns))
            .unwrap();
        assert_eq!(default_route(netns), route("172.20.0.1", "eth1"));
        networks
            .disconnect(&container(1), &two, Some(netns))
            .unwrap();
        assert_eq!(
            (default_route(netns), interfaces(netns)),
            (None, vec!["eth0".to_owned()])
        );
        assert_eq!(
            networks
                .disconnect(&container(1), &two, Some(netns))
                .unwrap_err()
                .to_string(),
            format!("container {} is not connected to network two", container(1))
        );
        // The lowest free name, as in Docker.
        assert_eq!(connect(one).unwrap().interface, "eth1");
        networks.remove(&two).expect("nobody is in it any more");
        assert!(networks.strays().unwrap().is_empty());
    });
}

#[test]
fn a_refused_connect_takes_nothing() {
    in_host(|state| {
        let networks = open(settings(state));
        let one = create(&networks, "one");
        let attached = attach_to(&networks, 1, bridge(&networks));
        let before = links();
        for (name, reason) in [
            ("lo", "file exists"),
            ("eth0", "file exists"),
            ("toolonginterface16", "numerical result out of range"),
            ("a/b", "invalid argument"),
        ] {
            let mut wish = EndpointRequest::new(one);
            let key = "com.docker.network.endpoint.ifname".to_owned();
            wish.options.insert(key, name.to_owned());
            let error = networks.connect(&container(1), attached.netns.as_fd(), &wish);
            let text = error.unwrap_err().to_string();
            assert!(text.ends_with(&format!("\"{name}\": {reason}")), "{text}");
        }
        let mut wish = EndpointRequest::new(one);
        let key = "com.docker.network.endpoint.sysctls".to_owned();
        wish.options
            .insert(key, "net.ipv4.conf.IFNAME.nope=1".to_owned());
        let error = networks.connect(&container(1), attached.netns.as_fd(), &wish);
        assert!(error.is_err());
        assert_eq!(links(), before);
        assert!(networks.describe(&one).unwrap().endpoints.is_empty());
        let endpoint = networks
            .connect(
                &container(1),
                attached.netns.as_fd(),
                &EndpointRequest::new(one),
            )
            .unwrap();
        assert_eq!(
            endpoint.ipv4.unwrap().address(),
            Ipv4Addr::new(172, 18, 0, 7)
        );
    });
}

#[test]
fn an_endpoint_has_the_name_and_settings_asked_for() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut wish = EndpointRequest::new(bridge(&networks));
        for (key, value) in [
            ("ifname", "foo0"),
            ("sysctls", "net.ipv4.conf.IFNAME.log_martians=1"),
        ] {
            let key = format!("com.docker.network.endpoint.{key}");
            wish.options.insert(key, value.to_owned());
        }
        wish.link_local = vec![Ipv4Addr::new(169, 254, 3, 4).into()];
        let attached = try_open(&networks, 1, wish).unwrap();
        assert_eq!(attached.endpoint.interface, "foo0");
        let path = "/proc/sys/net/ipv4/conf/foo0/log_martians";
        assert_eq!(super::read_in(&attached.netns, path).trim(), "1");
        let addresses = sys::netns::with(&attached.netns, || {
            Socket::open(Netlink::Route)?.addresses()
        });
        let texts: Vec<_> = addresses
            .unwrap()
            .iter()
            .map(|a| a.address.to_string())
            .collect();
        assert!(texts.contains(&"169.254.3.4".to_owned()), "{texts:?}");
    });
}

/// Port 80 as the host's 8080.
fn web_port() -> PortRequest {
    PortRequest {
        container_port: 80,
        protocol: Protocol::Tcp,
        host_ip: Some(Ipv4Addr::UNSPECIFIED.into()),
        host_ports: Some((8080, 8080)),
    }
}

fn is_taken() -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).is_err()
}

#[test]
fn ports_are_taken_with_the_sandbox_and_lead_in_from_publishing_on() {
    in_host(|state| {
        let networks = open(settings(state));
        let request = SandboxRequest {
            ports: vec![web_port()],
            ..request(vec![EndpointRequest::new(bridge(&networks))])
        };
        let sandbox = networks.open_sandbox(&container(1), &request).unwrap();
        let server = listen(&sandbox.netns, 80);
        let held: Vec<u16> = sandbox.ports.iter().map(|port| port.host_port).collect();
        assert_eq!(held, [8080]);
        assert!(is_taken());
        assert!(connect(Ipv4Addr::LOCALHOST, 8080).is_err());
        for _ in 0..2 {
            networks.publish(&container(1)).unwrap();
            let _stream = connect(Ipv4Addr::LOCALHOST, 8080).expect("it is published");
            server.accept().unwrap();
        }
        networks.close_sandbox(&container(1));
        assert!(!is_taken());
        assert!(connect(Ipv4Addr::LOCALHOST, 8080).is_err());
        // What was never published goes as well.
        networks.open_sandbox(&container(1), &request).unwrap();
        assert!(is_taken());
        networks.close_sandbox(&container(1));
        assert!(!is_taken());
    });
}

#[test]
fn ports_follow_the_way_out() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut inside = NetworkSpec::new("inside");
        inside.internal = true;
        let inside = networks.create(inside).unwrap().id;
        let one = create(&networks, "one");
        let request = SandboxRequest {
            endpoints: vec![EndpointRequest::new(inside)],
            ports: vec![web_port()],
            name: "web".to_owned(),
            ..SandboxRequest::default()
        };
        let sandbox = networks.open_sandbox(&container(1), &request).unwrap();
        assert_eq!(sandbox.ports, []);
        let netns = sandbox.netns.as_fd();
        networks
            .connect(&container(1), netns, &EndpointRequest::new(one))
            .unwrap();
        let published = PublishedPort {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host_port: 8080,
        };
        assert_eq!(networks.sandbox(&container(1)).unwrap().1, [published]);
        assert!(output("nft", &["list", "ruleset"]).contains("172.19.0.2 . 80"));
        let taken = networks.open_sandbox(
            &container(2),
            &SandboxRequest {
                endpoints: vec![EndpointRequest::new(one)],
                name: "late".to_owned(),
                ..request.clone()
            },
        );
        let error = taken.unwrap_err();
        let text = spec::error::chain(&error);
        assert!(
            text.starts_with("driver failed programming external connectivity on endpoint late ("),
            "{text}"
        );
        assert!(
            text.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"),
            "{text}"
        );
        assert_eq!(networks.describe(&one).unwrap().endpoints.len(), 1);
        networks
            .disconnect(&container(1), &one, Some(netns))
            .unwrap();
        assert_eq!(networks.sandbox(&container(1)).unwrap().1, []);
        assert!(!output("nft", &["list", "ruleset"]).contains("172.19.0.2 . 80"));
        networks.close_sandbox(&container(1));
        assert!(!is_taken());
    });
}
