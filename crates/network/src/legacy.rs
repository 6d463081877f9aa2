//! The default network alone, as it was before there were many: goes when its last caller does.

mod addresses;
mod bridge;
mod config;
mod describe;
mod endpoint;
mod firewall;
mod kernel;
mod network;
mod record;
pub(crate) mod sandbox;
mod settle;
mod spares;

pub use config::NetworkConfig;
pub use endpoint::{AttachOptions, Endpoint};
pub use network::Network;
