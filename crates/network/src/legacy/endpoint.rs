//! An endpoint of the default network.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use spec::id::NetworkId;

use crate::{EndpointId, MacAddress};

/// What a container may ask of its endpoint; everything is optional.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// A certain address (`--ip`) instead of the next free one.
    pub address: Option<Ipv4Addr>,
    /// A certain Ethernet address (`--mac-address`) instead of the derived one.
    pub mac: Option<MacAddress>,
}

/// A container's place in the network, and the namespace that holds its end.
///
/// Dropping `netns` without a process in it destroys the interface; the address stays reserved
/// until [`Network::detach`](crate::Network::detach).
#[derive(Debug)]
pub struct Endpoint {
    /// The sandbox: `lo` and `interface` are up, addressed and routed.
    pub netns: OwnedFd,
    /// Name of the interface inside (`eth0`).
    pub interface: String,
    /// Name of the other end in the host's namespace.
    pub host_interface: String,
    /// The IPv4 address.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// The bridge's address, which is the default route.
    pub gateway: Ipv4Addr,
    /// The Ethernet address.
    pub mac: MacAddress,
    /// Id of the endpoint.
    pub endpoint_id: EndpointId,
    /// Id of the network.
    pub network_id: NetworkId,
}
