//! What all drivers and the service share: the layers below, and the table of containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use network::Networks;
use spec::{ContainerId, NetworkId};
use store::Store;
use sys::cgroup::{Cgroup, Cgroups, Version};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volume::{VolumeName, Volumes};

use super::limits::HostFacts;
use super::networking::links::Callers;
use super::networking::{Mode, Roster, view};
use super::record::Record;
use super::table::{Handle, Table};
use super::{etc, log_options, merge};
use crate::blocking::Blocking;
use crate::config::EngineConfig;
use crate::container::{Container, Files, HostConfig, MountPoint, State};
use crate::events::Events;
use crate::execs::ExecTable;
use crate::mounts::{Kind, Point};
use crate::shim_client::Zygote;
use crate::{Result, networks, oci};

/// The layers below and the table above.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) store: Store,
    pub(crate) network: Arc<Networks>,
    /// Identity of the default network, asked for once; `None` when the daemon has no bridge.
    pub(crate) default_network: Option<NetworkId>,
    /// The default bridge's own addresses.
    gateways: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    pub(crate) roster: Roster,
    pub(crate) callers: Callers,
    pub(crate) volumes: Volumes,
    pub(crate) zygote: Zygote,
    pub(crate) events: Events,
    pub(crate) blocking: Blocking,
    pub(crate) execs: ExecTable,
    pub(crate) cgroups: Cgroups,
    /// Parent of containers' control groups, absolute.
    pub(crate) cgroup_parent: String,
    pub(super) facts: HostFacts,
    pub(super) defaults: oci::Defaults,
    /// Ends the drivers; their containers go on.
    pub(super) closing: CancellationToken,
    pub(super) drivers: TaskTracker,
    table: Mutex<Table>,
}

/// What [`Shared::new`] is made of.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) store: Store,
    pub(crate) network: Arc<Networks>,
    pub(crate) names: crate::names::Names,
    pub(crate) volumes: Volumes,
    pub(crate) zygote: Zygote,
    pub(crate) events: Events,
    pub(crate) blocking: Blocking,
    pub(crate) execs: ExecTable,
    pub(crate) cgroups: Cgroups,
    pub(crate) cgroup_parent: String,
    pub(crate) capabilities: Vec<String>,
}

