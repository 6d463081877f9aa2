//! Opening and closing a container's sandbox: all or nothing.
//!
//! ```text
//! reserve addresses (or claim a spare) ─► namespace ─► join, configure each ─► default routes
//!   ─► wait for carriers ─► reserve ports      publish: rules for the ports, relay
//! ```
//!
//! Publishing is a step of its own, because nothing else of a start waits for it: the caller has it
//! done while the container is being created.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Instant;

use spec::error::ErrorKind;
use spec::id::{ContainerId, NetworkId};

use super::endpoint::{Place, bare, id_of, ways_out};
use super::state::{Held, Member, Spare};
use super::{Inner, WANTED_SPARES};
use crate::sandbox::{self, Defaults, Inside};
use crate::{Endpoint, EndpointRequest, Error, PublishedPort, Result, Sandbox, SandboxRequest};

/// A spare sandbox is made within this, or nobody waits for it.
const SPARE_PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);

/// Undoes what was done for a container unless it is told that all is well.
struct Opening<'a> {
    inner: &'a Inner,
    container: ContainerId,
    done: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.inner.close_sandbox(&self.container);
        }
    }
}

impl Inner {
    /// See [`Networks::open_sandbox`](crate::Networks::open_sandbox).
    pub(crate) fn open_sandbox(
        &self,
        container: &ContainerId,
        request: &SandboxRequest,
    ) -> Result<Sandbox> {
        self.firewall.start()?;
        let wishes = self.in_order(&request.endpoints)?;
        let held = Held {
            name: request.name.clone(),
            requests: request.ports.clone(),
            ..Held::default()
        };
        {
            let mut state = self.lock();
            if state.sandboxes.contains_key(container) {
                return Err(Error::AlreadyAttached {
                    container: request.name.clone(),
                    network: wishes
                        .first()
                        .map_or_else(String::new, |(_, name)| name.clone()),
                });
            }
            state.sandboxes.insert(*container, held);
        }
        let mut opening = Opening {
            inner: self,
            container: *container,
            done: false,
        };
        let wishes: Vec<&EndpointRequest> = wishes.iter().map(|(wish, _)| *wish).collect();
        let netns = match self.claim(container, &wishes)? {
            Some(spare) => {
                let endpoint = spare.endpoint.clone();
                self.note(container, endpoint);
                self.fill(container, spare.netns, &wishes[1..], None)?
            }
            None => {
                let _building = Building::begin(self);
                if wishes.iter().any(|wish| self.is_host(&wish.network)) {
                    self.join_host(container, &wishes)?
                } else {
                    let made = sandbox::create().map_err(Error::kernel("make a sandbox"))?;
                    self.fill(container, made.0, &wishes, Some(made.1))?
                }
            }
        };
        self.wake.notify_all();
        self.take_ports(container)?;
        opening.done = true;
        let state = self.lock();
        let held = &state.sandboxes[container];
        Ok(Sandbox {
            netns,
            endpoints: held.endpoints.clone(),
            ports: held.ports.clone(),
        })
    }

    /// See [`Networks::close_sandbox`](crate::Networks::close_sandbox).
    pub(crate) fn close_sandbox(&self, container: &ContainerId) {
        let mut left = Vec::new();
        let held = {
            let mut state = self.lock();
            let Some(held) = state.sandboxes.remove(container) else {
                return;
            };
            for net in state.networks.values_mut() {
                if let Some(member) = net.members.remove(container) {
                    left.push((Place::of(net), member));
                }
            }
            held
        };
        let was_published = !held.ports.is_empty();
        self.withdraw(container, &held);
        for (place, member) in left {
            let id = place.about.id;
            let endpoint = held.endpoints.iter().find(|e| e.network_id == id);
            if let Some(endpoint) = endpoint
                && let Err(error) = place.driver.leave(&place.about, None, endpoint)
            {
                let error = spec::error::chain(&error);
                let network = &place.about.spec.name;
                tracing::warn!(%container, network, error, "a network was not left in order");
            }
            self.give_back(&id, &member);
        }
        // Only now may the next container get what this one had.
        if was_published {
            self.ports.release(container);
        }
        self.see_off(&held.endpoints);
        self.wake.notify_all();
    }

