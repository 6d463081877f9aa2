//! The `bridge` driver: a Linux bridge per network, a veth pair per endpoint.
//!
//! ```text
//!  host namespace                                      sandbox
//!  ┌───────────────────────────────────────────┐       ┌──────────────────────┐
//!  │ br-0123456789ab 172.18.0.1/16 ── cvac12… ─┼─ veth ┼─ eth0 172.18.0.2/16  │
//!  └───────────────────────────────────────────┘       └──────────────────────┘
//! ```
//! Rules are there before the bridge is, and go after it. A bridge of ours carries a mark (its
//! alias), so that one which a crash left behind is known from one that the user made.

mod link;
mod options;
pub(crate) mod veth;

pub(crate) use link::{check_name, is_marked, route_socket};
pub(crate) use options::Options;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use spec::error::ErrorKind;
use spec::id::NetworkId;
use sys::netlink::{Messages, NewVeth, SetLink, Socket};

use super::bandwidth::{self, Limits};
use super::{Addressing, Driver, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits};
use crate::firewall::{Firewall, NetworkRules};
use crate::{Endpoint, Error, IpNet, Ipv6Net, NetworkSpec, PoolSpec, Result, Settings};
use link::{BridgeLink, bridge_mac, mark, marked};

/// A name that is taken and a bridge that is gone can each cost one attempt.
const JOIN_ATTEMPTS: usize = 3;
/// A carrier that takes longer than this is not waited for: packets get through in the end.
const CARRIER_PATIENCE: Duration = Duration::from_millis(100);
const CARRIER_PAUSE: Duration = Duration::from_micros(200);
const BRIDGED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// Digits of the network's id in the name of its bridge.
const NAME_DIGITS: usize = 12;

/// The driver.
#[derive(Debug)]
pub(crate) struct Bridge {
    firewall: Arc<Firewall>,
    prefix: String,
    table: String,
    forwarding: bool,
    bridges: Mutex<BTreeMap<NetworkId, Arc<Made>>>,
}

/// A bridge that exists, or should.
#[derive(Debug)]
struct Made {
    network: DriverNetwork,
    options: Options,
    link: BridgeLink,
    index: AtomicU32,
}

impl Bridge {
    /// Makes the driver; touches nothing.
    pub(crate) fn open(settings: &Settings, firewall: Arc<Firewall>) -> Self {
        Self {
            firewall,
            prefix: settings.bridge_prefix.clone(),
            table: settings.nft_table.clone(),
            forwarding: settings.ip_forward,
            bridges: Mutex::new(BTreeMap::new()),
        }
    }

