//! The engine: its services, built once.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use spec::Digest;
use store::Store;
use sys::cgroup::Cgroups;

use crate::blocking::Blocking;
use crate::config::{EngineConfig, FirewallMode};
use crate::containers::{Containers, Layers, Shared, StopOptions};
use crate::events::Events;
use crate::execs::{ExecTable, Execs};
use crate::images::{Hub, Images};
use crate::names::Names;
use crate::networks::Networks;
use crate::shim_client::Zygote;
use crate::system::System;
use crate::volumes::Volumes;
use crate::{Error, Result, oci};

/// Data root whose names need no suffix.
const DEFAULT_DATA_ROOT: &str = "/var/lib/corten";

/// All services over one data root and one exec root; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: Images,
    /// Additional processes.
    pub execs: Execs,
    /// What happened.
    pub events: Events,
    /// Networks.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// The host and the whole.
    pub system: System,
}

impl Engine {
    /// Opens the roots, takes up what still runs, rolls back what was half made.
    ///
    /// Must be called inside a tokio runtime. When it returns, every container's state is known.
    ///
    /// # Errors
    ///
    /// A root cannot be used, another engine has it open, or a setting is wrong.
    pub async fn open(config: EngineConfig) -> Result<Self> {
        check(&config)?;
        let blocking = Blocking::new();
        let config = Arc::new(config);
        let opened = {
            let config = Arc::clone(&config);
            blocking.heavy(move || open_layers(&config)).await?
        };
        let events = Events::new();
        let zygote = Zygote::start(config.shim_path.clone()).map_err(|source| Error::Task {
            what: "failed to start the spawner".into(),
            source,
        })?;
        let hub = Hub::open(&opened.store, &events, &blocking, &config)?;
        let shared = Arc::new(Shared::new(Layers {
            cgroup_parent: cgroup_parent(&config),
            config,
            store: opened.store,
            network: opened.network,
            names: opened.names,
            volumes: opened.volumes,
            zygote,
            events: events.clone(),
            blocking,
            execs: ExecTable::default(),
            cgroups: opened.cgroups,
            capabilities: opened.capabilities,
        }));
        let containers = Containers::open(shared).await?;
        let images = Images::new(containers.clone(), hub);
        Ok(Self {
            execs: Execs::new(containers.clone()),
            networks: Networks::new(containers.clone()),
            volumes: Volumes::new(containers.clone()),
            system: System::new(containers.clone(), images.clone(), opened.id),
            images,
            containers,
            events,
        })
    }

    /// Ends the driver tasks and the spawner; containers keep running unless they are to be stopped.
    pub async fn shutdown(&self, running: AtShutdown) {
        if running == AtShutdown::Stop {
            let stops = self
                .containers
                .all()
                .into_iter()
                .filter(|c| c.state.running().is_some());
            let stops = stops.map(|c| {
                let containers = self.containers.clone();
                async move {
                    let stopped = containers
                        .stop(&c.id.to_string(), StopOptions::default())
                        .await;
                    if let Err(error) = stopped {
                        let error = spec::error::chain(&error);
                        tracing::warn!(container = %c.id, error, "failed to stop at shutdown");
                    }
                }
            });
            futures_util::future::join_all(stops).await;
        }
        self.images.close().await;
        self.containers.close().await;
    }
}

/// What becomes of running containers when the engine shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtShutdown {
    /// They keep running and are found again.
    KeepRunning,
    /// They are stopped, as for a final tear-down.
    Stop,
}

/// What [`open_layers`] opened.
struct Opened {
    store: Store,
    network: Arc<network::Networks>,
    names: Names,
    volumes: volume::Volumes,
    cgroups: Cgroups,
    capabilities: Vec<String>,
    id: String,
}

