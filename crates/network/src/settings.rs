//! What [`Networks::open`](crate::Networks::open) needs to know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{AddressPool, Ipv4Net, Ipv6Net};

/// How published ports get past the host's firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirewallMode {
    /// They obey the host's input policy.
    #[default]
    Host,
    /// Docker's way: translated before the host's input chains see them.
    Docker,
    /// No rules are made at all (`--iptables=false`).
    Off,
}

/// The default network, `bridge`: Docker's daemon flags.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Docker's")]
pub struct DefaultBridge {
    /// Whether there is one (`--bridge none` says no).
    pub enabled: bool,
    /// Name of the interface, at most 15 bytes (`--bridge`); one per data root.
    pub name: String,
    /// Address and prefix of the bridge (`--bip`); otherwise the first free subnet of the pools.
    pub bip: Option<Ipv4Net>,
    /// Address and prefix of the bridge, IPv6 (`--bip6`).
    pub bip6: Option<Ipv6Net>,
    /// Restricts container addresses to this part of the subnet (`--fixed-cidr`).
    pub fixed_cidr: Option<Ipv4Net>,
    /// The IPv6 subnet (`--fixed-cidr-v6`).
    pub fixed_cidr_v6: Option<Ipv6Net>,
    /// The default route of containers where it is not the bridge (`--default-gateway`).
    pub gateway: Option<std::net::Ipv4Addr>,
    /// See [`DefaultBridge::gateway`] (`--default-gateway-v6`).
    pub gateway_v6: Option<std::net::Ipv6Addr>,
    /// Whether it has IPv6 (`--ipv6`).
    pub ipv6: bool,
    /// MTU of the bridge and the container interfaces (`--mtu`); 0 means 1500.
    pub mtu: u32,
    /// Whether containers reach other networks under the host's address (`--ip-masq`).
    pub masquerade: bool,
    /// Whether containers may talk to each other (`--icc`).
    pub inter_container: bool,
    /// The host's address for ports that name none (`--ip`).
    pub host_binding: Option<std::net::IpAddr>,
}

/// Settings of all networks of a daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory for the records; created when absent.
    pub state_dir: PathBuf,
    /// Directory for what a reboot may forget.
    pub run_dir: PathBuf,
    /// The default network.
    pub default_bridge: DefaultBridge,
    /// Pools to take subnets from (`--default-address-pool`), of both families.
    pub pools: Vec<AddressPool>,
    /// Name of the nf_tables tables; one per data root.
    pub nft_table: String,
    /// How published ports get past the host's firewall.
    pub firewall: FirewallMode,
    /// Whether IPv6 rules are made (`--ip6tables`).
    pub firewall6: bool,
    /// Whether forwarding is switched on where it is off (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether `FORWARD` keeps its policy when forwarding is switched on (`--ip-forward-no-drop`).
    pub ip_forward_no_drop: bool,
    /// What the names of bridges begin with, followed by 12 digits of the network's id.
    pub bridge_prefix: String,
    /// Options of every new network by driver (`--default-network-opt`).
    pub default_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Directories with sockets and spec files of plugins.
    pub plugin_dirs: Vec<PathBuf>,
    /// Directory of CNI configurations; `None` means there is none.
    pub cni_config_dir: Option<PathBuf>,
    /// Directories of CNI programs.
    pub cni_bin_dirs: Vec<PathBuf>,
    /// Where the relay is, which connects IPv6 clients with containers that have IPv4 alone.
    pub relay: Option<relay::client::Settings>,
    /// Whether ports are published by it (`--userland-proxy`); those that are, stay.
    pub userland_proxy: bool,
    /// How many sandboxes are kept ready for the default network; 0 disables the background thread.
    pub spares: usize,
}

/// Spare sandboxes kept by default: a burst of four starts costs about 2.6 MB of kernel memory.
pub const DEFAULT_SPARES: usize = 4;

impl Settings {
    /// Makes settings with Docker's defaults for everything else.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
        bridge: impl Into<String>,
        nft_table: impl Into<String>,
    ) -> Self {
        Self {
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            default_bridge: DefaultBridge {
                enabled: true,
                name: bridge.into(),
                bip: None,
                bip6: None,
                fixed_cidr: None,
                fixed_cidr_v6: None,
                gateway: None,
                gateway_v6: None,
                ipv6: false,
                mtu: 0,
                masquerade: true,
                inter_container: true,
                host_binding: None,
            },
            pools: AddressPool::defaults(),
            nft_table: nft_table.into(),
            firewall: FirewallMode::default(),
            firewall6: true,
            ip_forward: true,
            ip_forward_no_drop: false,
            bridge_prefix: "br-".to_owned(),
            default_options: BTreeMap::new(),
            plugin_dirs: Vec::new(),
            cni_config_dir: None,
            cni_bin_dirs: Vec::new(),
            relay: None,
            userland_proxy: true,
            spares: DEFAULT_SPARES,
        }
    }
}