    /// Removes bridges with our mark whose network is not among the given ones.
    pub(crate) fn sweep(&self, known: &[NetworkId]) -> Result<()> {
        let mut socket = route_socket()?;
        let links = socket
            .links()
            .map_err(Error::kernel("list the host's interfaces"))?;
        for link in links {
            let Some(id) = marked(&link, &self.table).filter(|id| !known.contains(id)) else {
                continue;
            };
            if self.lock().values().any(|made| made.link.name == link.name) {
                continue;
            }
            tracing::warn!(bridge = link.name, network = %id, "removing a left bridge");
            let step = Error::kernel(format!("remove bridge {}", link.name));
            socket
                .execute_one(|m| m.delete_link(link.index))
                .map_err(step)?;
        }
        if let Err(error) = bandwidth::sweep(&mut socket) {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "could not look for left rate limits");
        }
        Ok(())
    }

    /// Indexes of our bridges.
    pub(crate) fn indexes(&self) -> Vec<u32> {
        let all = self.lock();
        all.values()
            .map(|made| made.index.load(Ordering::SeqCst))
            .collect()
    }

    /// Index of the bridge of a network.
    pub(crate) fn index_of(&self, network: &NetworkId) -> Option<u32> {
        let all = self.lock();
        all.get(network)
            .map(|made| made.index.load(Ordering::SeqCst))
    }

    /// Makes bridges again that somebody removed, changed or set down; `members` names the near
    /// ends that belong into each.
    pub(crate) fn restore_all(&self, members: &dyn Fn(&NetworkId) -> Vec<String>) -> Result<()> {
        let all: Vec<_> = self.lock().values().cloned().collect();
        let mut socket = route_socket()?;
        let step = || Error::kernel("list the host's interfaces");
        let links = socket.links().map_err(step())?;
        let addresses = socket.addresses().map_err(step())?;
        for made in all {
            let index = made.index.load(Ordering::SeqCst);
            let present: Vec<IpNet> = addresses
                .iter()
                .filter(|address| address.index == index)
                .filter_map(|address| IpNet::new(address.address, address.prefix).ok())
                .collect();
            let link = links.iter().find(|link| link.name == made.link.name);
            let whole = link.is_some_and(|link| link.index == index && link.up)
                && made.link.addresses.iter().all(|net| present.contains(net));
            if !whole {
                self.again(&made, &members(&made.network.id))?;
            }
        }
        Ok(())
    }

    /// Makes one bridge again if it is gone or down.
    pub(crate) fn restore_one(
        &self,
        network: &NetworkId,
        members: &dyn Fn(&NetworkId) -> Vec<String>,
    ) -> Result<()> {
        let made = self.made(network)?;
        let index = made.index.load(Ordering::SeqCst);
        let found = made.link.find(&mut route_socket()?)?;
        if found.is_some_and(|link| link.index == index && link.up) {
            return Ok(());
        }
        self.again(&made, &members(network))
    }

    fn again(&self, made: &Made, members: &[String]) -> Result<()> {
        let bridge = &made.link.name;
        tracing::warn!(bridge, "the bridge is gone or changed, making it again");
        let index = made.link.ensure()?;
        made.index.store(index, Ordering::SeqCst);
        self.firewall.prepare_bridge(&made.network.id)?;
        rejoin(made, members)
    }

    /// Puts near ends into their bridges that are in none.
    pub(crate) fn rejoin_all(&self, members: &dyn Fn(&NetworkId) -> Vec<String>) -> Result<()> {
        let all: Vec<_> = self.lock().values().cloned().collect();
        all.iter()
            .try_for_each(|made| rejoin(made, &members(&made.network.id)))
    }

    /// Names bridges with our mark whose network is not among the given ones.
    pub(crate) fn strays(&self, known: &[NetworkId]) -> Result<Vec<String>> {
        let links = route_socket()?
            .links()
            .map_err(Error::kernel("list the host's interfaces"))?;
        let stray = links
            .into_iter()
            .filter(|link| marked(link, &self.table).is_some_and(|id| !known.contains(&id)));
        Ok(stray.map(|link| link.name).collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Arc<Made>>> {
        self.bridges
            .lock()
            .expect("no panic happens while it is held")
    }

    fn made(&self, network: &NetworkId) -> Result<Arc<Made>> {
        let found = self.lock().get(network).cloned();
        found.ok_or_else(|| Error::NoSuchNetwork {
            key: network.to_string(),
        })
    }

    fn plan(&self, network: &DriverNetwork) -> Result<Made> {
        let options = Options::parse(&network.spec)?;
        let id = network.id.to_string();
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| format!("{}{}", self.prefix, &id[..NAME_DIGITS]));
        check_name(&name)?;
        let gateway4 = network.gateway4().filter(|_| options.has_gateway4());
        let gateway6 = network.gateway6().filter(|_| options.has_gateway6());
        let addresses = gateway4
            .filter(|_| !options.inhibit_ipv4)
            .map(IpNet::V4)
            .into_iter()
            .chain(gateway6.map(IpNet::V6))
            .collect();
        let link = BridgeLink {
            mac: bridge_mac(gateway4.map(|net| net.address().into()), &network.id),
            mark: mark(&self.table, &network.id),
            mtu: options.mtu,
            ipv6: network.spec.enable_ipv6,
            addresses,
            name,
        };
        Ok(Made {
            network: network.clone(),
            options,
            link,
            index: AtomicU32::new(0),
        })
    }

    fn rules(made: &Made) -> NetworkRules {
        let (spec, options) = (&made.network.spec, &made.options);
        NetworkRules {
            id: made.network.id,
            bridge: made.link.name.clone(),
            ipv4: made.network.pool4(),
            ipv6: made.network.pool6(),
            masquerade: options.masquerade,
            host_ipv4: options.host_ipv4,
            host_ipv6: options.host_ipv6,
            inter_container: options.inter_container,
            internal: spec.internal,
            gateway_mode4: options.mode4,
            gateway_mode6: options.mode6,
            trusted: options.trusted.clone(),
        }
    }

    /// Refuses a name that another of our networks has.
    fn check_conflict(&self, wanted: &Made) -> Result<()> {
        let bridges = self.lock();
        let other = bridges.values().find(|made| {
            made.network.id != wanted.network.id && made.link.name == wanted.link.name
        });
        let Some(other) = other else { return Ok(()) };
        let name = &wanted.link.name;
        let text = format!(
            "cannot create network {} ({name}): conflicts with network {} ({name}): networks have \
             same bridge name",
            wanted.network.id, other.network.id
        );
        Err(Error::refused(ErrorKind::Forbidden, text))
    }

    /// Makes the pair, and the bridge again if it turns out to be gone.
    fn add_pair(
        &self,
        made: &Made,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<String> {
        let mac = plan.mac.map_or([0; 6], |mac| mac.0);
        let address = plan.ipv4.map(|net| net.address().into());
        let address = address.or_else(|| plan.ipv6.map(|net| net.address().into()));
        let mut host = route_socket()?;
        let mut attempt = 1;
        loop {
            let name = veth::host_interface(address, veth::nonce());
            let mut requests = Messages::new();
            requests.add_veth(&NewVeth {
                name: &name,
                master: made.index.load(Ordering::SeqCst),
                mtu: made.link.mtu,
                peer_name: plan.interface,
                peer_address: mac,
                peer_netns: netns.as_fd(),
            });
            let apart = !made.options.inter_container;
            let hairpin = sees_bridged();
            if apart || hairpin {
                requests.set_bridge_port(&name, hairpin, apart);
            }
            let Err(error) = host.execute(requests) else {
                return Ok(name);
            };
            match error.errno() {
                Errno::EXIST if attempt < JOIN_ATTEMPTS => {}
                // Nothing keeps a network from being removed while a spare is made for it: the bridge
                // would come back without one, with a subnet that is somebody else's by then.
                Errno::INVAL | Errno::NODEV
                    if attempt < JOIN_ATTEMPTS && plan.container.is_some() =>
                {
                    self.again(made, &[])?;
                }
                Errno::XFULL => {
                    let bridge = made.link.name.clone();
                    return Err(Error::BridgeFull { bridge });
                }
                _ => return Err(Error::kernel(format!("make {}", plan.interface))(error)),
            }
            attempt += 1;
        }
    }
}

/// Refuses subnets that no bridge can have.
fn check_ipv6(pool: &PoolSpec, subnet: Ipv6Net) -> Result<()> {
    let text = if subnet.prefix() == 0 {
        "ipv6 pool is empty".to_owned()
    } else if subnet.address().is_multicast() {
        let first = IpAddr::V6((u128::from(subnet.first()) + 1).into());
        let gateway = pool.gateway.unwrap_or(first);
        let prefix = subnet.prefix();
        format!("multicast subnet '{gateway}/{prefix}' is not allowed")
    } else {
        return Ok(());
    };
    Err(Error::refused(ErrorKind::InvalidArgument, text))
}

impl Driver for Bridge {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Pools,
            ethernet: Ethernet::Own,
            publishes: true,
        }
    }

    fn check(&self, spec: &mut NetworkSpec) -> Result<()> {
        let options = Options::parse(spec)?;
        if let Some(name) = &options.name {
            check_name(name)?;
        }
        Limits::parse(&spec.options, &BTreeMap::new())?;
        for ipv6 in [false, true] {
            let pools = spec.ipam.pools.iter();
            let of_family = pools.filter(|p| p.subnet.is_some_and(|net| net.is_ipv6() == ipv6));
            if of_family.count() > 1 {
                let text = "bridge driver doesn't support multiple subnets";
                return Err(Error::refused(ErrorKind::Forbidden, text));
            }
        }
        let six = spec.ipam.pools.iter().find_map(|pool| {
            let subnet = pool.subnet?.v6().filter(|_| spec.enable_ipv6)?;
            Some((pool, subnet))
        });
        six.map_or(Ok(()), |(pool, subnet)| check_ipv6(pool, subnet))
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        let made = self.plan(network)?;
        self.check_conflict(&made)?;
        self.firewall.add_network(Self::rules(&made))?;
        let forwards = match network.spec.enable_ipv6 && self.forwarding {
            true => forward_ipv6(),
            false => Ok(()),
        };
        // Last, because it leaves a bridge.
        let index = match forwards.and_then(|()| made.link.ensure()) {
            Ok(index) => index,
            Err(error) => {
                self.firewall.remove_network(&network.id)?;
                return Err(error);
            }
        };
        made.index.store(index, Ordering::SeqCst);
        self.lock().insert(network.id, Arc::new(made));
        self.firewall.prepare_bridge(&network.id)
    }

    fn remove(&self, network: &DriverNetwork) -> Result<()> {
        let Some(made) = self.lock().remove(&network.id) else {
            return Ok(());
        };
        let mut socket = route_socket()?;
        if let Some(link) = made.link.find(&mut socket)? {
            let step = || Error::kernel(format!("remove bridge {}", link.name));
            if marked(&link, &self.table).is_some() {
                socket
                    .execute_one(|m| m.delete_link(link.index))
                    .map_err(step())?;
            } else {
                // A bridge of the user's: only our addresses go.
                let present = crate::ipam::link_nets(&mut socket, link.index)?;
                let mut requests = Messages::new();
                for net in made
                    .link
                    .addresses
                    .iter()
                    .filter(|net| present.contains(net))
                {
                    requests.delete_address(link.index, net.address(), net.prefix());
                }
                socket.execute(requests).map_err(step())?;
            }
        }
        self.firewall.remove_network(&network.id)
    }

    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<Joined> {
        let made = match self.made(&network.id) {
            Ok(made) => made,
            // No more, or not yet; a spare is made for what is there.
            Err(error) if plan.container.is_none() => return Err(error),
            // It could not be made when the daemon started: what was in the way may be gone.
            Err(_) => {
                self.create(network)?;
                self.made(&network.id)?
            }
        };
        let limits = Limits::parse(&network.spec.options, plan.options)?;
        let host_interface = self.add_pair(&made, netns, plan)?;
        let mut socket = route_socket()?;
        if let Err(error) = limits.apply(&mut socket, &host_interface) {
            bandwidth::release(&mut socket, &host_interface);
            delete(&mut socket, &host_interface);
            return Err(error);
        }
        Ok(Joined {
            host_interface,
            inner: plan.interface.to_owned(),
            ..Joined::default()
        })
    }

    fn leave(
        &self,
        network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()> {
        let limits = Limits::parse(&network.spec.options, &endpoint.options)?;
        let limited = limits != Limits::default();
        // Without a namespace the pair goes, or went, with it.
        if !limited && netns.is_none() {
            return Ok(());
        }
        let mut socket = route_socket()?;
        if limited {
            bandwidth::release(&mut socket, &endpoint.host_interface);
        }
        if netns.is_some() {
            delete(&mut socket, &endpoint.host_interface);
        }
        Ok(())
    }

    /// The kernel acts on a new carrier in a work item of its own. A packet that comes before is
    /// lost, and the container waits a second for its repetition. Since Linux 6.8 asking for the
    /// link makes the kernel act at once; before, a few rounds are needed.
    fn await_ready(&self, network: &DriverNetwork, host_interface: &str) -> Result<()> {
        let made = self.made(&network.id)?;
        let step = || Error::kernel(format!("look for {host_interface}"));
        let mut host = route_socket()?;
        let deadline = Instant::now() + CARRIER_PATIENCE;
        loop {
            let port = host.link(host_interface).map_err(step())?;
            let index = made.index.load(Ordering::SeqCst);
            let bridge = host.link_at(index).map_err(step())?;
            let ready = [port, bridge].iter().flatten().all(|l| l.operational);
            if ready || Instant::now() > deadline {
                return Ok(());
            }
            std::thread::sleep(CARRIER_PAUSE);
        }
    }

    fn has_gateway(&self, spec: &NetworkSpec) -> bool {
        Options::parse(spec).is_ok_and(|options| options.has_gateway4())
    }

    fn skips_gateways(&self, spec: &NetworkSpec) -> Result<(bool, bool)> {
        let options = Options::parse(spec)?;
        Ok((!options.has_gateway4(), !options.has_gateway6()))
    }
}