    /// Gives addresses back: to the pools, or to the plugin they came from.
    pub(super) fn give_back(&self, network: &NetworkId, member: &Member) {
        let source = {
            let mut state = self.lock();
            let Ok(net) = state.net_mut(network) else {
                return;
            };
            net.free(member);
            net.last_use = Instant::now();
            net.ipam.clone().map(|source| (source, net.about.clone()))
        };
        let Some((source, about)) = source else {
            return;
        };
        let addresses = [
            member.ipv4.map(|net| IpAddr::from(net.address())),
            member.ipv6.map(|net| IpAddr::from(net.address())),
        ];
        for address in addresses.into_iter().flatten() {
            let pools = &about.spec.ipam.pools;
            let pool = pools
                .iter()
                .find(|pool| pool.subnet.is_some_and(|net| net.contains(address)));
            let Some(id) = pool.and_then(|pool| pool.pool_id.as_deref()) else {
                continue;
            };
            if let Err(error) = source.release_address(id, address) {
                let error = spec::error::chain(&error);
                tracing::warn!(%address, error, "an address plugin keeps an address");
            }
        }
    }

    /// Puts the best candidates for the default route first, as Docker does.
    fn in_order<'a>(
        &self,
        wishes: &'a [EndpointRequest],
    ) -> Result<Vec<(&'a EndpointRequest, String)>> {
        let state = self.lock();
        let mut all = Vec::new();
        for wish in wishes {
            let net = state.net(&wish.network)?;
            if net.shown.config_only {
                let text = "cannot create endpoint on configuration-only network";
                return Err(Error::refused(ErrorKind::Forbidden, text));
            }
            let spec = &net.about.spec;
            let ways_out = ways_out(spec);
            let order = (
                std::cmp::Reverse(wish.gateway_priority),
                spec.internal,
                std::cmp::Reverse(ways_out),
                net.name().to_owned(),
            );
            all.push((order, wish));
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all
            .into_iter()
            .map(|((.., name), wish)| (wish, name))
            .collect())
    }

    fn is_host(&self, network: &NetworkId) -> bool {
        let state = self.lock();
        state
            .net(network)
            .is_ok_and(|net| net.about.spec.driver == "host")
    }

    /// The host's own namespace: nothing is made.
    fn join_host(&self, container: &ContainerId, wishes: &[&EndpointRequest]) -> Result<OwnedFd> {
        if wishes.len() > 1 {
            let text = "conflicting options: cannot attach both user-defined and non-user-defined \
                        network-modes";
            return Err(Error::refused(ErrorKind::InvalidArgument, text));
        }
        let place = self.reserve(container, wishes[0])?.0;
        let endpoint = bare(&place, container, wishes[0]);
        self.note(container, endpoint);
        sys::netns::current().map_err(Error::kernel("open the host's network namespace"))
    }

    /// Takes a ready sandbox for the container, if its first endpoint is nothing special.
    fn claim(&self, container: &ContainerId, wishes: &[&EndpointRequest]) -> Result<Option<Spare>> {
        let Some(wish) = wishes.first() else {
            return Ok(None);
        };
        let plain = EndpointRequest {
            gateway_priority: wish.gateway_priority,
            ..EndpointRequest::new(wish.network)
        };
        if **wish != plain {
            return Ok(None);
        }
        loop {
            let mut spare = {
                let mut state = self.lock();
                let net = state.net_mut(&wish.network)?;
                if net.removing || !net.can_spare() {
                    return Ok(None);
                }
                net.last_use = Instant::now();
                net.wanted_spares = net.wanted_spares.max(if self.settings.spares == 0 {
                    0
                } else {
                    WANTED_SPARES
                });
                let Some(spare) = net.spares.pop_front() else {
                    return Ok(None);
                };
                net.members.insert(*container, spare.member);
                spare
            };
            if self.is_connected(&spare) {
                let endpoint = &mut spare.endpoint;
                endpoint.endpoint_id = id_of(&endpoint.network_id, container, &spare.member);
                endpoint.gateway_priority = wish.gateway_priority;
                return Ok(Some(spare));
            }
            let mut state = self.lock();
            let net = state.net_mut(&wish.network)?;
            net.members.remove(container);
            net.free(&spare.member);
        }
    }

    /// Reserves what an endpoint needs.
    pub(super) fn reserve(
        &self,
        container: &ContainerId,
        wish: &EndpointRequest,
    ) -> Result<(Place, Member, String)> {
        let mut swept = false;
        loop {
            let mut state = self.lock();
            let name = state.sandboxes.get(container).map(|held| held.name.clone());
            let net = state.net_mut(&wish.network)?;
            if net.removing {
                let key = net.name().to_owned();
                return Err(Error::NoSuchNetwork { key });
            }
            if net.members.contains_key(container) {
                return Err(Error::AlreadyAttached {
                    container: name.unwrap_or_else(|| container.short()),
                    network: net.name().to_owned(),
                });
            }
            match net.reserve(wish) {
                Ok((member, evicted)) => {
                    net.members.insert(*container, member);
                    net.last_use = Instant::now();
                    let (place, prefix) = (Place::of(net), net.prefix.clone());
                    let source = net.ipam.clone();
                    drop(state);
                    if let Some(spare) = &evicted {
                        self.forget_spare(spare);
                    }
                    let member = match source {
                        Some(source) => self.ask(&source, container, &place, wish)?,
                        None => member,
                    };
                    return Ok((place, member, prefix));
                }
                // Interfaces that a previous daemon left may be gone by now.
                Err((_, true)) if !swept && !net.leftovers.is_empty() => {
                    drop(state);
                    self.sweep();
                    swept = true;
                }
                // The last address may be that of a spare which is being made: it is given up then.
                Err((_, true)) if state.making == Some(wish.network) => {
                    let waited = self.wake.wait_timeout(state, SPARE_PATIENCE);
                    drop(waited.expect("no panic happens while it is held"));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Gets addresses from a plugin.
    fn ask(
        &self,
        source: &crate::driver::remote::ipam::Ipam,
        container: &ContainerId,
        place: &Place,
        wish: &EndpointRequest,
    ) -> Result<Member> {
        let spec = &place.about.spec;
        let mut member = Member::default();
        let mut ask = || -> Result<()> {
            for pool in &spec.ipam.pools {
                let (Some(subnet), Some(id)) = (pool.subnet, pool.pool_id.as_deref()) else {
                    continue;
                };
                let (enabled, wanted) = if subnet.is_ipv6() {
                    let known = member.ipv6.is_some();
                    (spec.enable_ipv6 && !known, wish.ipv6.map(IpAddr::from))
                } else {
                    let known = member.ipv4.is_some();
                    (spec.enable_ipv4 && !known, wish.ipv4.map(IpAddr::from))
                };
                if enabled && wanted.is_none_or(|address| subnet.contains(address)) {
                    let net = source.request_address((id, subnet), wanted, wish.mac)?;
                    member.ipv4 = member.ipv4.or(net.v4());
                    member.ipv6 = member.ipv6.or(net.v6());
                }
            }
            Ok(())
        };
        let asked = ask();
        {
            let mut state = self.lock();
            let net = state.net_mut(&wish.network)?;
            member.mac = net.mac(wish, &member);
            net.members.insert(*container, member);
        }
        asked.map(|()| member)
    }

    /// Makes the endpoints of a sandbox that do not exist yet, and its default routes.
    fn fill(
        &self,
        container: &ContainerId,
        netns: OwnedFd,
        wishes: &[&EndpointRequest],
        inside: Option<Inside>,
    ) -> Result<OwnedFd> {
        if wishes.is_empty() {
            return Ok(netns);
        }
        let mut inside = match inside {
            Some(inside) => inside,
            None => sandbox::enter(netns.as_fd()).map_err(Error::kernel("enter the sandbox"))?,
        };
        let before = self.defaults(container);
        for wish in wishes {
            self.add(container, netns.as_fd(), &mut inside, wish)?;
        }
        let now = self.defaults(container);
        inside
            .reroute(&before, &now)
            .map_err(Error::kernel("set the default route"))?;
        Ok(netns)
    }

    pub(super) fn defaults(&self, container: &ContainerId) -> Defaults {
        let state = self.lock();
        let held = state.sandboxes.get(container);
        held.map(|held| Defaults::of(&held.endpoints))
            .unwrap_or_default()
    }

    pub(super) fn endpoints_and_ports(
        &self,
        container: &ContainerId,
    ) -> Option<(Vec<Endpoint>, Vec<PublishedPort>)> {
        let state = self.lock();
        let held = state.sandboxes.get(container)?;
        Some((held.endpoints.clone(), held.ports.clone()))
    }
}

/// Counts a caller as building for as long as it lives.
struct Building<'a>(&'a Inner);

impl<'a> Building<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.building.fetch_add(1, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        // Under the lock, so that the background thread cannot miss it between test and wait.
        let _state = self.0.lock();
        self.0.building.fetch_sub(1, Ordering::SeqCst);
        self.0.wake.notify_all();
    }
}
