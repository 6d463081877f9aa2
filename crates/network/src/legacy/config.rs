//! The settings of the default network.

use std::path::PathBuf;

use crate::settings::DEFAULT_SPARES;
use crate::{AddressPool, Ipv4Net};

/// What [`Network::open`](crate::Network::open) needs to know.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Directory for `network.json`; created when absent.
    pub state_dir: PathBuf,
    /// Name of the bridge interface, at most 15 bytes; one per data root.
    pub bridge: String,
    /// Name of the nf_tables table; one per data root.
    pub nft_table: String,
    /// Address and prefix of the bridge (`--bip`); otherwise the first free subnet of the pools.
    pub bip: Option<Ipv4Net>,
    /// Restricts container addresses to this part of the subnet (`--fixed-cidr`).
    pub fixed_cidr: Option<Ipv4Net>,
    /// Pools to take the subnet from (`--default-address-pool`).
    pub pools: Vec<AddressPool>,
    /// MTU of the bridge and the container interfaces (`--mtu`); 0 means 1500.
    pub mtu: u32,
    /// Whether containers reach other networks under the host's address (`--ip-masq`).
    pub masquerade: bool,
    /// Whether containers may talk to each other (`--icc`).
    pub inter_container: bool,
    /// Whether `net.ipv4.ip_forward` is switched on when it is off (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether the firewall table is made at all (`--iptables`).
    pub firewall: bool,
    /// How many sandboxes are kept ready; 0 disables the background thread.
    pub spares: usize,
}


impl NetworkConfig {
    /// Makes a configuration with Docker's defaults for everything else.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        bridge: impl Into<String>,
        nft_table: impl Into<String>,
    ) -> Self {
        Self {
            state_dir: state_dir.into(),
            bridge: bridge.into(),
            nft_table: nft_table.into(),
            bip: None,
            fixed_cidr: None,
            pools: AddressPool::defaults(),
            mtu: 0,
            masquerade: true,
            inter_container: true,
            ip_forward: true,
            firewall: true,
            spares: DEFAULT_SPARES,
        }
    }
}
