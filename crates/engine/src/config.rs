//! What an engine is told when it is opened.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use store::Floor;

use crate::container::LogConfig;

/// Settings of an engine; they do not change while it is open.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where containers' records, layers and logs are kept (`/var/lib/corten`).
    pub data_root: PathBuf,
    /// Where the state of running containers is kept (`/run/corten`); a tmpfs.
    pub exec_root: PathBuf,
    /// The `corten-shim` binary.
    pub shim_path: PathBuf,
    /// The `corten-init` binary, for `--init`.
    pub init_path: PathBuf,
    /// Control group under which containers' groups are made; `None` derives it from `data_root`.
    pub cgroup_parent: Option<String>,
    /// Name of the default bridge; `None` derives it from `data_root`, `Some("none")` means no bridge.
    pub bridge: Option<String>,
    /// Address and subnet of the default bridge, `172.17.0.1/16`.
    pub bip: Option<String>,
    /// Pools from which subnets are taken: base and size of each subnet.
    pub address_pools: Vec<AddressPool>,
    /// MTU of the default bridge.
    pub mtu: Option<u32>,
    /// Whether masquerading and forwarding rules are made.
    pub firewall: bool,
    /// Whether containers on the default bridge reach each other.
    pub inter_container: bool,
    /// Everything else about networks.
    pub network: NetworkDefaults,
    /// Storage driver asked for; `None` means the best one.
    pub storage_driver: Option<String>,
    /// Log driver and options of containers that name none.
    pub log: LogConfig,
    /// Name servers, search domains and resolver options of containers that name none.
    pub dns: Vec<String>,
    /// See [`EngineConfig::dns`].
    pub dns_search: Vec<String>,
    /// See [`EngineConfig::dns`].
    pub dns_options: Vec<String>,
    /// Labels of this daemon, `key=value`.
    pub labels: Vec<String>,
    /// Runtimes by name with the path of each; the built-in one is always there as `corten`.
    pub runtimes: BTreeMap<String, String>,
    /// Runtime of containers that name none.
    pub default_runtime: String,
    /// Give every container an init process unless it says otherwise.
    pub init: bool,
    /// Default hard and soft limits by name.
    pub ulimits: Vec<crate::container::Ulimit>,
    /// Size of /dev/shm where a container names none; 0 means 64 MiB.
    pub default_shm_size: i64,
    /// Set `no_new_privileges` by default.
    pub no_new_privileges: bool,
    /// Seconds a container has to stop when a container names none.
    pub stop_timeout: u64,
    /// Version text of the product.
    pub version: String,
    /// Commit the product was built from.
    pub commit: String,
    /// Directories with sockets and spec files of volume plugins, in order.
    pub volume_plugin_dirs: Vec<PathBuf>,
    /// Registries and collection as the engine is opened; later changes go through
    /// [`crate::images::Images::reload`].
    pub images: ImagesConfig,
    /// Whether the daemon logs at debug level, reported by info.
    pub debug: bool,
    /// Whether experimental features are on, reported by info.
    pub experimental: bool,
}

/// Settings of networks; names are those of Docker's options.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Docker's")]
pub struct NetworkDefaults {
    /// Address and subnet of the default bridge, IPv6 (`--bip6`).
    pub bip6: Option<String>,
    /// Part of the default bridge's subnet that containers get addresses of (`--fixed-cidr`).
    pub fixed_cidr: Option<String>,
    /// The default bridge's IPv6 subnet (`--fixed-cidr-v6`).
    pub fixed_cidr6: Option<String>,
    /// Default route on the default bridge where it is not the bridge (`--default-gateway`).
    pub default_gateway: Option<String>,
    /// See [`NetworkDefaults::default_gateway`] (`--default-gateway-v6`).
    pub default_gateway6: Option<String>,
    /// Whether the default bridge has IPv6 (`--ipv6`).
    pub ipv6: bool,
    /// Whether IPv6 rules are made (`--ip6tables`).
    pub ip6tables: bool,
    /// Whether containers of the default bridge go out under the host's address (`--ip-masq`).
    pub ip_masquerade: bool,
    /// Whether forwarding is switched on where it is off (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether `FORWARD` keeps its policy then (`--ip-forward-no-drop`).
    pub ip_forward_no_drop: bool,
    /// The host's address for ports that name none (`--ip`); `None` is all.
    pub default_bind_address: Option<IpAddr>,
    /// Whether ports lead from the host's IPv6 addresses to containers with IPv4 alone
    /// (`--userland-proxy`).
    pub userland_proxy: bool,
    /// Whether other hosts may use containers' own addresses (`--allow-direct-routing`).
    pub allow_direct_routing: bool,
    /// Options of every new network, by driver (`--default-network-opt`).
    pub default_network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// What `host-gateway` stands for; empty is the default bridge (`--host-gateway-ip`).
    pub host_gateway_ips: Vec<IpAddr>,
    /// How published ports get past the host's firewall.
    pub firewall_mode: FirewallMode,
    /// Directories with sockets and spec files of network plugins, in order.
    pub plugin_dirs: Vec<PathBuf>,
    /// Directory of CNI configurations; `None` means there is none.
    pub cni_config_dir: Option<PathBuf>,
    /// Directories of CNI programs.
    pub cni_bin_dirs: Vec<PathBuf>,
}

