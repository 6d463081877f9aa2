//! Container networks: definitions, addresses, bridges and other drivers, the firewall, sandboxes.
//!
//! Exists for its dependency budget (D): synchronous, kernel interfaces only through `sys`. Owns the
//! records of networks, their links and tables in the host, and the making of network namespaces;
//! knows nothing of container processes. A namespace lives as long as somebody holds its descriptor
//! or runs in it, so there is nothing to unmount and nothing that a crash can leak.
//!
//! ```text
//!  host namespace                                   sandbox (one per container, held by fd)
//!  ┌──────────────────────────────────────┐         ┌──────────────────────┐
//!  │ corten0 172.17.0.1/16 ── cvac110002… ├─ veth ──┤ eth0 172.17.0.2/16   │
//!  │ br-01…  172.18.0.1/16 ── cvac120002… ├─ veth ──┤ eth1 172.18.0.2/16   │
//!  │ tables ip, ip6 corten                │         │ lo, default routes   │
//!  └──────────────────────────────────────┘         └──────────────────────┘
//!
//!  Networks ─┬─ records (definition, subnets)    ─┐ what is on disk
//!            ├─ state   (who has which address)   │ memory; after a restart from the living
//!            ├─ drivers (bridge, macvlan, …)      │ links
//!            └─ firewall, ports                  ─┘ rules, sockets that keep ports
//! ```
#![forbid(unsafe_code)]

mod addresses;
mod audit;
mod definition;
mod driver;
mod endpoint;
mod error;
mod firewall;
mod ipam;
mod nets;
mod networks;
mod pools;
mod ports;
mod record;
mod request;
mod sandbox;
mod settings;
mod stats;
mod sysfs;

pub use audit::{Audit, audit};
pub use definition::{
    Created, Description, EndpointDescription, IpamSpec, NetworkSpec, PoolSpec, PoolText,
};
pub use driver::DriverFailure;
pub use endpoint::{Endpoint, EndpointId, MacAddress};
pub use error::Error;
pub use nets::{IpNet, Ipv4Net, Ipv6Net};
pub use networks::{Networks, check_endpoint_options};
pub use pools::AddressPool;
pub use relay::client::Settings as RelaySettings;
pub use request::{
    EndpointRequest, LiveSandbox, Lost, PortRequest, Protocol, PublishedPort, Sandbox,
    SandboxRequest,
};
pub use settings::{DEFAULT_SPARES, DefaultBridge, FirewallMode, Settings};
pub use stats::{InterfaceCounters, parse_counters, read_counters};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
