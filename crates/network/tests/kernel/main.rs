//! The network on the real kernel, each test in a network namespace of its own. Needs root.

// Helpers fail a test as the tests themselves do.
#![allow(clippy::unwrap_used)]

mod attaching;
mod bridges;
mod connecting;
mod drivers;
mod host;
mod ipv6;
mod restarting;
mod spares;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use network::{
    Endpoint, EndpointRequest, FirewallMode, LiveSandbox, NetworkSpec, Networks, SandboxRequest,
    Settings,
};
use spec::id::{ContainerId, NetworkId};
use sys::netlink::{Messages, NewVeth, Protocol, SetLink, Socket};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection that must not come about is waited for.
const SILENCE: Duration = Duration::from_millis(400);

/// Runs a test in an empty network namespace, with a directory for state.
fn in_host(test: impl FnOnce(&Path) + Send) {
    let state = tempfile::tempdir().unwrap();
    sys::netns::create(|_| {
        let mut socket = Socket::open(Protocol::Route)?;
        socket.execute_one(|m| m.set_link(1, &up()))?;
        test(state.path());
        Ok::<_, sys::Error>(())
    })
    .unwrap();
}

fn up() -> SetLink {
    SetLink {
        up: Some(true),
        ..SetLink::default()
    }
}

/// Settings without spares, for most tests count links, and without the gate's pair of links.
fn settings(state: &Path) -> Settings {
    Settings {
        spares: 0,
        firewall: FirewallMode::Docker,
        ..Settings::new(state, state, "corten0", "corten")
    }
}

fn with_bip(state: &Path, bip: &str) -> Settings {
    let mut settings = settings(state);
    settings.default_bridge.bip = Some(bip.parse().unwrap());
    settings
}

fn open(settings: Settings) -> Networks {
    let networks = Networks::open(settings).unwrap();
    assert!(networks.reconcile(Vec::new()).is_empty());
    networks
}

fn container(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

/// A container's place in a network, and its namespace.
#[derive(Debug)]
struct Attached {
    netns: OwnedFd,
    endpoint: Endpoint,
    address: Ipv4Addr,
}

impl Attached {
    fn new(netns: OwnedFd, endpoint: Endpoint) -> Self {
        let address = endpoint
            .ipv4
            .map_or(Ipv4Addr::UNSPECIFIED, |net| net.address());
        Self {
            netns,
            endpoint,
            address,
        }
    }
}

fn bridge(networks: &Networks) -> NetworkId {
    networks.find("bridge").unwrap()
}

fn gateway(networks: &Networks) -> Ipv4Addr {
    let about = networks.describe(&bridge(networks)).unwrap();
    match about.pools[0].gateway {
        Some(IpAddr::V4(address)) => address,
        other => panic!("{other:?}"),
    }
}

fn subnet(networks: &Networks) -> network::Ipv4Net {
    let about = networks.describe(&bridge(networks)).unwrap();
    about.pools[0].subnet.unwrap().v4().unwrap()
}

fn request(endpoints: Vec<EndpointRequest>) -> SandboxRequest {
    SandboxRequest {
        endpoints,
        name: "test".to_owned(),
        ..SandboxRequest::default()
    }
}

fn try_open(
    networks: &Networks,
    number: u8,
    endpoint: EndpointRequest,
) -> network::Result<Attached> {
    let mut sandbox = networks.open_sandbox(&container(number), &request(vec![endpoint]))?;
    Ok(Attached::new(sandbox.netns, sandbox.endpoints.remove(0)))
}

fn attach_to(networks: &Networks, number: u8, network: NetworkId) -> Attached {
    try_open(networks, number, EndpointRequest::new(network)).unwrap()
}

fn attach(networks: &Networks, number: u8) -> Attached {
    attach_to(networks, number, bridge(networks))
}

fn create(networks: &Networks, name: &str) -> NetworkId {
    networks.create(NetworkSpec::new(name)).unwrap().id
}

fn live(number: u8, endpoints: Vec<Endpoint>) -> LiveSandbox {
    LiveSandbox {
        container: container(number),
        name: format!("live{number}"),
        netns: None,
        endpoints,
        ports: Vec::new(),
        requests: Vec::new(),
    }
}

/// Polls a condition.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a sandbox the place of a listener; it stays there while the socket lives.
fn listen(netns: impl AsFd + Sync, port: u16) -> TcpListener {
    sys::netns::with(netns, || {
        Ok::<_, sys::Error>(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())
    })
    .unwrap()
}

/// Connects from a sandbox.
fn connect_from(netns: impl AsFd + Sync, to: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    sys::netns::with(netns, || Ok::<_, sys::Error>(connect(to, port))).unwrap()
}

/// Connects from the calling thread's namespace.
fn connect(to: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((to, port)), PATIENCE)
}

/// Tells whether packets from a sandbox vanish.
fn is_cut_off(netns: impl AsFd + Sync, to: Ipv4Addr, port: u16) -> bool {
    let connect = || TcpStream::connect_timeout(&SocketAddr::from((to, port)), SILENCE);
    sys::netns::with(netns, || Ok::<_, sys::Error>(connect().is_err())).unwrap()
}

/// Accepts one connection and tells where it came from.
fn accepted_from(listener: &TcpListener) -> IpAddr {
    listener.accept().unwrap().1.ip()
}

/// Runs a program in the calling thread's namespace and returns what it prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Reads a file as a thread of a sandbox sees it.
fn read_in(netns: impl AsFd + Sync, path: &str) -> String {
    sys::netns::with(netns, || {
        Ok::<_, sys::Error>(std::fs::read_to_string(path).unwrap())
    })
    .unwrap()
}

/// Names of the links in the calling thread's namespace.
fn links() -> Vec<String> {
    let all = Socket::open(Protocol::Route).unwrap().links().unwrap();
    all.into_iter().map(|link| link.name).collect()
}

/// Makes another network stack, connected by `uplink`: here 203.0.113.1, there 203.0.113.2.
fn internet() -> OwnedFd {
    let here = Ipv4Addr::new(203, 0, 113, 1);
    let there = Ipv4Addr::new(203, 0, 113, 2);
    let mut host = Socket::open(Protocol::Route).unwrap();
    let (netns, ()) = sys::netns::create(|netns| {
        host.execute_one(|m| {
            m.add_veth(&NewVeth {
                name: "uplink",
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
        requests.add_address(index, there.into(), 24);
        requests.set_link(index, &up());
        socket.execute(requests)
    })
    .unwrap();
    let index = host.link("uplink").unwrap().unwrap().index;
    host.execute_one(|m| m.add_address(index, here.into(), 24))
        .unwrap();
    netns
}