/// How published ports get past the host's firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirewallMode {
    /// They obey the host's input policy.
    #[default]
    Host,
    /// Docker's way: translated before the host's input chains see them.
    Docker,
}

impl Default for NetworkDefaults {
    fn default() -> Self {
        Self {
            bip6: None,
            fixed_cidr: None,
            fixed_cidr6: None,
            default_gateway: None,
            default_gateway6: None,
            ipv6: false,
            ip6tables: true,
            ip_masquerade: true,
            ip_forward: true,
            ip_forward_no_drop: false,
            default_bind_address: None,
            userland_proxy: true,
            allow_direct_routing: false,
            default_network_options: BTreeMap::new(),
            host_gateway_ips: Vec::new(),
            firewall_mode: FirewallMode::Host,
            plugin_dirs: [
                "/run/docker/plugins",
                "/etc/docker/plugins",
                "/usr/lib/docker/plugins",
            ]
            .map(PathBuf::from)
            .to_vec(),
            cni_config_dir: None,
            cni_bin_dirs: vec![PathBuf::from("/opt/cni/bin")],
        }
    }
}

/// Where images come from and when what nobody needs goes; may change while the engine is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesConfig {
    /// Mirrors of Docker Hub, URLs in order.
    pub registry_mirrors: Vec<String>,
    /// Registries without TLS or with any certificate: `host[:port]` or CIDR. Loopback always is.
    pub insecure_registries: Vec<String>,
    /// Registries that "foreign" layers are pushed to: `host[:port]`.
    pub allow_nondistributable: Vec<String>,
    /// Directories with a directory per registry of certificates and `hosts.toml`.
    pub certs_dirs: Vec<PathBuf>,
    /// Proxies of the daemon, as the environment variables of the same names.
    pub http_proxy: String,
    /// See [`ImagesConfig::http_proxy`].
    pub https_proxy: String,
    /// See [`ImagesConfig::http_proxy`].
    pub no_proxy: String,
    /// Layers downloaded at once.
    pub max_concurrent_downloads: usize,
    /// Layers uploaded at once.
    pub max_concurrent_uploads: usize,
    /// Attempts at a layer before a pull fails.
    pub max_download_attempts: u32,
    /// The background collection.
    pub gc: GcConfig,
    /// What becomes of the compressed layers after a pull.
    pub layer_blobs: LayerBlobs,
}

/// The background collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// How often.
    pub interval: Duration,
    /// How long what nothing refers to is kept.
    pub unreferenced_age: Duration,
    /// How long an interrupted download is kept.
    pub partial_age: Duration,
    /// Space that is kept free on the store's disk by removing what nothing refers to earlier.
    pub floor: store::Floor,
}

/// What becomes of the compressed bytes of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerBlobs {
    /// Dropped where they can be made again byte for byte, else kept.
    #[default]
    Auto,
    /// Kept.
    Keep,
    /// Dropped.
    Drop,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        Self {
            registry_mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            allow_nondistributable: Vec::new(),
            certs_dirs: ["/etc/docker/certs.d", "/etc/corten/certs.d"]
                .map(PathBuf::from)
                .to_vec(),
            http_proxy: String::new(),
            https_proxy: String::new(),
            no_proxy: String::new(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            max_download_attempts: 5,
            gc: GcConfig::default(),
            layer_blobs: LayerBlobs::Auto,
        }
    }
}

impl Default for GcConfig {
    fn default() -> Self {
        let policy = store::Policy::default();
        Self {
            enabled: true,
            interval: Duration::from_secs(10 * 60),
            unreferenced_age: policy.unreferenced_age,
            partial_age: policy.partial_age,
            floor: policy.floor,
        }
    }
}

/// A range from which subnets of one size are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    /// `172.17.0.0/12`.
    pub base: String,
    /// Prefix length of each subnet.
    pub size: u8,
}

impl EngineConfig {
    /// The settings of a default daemon on these roots.
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> Self {
        Self {
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            shim_path: PathBuf::from("corten-shim"),
            init_path: PathBuf::from("corten-init"),
            cgroup_parent: None,
            bridge: None,
            bip: None,
            address_pools: Vec::new(),
            mtu: None,
            firewall: true,
            inter_container: true,
            network: NetworkDefaults::default(),
            storage_driver: None,
            log: LogConfig::default(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            labels: Vec::new(),
            runtimes: BTreeMap::new(),
            default_runtime: "corten".to_owned(),
            init: false,
            ulimits: Vec::new(),
            default_shm_size: 0,
            no_new_privileges: false,
            stop_timeout: 10,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: String::new(),
            volume_plugin_dirs: [
                "/run/docker/plugins",
                "/etc/docker/plugins",
                "/usr/lib/docker/plugins",
            ]
            .map(PathBuf::from)
            .to_vec(),
            images: ImagesConfig::default(),
            debug: false,
            experimental: false,
        }
    }
}
