//! What the firewall is told: networks, published ports, links.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use spec::id::{ContainerId, NetworkId};

use crate::{Error, Ipv4Net, Ipv6Net, Protocol, Result};

/// How containers of a network are reached from outside (`…gateway_mode_ipv4`, `…_ipv6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum GatewayMode {
    /// Published ports are translated; nothing else comes in.
    #[default]
    Nat,
    /// Published ports are translated; everything else comes in as well.
    NatUnprotected,
    /// Published ports are reached at the container's own address; nothing is translated.
    Routed,
    /// Nothing comes in or goes out, not even to the host.
    Isolated,
}

impl FromStr for GatewayMode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "nat" => Ok(Self::Nat),
            "nat-unprotected" => Ok(Self::NatUnprotected),
            "routed" => Ok(Self::Routed),
            "isolated" => Ok(Self::Isolated),
            _ => Err(Error::InvalidConfig {
                rule: format!("unknown gateway mode {text}"),
            }),
        }
    }
}

/// What the firewall has to know of a bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    pub id: NetworkId,
    pub bridge: String,
    /// Its IPv4 subnet, host bits or not.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 subnet, host bits or not.
    pub ipv6: Option<Ipv6Net>,
    /// Whether containers reach others under the host's address.
    pub masquerade: bool,
    /// The address to be used for that, instead of the outgoing interface's.
    pub host_ipv4: Option<Ipv4Addr>,
    /// See [`NetworkRules::host_ipv4`].
    pub host_ipv6: Option<Ipv6Addr>,
    /// Whether containers of the network may talk to each other.
    pub inter_container: bool,
    /// No way out of the host, none in.
    pub internal: bool,
    pub gateway_mode4: GatewayMode,
    pub gateway_mode6: GatewayMode,
    /// Interfaces from which published ports are also reached at the container's own address.
    pub trusted: Vec<String>,
}

/// A published port; both sides are of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub network: NetworkId,
    pub protocol: Protocol,
    /// The host's side; all addresses of the host if unspecified.
    pub host: SocketAddr,
    /// The container's side.
    pub container: SocketAddr,
}

/// A port of one container that another may reach where `icc` is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub from: (ContainerId, IpAddr),
    pub to: (ContainerId, IpAddr),
    pub protocol: Protocol,
    pub port: u16,
}
