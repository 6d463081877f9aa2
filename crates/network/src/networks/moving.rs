//! Running containers enter and leave networks; their way out and their ports move along.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use spec::id::{ContainerId, NetworkId};

use super::Inner;
use super::endpoint::Place;
use super::relaying::{Relaying, Target};
use super::state::{Held, State};
use crate::driver::bridge::Options;
use crate::firewall::{GatewayMode, Link, Mapping};
use crate::ports::{Binding, Owner, Side};
use crate::{
    Endpoint, EndpointRequest, Error, PortRequest, Protocol, PublishedPort, Result, sandbox,
};

impl Inner {
    /// See [`Networks::connect`](crate::Networks::connect).
    pub(crate) fn connect(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        wish: &EndpointRequest,
    ) -> Result<Endpoint> {
        self.firewall.start()?;
        let mut inside = sandbox::enter(netns).map_err(Error::kernel("enter the sandbox"))?;
        let before = self.defaults(container);
        let endpoint = match self.add(container, netns, &mut inside, wish) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.forget(container, &wish.network, &error);
                return Err(error);
            }
        };
        let now = self.defaults(container);
        let done = inside
            .reroute(&before, &now)
            .map_err(Error::kernel("set the default route"))
            .and_then(|()| self.publish(container));
        if let Err(error) = done {
            drop(inside);
            if let Err(error) = self.disconnect(container, &wish.network, Some(netns)) {
                let error = spec::error::chain(&error);
                tracing::warn!(%container, error, "a failed connect could not be taken back");
            }
            return Err(error);
        }
        Ok(endpoint)
    }

    /// Gives back what was reserved for an endpoint that did not come about.
    fn forget(&self, container: &ContainerId, network: &NetworkId, error: &Error) {
        if matches!(error, Error::AlreadyAttached { .. }) {
            return;
        }
        let member = {
            let mut state = self.lock();
            let Ok(net) = state.net_mut(network) else {
                return;
            };
            net.members.remove(container)
        };
        if let Some(member) = member {
            self.give_back(network, &member);
        }
    }

    /// See [`Networks::disconnect`](crate::Networks::disconnect).
    pub(crate) fn disconnect(
        &self,
        container: &ContainerId,
        network: &NetworkId,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let before = self.defaults(container);
        let (place, member, endpoint) = {
            let mut state = self.lock();
            let net = state.net_mut(network)?;
            let member = net.members.remove(container);
            let (place, name) = (Place::of(net), net.name().to_owned());
            let held = state.sandboxes.get_mut(container);
            let endpoint = held.and_then(|held| {
                let at = held
                    .endpoints
                    .iter()
                    .position(|e| e.network_id == *network)?;
                Some(held.endpoints.remove(at))
            });
            let (Some(member), Some(endpoint)) = (member, endpoint) else {
                return Err(Error::NotConnected {
                    container: container.to_string(),
                    network: name,
                });
            };
            (place, member, endpoint)
        };
        // The new way out first: packets in between find one of the two.
        let published = self.publish(container);
        let rerouted = match netns {
            Some(netns) => sandbox::enter(netns)
                .and_then(|mut inside| inside.reroute(&before, &self.defaults(container)))
                .map_err(Error::kernel("set the default route")),
            None => Ok(()),
        };
        let left = place.driver.leave(&place.about, netns, &endpoint);
        self.give_back(network, &member);
        published.and(rerouted).and(left)
    }

    /// Publishes a container's ports where it can be reached now; reserves or releases them if it
    /// just got, or lost, a network for that.
    pub(crate) fn publish(&self, container: &ContainerId) -> Result<()> {
        let Some(plan) = self.take_ports(container)? else {
            return Ok(());
        };
        let published = self.firewall.publish(container, &plan.mappings());
        published
            .and_then(|()| {
                let target = plan.relayed();
                self.relaying
                    .set(container, &plan.ports, target, &self.ports)
            })
            .map_err(|source| plan.wrap(source))
    }

    /// Reserves or releases the ports as [`publish`](Self::publish) does; returns what is still to
    /// be told of those that are held. A driver that publishes by itself has been told.
    pub(super) fn take_ports(&self, container: &ContainerId) -> Result<Option<Plan>> {
        let mut plan = {
            let state = self.lock();
            let Some(held) = state.sandboxes.get(container) else {
                return Ok(None);
            };
            if held.requests.is_empty() && held.ports.is_empty() {
                return Ok(None);
            }
            Plan::of(&state, held, &self.relaying)
        };
        if self.stays_elsewhere(container, &mut plan) {
            return Ok(None);
        }
        match &plan.binding {
            Some(binding) if plan.ports.is_empty() => {
                let owner = Owner {
                    container: *container,
                    name: plan.name.clone(),
                };
                let reserved = self.ports.reserve(&owner, &plan.requests, binding);
                plan.ports = reserved.map_err(|source| plan.wrap(source))?;
            }
            Some(_) => {}
            None => {
                if !plan.ports.is_empty() {
                    // Whoever listens lets go first, and nothing leads there any more.
                    self.relaying.set(container, &[], None, &self.ports)?;
                    self.firewall.publish(container, &[])?;
                    self.ports.release(container);
                }
                plan.ports.clear();
            }
        }
        if let Some(held) = self.lock().sandboxes.get_mut(container) {
            held.ports.clone_from(&plan.ports);
        }
        self.publish_elsewhere(container, &plan)?;
        Ok(Some(plan).filter(|plan| !plan.ports.is_empty()))
    }

    /// Tells whether a plugin publishes the ports already; one that did and shall not is told.
    fn stays_elsewhere(&self, container: &ContainerId, plan: &mut Plan) -> bool {
        let former = {
            let mut state = self.lock();
            let held = state.sandboxes.get_mut(container);
            let Some(held) = held.filter(|held| held.programmed.is_some()) else {
                return false;
            };
            let same = |a: &Endpoint, b: &Endpoint| a.endpoint_id == b.endpoint_id;
            let endpoints = held.programmed.as_ref().zip(plan.endpoint.as_ref());
            if plan.binding.is_none() && endpoints.is_some_and(|(a, b)| same(a, b)) {
                return true;
            }
            held.ports.clear();
            held.programmed.take()
        };
        plan.ports.clear();
        if let Some(former) = former {
            self.revoke(container, &former);
        }
        false
    }

    /// Networks of plugins publish by themselves.
    fn publish_elsewhere(&self, container: &ContainerId, plan: &Plan) -> Result<()> {
        let Some((place, endpoint)) = self.elsewhere(plan) else {
            return Ok(());
        };
        let ports = place
            .driver
            .program(&place.about, endpoint, &plan.requests)?;
        if let Some(held) = self.lock().sandboxes.get_mut(container) {
            held.ports = ports;
            held.programmed = Some(endpoint.clone());
        }
        Ok(())
    }

    /// The endpoint whose driver is to publish by itself, if there is one.
    fn elsewhere<'a>(&self, plan: &'a Plan) -> Option<(Place, &'a Endpoint)> {
        let endpoint = plan.endpoint.as_ref()?;
        let state = self.lock();
        let net = state.net(&endpoint.network_id).ok()?;
        let wanted = plan.binding.is_none() && !plan.requests.is_empty();
        (wanted && !net.traits.publishes).then(|| (Place::of(net), endpoint))
    }

    /// Notes that a plugin goes on publishing for a container that outlived the daemon.
    pub(super) fn adopt_programmed(&self, container: &ContainerId) -> bool {
        let plan = {
            let state = self.lock();
            let held = state.sandboxes.get(container);
            held.map(|held| Plan::of(&state, held, &self.relaying))
        };
        let Some(plan) = plan else { return false };
        let endpoint = self.elsewhere(&plan).map(|(_, endpoint)| endpoint.clone());
        let found = endpoint.is_some();
        if let Some(held) = self.lock().sandboxes.get_mut(container) {
            held.programmed = endpoint;
        }
        found
    }

    fn revoke(&self, container: &ContainerId, endpoint: &Endpoint) {
        let place = {
            let state = self.lock();
            let Ok(net) = state.net(&endpoint.network_id) else {
                return;
            };
            Place::of(net)
        };
        if let Err(error) = place.driver.revoke(&place.about, endpoint) {
            let error = spec::error::chain(&error);
            tracing::warn!(%container, error, "ports of a container could not be withdrawn");
        }
    }

    /// Takes rules back that a container had.
    pub(super) fn withdraw(&self, container: &ContainerId, held: &Held) {
        if !held.linked && held.ports.is_empty() && held.requests.is_empty() {
            return;
        }
        if let Err(error) = self.relaying.set(container, &[], None, &self.ports) {
            let error = spec::error::chain(&error);
            tracing::warn!(%container, error, "ports of a container are still relayed");
        }
        if let Err(error) = self.firewall.withdraw(container) {
            let error = spec::error::chain(&error);
            tracing::warn!(%container, error, "rules of a container could not be removed");
        }
        if let Some(endpoint) = &held.programmed {
            self.revoke(container, endpoint);
        }
    }

    /// See [`Networks::allow_link`](crate::Networks::allow_link).
    pub(crate) fn allow_link(
        &self,
        from: &ContainerId,
        to: &ContainerId,
        ports: &[(u16, Protocol)],
    ) -> Result<()> {
        let mut links = Vec::new();
        {
            let mut state = self.lock();
            for net in state.networks.values() {
                let (Some(a), Some(b)) = (net.members.get(from), net.members.get(to)) else {
                    continue;
                };
                if net.about.spec.driver != "bridge" {
                    continue;
                }
                let four = (
                    a.ipv4.map(|n| n.address().into()),
                    b.ipv4.map(|n| n.address().into()),
                );
                let six = (
                    a.ipv6.map(|n| n.address().into()),
                    b.ipv6.map(|n| n.address().into()),
                );
                for (a, b) in [four, six] {
                    let (Some(a), Some(b)): (Option<IpAddr>, Option<IpAddr>) = (a, b) else {
                        continue;
                    };
                    links.extend(ports.iter().map(|&(port, protocol)| Link {
                        from: (*from, a),
                        to: (*to, b),
                        protocol,
                        port,
                    }));
                }
            }
            for one in [from, to] {
                if let Some(held) = state.sandboxes.get_mut(one) {
                    held.linked = true;
                }
            }
        }
        self.firewall.link(&links)
    }
}

