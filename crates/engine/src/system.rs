//! The host and the daemon as a whole.

use std::sync::Arc;

use spec::{ImageId, Timestamp};
use sys::cgroup::Version as CgroupVersion;

use crate::config::EngineConfig;
use crate::container::State;
use crate::containers::{Containers, ListOptions, Listed, Sizes};
use crate::images::{ImageSummary, Images, ListImages};
use crate::{Result, clock};

/// Facts about the engine and its host; cheap to clone.
#[derive(Debug, Clone)]
pub struct System {
    containers: Containers,
    images: Images,
    id: String,
}

/// What `info` shows.
#[derive(Debug, Clone)]
pub struct Info {
    /// Identity of this engine, kept in the data root.
    pub id: String,
    /// Containers in all.
    pub containers: usize,
    /// Of these running, paused, stopped.
    pub running: usize,
    /// See [`Info::running`].
    pub paused: usize,
    /// See [`Info::running`].
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// `overlay2`.
    pub driver: String,
    /// Facts of the storage driver.
    pub driver_status: Vec<(String, String)>,
    /// Default log driver.
    pub log_driver: String,
    /// Log drivers there are.
    pub log_drivers: Vec<String>,
    /// Network drivers there are.
    pub network_drivers: Vec<String>,
    /// Volume drivers there are.
    pub volume_drivers: Vec<String>,
    /// Control groups: 1 or 2.
    pub cgroup_version: u8,
    /// `cgroupfs`.
    pub cgroup_driver: String,
    /// Which limits this host can enforce.
    pub limits: HostLimits,
    /// IPv4 forwarding is on.
    pub ipv4_forwarding: bool,
    /// Open file descriptors of the daemon.
    pub open_files: usize,
    /// Tasks of the daemon.
    pub tasks: usize,
    /// Subscribers of events.
    pub event_listeners: usize,
    /// Now.
    pub system_time: Timestamp,
    /// Release of the kernel.
    pub kernel_version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    /// `12`.
    pub os_version: String,
    /// `linux`.
    pub os_type: String,
    /// `x86_64`.
    pub architecture: String,
    /// CPUs.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Host name.
    pub host_name: String,
    /// Security options: `name=seccomp,profile=builtin`, `name=cgroupns`.
    pub security_options: Vec<String>,
    /// Identity of the default runtime and the names of all.
    pub runtimes: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The settings.
    pub config: Arc<EngineConfig>,
    /// The settings of images and registries that are in force now.
    pub images_config: crate::config::ImagesConfig,
}

/// Which limits a host can enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the host"
)]
pub struct HostLimits {
    /// Memory.
    pub memory: bool,
    /// Memory and swap.
    pub swap: bool,
    /// OOM killer can be switched off.
    pub oom_kill_disable: bool,
    /// CFS quota and period.
    pub cpu_cfs: bool,
    /// CPU weight.
    pub cpu_shares: bool,
    /// CPU sets.
    pub cpuset: bool,
    /// Number of processes.
    pub pids: bool,
}

/// What `version` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Version of the product.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// Release of the kernel.
    pub kernel_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
}

/// What is on disk.
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Bytes on the disk of all that belongs to images.
    pub layers_size: u64,
    /// Images with shared sizes.
    pub images: Vec<ImageSummary>,
    /// Containers with sizes.
    pub containers: Vec<Listed>,
    /// Images that containers use.
    pub used_images: Vec<ImageId>,
}

impl System {
    /// Makes the service; the identity is kept in the data root.
    pub(crate) fn new(containers: Containers, images: Images, id: String) -> Self {
        Self {
            containers,
            images,
            id,
        }
    }

    /// Everything `info` shows.
    pub async fn info(&self) -> Result<Info> {
        let shared = self.containers.shared();
        let containers = self.containers.all();
        let count = |test: fn(&State) -> bool| containers.iter().filter(|c| test(&c.state)).count();
        let running = count(|s| matches!(s, State::Running(_) | State::Restarting));
        let paused = count(|s| matches!(s, State::Paused(_)));
        let facts = shared.blocking.quick(|| Ok(HostFacts::read())).await?;
        let limits = limits(shared);
        let config = Arc::clone(&shared.config);
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let mut runtimes = names(&["corten", "io.containerd.runc.v2", "runc"]);
        runtimes.extend(config.runtimes.keys().cloned());
        let log = config.log.driver.as_str();
        Ok(Info {
            id: self.id.clone(),
            containers: containers.len(),
            running,
            paused,
            stopped: containers.len() - running - paused,
            images: shared.store.images().len(),
            driver: shared.store.driver().to_string(),
            driver_status: driver_status(shared.store.driver(), &config),
            log_driver: if log.is_empty() { "json-file" } else { log }.to_owned(),
            log_drivers: names(&["json-file", "none"]),
            network_drivers: names(&["bridge", "host", "ipvlan", "macvlan", "null"]),
            volume_drivers: Vec::new(),
            cgroup_version: match shared.cgroups.version() {
                CgroupVersion::V1 => 1,
                CgroupVersion::V2 => 2,
            },
            cgroup_driver: "cgroupfs".to_owned(),
            warnings: {
                let mut all = warnings(limits, facts.ipv4_forwarding);
                all.extend(shared.network.warnings());
                all
            },
            limits,
            ipv4_forwarding: facts.ipv4_forwarding,
            open_files: facts.open_files,
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            event_listeners: shared.events.listeners(),
            system_time: clock::now(),
            kernel_version: kernel_release(),
            operating_system: facts.operating_system,
            os_version: facts.os_version,
            os_type: "linux".to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory_total(),
            host_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            security_options: names(&["name=seccomp,profile=builtin", "name=cgroupns"]),
            runtimes,
            config,
            images_config: self.images.config(),
        })
    }

