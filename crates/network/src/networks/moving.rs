//! Running containers enter and leave networks; their way out and their ports move along.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use spec::id::{ContainerId, NetworkId};

use super::Inner;
use super::endpoint::Place;
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
    pub(super) fn publish(&self, container: &ContainerId) -> Result<()> {
        let plan = {
            let state = self.lock();
            let Some(held) = state.sandboxes.get(container) else {
                return Ok(());
            };
            if held.requests.is_empty() && held.ports.is_empty() {
                return Ok(());
            }
            Plan::of(&state, held)
        };
        let owner = Owner {
            container: *container,
            name: plan.name.clone(),
        };
        let wrap = |source: Error| match &plan.endpoint {
            Some(endpoint) => Error::Publish {
                name: plan.name.clone(),
                id: endpoint.endpoint_id.to_string(),
                source: Box::new(source),
            },
            None => source,
        };
        let ports = match (&plan.binding, plan.ports.is_empty()) {
            (Some(binding), true) => self
                .ports
                .reserve(&owner, &plan.requests, binding)
                .map_err(wrap)?,
            (Some(_), false) => plan.ports.clone(),
            (None, _) => {
                self.ports.release(container);
                Vec::new()
            }
        };
        let mappings = plan.mappings(&ports);
        let done = if mappings.is_empty() && plan.ports.is_empty() {
            Ok(())
        } else {
            self.firewall.publish(container, &mappings).map_err(wrap)
        };
        if let Some(held) = self.lock().sandboxes.get_mut(container) {
            held.ports.clone_from(&ports);
        }
        done?;
        self.publish_elsewhere(container, &plan)
    }

    /// Networks of plugins publish by themselves.
    fn publish_elsewhere(&self, container: &ContainerId, plan: &Plan) -> Result<()> {
        let (true, Some(endpoint)) = (plan.binding.is_none(), &plan.endpoint) else {
            return Ok(());
        };
        let place = {
            let state = self.lock();
            Place::of(state.net(&endpoint.network_id)?)
        };
        if place.driver.traits(&place.about.spec).publishes || plan.requests.is_empty() {
            return Ok(());
        }
        let ports = place
            .driver
            .program(&place.about, endpoint, &plan.requests)?;
        if let Some(held) = self.lock().sandboxes.get_mut(container) {
            held.ports = ports;
        }
        Ok(())
    }

    /// Takes rules back that a container had.
    pub(super) fn withdraw(&self, container: &ContainerId, held: &Held) {
        if !held.linked && held.ports.is_empty() && held.requests.is_empty() {
            return;
        }
        if let Err(error) = self.firewall.withdraw(container) {
            let error = spec::error::chain(&error);
            tracing::warn!(%container, error, "rules of a container could not be removed");
        }
        let Some(endpoint) = held.endpoints.first() else {
            return;
        };
        let place = {
            let state = self.lock();
            let Ok(net) = state.net(&endpoint.network_id) else {
                return;
            };
            Place::of(net)
        };
        if !place.driver.traits(&place.about.spec).publishes
            && let Err(error) = place.driver.revoke(&place.about, endpoint)
        {
            let error = spec::error::chain(&error);
            tracing::warn!(%container, error, "ports of a container could not be withdrawn");
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
struct Plan {
    name: String,
    requests: Vec<PortRequest>,
    ports: Vec<PublishedPort>,
    /// The endpoint that leads out, IPv4 before IPv6.
    endpoint: Option<Endpoint>,
    four: Option<(NetworkId, IpAddr)>,
    six: Option<(NetworkId, IpAddr)>,
    /// `None` where nothing can be published.
    binding: Option<Binding>,
}

impl Plan {
    fn of(state: &State, held: &Held) -> Self {
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
        });
        Self {
            name: held.name.clone(),
            requests: held.requests.clone(),
            ports: held.ports.clone(),
            endpoint: main.or(held.endpoints.first()).cloned(),
            four,
            six,
            binding,
        }
    }

    fn mappings(&self, ports: &[PublishedPort]) -> Vec<Mapping> {
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
        ports.iter().filter_map(mapping).collect()
    }
}
