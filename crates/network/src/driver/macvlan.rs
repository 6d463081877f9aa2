//! `macvlan`: containers on the network of a host's interface, each with an Ethernet address.
//!
//! Nothing of the host is in the way of a packet: there is no bridge, no translation and no published
//! port. A link is born in its sandbox and dies with it.

use std::os::fd::BorrowedFd;

use sys::netlink::{MacvlanMode, NewStacked, Socket, Stacked};

use super::parent::{self, Parents, Sharing};
use super::{
    Addressing, Driver, DriverFailure, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits,
};
use crate::{Endpoint, Error, NetworkSpec, Result, Settings};

/// Name of the driver.
pub(crate) const NAME: &str = "macvlan";
const MODE: &str = "macvlan_mode";

/// The driver.
#[derive(Debug)]
pub(crate) struct Macvlan {
    parents: Parents,
}

impl Macvlan {
    pub(crate) fn open(settings: &Settings) -> Self {
        Self {
            parents: Parents::new(NAME, "dm-", &settings.nft_table),
        }
    }
}

fn mode(spec: &NetworkSpec) -> Result<MacvlanMode> {
    match spec.options.get(MODE).map_or("", String::as_str) {
        "" | "bridge" => Ok(MacvlanMode::Bridge),
        "private" => Ok(MacvlanMode::Private),
        "vepa" => Ok(MacvlanMode::Vepa),
        "passthru" => Ok(MacvlanMode::Passthru),
        other => Err(DriverFailure::refused(format!(
            "requested macvlan mode '{other}' is not valid, 'bridge' mode is the macvlan driver default"
        ))
        .into()),
    }
}

impl Driver for Macvlan {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Pools,
            ethernet: Ethernet::Own,
            publishes: false,
        }
    }

    fn check(&self, spec: &mut NetworkSpec) -> Result<()> {
        mode(spec)?;
        self.parents.check(spec)
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        let sharing = match mode(&network.spec)? {
            MacvlanMode::Passthru => Sharing::Passthru,
            _ => Sharing::Shared,
        };
        self.parents.take(network, sharing)
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
        let mut socket = parent::host_socket()?;
        let parent = self.parents.index(&mut socket, network)?;
        let kind = Stacked::Macvlan(mode(&network.spec)?);
        make(&mut socket, (parent, kind), netns, plan)
    }

    fn leave(
        &self,
        _network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()> {
        delete_inside(netns, endpoint)
    }

    fn has_gateway(&self, network: &NetworkSpec) -> bool {
        // Without a parent there is nothing behind a gateway.
        !network.internal && parent::named(network).is_some()
    }

    fn skips_gateways(&self, network: &NetworkSpec) -> Result<(bool, bool)> {
        let skips = !self.has_gateway(network);
        Ok((skips, skips))
    }
}

/// Makes a link of a parent in a sandbox.
pub(super) fn make(
    socket: &mut Socket,
    (parent, kind): (u32, Stacked),
    netns: BorrowedFd<'_>,
    plan: &EndpointPlan<'_>,
) -> Result<Joined> {
    let new = NewStacked {
        name: plan.interface,
        parent,
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
        inner: plan.interface.to_owned(),
        ..Joined::default()
    })
}

/// Removes an endpoint's link from a sandbox that goes on; with the sandbox it goes by itself.
pub(super) fn delete_inside(netns: Option<BorrowedFd<'_>>, endpoint: &Endpoint) -> Result<()> {
    let Some(netns) = netns else {
        return Ok(());
    };
    let name = &endpoint.interface;
    sys::netns::with(netns, || {
        let mut socket = Socket::open(sys::netlink::Protocol::Route)?;
        match socket.link(name)? {
            Some(link) => socket.execute_one(|m| m.delete_link(link.index)),
            None => Ok(()),
        }
    })
    .map_err(Error::kernel(format!("remove interface {name}")))
}

#[cfg(test)]
mod tests;
