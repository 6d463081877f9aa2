//! Making one endpoint of a sandbox: reserved already, an interface is made, configured and noted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use spec::error::ErrorKind;
use spec::id::{ContainerId, NetworkId};

use super::Inner;
use super::create::endpoint_option;
use super::state::{Member, Net, State};
use crate::driver::{Driver, DriverNetwork, EndpointPlan};
use crate::sandbox::{Inside, Interface};
use crate::{Endpoint, EndpointId, EndpointRequest, Error, NetworkSpec, Result};

/// What is needed of a network to make an endpoint, copied out of the state.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub about: Arc<DriverNetwork>,
    pub driver: Arc<dyn Driver>,
    pub gateway4: Option<Ipv4Addr>,
    pub gateway6: Option<Ipv6Addr>,
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

impl Inner {
    /// Makes one endpoint of a container and notes it.
    pub(super) fn add(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        inside: &mut Inside,
        wish: &EndpointRequest,
    ) -> Result<Endpoint> {
        let (place, member, prefix) = self.reserve(container, wish)?;
        let local = |address: &&IpAddr| match address {
            IpAddr::V4(four) => four.is_link_local(),
            IpAddr::V6(six) => six.is_unicast_link_local(),
        };
        if let Some(other) = wish.link_local.iter().find(|address| !local(address)) {
            let text = format!("invalid link local IP address: {other}");
            return Err(Error::refused(ErrorKind::InvalidArgument, text));
        }
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
            // Plugins and CNI programs may take seconds: nobody else waits for them.
            let of_kernel = matches!(spec.driver.as_str(), "bridge" | "macvlan" | "ipvlan");
            let _turn = of_kernel.then(|| self.turn.lock());
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
        let leads_out = spec.driver == "bridge" || place.driver.has_gateway(spec);
        if leads_out && (ways_out(spec) > 0 || spec.driver != "bridge" && !spec.internal) {
            // A network may have several subnets, each with a gateway.
            endpoint.gateway4 = endpoint.ipv4.and_then(|net| {
                let own = match about.gateway_of(net.address().into()) {
                    Some(IpAddr::V4(own)) => Some(own),
                    _ => None,
                };
                joined.gateway4.or(place.gateway4).or(own)
            });
            endpoint.gateway6 = endpoint.ipv6.and_then(|net| {
                let own = match about.gateway_of(net.address().into()) {
                    Some(IpAddr::V6(own)) => Some(own),
                    _ => None,
                };
                joined.gateway6.or(place.gateway6).or(own)
            });
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
        let priority = |state: &State, e: &Endpoint| {
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
}

/// An endpoint without an interface.
pub(super) fn bare(place: &Place, container: &ContainerId, wish: &EndpointRequest) -> Endpoint {
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
fn sysctls(options: &BTreeMap<String, String>, interface: &str) -> Result<Vec<(String, String)>> {
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
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
            };
            match parts.as_slice() {
                // Docker's client writes keys in lower case.
                [
                    "net",
                    family @ ("ipv4" | "ipv6" | "mpls"),
                    group,
                    word,
                    name,
                ] if word.eq_ignore_ascii_case("IFNAME") && plain(group) && plain(name) => {
                    let path = format!("/proc/sys/net/{family}/{group}/{interface}/{name}");
                    Ok((path, value.to_owned()))
                }
                _ => Err(refused()),
            }
        })
        .collect()
}

/// Checks what the options of an endpoint say; touches nothing.
pub fn check_endpoint_options(options: &BTreeMap<String, String>) -> Result<()> {
    sysctls(options, "eth0").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> BTreeMap<String, String> {
        let key = "com.docker.network.endpoint.sysctls".to_owned();
        BTreeMap::from([(key, text.to_owned())])
    }

    #[test]
    fn sysctls_name_the_interface_by_a_word() {
        let read = sysctls(
            &options("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.mtu=1300"),
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
