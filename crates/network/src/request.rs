//! What a container asks of its networks, and the ports it publishes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use spec::id::{ContainerId, NetworkId};

use crate::{Endpoint, Error, MacAddress};

/// Everything a container needs of the network before its process can be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxRequest {
    /// Its networks in the order in which they become `eth0`, `eth1`, …; none at all means `lo` alone.
    pub endpoints: Vec<EndpointRequest>,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
    /// Host name of the container.
    pub hostname: String,
    /// Name of the container, for the texts of errors.
    pub name: String,
}

/// What a container wants of one network; everything but the network is optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRequest {
    /// The network.
    pub network: NetworkId,
    /// A certain IPv4 address (`--ip`) instead of the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// A certain IPv6 address (`--ip6`).
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses of the interface (`--link-local-ip`).
    pub link_local: Vec<IpAddr>,
    /// A certain Ethernet address (`--mac-address`) instead of the derived one.
    pub mac: Option<MacAddress>,
    /// `com.docker.network.endpoint.{ifname,sysctls}` and options of the driver.
    pub options: BTreeMap<String, String>,
    /// Whose gateway becomes the default route: the highest.
    pub gateway_priority: i64,
}

impl EndpointRequest {
    /// Asks for a place in a network and nothing more.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            ipv4: None,
            ipv6: None,
            link_local: Vec::new(),
            mac: None,
            options: BTreeMap::new(),
            gateway_priority: 0,
        }
    }
}

/// A network namespace with everything that was asked for.
///
/// Dropping `netns` without a process in it destroys the interfaces; addresses, ports and rules
/// stay until [`Networks::close_sandbox`](crate::Networks::close_sandbox).
#[derive(Debug)]
pub struct Sandbox {
    /// The namespace: `lo` and all interfaces are up, addressed and routed.
    pub netns: OwnedFd,
    /// The endpoints, in the order asked for.
    pub endpoints: Vec<Endpoint>,
    /// The ports as they are published.
    pub ports: Vec<PublishedPort>,
}

/// A container that outlived the previous daemon, as its run directory describes it.
#[derive(Debug)]
pub struct LiveSandbox {
    /// The container.
    pub container: ContainerId,
    /// Its name.
    pub name: String,
    /// Its namespace, if it could be opened (`/proc/PID/ns/net`).
    pub netns: Option<OwnedFd>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Its published ports.
    pub ports: Vec<PublishedPort>,
    /// What is to be published once a network leads out, where none did.
    pub requests: Vec<PortRequest>,
}

/// Something of a living container that could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The container.
    pub container: ContainerId,
    /// What was lost and why.
    pub reason: String,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its name as Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Its number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::InvalidConfig {
                rule: format!("invalid proto: {text}"),
            }),
        }
    }
}

/// A container port to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// The port inside.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address; `None` means the network's default, all of both families if not set.
    pub host_ip: Option<IpAddr>,
    /// First and last of the host's ports to choose from; `None` means an ephemeral one.
    pub host_ports: Option<(u16, u16)>,
}

/// A container port that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port inside.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}
