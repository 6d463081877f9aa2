//! After the daemon: what living containers have is taken over, what dead ones left goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use spec::id::{ContainerId, NetworkId};

use super::Inner;
use super::endpoint::Place;
use super::state::{Held, Member};
use crate::driver::Addressing;
use crate::driver::bridge::{self, veth};
use crate::ports::Owner;
use crate::{EndpointId, Error, LiveSandbox, Lost, PortRequest, PublishedPort, Result};

/// A near end of ours: its network, the address in its name, its name.
type NearEnd = (Option<NetworkId>, Option<Ipv4Addr>, String);

impl Inner {
    /// See [`Networks::reconcile`](crate::Networks::reconcile).
    pub(crate) fn reconcile(&self, live: Vec<LiveSandbox>) -> Vec<Lost> {
        let mut lost = Vec::new();
        let mut namespaces = BTreeMap::new();
        for mut sandbox in live {
            if let Some(netns) = sandbox.netns.take() {
                namespaces.insert(sandbox.container, netns);
            }
            self.take_over_sandbox(sandbox, &mut lost);
        }
        self.remove_left();
        if let Err(error) = self.firewall.start() {
            let error = spec::error::chain(&error);
            tracing::error!(error, "the firewall could not be set up");
        }
        self.relaying.settle();
        self.settle_drivers(&namespaces);
        lost
    }

