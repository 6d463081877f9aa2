//! What kinds of network there are: one implementation of [`Driver`] each.
//!
//! A driver knows links; names, records, addresses, ports and default routes are not its business.
//! The order of calls is
//!
//! ```text
//! check ─► (addresses are chosen) ─► create ─┬─► join ─► (interface is configured) ─► leave ─┬─► remove
//!                                            └──────────────◄──────────────────────────◄─────┘
//! daemon start: restore for every record; it must find what is there
//! ```

pub(crate) mod bandwidth;
pub(crate) mod bridge;
pub(crate) mod cni;
mod failure;
mod kept;
mod parent;
pub(crate) mod plain;
pub(crate) mod registry;
pub(crate) mod remote;
pub(crate) mod stacked;
#[cfg(test)]
mod testing;

pub use failure::DriverFailure;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use spec::id::{ContainerId, NetworkId};

use crate::{
    Endpoint, EndpointId, IpNet, Ipv4Net, Ipv6Net, MacAddress, NetworkSpec, PortRequest,
    PublishedPort, Result,
};

/// A network as its driver sees it.
#[derive(Debug, Clone)]
pub(crate) struct DriverNetwork {
    /// Id of the network.
    pub id: NetworkId,
    /// The definition, subnets and gateways filled in.
    pub spec: NetworkSpec,
}

/// What an endpoint shall be.
#[derive(Debug, Clone)]
pub(crate) struct EndpointPlan<'a> {
    /// The container; `None` while the sandbox is a spare one.
    pub container: Option<ContainerId>,
    /// Id of the endpoint.
    pub endpoint_id: EndpointId,
    /// Name that the interface shall have inside; the driver may make it with another one.
    pub interface: &'a str,
    /// The Ethernet address; `None` where [`Driver::traits`] says that it has none of its own.
    pub mac: Option<MacAddress>,
    /// IPv4 address and prefix.
    pub ipv4: Option<Ipv4Net>,
    /// IPv6 address and prefix.
    pub ipv6: Option<Ipv6Net>,
    /// Options of the endpoint.
    pub options: &'a BTreeMap<String, String>,
}

/// What a driver made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    /// Name of the other end in the host, empty where there is none.
    pub host_interface: String,
    /// The name of the link inside now; renamed to the wanted one if different. Empty: no link.
    pub inner: String,
    /// The Ethernet address, where the driver chose it.
    pub mac: Option<MacAddress>,
    /// The IPv4 address, where the driver chose it.
    pub ipv4: Option<Ipv4Net>,
    /// The IPv6 address, where the driver chose it.
    pub ipv6: Option<Ipv6Net>,
    /// The gateway, where the driver names another than the definition.
    pub gateway4: Option<Ipv4Addr>,
    /// The IPv6 gateway, where the driver names another than the definition.
    pub gateway6: Option<Ipv6Addr>,
    /// The default route leaves through the interface itself, without a gateway (ipvlan l3).
    pub default_on_link: bool,
    /// Further routes: destination and gateway; without a gateway on the link itself.
    pub routes: Vec<(IpNet, Option<std::net::IpAddr>)>,
    /// The interface is configured already (CNI): nothing is to be done to it.
    pub configured: bool,
}

/// Where the addresses of a driver's endpoints come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// From the network's pools.
    Pools,
    /// The driver gives them when it joins.
    Driver,
    /// There are none (`host`, `null`).
    Nothing,
}

/// Whether endpoints have Ethernet addresses of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ethernet {
    /// One each, derived if nothing else is asked for.
    Own,
    /// That of the parent interface (ipvlan), or the driver's choice.
    Driver,
}

/// What the registry has to know of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Where addresses come from.
    pub addressing: Addressing,
    /// Whether endpoints have Ethernet addresses of their own.
    pub ethernet: Ethernet,
    /// Whether ports can be published.
    pub publishes: bool,
}

/// One kind of network. Blocking; every call is made on a thread in the host's network namespace.
pub(crate) trait Driver: Debug + Send + Sync {
    /// What the registry has to know.
    fn traits(&self, network: &NetworkSpec) -> Traits;

    /// Refuses options that it does not understand, and fills in defaults; touches nothing.
    fn check(&self, spec: &mut NetworkSpec) -> Result<()>;

