//! What a user says about a container when it is created: the process ([`Config`]) and how the
//! host runs it ([`HostConfig`]).
//!
//! The values are the user's: validated at creation, kept as they were given, and shown again by
//! inspect. They are part of the container's record, hence serialised with names of our own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Fields of a request that the engine has no use for but gives back.
pub type Rest = serde_json::Map<String, serde_json::Value>;

/// The process and its surroundings, as the image and the user say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Host name; empty means the short id.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// `user[:group]` by name or number.
    pub user: String,
    /// The client wants to attach at creation; kept for inspect.
    pub attach_stdin: bool,
    /// See [`Config::attach_stdin`].
    pub attach_stdout: bool,
    /// See [`Config::attach_stdin`].
    pub attach_stderr: bool,
    /// Ports the process listens on, `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Give the process a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Close standard input when the first client that was attached leaves.
    pub stdin_once: bool,
    /// Environment, `NAME=value`; a bare `NAME` removes one of the image's.
    pub env: Vec<String>,
    /// Arguments; `None` takes the image's.
    pub cmd: Option<Vec<String>>,
    /// Program before the arguments; `None` takes the image's, `Some([])` or `[""]` clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Test of the container's health.
    pub healthcheck: Option<Healthcheck>,
    /// Arguments are already escaped (Windows only).
    pub args_escaped: bool,
    /// Image reference or id as the user gave it.
    pub image: String,
    /// Paths that must be volumes.
    pub volumes: BTreeSet<String>,
    /// Working directory.
    pub working_dir: String,
    /// No network at all.
    pub network_disabled: bool,
    /// MAC address of the default endpoint (API below 1.44).
    pub mac_address: String,
    /// Build triggers of the image.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that stops the container.
    pub stop_signal: Option<String>,
    /// Seconds to wait after the stop signal; -1 waits for ever.
    pub stop_timeout: Option<i64>,
    /// Shell of the image.
    pub shell: Option<Vec<String>>,
    /// What else was in the request.
    pub rest: Rest,
}

/// How health is tested; times in nanoseconds, 0 means the image's or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty inherits.
    pub test: Vec<String>,
    /// Time between tests.
    pub interval: i64,
    /// Time a test may take.
    pub timeout: i64,
    /// Time in which failures do not count.
    pub start_period: i64,
    /// Time between tests during the start period.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

/// How the host runs a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// `source:target[:options]`.
    pub binds: Vec<String>,
    /// Mounts in their long form.
    pub mounts: Vec<Mount>,
    /// Target and options of file systems in memory.
    pub tmpfs: BTreeMap<String, String>,
    /// `default`, `bridge`, `host`, `none`, `container:<id>` or a network.
    pub network_mode: String,
    /// Published ports by `80/tcp`.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// Publish all exposed ports.
    pub publish_all_ports: bool,
    /// What to do when the process ends.
    pub restart_policy: RestartPolicy,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// Driver of anonymous volumes.
    pub volume_driver: String,
    /// Containers whose volumes are mounted too.
    pub volumes_from: Vec<String>,
    /// Log driver and its options; an empty driver means the daemon's.
    pub log: LogConfig,
    /// Capabilities added to the default set.
    pub cap_add: Vec<String>,
    /// Capabilities removed from it.
    pub cap_drop: Vec<String>,
    /// `private`, `host` or empty.
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `name:address`.
    pub extra_hosts: Vec<String>,
    /// Further groups of the process.
    pub group_add: Vec<String>,
    /// `private`, `shareable`, `host`, `none`, `container:<id>` or empty.
    pub ipc_mode: String,
    /// Legacy cgroup of another container.
    pub cgroup: String,
    /// Links to other containers.
    pub links: Vec<String>,
    /// Preference of the OOM killer.
    pub oom_score_adj: i64,
    /// `host`, `container:<id>` or empty.
    pub pid_mode: String,
    /// Everything the host may.
    pub privileged: bool,
    /// Mount the root file system read-only.
    pub readonly_rootfs: bool,
    /// `seccomp=unconfined`, `no-new-privileges`, ….
    pub security_opt: Vec<String>,
    /// Options of the storage driver.
    pub storage_opt: BTreeMap<String, String>,
    /// `host` or empty.
    pub uts_mode: String,
    /// `host` or empty.
    pub userns_mode: String,
    /// Bytes of /dev/shm; 0 means the default.
    pub shm_size: i64,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Runtime by name; empty means the default.
    pub runtime: String,
    /// Windows only, kept.
    pub isolation: String,
    /// Height and width of the terminal at start.
    pub console_size: Option<[u32; 2]>,
    /// File the client writes the id to, kept.
    pub container_id_file: String,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Paths hidden; `None` means the default ones.
    pub masked_paths: Option<Vec<String>>,
    /// Paths made read-only; `None` means the default ones.
    pub readonly_paths: Option<Vec<String>>,
    /// Run an init process; `None` means the daemon's default.
    pub init: Option<bool>,
    /// Limits of resources.
    pub resources: Resources,
    /// Aliases, addresses and options of the networks asked for at creation, by network.
    pub endpoints: BTreeMap<String, Rest>,
    /// What else was in the request.
    pub rest: Rest,
}

