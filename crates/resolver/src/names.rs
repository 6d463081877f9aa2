//! What the name server is told: networks with the names in them, and sandboxes that ask.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// A network and everybody in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkNames {
    /// Identity of the network.
    pub id: String,
    /// Its name; `web.NAME` is `web` in this network.
    pub name: String,
    /// Endpoints by an identity of the caller's choice.
    pub members: BTreeMap<String, Member>,
}

/// An endpoint of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// All its names; the first is the answer to reverse lookups.
    pub names: Vec<String>,
    /// Its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
}

/// A sandbox: what its processes can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxNames {
    /// Identity of the sandbox (of its container).
    pub id: String,
    /// Its networks in the order they are searched.
    pub networks: Vec<Joined>,
    /// Who is asked about all other names.
    pub upstreams: Upstreams,
    /// `ndots` was set by somebody: names without a dot are not forwarded.
    pub ndots_set: bool,
    /// Whether the host's name servers may be asked; not for sandboxes in internal networks only.
    pub forward: bool,
}

/// A network that a sandbox is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Joined {
    /// Identity of the network.
    pub network: String,
    /// Other names that this sandbox alone has for members: alias, then name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}

/// Name servers for what is not a name of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upstreams {
    /// Those of the host's `/etc/resolv.conf`, as it is at the time; asked from the host's namespace.
    Host,
    /// These, asked from the container's namespace.
    Own(Vec<IpAddr>),
}
