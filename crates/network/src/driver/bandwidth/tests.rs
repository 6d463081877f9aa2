//! Rate limits: their options, and iperf3 through them. Needs root, and iperf3.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};

use sys::netlink::{NewVeth, Protocol};

use super::super::testing::{in_host, links, output, socket, up, wait_for};
use super::*;

fn options(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let option = |(name, value): &(&str, &str)| (format!("{PREFIX}{name}"), (*value).to_owned());
    all.iter().map(option).collect()
}

#[test]
fn options_are_read_strictly() {
    let none = BTreeMap::new();
    let ingress = |value: &str| {
        let limits = Limits::parse(&options(&[("rate.ingress", value)]), &none)?;
        Ok::<_, Error>(limits.ingress.unwrap().rate)
    };
    for (text, bytes) in [
        ("8000", 1000),
        ("10mbit", 1_250_000),
        ("1.5Gbit", 187_500_000),
        ("1mbps", 1_000_000),
        ("16 kbit", 2000),
        ("100gbit", 12_500_000_000),
    ] {
        assert_eq!(ingress(text).unwrap(), bytes, "{text}");
    }
    for bad in [
        "",
        "0",
        "1",
        "-1mbit",
        "x",
        "10",
        "10mb",
        "1..5mbit",
        "1.mbit",
        "9999999999999gbit",
    ] {
        let error = ingress(bad).unwrap_err().to_string();
        assert!(error.contains("rate.ingress"), "{bad}: {error}");
    }
    let bad = [
        &[("burst.egress", "64kb")][..],
        &[("rate.egress", "1mbit"), ("burst.egress", "1")],
        &[("rate.sideways", "1mbit")],
        &[("burst", "64kb")],
    ];
    for bad in bad {
        assert!(Limits::parse(&none, &options(bad)).is_err(), "{bad:?}");
    }
    let other = BTreeMap::from([("com.docker.network.bridge.name".to_owned(), "x".to_owned())]);
    assert_eq!(Limits::parse(&other, &other).unwrap(), Limits::default());
}

#[test]
fn an_endpoint_s_options_come_before_its_network_s() {
    let network = options(&[("rate.ingress", "10mbit"), ("rate.egress", "10mbit")]);
    let endpoint = options(&[("rate.egress", "20mbit"), ("burst.egress", "64kb")]);
    let limits = Limits::parse(&network, &endpoint).unwrap();
    assert_eq!(limits.ingress.unwrap().rate, 1_250_000);
    let egress = limits.egress.unwrap();
    assert_eq!((egress.rate, egress.burst), (2_500_000, 65_536));
}

/// A container: a namespace with 10.1.0.2, whose near end is `cv…` with 10.1.0.1 here.
fn container(near: &str) -> OwnedFd {
    let mut host = socket();
    let (netns, ()) = sys::netns::create(|netns| {
        host.execute_one(|m| {
            m.add_veth(&NewVeth {
                name: near,
                master: 0,
                mtu: 1500,
                peer_name: "eth0",
                peer_address: [2, 0, 0, 0, 0, 2],
                peer_netns: netns.as_fd(),
            });
        })?;
        let mut socket = Socket::open(Protocol::Route)?;
        let index = socket.link("eth0")?.unwrap().index;
        let mut requests = Messages::new();
        requests.add_address(index, Ipv4Addr::new(10, 1, 0, 2).into(), 24);
        requests.set_link(index, &up());
        requests.set_link(1, &up());
        socket.execute(requests)
    })
    .unwrap();
    let index = host.link(near).unwrap().unwrap().index;
    host.execute_one(|m| m.add_address(index, Ipv4Addr::new(10, 1, 0, 1).into(), 24))
        .unwrap();
    netns
}

const NEAR_END: &str = "cv0a01000200001";

/// Bits a second that a receiver counted; `reverse` lets the container send.
fn measured(netns: &OwnedFd, reverse: bool) -> f64 {
    let mut server = sys::netns::with(netns, || {
        let mut server = Command::new("iperf3");
        server.args(["-s", "-1", "-p", "5201", "--forceflush"]);
        Ok::<_, sys::Error>(server.stdout(Stdio::null()).spawn().unwrap())
    })
    .unwrap();
    let listening = || {
        let table = sys::netns::with(netns, || {
            let path = "/proc/thread-self/net/tcp6";
            Ok::<_, sys::Error>(std::fs::read_to_string(path).unwrap())
        });
        table.unwrap().contains(":1451 ")
    };
    wait_for("iperf3 to listen", listening);
    let mut arguments = vec!["-c", "10.1.0.2", "-p", "5201", "-t", "2", "-J"];
    if reverse {
        arguments.push("-R");
    }
    let told: serde_json::Value = serde_json::from_str(&output("iperf3", &arguments)).unwrap();
    server.wait().unwrap();
    told["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .unwrap()
}

#[test]
fn both_directions_keep_to_their_rates() {
    in_host(|_| {
        let netns = container(NEAR_END);
        let limits = options(&[("rate.ingress", "50mbit"), ("rate.egress", "20mbit")]);
        let limits = Limits::parse(&limits, &BTreeMap::new()).unwrap();
        let free = measured(&netns, false);
        assert!(free > 200e6, "{free}");
        limits.apply(&mut socket(), NEAR_END).unwrap();
        // What a receiver counts is a little less than what passes: headers.
        let (to, from) = (measured(&netns, false), measured(&netns, true));
        assert!((35e6..55e6).contains(&to), "to the container: {to}");
        assert!((14e6..22e6).contains(&from), "from the container: {from}");
        assert!(links().contains(&"cb0a01000200001".to_owned()));
        release(&mut socket(), NEAR_END);
        assert_eq!(links(), [NEAR_END]);
    });
}

#[test]
fn what_a_crash_left_is_swept_and_nothing_else() {
    in_host(|_| {
        let netns = container(NEAR_END);
        let limits = options(&[("rate.egress", "20mbit")]);
        let limits = Limits::parse(&limits, &BTreeMap::new()).unwrap();
        limits.apply(&mut socket(), NEAR_END).unwrap();
        socket()
            .execute_one(|m| m.add_endless("cbforeign", 0, Endless::Ifb))
            .unwrap();
        sweep(&mut socket()).unwrap();
        assert_eq!(links().len(), 3);
        drop(netns);
        wait_for("the pair to go", || !links().contains(&NEAR_END.to_owned()));
        sweep(&mut socket()).unwrap();
        assert_eq!(links(), ["cbforeign"]);
        // Nothing to do is no error.
        release(&mut socket(), NEAR_END);
        let gone = limits.apply(&mut socket(), NEAR_END).unwrap_err();
        assert!(gone.to_string().contains(NEAR_END));
    });
}
