//! The hosts of these tests.
//!
//! ```text
//!   outside 10.99.0.2 ── eth0 10.99.0.1 [host] br0 172.30.0.1 ── a .2, b .3
//!           fd00:99::2        fd00:99::1       br1 172.31.0.1 ── c .2
//! ```

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spec::id::{ContainerId, NetworkId};
use sys::netlink::{Messages, NewVeth, Protocol as Netlink, SetLink, Socket};

use super::super::{Firewall, GatewayMode, Mapping, NetworkRules};
use crate::{FirewallMode, Protocol, Settings};

/// How long a connection that must come may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that must not come is waited for: longer than the sender's first retry.
const SILENCE: Duration = Duration::from_millis(1300);

pub(super) struct World {
    pub firewall: Arc<Firewall>,
    pub outside: OwnedFd,
    pub a: OwnedFd,
    pub b: OwnedFd,
    pub c: OwnedFd,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn container(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

pub(super) fn network(number: u8) -> NetworkId {
    NetworkId::from_bytes([number; 32])
}

/// The rules of `br<number>`.
pub(super) fn rules(number: u8) -> NetworkRules {
    NetworkRules {
        id: network(number),
        bridge: format!("br{number}"),
        ipv4: Some(format!("172.{}.0.0/16", 30 + number).parse().unwrap()),
        ipv6: Some(format!("fd00:3{number}::/64").parse().unwrap()),
        masquerade: true,
        host_ipv4: None,
        host_ipv6: None,
        inter_container: true,
        internal: false,
        gateway_mode4: GatewayMode::Nat,
        gateway_mode6: GatewayMode::Nat,
        trusted: Vec::new(),
    }
}

pub(super) fn mapping(protocol: Protocol, host: &str, container: &str) -> Mapping {
    Mapping {
        network: network(0),
        protocol,
        host: at(host),
        container: at(container),
    }
}

/// A port of container `a`, at all addresses of the host.
pub(super) fn to_a(protocol: Protocol) -> Mapping {
    mapping(protocol, "0.0.0.0:8080", "172.30.0.2:80")
}

/// Runs a test in a host of its own, with a firewall that knows both networks and has started.
pub(super) fn in_world(mode: FirewallMode, test: impl FnOnce(&World) + Send) {
    in_bare_world(mode, |world| {
        for number in [0, 1] {
            world.firewall.add_network(rules(number)).unwrap();
            world.firewall.prepare_bridge(&network(number)).unwrap();
        }
        world.firewall.start().unwrap();
        test(world);
    });
}

/// Runs a test in a host of its own.
pub(super) fn in_bare_world(mode: FirewallMode, test: impl FnOnce(&World) + Send) {
    let outcome = sys::netns::create(|_| {
        let mut host = Socket::open(Netlink::Route)?;
        up(&mut host, "lo");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        // Strict, as many distributions have it.
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        for number in [0u8, 1] {
            host.execute_one(|m| {
                m.add_bridge(&format!("br{number}"), 1500, [2, 0, 0, 0, 1, number])
            })?;
            let index = host.link(&format!("br{number}"))?.unwrap().index;
            let mut requests = Messages::new();
            requests.add_address(index, ip(&format!("172.3{number}.0.1")), 16);
            requests.add_address(index, ip(&format!("fd00:3{number}::1")), 64);
            host.execute(requests)?;
        }
        let outside = neighbour(
            &mut host,
            "eth0",
            None,
            ["10.99.0.2/24", "fd00:99::2/64"],
            None,
        );
        let index = host.link("eth0")?.unwrap().index;
        let mut requests = Messages::new();
        requests.add_address(index, ip("10.99.0.1"), 24);
        requests.add_address(index, ip("fd00:99::1"), 64);
        host.execute(requests)?;
        let mut inside = |name: &str, number: u8, host_part: u8| {
            let addresses = [
                format!("172.3{number}.0.{host_part}/16"),
                format!("fd00:3{number}::{host_part}/64"),
            ];
            let gateways = [format!("172.3{number}.0.1"), format!("fd00:3{number}::1")];
            let bridge = format!("br{number}");
            let addresses = [addresses[0].as_str(), addresses[1].as_str()];
            neighbour(&mut host, name, Some(&bridge), addresses, Some(gateways))
        };
        let (a, b, c) = (inside("va", 0, 2), inside("vb", 0, 3), inside("vc", 1, 2));
        let settings = Settings {
            firewall: mode,
            ..Settings::new("/nowhere", "/nowhere", "br0", "corten")
        };
        let world = World {
            firewall: Firewall::open(&settings).unwrap(),
            outside,
            a,
            b,
            c,
        };
        wait_for("addresses", || ready(&world));
        test(&world);
        Ok::<_, sys::Error>(())
    });
    outcome.expect("this test needs root");
}

/// Links pass packets some milliseconds after they are made.
fn ready(world: &World) -> bool {
    let both = |from: &OwnedFd, to: &str, to6: &str| {
        [to, to6].iter().all(|to| {
            inside(from, || {
                let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"));
                let any = if to.contains(':') {
                    socket
                } else {
                    UdpSocket::bind("0.0.0.0:0")
                };
                let socket = any.unwrap();
                socket.connect((ip(to), 9)).is_ok() && socket.send(b"?").is_ok() && {
                    // A closed port answers: the way is there and back.
                    socket
                        .set_read_timeout(Some(Duration::from_millis(100)))
                        .unwrap();
                    let answer = socket.recv(&mut [0; 1]);
                    answer.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
                }
            })
        })
    };
    both(&world.outside, "10.99.0.1", "fd00:99::1")
        && both(&world.a, "172.30.0.1", "fd00:30::1")
        && both(&world.b, "172.30.0.1", "fd00:30::1")
        && both(&world.c, "172.31.0.1", "fd00:31::1")
}

/// Makes another network stack, connected by a veth pair to a bridge or by itself.
fn neighbour(
    host: &mut Socket,
    name: &str,
    bridge: Option<&str>,
    addresses: [&str; 2],
    gateways: Option<[String; 2]>,
) -> OwnedFd {
    let master = bridge.map_or(0, |bridge| host.link(bridge).unwrap().unwrap().index);
    let (netns, ()) = sys::netns::create(|netns| {
        std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
        host.execute_one(|m| {
            m.add_veth(&NewVeth {
                name,
                master,
                mtu: 1500,
                peer_name: "eth0",
                peer_address: [2, 0, 0, 0, 2, name.bytes().last().unwrap()],
                peer_netns: netns.as_fd(),
            });
        })?;
        let mut socket = Socket::open(Netlink::Route)?;
        up(&mut socket, "lo");
        let index = socket.link("eth0")?.unwrap().index;
        up(&mut socket, "eth0");
        let mut requests = Messages::new();
        for address in addresses {
            let (address, prefix) = address.split_once('/').unwrap();
            requests.add_address(index, ip(address), prefix.parse().unwrap());
        }
        socket.execute(requests)?;
        for gateway in gateways.iter().flatten() {
            socket.execute_one(|m| m.add_route(None, ip(gateway)))?;
        }
        Ok::<_, sys::Error>(())
    })
    .unwrap();
    netns
}

fn up(socket: &mut Socket, name: &str) {
    let index = socket.link(name).unwrap().unwrap().index;
    let set = SetLink {
        up: Some(true),
        ..SetLink::default()
    };
    socket.execute_one(|m| m.set_link(index, &set)).unwrap();
}

/// Does something in a network stack.
pub(super) fn inside<T: Send>(netns: &OwnedFd, f: impl FnOnce() -> T + Send) -> T {
    sys::netns::with(netns, || Ok::<_, sys::Error>(f())).unwrap()
}

/// Serves a TCP port of a network stack: everybody is told the address they come from, and echoed.
pub(super) fn serve(netns: &OwnedFd, address: &str) {
    let listener = inside(netns, || TcpListener::bind(address).unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(format!("{}\n", peer.ip()).as_bytes());
        }
    });
}