/// Tells whether the host's rules see bridged packets: then a container reaches itself by a
/// published port only if its bridge port sends frames back where they came from.
fn sees_bridged() -> bool {
    std::fs::read(BRIDGED).is_ok_and(|value| value.starts_with(b"1"))
}

/// Puts near ends into a bridge.
fn rejoin(made: &Made, members: &[String]) -> Result<()> {
    let index = made.index.load(Ordering::SeqCst);
    let mut socket = route_socket()?;
    let join = SetLink {
        master: Some(index),
        up: Some(true),
        ..SetLink::default()
    };
    for name in members {
        let Ok(Some(link)) = socket.link(name) else {
            continue;
        };
        let mut requests = Messages::new();
        if link.master != index {
            requests.set_link(link.index, &join);
        }
        let (apart, hairpin) = (!made.options.inter_container, sees_bridged());
        if apart || hairpin {
            requests.set_bridge_port(name, hairpin, apart);
        }
        // One that died meanwhile is refused; the others have joined all the same.
        if let Err(error) = socket.execute(requests) {
            let error = spec::error::chain(&error);
            tracing::debug!(interface = name, error, "an interface did not rejoin");
        }
    }
    Ok(())
}

fn delete(socket: &mut Socket, name: &str) {
    let Ok(Some(link)) = socket.link(name) else {
        return;
    };
    if let Err(error) = socket.execute_one(|m| m.delete_link(link.index)) {
        let error = spec::error::chain(&error);
        tracing::warn!(interface = name, error, "an interface could not be removed");
    }
}

/// Lets the host pass IPv6 packets on, as Docker does; never switches it off again.
fn forward_ipv6() -> Result<()> {
    for of in ["default", "all"] {
        let path = format!("/proc/sys/net/ipv6/conf/{of}/forwarding");
        let value = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        if value.trim() == "0" {
            std::fs::write(&path, "1").map_err(Error::file("write", &path))?;
            tracing::info!(path, "IPv6 forwarding was off and is now on");
        }
    }
    Ok(())
}
