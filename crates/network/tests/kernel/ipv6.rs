//! IPv6: dual stack, alone, and its absence.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use network::{EndpointRequest, IpamSpec, NetworkSpec, Networks, PoolText};
use sys::netlink::{Protocol, Socket};

use super::{PATIENCE, attach_to, in_host, open, read_in, settings, try_open};

fn dual(networks: &Networks) -> network::Created {
    let mut spec = NetworkSpec::new("dual");
    spec.enable_ipv6 = true;
    networks.create(spec).unwrap()
}

fn six(attached: &super::Attached) -> Ipv6Addr {
    attached.endpoint.ipv6.unwrap().address()
}

#[test]
fn both_families_work_from_the_first_moment() {
    in_host(|state| {
        let networks = open(settings(state));
        let id = dual(&networks).id;
        let pools = networks.describe(&id).unwrap().spec.ipam.pools;
        let net = pools[1].subnet.unwrap().v6().unwrap();
        assert_eq!((net.address().octets()[0], net.prefix()), (0xfd, 64));
        let (a, b) = (attach_to(&networks, 1, id), attach_to(&networks, 2, id));
        assert_eq!(u128::from(six(&a)), u128::from(net.first()) + 2);
        let server = sys::netns::with(&a.netns, || {
            Ok::<_, sys::Error>(TcpListener::bind((six(&a), 80)).expect("usable at once"))
        })
        .unwrap();
        let to = SocketAddr::from((six(&a), 80));
        let begin = std::time::Instant::now();
        let stream = sys::netns::with(&b.netns, || {
            Ok::<_, sys::Error>(TcpStream::connect_timeout(&to, PATIENCE))
        });
        let _stream = stream.unwrap().expect("container to container");
        assert!(
            begin.elapsed() < Duration::from_millis(900),
            "no packet was lost"
        );
        assert_eq!(server.accept().unwrap().1.ip(), six(&b));
        let _stream = TcpStream::connect_timeout(&to, PATIENCE).expect("host to container");
        let routes = sys::netns::with(&a.netns, || Socket::open(Protocol::Route)?.routes());
        let has_default = routes.unwrap().iter().any(|route| {
            route.destination.is_none() && route.gateway == a.endpoint.gateway6.map(Into::into)
        });
        assert!(has_default);
    });
}

#[test]
fn ipv6_alone() {
    in_host(|state| {
        let networks = open(settings(state));
        let mut spec = NetworkSpec::new("six");
        (spec.enable_ipv4, spec.enable_ipv6) = (false, true);
        let text = PoolText {
            subnet: "2001:db8:1::/64".to_owned(),
            ..PoolText::default()
        };
        spec.ipam.pools = IpamSpec::parse_pools(&[text]).unwrap();
        let id = networks.create(spec).unwrap().id;
        let a = attach_to(&networks, 1, id);
        assert_eq!((a.endpoint.ipv4, a.endpoint.gateway4), (None, None));
        assert_eq!(six(&a), "2001:db8:1::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(a.endpoint.gateway6, Some("2001:db8:1::1".parse().unwrap()));
        let wanted = EndpointRequest {
            ipv6: Some("2001:db8:1::77".parse().unwrap()),
            ..EndpointRequest::new(id)
        };
        assert_eq!(
            six(&try_open(&networks, 2, wanted.clone()).unwrap()),
            wanted.ipv6.unwrap()
        );
        assert!(try_open(&networks, 3, wanted).is_err());
        assert!(networks.strays().unwrap().is_empty());
    });
}

#[test]
fn a_network_without_ipv6_has_none_even_beside_one_that_has() {
    in_host(|state| {
        let networks = open(settings(state));
        let id = dual(&networks).id;
        let plain = super::create(&networks, "plain");
        let wishes = vec![EndpointRequest::new(plain), EndpointRequest::new(id)];
        let sandbox = networks
            .open_sandbox(&super::container(1), &super::request(wishes))
            .unwrap();
        // The network with two ways out comes first.
        assert_eq!(sandbox.endpoints[0].network, "dual");
        let disabled = |of: &str| {
            let path = format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6");
            read_in(&sandbox.netns, &path).trim().to_owned()
        };
        assert_eq!(
            ["eth0", "eth1", "default", "lo"].map(disabled),
            ["0", "1", "0", "0"]
        );
        let addresses = sys::netns::with(&sandbox.netns, || {
            let mut socket = Socket::open(Protocol::Route)?;
            let plain = socket.link("eth1")?.unwrap().index;
            let all = socket.addresses()?;
            Ok::<_, sys::Error>(
                all.into_iter()
                    .filter(|a| a.index == plain)
                    .collect::<Vec<_>>(),
            )
        });
        assert!(addresses.unwrap().iter().all(|a| a.address.is_ipv4()));
    });
}

#[test]
fn the_default_bridge_can_have_ipv6() {
    in_host(|state| {
        let mut with6 = settings(state);
        with6.default_bridge.ipv6 = true;
        with6.default_bridge.fixed_cidr_v6 = Some("2001:db8:9::/64".parse().unwrap());
        let networks = open(with6.clone());
        let a = super::attach(&networks, 1);
        assert_eq!(six(&a), "2001:db8:9::2".parse::<Ipv6Addr>().unwrap());
        drop(networks);
        // Of its own choice, and the same again after a restart.
        with6.default_bridge.fixed_cidr_v6 = None;
        let subnet = |networks: &Networks| {
            let about = networks.describe(&super::bridge(networks)).unwrap();
            about.pools[1].subnet.unwrap()
        };
        let first = subnet(&open(with6.clone()));
        assert_eq!(first, subnet(&open(with6)));
    });
}
