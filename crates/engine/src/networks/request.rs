//! What callers say to [`super::Networks`] and what they get back.

use std::collections::BTreeMap;

use spec::Timestamp;

/// A network to be made.
#[derive(Debug, Clone, Default)]
pub struct NetworkCreate {
    /// Its name.
    pub name: String,
    /// Its driver; empty for `bridge`.
    pub driver: String,
    /// `local` or empty; other scopes need a swarm.
    pub scope: String,
    /// Whether it has IPv4; `None` is the driver's default.
    pub enable_ipv4: Option<bool>,
    /// Whether it has IPv6; `None` is the driver's default.
    pub enable_ipv6: Option<bool>,
    /// Nothing goes out of it or comes in.
    pub internal: bool,
    /// Kept and shown.
    pub attachable: bool,
    /// Refused: it needs a swarm.
    pub ingress: bool,
    /// It only holds settings for others.
    pub config_only: bool,
    /// Name of the network whose settings it takes.
    pub config_from: Option<String>,
    /// Addresses; `None` is the default.
    pub ipam: Option<IpamCreate>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Where a network's addresses come from, as the user writes it.
#[derive(Debug, Clone, Default)]
pub struct IpamCreate {
    /// Empty for `default`.
    pub driver: String,
    /// Its options; `None` where none were given.
    pub options: Option<BTreeMap<String, String>>,
    /// Pools, in order.
    pub pools: Vec<PoolCreate>,
}

/// A pool of addresses, as the user writes it; empty texts are left to the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolCreate {
    /// `10.1.0.0/16`.
    pub subnet: String,
    /// Part of it from which addresses are given out.
    pub range: String,
    /// Address of the gateway.
    pub gateway: String,
    /// Addresses that are not given out, by name.
    pub aux: BTreeMap<String, String>,
}

/// A network that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCreated {
    /// 64 hex digits.
    pub id: String,
    /// What was accepted but is not done; empty where there is nothing to say.
    pub warning: String,
}

/// A network as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// 64 hex digits.
    pub id: String,
    /// `bridge`, `host`, `none`, or the user's.
    pub name: String,
    /// `bridge`, `host`, `null`, `macvlan`, ….
    pub driver: String,
    /// `local`.
    pub scope: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it has IPv4.
    pub enable_ipv4: bool,
    /// Whether it has IPv6.
    pub enable_ipv6: bool,
    /// Nothing goes out of it or comes in.
    pub internal: bool,
    /// As asked for.
    pub attachable: bool,
    /// It only holds settings for others.
    pub config_only: bool,
    /// Name of the network whose settings it took; empty if none.
    pub config_from: String,
    /// Addresses.
    pub ipam: IpamView,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Containers in it, by id; empty in lists.
    pub containers: BTreeMap<String, NetworkMember>,
}

/// Where a network's addresses come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpamView {
    /// `default`, `null`, or another driver.
    pub driver: String,
    /// Its options; `None` is shown as null.
    pub options: Option<BTreeMap<String, String>>,
    /// Pools, in order; texts, empty where there is nothing.
    pub pools: Vec<PoolView>,
}

/// A pool of addresses of a network.
pub type PoolView = PoolCreate;

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMember {
    /// Its name.
    pub name: String,
    /// Identity of its endpoint.
    pub endpoint_id: String,
    /// MAC address.
    pub mac: String,
    /// IPv4 address with prefix length; empty if none.
    pub ipv4: String,
    /// IPv6 address with prefix length; empty if none.
    pub ipv6: String,
}

/// How to look at a network.
#[derive(Debug, Clone, Default)]
pub struct InspectNetwork {
    /// With swarm services, of which there are none.
    pub verbose: bool,
    /// Only of this scope; empty is any.
    pub scope: String,
}