/// Reads everything that is stored below a data root and tells what is wrong, a line each.
///
/// Changes nothing but what opening the store does: it sweeps leftovers and puts damaged files aside.
///
/// # Errors
///
/// An engine uses the data root, there is none, or the disk cannot be read.
pub fn fsck(data_root: &Path) -> Result<Vec<String>> {
    let path = data_root.join("store");
    if !path.is_dir() {
        return Err(Error::invalid(format!(
            "there is no store below `{}`",
            data_root.display()
        )));
    }
    let problems = Store::open(&path)?.fsck()?;
    let line = |problem: store::Problem| format!("{}: {}", problem.path.display(), problem.what);
    Ok(problems.into_iter().map(line).collect())
}

fn check(config: &EngineConfig) -> Result<()> {
    for (path, what) in [
        (&config.data_root, "data root"),
        (&config.exec_root, "exec root"),
    ] {
        if !path.is_absolute() {
            return Err(Error::invalid(format!(
                "{what} must be an absolute path: {}",
                path.display()
            )));
        }
    }
    storage_driver(config).map(drop)
}

/// The storage driver that was asked for.
fn storage_driver(config: &EngineConfig) -> Result<Option<store::Driver>> {
    let asked = config.storage_driver.as_deref();
    let asked = asked.filter(|name| !name.is_empty());
    let unknown = |error: store::UnknownDriver| Error::unsupported(error.to_string());
    asked.map(|name| name.parse().map_err(unknown)).transpose()
}

/// Chooses the storage driver of new containers; those that are there keep theirs.
fn choose_driver(store: &Store, config: &EngineConfig) -> Result<()> {
    let choice = store.choose_driver(storage_driver(config)?)?;
    let (driver, reason) = (choice.driver, choice.reason);
    match choice.second_best {
        true => tracing::warn!(%driver, reason, "storage driver chosen"),
        false => tracing::info!(%driver, reason, "storage driver chosen"),
    }
    Ok(())
}

fn open_layers(config: &EngineConfig) -> Result<Opened> {
    for (root, mode) in [(&config.data_root, 0o710), (&config.exec_root, 0o711)] {
        make_dir(root, mode)?;
        make_dir(&root.join("containers"), 0o710)?;
    }
    let store = Store::open(&config.data_root.join("store"))?;
    for problem in store.problems() {
        tracing::error!(path = %problem.path.display(), problem = problem.what, "the store is damaged");
    }
    choose_driver(&store, config)?;
    let plugins = volume::PluginSettings {
        dirs: config.volume_plugin_dirs.clone(),
        ..volume::PluginSettings::default()
    };
    let volumes = volume::Volumes::open_with(&config.data_root.join("volumes"), plugins)?;
    for problem in volumes.problems() {
        tracing::error!(path = %problem.path.display(), problem = problem.what, "a volume is damaged");
    }
    let cgroups = Cgroups::detect().map_err(|source| Error::System {
        what: "failed to find the control groups".to_owned(),
        source,
    })?;
    Ok(Opened {
        store,
        network: Arc::new(network::Networks::open(network_settings(config)?)?),
        names: Names::open(config)?,
        volumes,
        cgroups,
        capabilities: oci::all_capabilities(capability_mask()),
        id: identity(&config.data_root)?,
    })
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|e| Error::io(format!("failed to make `{}`", path.display()), e))
}

/// What distinguishes the names of this engine's bridge, table and groups from another's.
fn suffix(config: &EngineConfig) -> Option<String> {
    let root = config.data_root.as_os_str();
    (root != DEFAULT_DATA_ROOT)
        .then(|| Digest::of(std::os::unix::ffi::OsStrExt::as_bytes(root)).hex()[..8].to_owned())
}

fn cgroup_parent(config: &EngineConfig) -> String {
    match (&config.cgroup_parent, suffix(config)) {
        (Some(own), _) => format!("/{}", own.trim_matches('/')),
        (None, None) => "/corten".to_owned(),
        (None, Some(suffix)) => format!("/corten-{suffix}"),
    }
}