impl Shared {
    /// Puts the layers together.
    pub(crate) fn new(layers: Layers) -> Self {
        let config = layers.config;
        let default_network = layers.network.find(super::networking::BRIDGE).ok();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            defaults: oci::Defaults {
                init_path: config.init_path.clone(),
                init: config.init,
                shm_size: config.default_shm_size,
                ulimits: config.ulimits.clone(),
                no_new_privileges: config.no_new_privileges,
            },
            facts: HostFacts {
                cpus,
                blkio_weight: weighs_block_io(),
                kernel: oci::kernel_version(&crate::system::kernel_release()).unwrap_or_default(),
                cgroup_v2: layers.cgroups.version() == Version::V2,
                capabilities: layers.capabilities,
            },
            config,
            store: layers.store,
            gateways: default_network
                .map(|id| networks::gateways(&layers.network, &id))
                .unwrap_or_default(),
            default_network,
            network: layers.network,
            roster: Roster::new(layers.names),
            callers: Callers::default(),
            volumes: layers.volumes,
            zygote: layers.zygote,
            events: layers.events,
            blocking: layers.blocking,
            execs: layers.execs,
            cgroups: layers.cgroups,
            cgroup_parent: layers.cgroup_parent,
            closing: CancellationToken::new(),
            drivers: TaskTracker::new(),
            table: Mutex::default(),
        }
    }

    /// The table; never kept across an await.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panics while held")
    }

    /// All containers.
    pub(super) fn all(&self) -> Vec<Handle> {
        self.table().all()
    }

    /// Containers that have a volume among their mount points, running or not.
    pub(crate) fn volume_users(&self, name: &VolumeName, but: Option<ContainerId>) -> Vec<String> {
        let uses = |container: &Container| {
            Some(container.id) != but
                && container
                    .points
                    .iter()
                    .any(|point| point.kind == Kind::Volume && point.name == name.as_str())
        };
        self.all()
            .into_iter()
            .map(|handle| handle.container())
            .filter(|container| uses(container))
            .map(|container| container.id.to_string())
            .collect()
    }

    /// Mount points as inspect shows them; a `--tmpfs` is shown in the settings only, as in Docker.
    fn mount_points(&self, points: &[Point]) -> Vec<MountPoint> {
        let shown = |point: &Point| MountPoint {
            kind: point.kind.as_str(),
            name: Some(point.name.clone()).filter(|name| !name.is_empty()),
            driver: point.driver.clone(),
            source: match (point.kind, point.name.parse()) {
                (Kind::Volume, Ok(name)) => self
                    .volumes
                    .mountpoint(&name)
                    .to_string_lossy()
                    .into_owned(),
                _ => point.source.clone(),
            },
            destination: point.target.clone(),
            mode: point.mode.clone(),
            writable: point.writable,
            propagation: point.propagation.clone(),
        };
        points.iter().map(shown).collect()
    }

    /// What `host-gateway` stands for: what the daemon was told, or else the default bridge.
    pub(super) fn host_gateway(&self) -> etc::HostGateway {
        let own = &self.config.network.host_gateway_ips;
        let v4 = |a: &IpAddr| match a {
            IpAddr::V4(a) => Some(*a),
            IpAddr::V6(_) => None,
        };
        let v6 = |a: &IpAddr| match a {
            IpAddr::V4(_) => None,
            IpAddr::V6(a) => Some(*a),
        };
        let (bridge4, bridge6) = self.gateways;
        match own.is_empty() {
            true => etc::HostGateway {
                v4: bridge4,
                v6: bridge6,
            },
            false => etc::HostGateway {
                v4: own.iter().find_map(v4),
                v6: own.iter().find_map(v6),
            },
        }
    }

    /// Directory of a container that outlives reboots.
    pub(super) fn data_dir(&self, id: ContainerId) -> PathBuf {
        self.config
            .data_root
            .join("containers")
            .join(id.to_string())
    }

    /// Directory of a container's task, in memory.
    pub(super) fn run_dir(&self, id: ContainerId) -> PathBuf {
        self.config
            .exec_root
            .join("containers")
            .join(id.to_string())
    }

    /// The container's control group, below every hierarchy's root.
    pub(super) fn cgroup_path(&self, id: ContainerId, host: &HostConfig) -> String {
        let parent = match host.resources.cgroup_parent.trim_matches('/') {
            "" => self.cgroup_parent.trim_matches('/'),
            own => own,
        };
        if parent.is_empty() {
            format!("/{id}")
        } else {
            format!("/{parent}/{id}")
        }
    }

    /// The container's control group.
    pub(crate) fn cgroup(&self, container: &Container) -> Result<Cgroup> {
        let path = self.cgroup_path(container.id, &container.host);
        self.cgroups
            .group(&path)
            .map_err(|source| crate::Error::System {
                what: "failed to name a control group".to_owned(),
                source,
            })
    }

    /// Host paths of a container's files.
    pub(super) fn files(&self, record: &Record) -> Files {
        let dir = self.data_dir(record.id);
        // As in Docker, who joins another's network uses its names too.
        let of = match Mode::of(&record.host.network_mode) {
            Mode::Container(key) => key.parse().map_or(dir.clone(), |id| self.data_dir(id)),
            _ => dir.clone(),
        };
        let recorded = log_options::parse(&record.host.log).is_ok_and(|log| log.recorded);
        Files {
            hostname: of.join("hostname"),
            hosts: of.join("hosts"),
            resolv_conf: of.join("resolv.conf"),
            log: recorded.then(|| dir.join(format!("{}-json.log", record.id))),
        }
    }

    /// The first picture of a container.
    pub(super) fn picture(&self, record: &Record) -> Container {
        let mut command = merge::command(&record.config).into_iter();
        Container {
            id: record.id,
            name: record.name.clone(),
            created: record.created,
            image: record.image,
            path: command.next().unwrap_or_default(),
            args: command.collect(),
            config: Arc::clone(&record.config),
            host: Arc::clone(&record.host),
            state: if record.last.started_at.is_some() {
                State::Exited
            } else {
                State::Created
            },
            last: record.last.clone(),
            restart_count: record.restart_count,
            driver: self
                .store
                .driver_of(&record.id.to_string())
                .unwrap_or_default()
                .as_str(),
            platform: "linux",
            files: self.files(record),
            mounts: Arc::new(self.mount_points(record.points())),
            points: Arc::clone(record.points()),
            links: Arc::clone(&record.links),
            networking: Arc::new(view::networking(record, None)),
            execs: Vec::new(),
        }
    }
}

/// Whether a file for weights exists: in v1 beside the other files of the controller.
fn weighs_block_io() -> bool {
    [
        "blkio/blkio.weight",
        "blkio/blkio.bfq.weight",
        "cgroup.controllers",
    ]
    .iter()
    .any(|file| std::path::Path::new("/sys/fs/cgroup").join(file).exists())
}