    /// Makes what the network needs in the host, or finds it there and completes it.
    fn create(&self, network: &DriverNetwork) -> Result<()>;

    /// Finds what [`create`](Self::create) made before the daemon was started, and completes it.
    ///
    /// To be called instead of `create` for every record at daemon start. Drivers whose networks
    /// are kept by others do nothing: they may not be there yet.
    fn restore(&self, network: &DriverNetwork) -> Result<()> {
        self.create(network)
    }

    /// Removes what [`create`](Self::create) made; what is gone already is no error.
    fn remove(&self, network: &DriverNetwork) -> Result<()>;

    /// Makes an interface in the namespace; addresses, routes and `up` are the caller's business.
    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<Joined>;

    /// Takes the interface away from a namespace that goes on, or forgets one that is gone (`None`).
    fn leave(
        &self,
        network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()>;

    /// Waits until an interface that is up passes packets.
    fn await_ready(&self, _network: &DriverNetwork, _host_interface: &str) -> Result<()> {
        Ok(())
    }

    /// Whether a gateway address is set aside where the definition names none.
    fn has_gateway(&self, network: &NetworkSpec) -> bool;

    /// Whether no IPv4 and no IPv6 address is to be set aside for a gateway that nobody named.
    fn skips_gateways(&self, network: &NetworkSpec) -> Result<(bool, bool)> {
        let _ = network;
        Ok((false, false))
    }

    /// Publishes ports of the endpoint that is the container's way out, where
    /// [`Traits::publishes`] says that nobody else does; tells which are published.
    fn program(
        &self,
        network: &DriverNetwork,
        endpoint: &Endpoint,
        ports: &[PortRequest],
    ) -> Result<Vec<PublishedPort>> {
        let _ = (network, endpoint, ports);
        Ok(Vec::new())
    }

    /// Withdraws what [`program`](Self::program) published.
    fn revoke(&self, network: &DriverNetwork, endpoint: &Endpoint) -> Result<()> {
        let _ = (network, endpoint);
        Ok(())
    }

    /// Forgets endpoints of a network that are not among the living ones, and looks after those (with
    /// their namespaces); once at daemon start.
    fn settle(&self, network: &DriverNetwork, live: &[(EndpointId, Option<BorrowedFd<'_>>)]) {
        let _ = (network, live);
    }
}

impl DriverNetwork {
    /// The pool of dynamic IPv4 addresses.
    pub(crate) fn pool4(&self) -> Option<Ipv4Net> {
        let subnets = self.spec.ipam.pools.iter().filter_map(|pool| pool.subnet);
        subnets.filter_map(|net| net.v4()).next()
    }

    /// The pool of dynamic IPv6 addresses.
    pub(crate) fn pool6(&self) -> Option<Ipv6Net> {
        let subnets = self.spec.ipam.pools.iter().filter_map(|pool| pool.subnet);
        subnets.filter_map(|net| net.v6()).next()
    }

    /// The gateway of the subnet that an address is in.
    pub(crate) fn gateway_of(&self, address: std::net::IpAddr) -> Option<std::net::IpAddr> {
        let mut pools = self.spec.ipam.pools.iter();
        let of = |pool: &&crate::PoolSpec| pool.subnet.is_some_and(|net| net.contains(address));
        pools.find(of)?.gateway
    }

    /// The IPv4 gateway with the prefix length of its subnet.
    pub(crate) fn gateway4(&self) -> Option<Ipv4Net> {
        self.gateways().find_map(|net| net.v4())
    }

    /// The IPv6 gateway with the prefix length of its subnet.
    pub(crate) fn gateway6(&self) -> Option<Ipv6Net> {
        self.gateways().find_map(|net| net.v6())
    }

    /// The id that an address plugin gave the pool of an address.
    pub(crate) fn pool_id(&self, address: std::net::IpAddr) -> Option<&str> {
        let mut pools = self.spec.ipam.pools.iter();
        let of = |pool: &&crate::PoolSpec| pool.subnet.is_some_and(|net| net.contains(address));
        pools.find(of)?.pool_id.as_deref()
    }

    fn gateways(&self) -> impl Iterator<Item = IpNet> {
        self.spec
            .ipam
            .pools
            .iter()
            .filter_map(|pool| IpNet::new(pool.gateway?, pool.subnet?.prefix()).ok())
    }
}
