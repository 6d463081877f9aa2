//! Container networks: the bridge, the firewall table, addresses, and sandboxes (network namespaces).
//!
//! Exists for its dependency budget (D): synchronous, kernel interfaces only through `sys`. Owns the
//! bridge link, one nf_tables table, the addresses of one IPv4 subnet, and the making of network
//! namespaces; knows nothing of container processes. A namespace lives as long as somebody holds its
//! descriptor or runs in it, so there is nothing to unmount and nothing that a crash can leak.
//!
//! ```text
//!  host namespace                                   sandbox (one per container, held by fd)
//!  ┌──────────────────────────────────────┐         ┌──────────────────────┐
//!  │ corten0 172.17.0.1/16 ── cvac110002… ├─ veth ──┤ eth0 172.17.0.2/16   │
//!  │ table ip corten: masquerade, forward │         │ lo, default route    │
//!  └──────────────────────────────────────┘         └──────────────────────┘
//! ```
#![forbid(unsafe_code)]

mod addresses;
mod audit;
mod definition;
mod driver;
mod endpoint;
mod error;
#[allow(dead_code)]
mod firewall;
mod ipam;
mod legacy;
mod nets;
mod networks;
mod pools;
#[allow(dead_code)]
mod ports;
mod record;
mod request;
mod sandbox;
mod settings;
mod stats;

pub use audit::{Audit, audit};
pub use definition::{
    Created, Description, EndpointDescription, IpamSpec, NetworkSpec, PoolSpec, PoolText,
};
pub use driver::DriverFailure;
pub use endpoint::{Endpoint, EndpointId, MacAddress};
pub use error::Error;
pub use legacy::{AttachOptions, Endpoint as LegacyEndpoint, Network, NetworkConfig};
pub use nets::{IpNet, Ipv4Net, Ipv6Net};
pub use networks::{Networks, check_endpoint_options};
pub use pools::AddressPool;
pub use request::{
    EndpointRequest, LiveSandbox, Lost, PortRequest, Protocol, PublishedPort, Sandbox,
    SandboxRequest,
};
pub use settings::{DEFAULT_SPARES, DefaultBridge, FirewallMode, Settings};
pub use stats::{InterfaceCounters, parse_counters, read_counters};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
