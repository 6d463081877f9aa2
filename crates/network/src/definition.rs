//! A network as its user defines it: what `create` takes, what the record keeps, what readers see.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use spec::id::{ContainerId, NetworkId};
use spec::time::Timestamp;

use crate::{EndpointId, IpNet, Ipv4Net, Ipv6Net, MacAddress};

/// The definition of a network; filled in (subnets, gateways, defaults) once it is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Docker's")]
pub struct NetworkSpec {
    /// Name, unique among the networks of a daemon.
    pub name: String,
    /// `bridge`, `macvlan`, `ipvlan`, `host`, `null`, or the name of a plugin; empty means `bridge`.
    #[serde(default)]
    pub driver: String,
    /// `local`; empty means that.
    #[serde(default)]
    pub scope: String,
    /// No way out of the host, none in.
    #[serde(default)]
    pub internal: bool,
    /// Kept and shown, without effect outside a swarm.
    #[serde(default)]
    pub attachable: bool,
    /// Whether its endpoints get IPv4 addresses.
    #[serde(default = "yes")]
    pub enable_ipv4: bool,
    /// Whether its endpoints get IPv6 addresses.
    #[serde(default)]
    pub enable_ipv6: bool,
    /// Where addresses come from.
    #[serde(default)]
    pub ipam: IpamSpec,
    /// Options of the driver.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// It is no network but settings for others to take over (`--config-only`).
    #[serde(default)]
    pub config_only: bool,
    /// The network whose settings it took over (`--config-from`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_from: Option<String>,
}

fn yes() -> bool {
    true
}

impl NetworkSpec {
    /// A bridge network with IPv4 and nothing else said.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            driver: "bridge".to_owned(),
            scope: "local".to_owned(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: IpamSpec::default(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            config_only: false,
            config_from: None,
        }
    }
}

/// Where the addresses of a network come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamSpec {
    /// `default`, `null`, or the name of a plugin; empty means `default`.
    #[serde(default)]
    pub driver: String,
    /// Options of the address driver.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Subnets, in the order given; at most one of a family is used for dynamic addresses.
    #[serde(default)]
    pub pools: Vec<PoolSpec>,
}

/// One subnet of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The subnet; `None` asks for one from the default pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<IpNet>,
    /// Dynamic addresses come from this part alone (`--ip-range`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IpNet>,
    /// The gateway; `None` takes the first address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Addresses of others in the subnet, by name (`--aux-address`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aux: BTreeMap<String, IpAddr>,
    /// What a plugin for addresses calls the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_id: Option<String>,
    /// The subnet was chosen from the default pools: no certain address may be asked for in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

/// One subnet as a client writes it, before it is known to be one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolText {
    /// `10.0.0.0/24`.
    pub subnet: String,
    /// `10.0.0.128/25`, or empty.
    pub range: String,
    /// `10.0.0.1`, or empty.
    pub gateway: String,
    /// Addresses of others, by name.
    pub aux: BTreeMap<String, String>,
}

/// A network that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: NetworkId,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A network and its endpoints at one moment.
#[derive(Debug, Clone)]
pub struct Description {
    /// Id of the network.
    pub id: NetworkId,
    /// Its definition with the pools that Docker shows: a gateway only where one was named or the
    /// subnet was chosen.
    pub spec: NetworkSpec,
    /// The pools in use, gateways filled in.
    pub pools: Vec<PoolSpec>,
    /// When it was made.
    pub created: Timestamp,
    /// The attached containers, in order of their ids.
    pub endpoints: Vec<EndpointDescription>,
    /// What the driver or the address driver reports.
    pub status: BTreeMap<String, String>,
    /// Whether it is one of `bridge`, `host` and `none`, which cannot be removed.
    pub predefined: bool,
}

/// One endpoint's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointDescription {
    /// The container.
    pub container: ContainerId,
    /// Id of the endpoint.
    pub endpoint_id: EndpointId,
    /// The Ethernet address, if it has one.
    pub mac: Option<MacAddress>,
    /// The IPv4 address with the subnet's prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// The IPv6 address with the subnet's prefix length.
    pub ipv6: Option<Ipv6Net>,
}