/// Limits of resources; zero and `None` mean no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight of CPU time.
    pub cpu_shares: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Billionths of CPUs.
    pub nano_cpus: i64,
    /// Parent control group; empty means the daemon's.
    pub cgroup_parent: String,
    /// Relative weight of block I/O.
    pub blkio_weight: u16,
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds.
    pub cpu_quota: i64,
    /// Real-time period in microseconds.
    pub cpu_realtime_period: i64,
    /// Real-time budget in microseconds.
    pub cpu_realtime_runtime: i64,
    /// CPUs, `0-1,3`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Devices of the host.
    pub devices: Vec<DeviceMapping>,
    /// Rules of the device control group, `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Soft limit of memory in bytes.
    pub memory_reservation: i64,
    /// Memory and swap together in bytes; -1 unlimited, 0 means twice the memory.
    pub memory_swap: i64,
    /// Swappiness, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Limit of kernel memory for TCP buffers, kept.
    pub kernel_memory_tcp: i64,
    /// Do not kill on out of memory.
    pub oom_kill_disable: Option<bool>,
    /// Most processes; 0 and -1 mean no limit.
    pub pids_limit: Option<i64>,
    /// Resource limits of the process.
    pub ulimits: Vec<Ulimit>,
    /// What else was in the request.
    pub rest: Rest,
}

/// A limit of one kind for a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, ….
    pub name: String,
    /// Limit in force; -1 unlimited.
    pub soft: i64,
    /// Limit to which it may be raised; -1 unlimited.
    pub hard: i64,
}

/// A device of the host made visible in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub path_on_host: String,
    /// Path in the container.
    pub path_in_container: String,
    /// Letters of `rwm`.
    pub permissions: String,
}

/// What to do when the process ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `no`, `always`, `on-failure`, `unless-stopped` or empty.
    pub name: String,
    /// Most retries of `on-failure`; 0 means no bound.
    pub maximum_retry_count: i64,
}

/// Address and port of the host for a published port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Address of the host; empty means all.
    pub host_ip: String,
    /// Port or range; empty means any.
    pub host_port: String,
}

/// Log driver and its options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `json-file`, `none`, or empty for the daemon's default.
    pub driver: String,
    /// `max-size`, `max-file`, ….
    pub options: BTreeMap<String, String>,
}

/// A mount in its long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, `image`, `npipe`, `cluster`.
    pub kind: String,
    /// Path or name.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Mount read-only.
    pub read_only: bool,
    /// Docker's consistency word, kept.
    pub consistency: String,
    /// Propagation of a bind.
    pub propagation: String,
    /// Do not bind what is mounted below the source.
    pub non_recursive: bool,
    /// Make the source of a bind if it is missing.
    pub create_mountpoint: bool,
    /// Leave what is mounted below a read-only bind writable.
    pub read_only_non_recursive: bool,
    /// Refuse where what is mounted below a read-only bind could be written.
    pub read_only_force_recursive: bool,
    /// Ranges by which the owners of a bind are seen as others; empty for none.
    pub id_map: String,
    /// The owner of a bind's source is seen as the container's user.
    pub match_user: bool,
    /// Bytes of a tmpfs; 0 means no limit.
    pub tmpfs_size: i64,
    /// Mode of a tmpfs; 0 means 1777.
    pub tmpfs_mode: u32,
    /// Other options of a tmpfs, each a name and perhaps a value.
    pub tmpfs_options: Vec<Vec<String>>,
    /// What else was in the request: `VolumeOptions`, `ImageOptions`, ….
    pub rest: Rest,
}