/// How the ports of a container are to be published now.
pub(super) struct Plan {
    name: String,
    requests: Vec<PortRequest>,
    ports: Vec<PublishedPort>,
    /// The endpoint that leads out, IPv4 before IPv6.
    endpoint: Option<Endpoint>,
    four: Option<(NetworkId, IpAddr)>,
    six: Option<(NetworkId, IpAddr)>,
    /// The host's interfaces that lead to the IPv4 and to the IPv6 address.
    interfaces: [String; 2],
    /// The relay is there for new ports.
    relays: bool,
    /// `None` where nothing can be published.
    binding: Option<Binding>,
}

impl Plan {
    fn of(state: &State, held: &Held, relaying: &Relaying) -> Self {
        let publishes = |endpoint: &&Endpoint| {
            let net = state.net(&endpoint.network_id).ok();
            net.is_some_and(|net| net.traits.publishes)
        };
        let four = held
            .endpoints
            .iter()
            .find(|e| e.gateway4.is_some())
            .filter(publishes);
        let six = held
            .endpoints
            .iter()
            .find(|e| e.gateway6.is_some())
            .filter(publishes);
        let main = four.or(six);
        let options = main
            .and_then(|endpoint| state.net(&endpoint.network_id).ok())
            .and_then(|net| Options::parse(&net.about.spec).ok());
        let interfaces =
            [four, six].map(|end| end.map_or_else(String::new, |end| end.host_interface.clone()));
        let at = |endpoint: Option<&Endpoint>, address: Option<IpAddr>| {
            Some((endpoint?.network_id, address?))
        };
        let four = at(
            four,
            four.and_then(|e| e.ipv4).map(|net| net.address().into()),
        );
        let six = at(
            six,
            six.and_then(|e| e.ipv6).map(|net| net.address().into()),
        );
        let side = |place: Option<(NetworkId, IpAddr)>, mode: &GatewayMode| {
            place.map(|(_, address)| Side {
                address,
                routed: matches!(mode, GatewayMode::Routed),
            })
        };
        let binding = options.map(|options| Binding {
            // Docker's `0.0.0.0` means both families.
            default: options.host_binding.filter(|host| !host.is_unspecified()),
            ipv4: side(four, &options.mode4),
            ipv6: side(six, &options.mode6),
            relayed: relaying.offers(
                side(four, &options.mode4),
                matches!(options.mode6, GatewayMode::Routed),
            ),
            ipv4_only: !relaying.listens(),
        });
        Self {
            name: held.name.clone(),
            requests: held.requests.clone(),
            ports: held.ports.clone(),
            endpoint: main.or(held.endpoints.first()).cloned(),
            four,
            six,
            interfaces,
            relays: relaying.enabled(),
            binding,
        }
    }

    /// Where ports at the host's IPv6 addresses lead that nothing translates.
    fn relayed(&self) -> Option<Target<'_>> {
        let [interface4, interface6] = &self.interfaces;
        let target = |(_, address), interface, loopback_only| Target {
            address,
            interface,
            loopback_only,
        };
        match (self.four, self.six) {
            (_, Some(six)) => self.relays.then(|| target(six, interface6, true)),
            (Some(four), None) => Some(target(four, interface4, false)),
            (None, None) => None,
        }
    }

    /// A failure in Docker's words: at which endpoint.
    fn wrap(&self, source: Error) -> Error {
        match &self.endpoint {
            Some(endpoint) => Error::Publish {
                name: self.name.clone(),
                id: endpoint.endpoint_id.to_string(),
                source: Box::new(source),
            },
            None => source,
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        let mapping = |port: &PublishedPort| {
            let (network, address) = if port.host_ip.is_ipv4() {
                self.four?
            } else {
                self.six?
            };
            Some(Mapping {
                network,
                protocol: port.protocol,
                host: SocketAddr::new(port.host_ip, port.host_port),
                container: SocketAddr::new(address, port.container_port),
            })
        };
        self.ports.iter().filter_map(mapping).collect()
    }
}
