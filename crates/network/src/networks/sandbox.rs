//! Opening and closing a container's sandbox: all or nothing.
//!
//! ```text
//! reserve addresses (or claim a spare) ─► reserve ports ─► namespace ─► join, configure each
//!   ─► default routes ─► wait for carriers ─► rules for the ports
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use spec::error::ErrorKind;
use spec::id::{ContainerId, NetworkId};

use super::create::endpoint_option;
use super::state::{Held, Member, Net, Spare};
use super::{Inner, WANTED_SPARES};
use crate::driver::{Driver, DriverNetwork, EndpointPlan};
use crate::sandbox::{self, Defaults, Inside, Interface};
use crate::{
    Endpoint, EndpointId, EndpointRequest, Error, NetworkSpec, PublishedPort, Result, Sandbox,
    SandboxRequest,
};

/// What is needed of a network to make an endpoint, copied out of the state.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub about: Arc<DriverNetwork>,
    pub driver: Arc<dyn Driver>,
    pub gateway4: Option<Ipv4Addr>,
    pub gateway6: Option<std::net::Ipv6Addr>,
}

/// One endpoint to be made.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub container: Option<ContainerId>,
    pub member: Member,
    pub interface: String,
    pub request: &'a EndpointRequest,
}

impl Place {
    pub(super) fn of(net: &Net) -> Self {
        Self {
            about: net.about.clone(),
            driver: net.driver.clone(),
            gateway4: net.gateway4,
            gateway6: net.gateway6,
        }
    }
}

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
                    network: wishes.first().map_or_else(String::new, |(_, name)| name.clone()),
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
        self.publish(container)?;
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
        self.wake.notify_all();
    }

    /// Gives addresses back: to the pools, or to the plugin they came from.
    pub(super) fn give_back(&self, network: &NetworkId, member: &Member) {
        let source = {
            let mut state = self.lock();
            let Ok(net) = state.net_mut(network) else { return };
            net.free(member);
            net.last_use = Instant::now();
            net.ipam.clone().map(|source| (source, net.about.clone()))
        };
        let Some((source, about)) = source else { return };
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
                let text = format!("configuration network {} cannot be attached to", net.name());
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
        state.net(network).is_ok_and(|net| net.about.spec.driver == "host")
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
    fn claim(
        &self,
        container: &ContainerId,
        wishes: &[&EndpointRequest],
    ) -> Result<Option<Spare>> {
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
                if let Some(held) = self.lock().sandboxes.get_mut(container) {
                    let prefix = endpoint.interface.trim_end_matches('0').to_owned();
                    held.next.insert(prefix, 1);
                }
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

    /// Makes one endpoint of a container and notes it.
    pub(super) fn add(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        inside: &mut Inside,
        wish: &EndpointRequest,
    ) -> Result<Endpoint> {
        let (place, member, prefix) = self.reserve(container, wish)?;
        if place.about.spec.driver == "null" {
            let endpoint = bare(&place, container, wish);
            self.note(container, endpoint.clone());
            return Ok(endpoint);
        }
        let interface = {
            let mut state = self.lock();
            let held = state.sandboxes.entry(*container).or_default();
            held.name_interface(&prefix, endpoint_option(&wish.options, "ifname"))?
        };
        let wish = Wish {
            container: Some(*container),
            member,
            interface,
            request: wish,
        };
        let endpoint = self.join(&place, netns, inside, &wish)?;
        self.note(container, endpoint.clone());
        Ok(endpoint)
    }

    /// Makes an endpoint's interface, configured and up; the default route is not its business.
    pub(super) fn join(
        &self,
        place: &Place,
        netns: BorrowedFd<'_>,
        inside: &mut Inside,
        wish: &Wish<'_>,
    ) -> Result<Endpoint> {
        let (about, spec) = (&*place.about, &place.about.spec);
        let step = || Error::kernel(format!("set up {} in the sandbox", wish.interface));
        let container = wish.container.unwrap_or(ContainerId::from_bytes([0; 32]));
        let plan = EndpointPlan {
            container: wish.container,
            endpoint_id: id_of(&about.id, &container, &wish.member),
            interface: &wish.interface,
            mac: wish.member.mac,
            ipv4: wish.member.ipv4,
            ipv6: wish.member.ipv6,
            options: &wish.request.options,
        };
        inside.next_has_ipv6(spec.enable_ipv6).map_err(step())?;
        let sysctls = sysctls(&wish.request.options, &wish.interface)?;
        let joined = {
            let _turn = self.turn.lock();
            place.driver.join(about, netns, &plan)?
        };
        let mut endpoint = Endpoint {
            interface: wish.interface.clone(),
            host_interface: joined.host_interface,
            mac: joined.mac.or(wish.member.mac),
            ipv4: joined.ipv4.or(wish.member.ipv4),
            ipv6: joined.ipv6.or(wish.member.ipv6),
            link_local: wish.request.link_local.clone(),
            default_on_link: joined.default_on_link && !spec.internal,
            ..bare(place, &container, wish.request)
        };
        endpoint.endpoint_id = plan.endpoint_id;
        if ways_out(spec) > 0 || spec.driver != "bridge" && !spec.internal {
            let own4 = about.gateway4().map(|net| net.address());
            let own6 = about.gateway6().map(|net| net.address());
            endpoint.gateway4 = joined.gateway4.or(place.gateway4).or(own4);
            endpoint.gateway6 = joined.gateway6.or(place.gateway6).or(own6);
            endpoint.gateway4 = endpoint.gateway4.filter(|_| endpoint.ipv4.is_some());
            endpoint.gateway6 = endpoint.gateway6.filter(|_| endpoint.ipv6.is_some());
        }
        let done = if joined.configured || joined.inner.is_empty() {
            Ok(())
        } else {
            inside
                .configure(
                    netns,
                    &Interface {
                        inner: &joined.inner,
                        name: &endpoint.interface,
                        mac: endpoint.mac,
                        ipv4: endpoint.ipv4,
                        ipv6: endpoint.ipv6,
                        link_local: &endpoint.link_local,
                        routes: &joined.routes,
                        sysctls: &sysctls,
                    },
                )
                .map_err(step())
        };
        let done = done.and_then(|()| place.driver.await_ready(about, &endpoint.host_interface));
        if let Err(error) = done {
            if let Err(error) = place.driver.leave(about, Some(netns), &endpoint) {
                let error = spec::error::chain(&error);
                tracing::warn!(network = spec.name, error, "an interface may be left");
            }
            return Err(error);
        }
        Ok(endpoint)
    }

    /// Notes an endpoint of a container, in its place among the others.
    pub(super) fn note(&self, container: &ContainerId, endpoint: Endpoint) {
        let mut state = self.lock();
        let priority = |state: &super::state::State, e: &Endpoint| {
            let net = state.net(&e.network_id).ok();
            let internal = net.is_some_and(|net| net.about.spec.internal);
            let ways = net.map_or(0, |net| ways_out(&net.about.spec));
            (
                std::cmp::Reverse(e.gateway_priority),
                internal,
                std::cmp::Reverse(ways),
                e.network.clone(),
            )
        };
        if let Ok(net) = state.net_mut(&endpoint.network_id)
            && let Some(member) = net.members.get_mut(container)
            && member.ipv4.is_none()
            && member.ipv6.is_none()
        {
            // The driver chose.
            member.ipv4 = endpoint.ipv4;
            member.ipv6 = endpoint.ipv6;
            member.mac = member.mac.or(endpoint.mac);
        }
        let new = priority(&state, &endpoint);
        let at = state.sandboxes.get(container).map_or(0, |held| {
            held.endpoints
                .iter()
                .position(|other| priority(&state, other) > new)
                .unwrap_or(held.endpoints.len())
        });
        let held = state.sandboxes.entry(*container).or_default();
        held.endpoints.insert(at, endpoint);
    }

    pub(super) fn defaults(&self, container: &ContainerId) -> Defaults {
        let state = self.lock();
        let held = state.sandboxes.get(container);
        held.map(|held| Defaults::of(&held.endpoints)).unwrap_or_default()
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

/// An endpoint without an interface.
fn bare(place: &Place, container: &ContainerId, wish: &EndpointRequest) -> Endpoint {
    Endpoint {
        network_id: place.about.id,
        network: place.about.spec.name.clone(),
        driver: place.about.spec.driver.clone(),
        endpoint_id: id_of(&place.about.id, container, &Member::default()),
        interface: String::new(),
        host_interface: String::new(),
        mac: None,
        ipv4: None,
        ipv6: None,
        link_local: Vec::new(),
        gateway4: None,
        gateway6: None,
        default_on_link: false,
        gateway_priority: wish.gateway_priority,
        options: wish.options.clone(),
    }
}

/// In how many families a network leads out.
pub(super) fn ways_out(spec: &NetworkSpec) -> u32 {
    if spec.internal || matches!(spec.driver.as_str(), "host" | "null") {
        return 0;
    }
    u32::from(spec.enable_ipv4) + u32::from(spec.enable_ipv6)
}

pub(super) fn id_of(network: &NetworkId, container: &ContainerId, member: &Member) -> EndpointId {
    let four = member.ipv4.map(|net| IpAddr::from(net.address()));
    let six = member.ipv6.map(|net| IpAddr::from(net.address()));
    let address = four.or(six).unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    EndpointId::of(network, container, address)
}

/// Reads `net.ipv4.conf.IFNAME.log_martians=1,…` as files and values.
fn sysctls(
    options: &std::collections::BTreeMap<String, String>,
    interface: &str,
) -> Result<Vec<(String, String)>> {
    let Some(text) = endpoint_option(options, "sysctls") else {
        return Ok(Vec::new());
    };
    text.split(',')
        .map(|one| {
            let refused = || {
                let text = format!(
                    "unrecognised network interface sysctl '{one}'; represent 'net.X.Y.ethN.Z=V' \
                     as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
                );
                Error::refused(ErrorKind::InvalidArgument, text)
            };
            let (key, value) = one.trim().split_once('=').ok_or_else(refused)?;
            let parts: Vec<&str> = key.split('.').collect();
            let plain = |part: &&str| {
                !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
            };
            match parts.as_slice() {
                ["net", family @ ("ipv4" | "ipv6" | "mpls"), group, "IFNAME", name]
                    if plain(group) && plain(name) =>
                {
                    let path = format!("/proc/sys/net/{family}/{group}/{interface}/{name}");
                    Ok((path, value.to_owned()))
                }
                _ => Err(refused()),
            }
        })
        .collect()
}

/// Checks what the options of an endpoint say; touches nothing.
pub fn check_endpoint_options(
    options: &std::collections::BTreeMap<String, String>,
) -> Result<()> {
    sysctls(options, "eth0").map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn options(text: &str) -> BTreeMap<String, String> {
        let key = "com.docker.network.endpoint.sysctls".to_owned();
        BTreeMap::from([(key, text.to_owned())])
    }

    #[test]
    fn sysctls_name_the_interface_by_a_word() {
        let read = sysctls(
            &options("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.mtu=1300"),
            "eth1",
        );
        let want = [
            ("/proc/sys/net/ipv4/conf/eth1/log_martians", "1"),
            ("/proc/sys/net/ipv6/conf/eth1/mtu", "1300"),
        ];
        let want = want.map(|(path, value)| (path.to_owned(), value.to_owned()));
        assert_eq!(read.unwrap(), want);
        for bad in [
            "x",
            "kernel.foo=1",
            "net.ipv4.conf.eth0.log_martians=1",
            "net.ipv4.../IFNAME.x=1",
            "net.ipv4.conf.IFNAME.a/b=1",
            "net.core.conf.IFNAME.x=1",
            "net.ipv4.conf.IFNAME.log_martians",
        ] {
            assert!(check_endpoint_options(&options(bad)).is_err(), "{bad}");
        }
    }
}