/// What the networks are opened with.
///
/// # Errors
///
/// A setting that is no address or subnet.
fn network_settings(config: &EngineConfig) -> Result<network::Settings> {
    let suffix = suffix(config);
    let bridge = match (config.bridge.as_deref(), &suffix) {
        (Some(own), _) if !own.is_empty() && own != "none" => own.to_owned(),
        (_, None) => "corten0".to_owned(),
        (_, Some(suffix)) => format!("cr-{suffix}"),
    };
    let table = match &suffix {
        None => "corten".to_owned(),
        Some(suffix) => format!("corten-{suffix}"),
    };
    let mut settings = network::Settings::new(
        config.data_root.join("network"),
        config.exec_root.join("network"),
        bridge,
        table,
    );
    let own = &config.network;
    let default = &mut settings.default_bridge;
    default.enabled = config.bridge.as_deref() != Some("none");
    default.bip = parsed(config.bip.as_deref(), "bip")?;
    default.bip6 = parsed(own.bip6.as_deref(), "bip6")?;
    default.fixed_cidr = parsed(own.fixed_cidr.as_deref(), "fixed-cidr")?;
    default.fixed_cidr_v6 = parsed(own.fixed_cidr6.as_deref(), "fixed-cidr-v6")?;
    default.gateway = parsed(own.default_gateway.as_deref(), "default-gateway")?;
    default.gateway_v6 = parsed(own.default_gateway6.as_deref(), "default-gateway-v6")?;
    default.ipv6 = own.ipv6;
    default.mtu = config.mtu.unwrap_or(0);
    default.masquerade = config.firewall && own.ip_masquerade;
    default.inter_container = config.inter_container;
    default.host_binding = own.default_bind_address;
    if !config.address_pools.is_empty() {
        let pool = |pool: &crate::config::AddressPool| {
            Ok(network::AddressPool {
                base: pool.base.parse()?,
                size: pool.size,
            })
        };
        settings.pools = config
            .address_pools
            .iter()
            .map(pool)
            .collect::<Result<_>>()?;
    }
    settings.firewall = match (config.firewall, own.firewall_mode) {
        (false, _) => network::FirewallMode::Off,
        (true, FirewallMode::Host) => network::FirewallMode::Host,
        (true, FirewallMode::Docker) => network::FirewallMode::Docker,
    };
    settings.firewall6 = own.ip6tables;
    settings.ip_forward = own.ip_forward;
    settings.ip_forward_no_drop = own.ip_forward_no_drop;
    settings
        .default_options
        .clone_from(&own.default_network_options);
    settings.plugin_dirs.clone_from(&own.plugin_dirs);
    settings.cni_config_dir.clone_from(&own.cni_config_dir);
    settings.cni_bin_dirs.clone_from(&own.cni_bin_dirs);
    settings.relay = Some(network::RelaySettings {
        dir: config.exec_root.clone(),
        program: config.shim_path.clone(),
    });
    settings.userland_proxy = own.userland_proxy;
    Ok(settings)
}

/// Reads a setting that may be absent or empty.
fn parsed<T: std::str::FromStr>(text: Option<&str>, what: &str) -> Result<Option<T>> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Error::invalid(format!("invalid value for {what}: {text}"))),
        },
    }
}

/// The daemon's own bounding set: what it does not have it cannot give away.
fn capability_mask() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

/// Identity of this engine: made once, kept in `<data-root>/engine-id`.
fn identity(data_root: &Path) -> Result<String> {
    let path = data_root.join("engine-id");
    if let Ok(text) = std::fs::read_to_string(&path)
        && text.trim().len() == 36
    {
        return Ok(text.trim().to_owned());
    }
    if path.is_dir() {
        // No file could replace it.
        sys::fs::put_aside(&path).map_err(|source| Error::System {
            what: "failed to put a damaged identity aside".to_owned(),
            source,
        })?;
    }
    // The kernel makes random UUIDs.
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(source)
        .map_err(|e| Error::io(format!("failed to read `{source}`"), e))?;
    let uuid = uuid.trim().to_owned();
    sys::fs::replace(&path, uuid.as_bytes(), 0o600, sys::fs::Durability::Synced).map_err(
        |source| Error::System {
            what: "failed to keep the engine's identity".into(),
            source,
        },
    )?;
    Ok(uuid)
}