    /// Removes near ends that belong to nobody: a daemon that dies in the middle of a connect leaves
    /// one in a living container.
    fn remove_left(&self) {
        let left = match self.stray_ends() {
            Ok(left) => left,
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(error, "could not look for left interfaces");
                return;
            }
        };
        if !left.is_empty() {
            tracing::info!(count = left.len(), "removing left interfaces");
            super::spares::remove_left(&left);
        }
        self.sweep();
    }

    fn take_over_sandbox(&self, sandbox: LiveSandbox, lost: &mut Vec<Lost>) {
        let container = sandbox.container;
        let mut complain = |reason: String| lost.push(Lost { container, reason });
        {
            let mut state = self.lock();
            if state.sandboxes.contains_key(&container) {
                complain("it is there twice".to_owned());
                return;
            }
            let requests = sandbox.ports.iter().map(|port| PortRequest {
                container_port: port.container_port,
                protocol: port.protocol,
                host_ip: Some(port.host_ip),
                host_ports: Some((port.host_port, port.host_port)),
            });
            let held = Held {
                name: sandbox.name.clone(),
                requests: requests.chain(sandbox.requests).collect(),
                ports: sandbox.ports.clone(),
                ..Held::default()
            };
            state.sandboxes.insert(container, held);
        }
        for endpoint in sandbox.endpoints {
            let member = Member {
                ipv4: endpoint.ipv4,
                ipv6: endpoint.ipv6,
                mac: endpoint.mac,
            };
            {
                let mut state = self.lock();
                let Ok(net) = state.net_mut(&endpoint.network_id) else {
                    complain(format!("network {} is gone", endpoint.network));
                    continue;
                };
                let of_pools = net.driver.traits(&net.about.spec).addressing == Addressing::Pools;
                if net.ipam.is_none()
                    && of_pools
                    && let Err(address) = net.adopt(&member)
                {
                    complain(format!(
                        "address {address} in network {} could not be kept",
                        endpoint.network
                    ));
                    continue;
                }
                net.members.insert(container, member);
            }
            self.note(&container, endpoint);
        }
        let owner = Owner {
            container,
            name: sandbox.name,
        };
        if self.adopt_programmed(&container) {
            return;
        }
        let kept = |port: &PublishedPort| self.relaying.take(port);
        for text in self.ports.adopt(&owner, &sandbox.ports, kept) {
            complain(text);
        }
        if let Err(error) = self.publish(&container) {
            complain(spec::error::chain(&error));
        }
    }

    /// Lets drivers forget endpoints of containers that are no more.
    fn settle_drivers(&self, namespaces: &BTreeMap<ContainerId, OwnedFd>) {
        let places: Vec<(Place, Vec<(EndpointId, ContainerId)>)> = {
            let state = self.lock();
            let live = |id: &NetworkId| {
                let all = state.sandboxes.iter();
                all.flat_map(|(container, held)| held.endpoints.iter().map(|e| (*container, e)))
                    .filter(|(_, endpoint)| endpoint.network_id == *id)
                    .map(|(container, endpoint)| (endpoint.endpoint_id, container))
                    .collect()
            };
            let nets = state.networks.values();
            nets.filter(|net| !net.shown.config_only)
                .map(|net| (Place::of(net), live(&net.about.id)))
                .collect()
        };
        for (place, live) in places {
            let live: Vec<_> = live
                .into_iter()
                .map(|(id, container)| (id, namespaces.get(&container).map(AsFd::as_fd)))
                .collect();
            place.driver.settle(&place.about, &live);
        }
        self.settle_addresses();
    }

    /// Lets address plugins have back what containers had that are no more.
    fn settle_addresses(&self) {
        let mut live: Vec<(String, IpAddr)> = Vec::new();
        let mut sources = BTreeMap::new();
        {
            let state = self.lock();
            for net in state.networks.values() {
                let Some(source) = &net.ipam else { continue };
                sources.insert(net.about.spec.ipam.driver.clone(), Arc::clone(source));
                for member in net.members.values() {
                    let four = member.ipv4.map(|net| IpAddr::from(net.address()));
                    let six = member.ipv6.map(|net| IpAddr::from(net.address()));
                    for address in [four, six].into_iter().flatten() {
                        let id = net.about.pool_id(address).map(str::to_owned);
                        live.extend(id.map(|id| (id, address)));
                    }
                }
            }
        }
        for source in sources.into_values() {
            source.settle(&live);
        }
    }

    /// Marks the addresses of interfaces that a previous daemon left.
    pub(super) fn adopt_links(&self) -> Result<()> {
        for (id, address, link) in self.links()? {
            let (Some(id), Some(address)) = (id, address) else {
                continue;
            };
            let mut state = self.lock();
            let net = state.net_mut(&id)?;
            let taken = net
                .addresses
                .iter_mut()
                .any(|pool| pool.take_this(address.into()).is_ok());
            if taken {
                net.leftovers.push((address, link));
            }
        }
        Ok(())
    }

    /// Frees the addresses of left interfaces that are gone.
    pub(super) fn sweep(&self) {
        if self
            .lock()
            .networks
            .values()
            .all(|net| net.leftovers.is_empty())
        {
            return;
        }
        let links = match self.links() {
            Ok(links) => links,
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(error, "could not look for left interfaces");
                return;
            }
        };
        let names: BTreeSet<&String> = links.iter().map(|(_, _, name)| name).collect();
        let mut state = self.lock();
        for net in state.networks.values_mut() {
            let (kept, gone) = std::mem::take(&mut net.leftovers)
                .into_iter()
                .partition(|(_, name)| names.contains(name));
            net.leftovers = kept;
            let gone: Vec<(Ipv4Addr, String)> = gone;
            for (address, _) in gone {
                net.free_address(address.into());
            }
        }
    }

    /// Lists near ends of ours: in a bridge of ours, or in none and named after an address of ours.
    fn links(&self) -> Result<Vec<NearEnd>> {
        let links = bridge::route_socket()?
            .links()
            .map_err(Error::kernel("list the host's interfaces"))?;
        let state = self.lock();
        let bridges: Vec<(NetworkId, u32)> = state
            .networks
            .keys()
            .filter_map(|id| Some((*id, self.drivers.bridge.index_of(id)?)))
            .collect();
        let of_address = |address: Ipv4Addr| {
            let has = |id: &&NetworkId| {
                let net = state.networks.get(id);
                net.is_some_and(|net| {
                    let mut pools = net.addresses.iter();
                    pools.any(|pool| pool.subnet().contains(address.into()))
                })
            };
            bridges.iter().map(|(id, _)| id).find(has).copied()
        };
        let mut own = Vec::new();
        for link in links.into_iter().filter(|link| veth::is_ours(&link.name)) {
            let address = veth::address_of(&link.name);
            let master = bridges.iter().find(|(_, index)| *index == link.master);
            let network = match master {
                Some((id, _)) => Some(*id),
                None if link.master == 0 => address.and_then(of_address),
                None => None,
            };
            if network.is_some() {
                own.push((network, address, link.name));
            }
        }
        Ok(own)
    }

    /// Near ends that belong into the bridge of a network.
    pub(super) fn near_ends(&self, network: &NetworkId) -> Vec<String> {
        let mut names: BTreeSet<String> = match self.links() {
            Ok(links) => links
                .into_iter()
                .filter(|(id, _, _)| *id == Some(*network))
                .map(|(_, _, name)| name)
                .collect(),
            Err(_) => BTreeSet::new(),
        };
        let state = self.lock();
        let held = state.sandboxes.values().flat_map(|held| &held.endpoints);
        let spares = state.networks.values().flat_map(|net| &net.spares);
        let all = held.chain(spares.map(|spare| &spare.endpoint));
        let own = all.filter(|endpoint| endpoint.network_id == *network);
        names.extend(own.map(|endpoint| endpoint.host_interface.clone()));
        names.into_iter().collect()
    }

    /// Puts interfaces that lost their bridge into the one there is now.
    pub(super) fn rejoin_all(&self) -> Result<()> {
        self.drivers.bridge.rejoin_all(&|id| self.near_ends(id))
    }

    /// Near ends that belong to no endpoint and no spare.
    fn stray_ends(&self) -> Result<Vec<String>> {
        let links = self.links()?;
        let state = self.lock();
        let held = state.sandboxes.values().flat_map(|held| &held.endpoints);
        let spares = state.networks.values().flat_map(|net| &net.spares);
        let known: BTreeSet<&str> = held
            .chain(spares.map(|spare| &spare.endpoint))
            .map(|endpoint| endpoint.host_interface.as_str())
            .collect();
        let names = links.into_iter().map(|(_, _, name)| name);
        Ok(names
            .filter(|name| !known.contains(name.as_str()))
            .collect())
    }

    /// See [`Networks::strays`](crate::Networks::strays).
    pub(crate) fn strays(&self) -> Result<Vec<String>> {
        let mut strays = self.stray_ends()?;
        let networks: Vec<NetworkId> = self.lock().networks.keys().copied().collect();
        strays.extend(self.drivers.bridge.strays(&networks)?);
        Ok(strays)
    }

    /// Puts one bridge back, if it is gone or down.
    pub(super) fn restore_one(&self, network: &NetworkId) -> Result<()> {
        let _change = self
            .change
            .lock()
            .expect("no panic happens while it is held");
        let bridges = &self.drivers.bridge;
        bridges.restore_one(network, &|id| self.near_ends(id))
    }

    /// Puts back what others removed: bridges, and what goes into them.
    pub(crate) fn restore(&self) {
        let _change = self
            .change
            .lock()
            .expect("no panic happens while it is held");
        let done = self.drivers.bridge.restore_all(&|id| self.near_ends(id));
        if let Err(error) = done {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "could not put bridges back");
        }
    }
}
