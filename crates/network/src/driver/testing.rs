//! Hosts and sandboxes for the tests of drivers: network namespaces.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use spec::id::{ContainerId, NetworkId};
use sys::netlink::{Messages, NewVeth, Protocol, SetLink, Socket};

use super::{Driver, DriverNetwork, EndpointPlan, Joined};
use crate::{Endpoint, EndpointId, Ipv4Net, NetworkSpec, PoolSpec, Result, Settings};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection that must not come about is waited for.
const SILENCE: Duration = Duration::from_millis(300);

pub(super) fn up() -> SetLink {
    SetLink {
        up: Some(true),
        ..SetLink::default()
    }
}

/// Runs a test in an empty network namespace with a directory. Needs root.
pub(super) fn in_host(test: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().unwrap();
    sys::netns::create(|_| {
        socket().execute_one(|m| m.set_link(1, &up()))?;
        test(dir.path());
        Ok::<_, sys::Error>(())
    })
    .unwrap();
}

pub(super) fn socket() -> Socket {
    Socket::open(Protocol::Route).unwrap()
}

pub(super) fn settings(dir: &Path) -> Settings {
    Settings::new(dir.join("state"), dir.join("run"), "corten0", "corten")
}

/// Names of the links in the calling thread's namespace, without the loopback.
pub(super) fn links() -> Vec<String> {
    let all = socket().links().unwrap().into_iter();
    all.map(|link| link.name).filter(|n| n != "lo").collect()
}

/// A network 10.`number`.0.0/24 with options.
pub(super) fn network(number: u8, driver: &str, options: &[(&str, &str)]) -> DriverNetwork {
    let mut spec = NetworkSpec::new(format!("net{number}"));
    driver.clone_into(&mut spec.driver);
    let text = |text: &str| text.to_owned();
    spec.options = options.iter().map(|(k, v)| (text(k), text(v))).collect();
    spec.ipam.pools = vec![PoolSpec {
        subnet: Some(format!("10.{number}.0.0/24").parse().unwrap()),
        gateway: Some(Ipv4Addr::new(10, number, 0, 1).into()),
        ..PoolSpec::default()
    }];
    DriverNetwork {
        id: NetworkId::from_bytes([number; 32]),
        spec,
    }
}

/// A sandbox of a test.
pub(super) struct Box {
    pub netns: OwnedFd,
    pub joined: Joined,
    pub endpoint: Endpoint,
}

/// Joins a new sandbox, and configures its interface as the registry does.
pub(super) fn join(driver: &dyn Driver, network: &DriverNetwork, host: u8) -> Result<Box> {
    join_with(driver, network, host, &BTreeMap::new())
}

pub(super) fn join_with(
    driver: &dyn Driver,
    network: &DriverNetwork,
    host: u8,
    options: &BTreeMap<String, String>,
) -> Result<Box> {
    let (netns, ()) = sys::netns::create(|_| {
        Socket::open(Protocol::Route)?.execute_one(|m| m.set_link(1, &up()))
    })
    .unwrap();
    let traits = driver.traits(&network.spec);
    let pools = traits.addressing == super::Addressing::Pools;
    let subnet = network.pool4().filter(|_| pools);
    let ipv4 = subnet.map(|net| {
        let [a, b, c, _] = net.first().octets();
        Ipv4Net::new(Ipv4Addr::new(a, b, c, host), net.prefix()).unwrap()
    });
    let own = traits.ethernet == super::Ethernet::Own;
    let plan = EndpointPlan {
        container: Some(ContainerId::from_bytes([host; 32])),
        endpoint_id: EndpointId([host; 32]),
        interface: "eth0",
        mac: ipv4
            .filter(|_| own)
            .map(|n| crate::MacAddress::of(n.address())),
        ipv4,
        ipv6: None,
        options,
    };
    let joined = driver.join(network, netns.as_fd(), &plan)?;
    let ipv4 = joined.ipv4.or(ipv4);
    if !joined.configured && !joined.inner.is_empty() {
        configure(&netns, &joined, ipv4);
    }
    let endpoint = Endpoint {
        network_id: network.id,
        network: network.spec.name.clone(),
        driver: network.spec.driver.clone(),
        endpoint_id: plan.endpoint_id,
        interface: joined.inner.clone(),
        host_interface: joined.host_interface.clone(),
        mac: joined.mac.or(plan.mac),
        ipv4,
        ipv6: None,
        link_local: Vec::new(),
        gateway4: joined.gateway4,
        gateway6: None,
        gateway_priority: 0,
        default_on_link: Default::default(),
        options: options.clone(),
    };
    Ok(Box {
        netns,
        joined,
        endpoint,
    })
}

fn configure(netns: &OwnedFd, joined: &Joined, ipv4: Option<Ipv4Net>) {
    sys::netns::with(netns, || {
        let mut socket = Socket::open(Protocol::Route)?;
        let index = socket.link(&joined.inner)?.unwrap().index;
        let mut requests = Messages::new();
        if let Some(net) = ipv4 {
            requests.add_address(index, net.address().into(), net.prefix());
        }
        requests.set_link(index, &up());
        socket.execute(requests)
    })
    .unwrap();
}

impl Box {
    pub(super) fn address(&self) -> Ipv4Addr {
        self.endpoint.ipv4.unwrap().address()
    }

    pub(super) fn links(&self) -> Vec<String> {
        sys::netns::with(&self.netns, || Ok::<_, sys::Error>(links())).unwrap()
    }

    /// Tells whether a connection to a listener in another sandbox comes about.
    pub(super) fn reaches(&self, other: &OwnedFd, address: Ipv4Addr) -> bool {
        let listener = sys::netns::with(other, || {
            Ok::<_, sys::Error>(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap())
        })
        .unwrap();
        let to = SocketAddr::new(IpAddr::V4(address), listener.local_addr().unwrap().port());
        sys::netns::with(&self.netns, || {
            let tried = TcpStream::connect_timeout(&to, SILENCE);
            // A loaded machine may need longer; what is cut off is not reached even then.
            let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
            Ok::<_, sys::Error>(match tried {
                Err(error) if refused(&error) => {
                    TcpStream::connect_timeout(&to, SILENCE * 3).is_ok()
                }
                other => other.is_ok(),
            })
        })
        .unwrap()
    }
}

/// A host on the wire of `name`, an interface made here: its namespace.
pub(super) fn neighbour(name: &str, address: Ipv4Addr) -> OwnedFd {
    let mut host = socket();
    let (netns, ()) = sys::netns::create(|netns| {
        host.execute_one(|m| {
            m.add_veth(&NewVeth {
                name,
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
        requests.add_address(index, address.into(), 24);
        requests.set_link(index, &up());
        socket.execute(requests)
    })
    .unwrap();
    netns
}

/// Polls a condition.
pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        let late = std::time::Instant::now() >= deadline;
        assert!(!late, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a program in the calling thread's namespace and returns what it prints.
pub(super) fn output(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
