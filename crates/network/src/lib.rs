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
mod bridge;
mod config;
mod describe;
mod endpoint;
mod error;
mod firewall;
mod kernel;
mod network;
mod record;
mod sandbox;
mod settle;
mod spares;
mod stats;

pub use audit::{Audit, audit};
pub use config::{AddressPool, Ipv4Net, NetworkConfig};
pub use describe::{Description, EndpointDescription};
pub use endpoint::{AttachOptions, Endpoint, EndpointId, MacAddress};
pub use error::Error;
pub use network::Network;
pub use stats::{InterfaceCounters, parse_counters, read_counters};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