/// Serves a UDP port: everybody is told the name, their address and how much they sent.
pub(super) fn serve_udp(netns: &OwnedFd, address: &str, name: &'static str) {
    let socket = inside(netns, || UdpSocket::bind(address).unwrap());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let text = format!("{name} {} {length}", peer.ip());
            let _ = socket.send_to(text.as_bytes(), peer);
        }
    });
}

/// The address that a server sees when it is connected to; an error if it cannot be reached.
fn connect(to: &str, timeout: Duration) -> std::io::Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&at(to), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(ip(text.trim()))
}

/// Connects from a network stack and returns the address that the server sees.
pub(super) fn seen(from: &OwnedFd, to: &str) -> IpAddr {
    inside(from, || connect(to, PATIENCE)).unwrap_or_else(|e| panic!("{to}: {e}"))
}

/// Connects from the host itself.
pub(super) fn seen_from_host(to: &str) -> IpAddr {
    connect(to, PATIENCE).unwrap_or_else(|e| panic!("{to}: {e}"))
}

/// Tells whether a port cannot be reached from a network stack.
pub(super) fn is_cut_off(from: &OwnedFd, to: &str) -> bool {
    inside(from, || connect(to, SILENCE)).is_err()
}

/// Sends a datagram of that size from a new socket and returns the answer.
pub(super) fn ask(from: &OwnedFd, to: &str, bytes: usize) -> std::io::Result<String> {
    let socket = udp(from, to);
    ask_by(&socket, bytes)
}

/// A UDP socket of a network stack with that peer.
pub(super) fn udp(from: &OwnedFd, to: &str) -> UdpSocket {
    let any = if to.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = inside(from, || UdpSocket::bind(any).unwrap());
    socket.connect(at(to)).unwrap();
    socket
}

pub(super) fn ask_by(socket: &UdpSocket, bytes: usize) -> std::io::Result<String> {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send(&vec![b'x'; bytes])?;
    let mut buffer = [0; 200];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Tells whether an address answers an ICMP echo request.
pub(super) fn answers_ping(from: &OwnedFd, to: &str) -> bool {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, sockopt};
    inside(from, || {
        let kind = SocketType::RAW;
        let socket = rustix::net::socket(AddressFamily::INET, kind, Some(ipproto::ICMP)).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(SILENCE)).unwrap();
        rustix::net::connect(&socket, &SocketAddr::new(ip(to), 0)).unwrap();
        // Type 8, code 0, the checksum of nothing but that, and zeros.
        let request = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        rustix::net::send(&socket, &request, SendFlags::empty()).unwrap();
        let mut buffer = [0; 100];
        let (length, _) =
            rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()).unwrap_or_default();
        // An answer is of type 0, after an IP header of 20 bytes.
        length >= 28 && buffer[20] == 0
    })
}

/// Has bridged packets pass the IP chains or not; does nothing where the kernel cannot.
pub(super) fn bridge_netfilter(value: &str) {
    for key in ["iptables", "ip6tables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{key}");
        if std::fs::exists(&path).unwrap() {
            std::fs::write(path, value).unwrap();
        }
    }
}

/// Runs a program in the host and returns what it prints.
pub(super) fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something is so.
pub(super) fn wait_for(what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
