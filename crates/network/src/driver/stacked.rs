//! `macvlan` and `ipvlan`: containers on the network of a host's interface, with an Ethernet address
//! each or with its own.
//!
//! Nothing of the host is in the way of a packet: there is no bridge, no translation and no published
//! port. A link is born in its sandbox and dies with it.

use std::os::fd::BorrowedFd;

use sys::netlink::{IpvlanFlag, IpvlanMode, MacvlanMode, NewStacked, Protocol, Socket, Stacked};

use super::parent::{self, Parents, Sharing, Users};
use super::{
    Addressing, Driver, DriverFailure, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits,
};
use crate::{Endpoint, EndpointId, Error, NetworkSpec, Result, Settings};

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Macvlan,
    Ipvlan,
}

/// Either driver.
#[derive(Debug)]
pub(crate) struct Stacking {
    kind: Kind,
    parents: Parents,
}

impl Stacking {
    pub(crate) fn macvlan(settings: &Settings, users: &Users) -> Self {
        Self {
            kind: Kind::Macvlan,
            parents: Parents::new("macvlan", "dm-", &settings.nft_table, users),
        }
    }

    pub(crate) fn ipvlan(settings: &Settings, users: &Users) -> Self {
        Self {
            kind: Kind::Ipvlan,
            parents: Parents::new("ipvlan", "di-", &settings.nft_table, users),
        }
    }

    /// What the links of a network are, by its options.
    fn link(&self, spec: &NetworkSpec) -> Result<Stacked> {
        Ok(match self.kind {
            Kind::Macvlan => {
                let modes = [
                    ("bridge", MacvlanMode::Bridge),
                    ("private", MacvlanMode::Private),
                    ("vepa", MacvlanMode::Vepa),
                    ("passthru", MacvlanMode::Passthru),
                ];
                let of = ("macvlan", "mode", "'bridge' mode");
                Stacked::Macvlan(choice(spec, of, modes)?)
            }
            Kind::Ipvlan => {
                let modes = [
                    ("l2", IpvlanMode::L2),
                    ("l3", IpvlanMode::L3),
                    ("l3s", IpvlanMode::L3s),
                ];
                let flags = [
                    ("bridge", IpvlanFlag::Bridge),
                    ("private", IpvlanFlag::Private),
                    ("vepa", IpvlanFlag::Vepa),
                ];
                let mode = choice(spec, ("ipvlan", "mode", "'l2' mode"), modes)?;
                let flag = choice(spec, ("ipvlan", "flag", "'bridge'"), flags)?;
                Stacked::Ipvlan(mode, flag)
            }
        })
    }

    fn sharing(&self, network: &DriverNetwork) -> Result<Sharing> {
        Ok(match self.link(&network.spec)? {
            Stacked::Macvlan(MacvlanMode::Passthru) => Sharing::Passthru,
            Stacked::Macvlan(_) => Sharing::Shared,
            Stacked::Ipvlan(..) => Sharing::Never,
        })
    }
}

/// Name that a link is born with, which no interface of the host has: kernels before 6.14 refuse
/// the name of one of theirs (`eth0`) even for a link of another namespace.
fn name_at_birth(id: &EndpointId) -> String {
    let [a, b, c, d, e, f, ..] = id.0;
    format!("cs-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
}

/// Reads an option of a driver: the first of its values where it is not set.
fn choice<T: Copy, const N: usize>(
    spec: &NetworkSpec,
    (driver, what, default): (&str, &str, &str),
    values: [(&str, T); N],
) -> Result<T> {
    let option = spec.options.get(&format!("{driver}_{what}"));
    let wanted = option.filter(|text| !text.is_empty());
    let mut fitting = values
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|w| w == name));
    fitting.next().map(|(_, value)| *value).ok_or_else(|| {
        let wanted = wanted.map_or("", String::as_str);
        DriverFailure::refused(format!(
            "requested {driver} {what} '{wanted}' is not valid, {default} is the {driver} driver default"
        ))
        .into()
    })
}

/// Whether there is anything behind a gateway: without a parent there is not.
fn leads_out(network: &NetworkSpec) -> bool {
    !network.internal && parent::named(network).is_some()
}

/// Whether the parent routes, so that a gateway is not needed.
fn is_routed(link: Stacked) -> bool {
    matches!(link, Stacked::Ipvlan(mode, _) if mode != IpvlanMode::L2)
}

impl Driver for Stacking {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Pools,
            ethernet: match self.kind {
                Kind::Macvlan => Ethernet::Own,
                Kind::Ipvlan => Ethernet::Driver,
            },
            publishes: false,
        }
    }

    fn check(&self, spec: &mut NetworkSpec) -> Result<()> {
        self.link(spec)?;
        self.parents.check(spec)
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        if self.kind == Kind::Ipvlan {
            require_ipvlan()?;
        }
        self.parents.take(network, self.sharing(network)?)
    }

    fn restore(&self, network: &DriverNetwork) -> Result<()> {
        self.parents.retake(network, self.sharing(network)?)
    }

    fn remove(&self, network: &DriverNetwork) -> Result<()> {
        self.parents.release(network)
    }

    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<Joined> {
        if self.kind == Kind::Ipvlan && plan.mac.is_some() {
            return Err(DriverFailure::refused(
                "ipvlan interfaces do not support custom mac address assignment",
            )
            .into());
        }
        let mut socket = parent::host_socket()?;
        let kind = self.link(&network.spec)?;
        let name = name_at_birth(&plan.endpoint_id);
        let new = NewStacked {
            name: &name,
            parent: self.parents.index(&mut socket, network)?,
            kind,
            mtu: None,
            address: plan.mac.map(|mac| mac.0),
            netns,
        };
        // A parent takes either macvlan or ipvlan links, and passthru ones alone: that is busy.
        socket
            .execute_one(|m| m.add_stacked(&new))
            .map_err(Error::kernel(format!("create the {} port", kind.kind())))?;
        Ok(Joined {
            inner: name,
            // What is not on the link is behind the parent, too.
            default_on_link: is_routed(kind) && leads_out(&network.spec),
            ..Joined::default()
        })
    }

    /// With the sandbox the link goes by itself.
    fn leave(
        &self,
        _network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()> {
        let Some(netns) = netns else {
            return Ok(());
        };
        let name = &endpoint.interface;
        // One that could not be renamed has its first name still; the other may be a link of the
        // container's own then.
        let names = [&name_at_birth(&endpoint.endpoint_id), name];
        sys::netns::with(netns, || {
            let mut socket = Socket::open(Protocol::Route)?;
            for name in names {
                if let Some(link) = socket.link(name)? {
                    return socket.execute_one(|m| m.delete_link(link.index));
                }
            }
            Ok(())
        })
        .map_err(Error::kernel(format!("remove interface {name}")))
    }

    fn has_gateway(&self, network: &NetworkSpec) -> bool {
        leads_out(network) && self.link(network).is_ok_and(|link| !is_routed(link))
    }

    fn skips_gateways(&self, network: &NetworkSpec) -> Result<(bool, bool)> {
        let skips = !self.has_gateway(network);
        Ok((skips, skips))
    }
}

fn require_ipvlan() -> Result<()> {
    let has = parent::host_socket()?.has_stacked("ipvlan");
    if has.map_err(Error::kernel("ask the kernel for ipvlan links"))? {
        return Ok(());
    }
    Err(DriverFailure::NoKernel {
        what: "failed to create an ipvlan network".to_owned(),
        option: "CONFIG_IPVLAN",
    }
    .into())
}

#[cfg(test)]
mod tests;