    /// Everything `version` shows.
    pub fn version(&self) -> Version {
        let config = &self.containers.shared().config;
        Version {
            version: config.version.clone(),
            commit: config.commit.clone(),
            kernel_version: kernel_release(),
            os: "linux".to_owned(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
            .to_owned(),
        }
    }

    /// What is on disk and how much of it could come back.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        let options = ListOptions {
            all: true,
            sizes: Sizes::Compute,
            ..ListOptions::default()
        };
        let containers = self.containers.list(options).await?;
        let mut images = self.images.list(ListImages::default()).await?;
        let shared = Arc::clone(self.containers.shared());
        let blocking = shared.blocking.clone();
        let usage = blocking
            .heavy(move || Ok(shared.store.disk_usage()?))
            .await?;
        // What the disk has of them, as `du` counts; lists show what their files add up to.
        for image in &mut images {
            let mut of_images = usage.images.iter();
            if let Some(known) = of_images.find(|known| known.id == image.id) {
                image.size = known.allocated.size;
                image.shared_size = Some(known.allocated.shared);
            }
        }
        let mut used_images: Vec<ImageId> = containers.iter().map(|c| c.container.image).collect();
        used_images.sort_unstable();
        used_images.dedup();
        Ok(DiskUsage {
            layers_size: usage.allocated,
            images,
            containers,
            used_images,
        })
    }
}

fn limits(shared: &crate::containers::Shared) -> HostLimits {
    let has = |name: &str| {
        shared
            .cgroups
            .hierarchies()
            .iter()
            .any(|h| h.controllers.iter().any(|c| c == name))
    };
    let v1 = matches!(shared.cgroups.version(), CgroupVersion::V1);
    let file = |path: &str| std::path::Path::new("/sys/fs/cgroup").join(path).exists();
    HostLimits {
        memory: has("memory"),
        swap: has("memory") && (!v1 || file("memory/memory.memsw.limit_in_bytes")),
        oom_kill_disable: v1 && has("memory"),
        cpu_cfs: has("cpu"),
        cpu_shares: has("cpu"),
        cpuset: has("cpuset"),
        pids: has("pids"),
    }
}

fn warnings(limits: HostLimits, forwarding: bool) -> Vec<String> {
    [
        (limits.memory, "WARNING: No memory limit support"),
        (limits.swap, "WARNING: No swap limit support"),
        (limits.cpu_cfs, "WARNING: No cpu cfs quota support"),
        (limits.cpu_shares, "WARNING: No cpu shares support"),
        (limits.cpuset, "WARNING: No cpuset support"),
        (forwarding, "WARNING: IPv4 forwarding is disabled"),
    ]
    .into_iter()
    .filter(|(has, _)| !has)
    .map(|(_, text)| text.to_owned())
    .collect()
}

fn driver_status(driver: store::Driver, config: &EngineConfig) -> Vec<(String, String)> {
    // The names are those of statfs(2) and of Docker.
    let kind = rustix::fs::statfs(&config.data_root).map_or(0, |s| s.f_type);
    let file_system = match kind {
        0xef53 => "extfs",
        0x0102_1994 => "tmpfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlayfs",
        _ => "<unknown>",
    };
    let backing = ("Backing Filesystem", file_system);
    let overlay = [
        backing,
        ("Supports d_type", "true"),
        ("Using metacopy", "false"),
        ("Native Overlay Diff", "true"),
        ("userxattr", "false"),
    ];
    let facts = match driver {
        store::Driver::Overlay2 => overlay.to_vec(),
        store::Driver::Erofs => [&overlay[..], &[("Layers", "EROFS images")]].concat(),
        // As Docker says it.
        store::Driver::Btrfs => vec![("Btrfs", "")],
        store::Driver::Vfs => vec![backing],
    };
    facts
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What is read from files of the host.
struct HostFacts {
    ipv4_forwarding: bool,
    open_files: usize,
    operating_system: String,
    os_version: String,
}

impl HostFacts {
    fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut release = text("/etc/os-release");
        if release.is_empty() {
            release = text("/usr/lib/os-release");
        }
        Self {
            ipv4_forwarding: text("/proc/sys/net/ipv4/ip_forward").trim() == "1",
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            operating_system: os_release(&release, "PRETTY_NAME")
                .unwrap_or_else(|| "Linux".to_owned()),
            os_version: os_release(&release, "VERSION_ID").unwrap_or_default(),
        }
    }
}

/// A value of os-release(5), without quotes.
fn os_release(text: &str, key: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Version of the kernel, as `uname -r` tells it.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Bytes of memory of the host.
pub(crate) fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram
        .saturating_mul(u64::from(info.mem_unit.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_without_quotes() {
        let text = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\n";
        assert_eq!(
            os_release(text, "PRETTY_NAME").unwrap(),
            "Debian GNU/Linux 12"
        );
        assert_eq!(os_release(text, "VERSION_ID").unwrap(), "12");
        assert_eq!(os_release(text, "VERSION"), None);
    }

    #[test]
    fn what_is_missing_is_warned_of() {
        let all = HostLimits {
            memory: true,
            swap: true,
            oom_kill_disable: true,
            cpu_cfs: true,
            cpu_shares: true,
            cpuset: true,
            pids: true,
        };
        assert!(warnings(all, true).is_empty());
        assert_eq!(warnings(HostLimits { swap: false, ..all }, false).len(), 2);
    }
}
