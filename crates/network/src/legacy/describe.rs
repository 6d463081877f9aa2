//! The network as `docker network inspect` shows it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use spec::id::{ContainerId, NetworkId};
use spec::time::Timestamp;

use crate::{EndpointId, Ipv4Net, MacAddress};

/// A network's facts and its endpoints at one moment.
#[derive(Debug, Clone)]
pub struct Description {
    /// Id of the network; the same as long as the state directory lives.
    pub id: NetworkId,
    /// Name of the network (`bridge`).
    pub name: String,
    /// Driver (`bridge`).
    pub driver: String,
    /// When the network was made first.
    pub created: Timestamp,
    /// The subnet, without host bits.
    pub subnet: Ipv4Net,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// Docker's driver options (`com.docker.network.…`).
    pub options: BTreeMap<String, String>,
    /// The attached containers, in order of their ids.
    pub endpoints: Vec<EndpointDescription>,
}

/// One endpoint's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointDescription {
    /// The container.
    pub container: ContainerId,
    /// Id of the endpoint.
    pub endpoint_id: EndpointId,
    /// The Ethernet address.
    pub mac: MacAddress,
    /// The address with the subnet's prefix length.
    pub address: Ipv4Net,
}
