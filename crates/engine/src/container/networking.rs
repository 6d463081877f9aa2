//! A container's networks: what the user asked for and what it has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::PortBinding;

/// What a user asks of a container's place in one network; kept in the container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSettings {
    /// Addresses wanted; `None` where none were mentioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam: Option<EndpointIpam>,
    /// Links within this network, `container:alias`; `None` where none were mentioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<String>>,
    /// Further names within this network; `None` where none were mentioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<String>>,
    /// MAC address; empty for the derived one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Options of the driver; `None` where none were mentioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// The network with the highest gives the default route.
    #[serde(skip_serializing_if = "is_zero")]
    pub gateway_priority: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Addresses wanted of a network, as the user wrote them; empty is any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointIpam {
    /// IPv4.
    pub ipv4: String,
    /// IPv6.
    pub ipv6: String,
    /// Addresses besides, on the link only.
    pub link_local: Vec<String>,
}

/// The networks of a container as inspect shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networking {
    /// Identity of the sandbox; empty while it does not run.
    pub sandbox_id: String,
    /// Path-like name of the sandbox; empty while it does not run.
    pub sandbox_key: String,
    /// Ports by `80/tcp`: where each is published, or `None` where it is only exposed. Empty while
    /// the container does not run.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Its place in each network, by the network's name.
    pub endpoints: BTreeMap<String, EndpointView>,
}

/// A container's place in one network; all but settings and names is empty while it does not run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointView {
    /// What the user asked for, shown again by inspect.
    pub settings: EndpointSettings,
    /// Identity of the network; empty until the container has run or is connected.
    pub network_id: String,
    /// Identity of the endpoint.
    pub endpoint_id: String,
    /// MAC address.
    pub mac: String,
    /// IPv4 address.
    pub address: String,
    /// Prefix length of the IPv4 subnet; 0 without address.
    pub prefix_len: u8,
    /// IPv4 gateway.
    pub gateway: String,
    /// Global IPv6 address.
    pub address6: String,
    /// Prefix length of the IPv6 subnet; 0 without address.
    pub prefix_len6: u8,
    /// IPv6 gateway.
    pub gateway6: String,
    /// Names under which it is found in this network; `None` on networks without names.
    pub dns_names: Option<Vec<String>>,
}

impl Networking {
    /// The network by whose name the whole container is described in the legacy fields: the default
    /// bridge.
    pub fn default_bridge(&self) -> Option<&EndpointView> {
        self.endpoints.get("bridge")
    }
}
