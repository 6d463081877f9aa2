//! A container's settings as an OCI runtime specification: pure, nothing is looked up here.
//!
//! [`generate`] is given everything: the settings, the host's facts, and what was decided for this
//! run. The result is what Docker gives to runc for the same settings, with names instead of
//! numbers for users, which the runtime resolves inside the root file system.

mod caps;
mod devices;
mod limits;
mod mounts;
mod process;
mod profile;
mod security;
mod tmpfs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use spec::runtime::{BlockIo, Linux, LinuxSeccomp, Namespace, NamespaceKind, Root, Spec};

use crate::container::{Config, Files, HostConfig, Ulimit};
use crate::mounts::{IdMap, Point};
use crate::{Error, Result};

pub(crate) use caps::{all as all_capabilities, select as select_capabilities};
pub(crate) use devices::{HostDevice, parse_rule as parse_device_rule};
pub(crate) use mounts::{check_tmpfs, tmpfs_of};
pub(crate) use process::{exec_process, first_process};
pub(crate) use profile::version as kernel_version;
pub(crate) use security::{SeccompChoice, Security};

/// Paths that Docker hides from containers that are not privileged.
pub(crate) const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that Docker makes read-only.
pub(crate) const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Everything a specification is made of.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Merged settings.
    pub(crate) config: &'a Config,
    /// The host's part.
    pub(crate) host: &'a HostConfig,
    /// Variables that links add.
    pub(crate) links: &'a [String],
    /// Its files under `/etc`.
    pub(crate) files: &'a Files,
    /// Control group below every hierarchy's root.
    pub(crate) cgroups_path: String,
    /// Namespaces of other processes to join, by kind; `None` as path keeps the host's.
    pub(crate) joined: Joined,
    /// What is seen beside the container's own layer.
    pub(crate) seen: &'a [Seen],
    /// What the host has.
    pub(crate) facts: &'a Facts,
    /// What the daemon does where a container says nothing.
    pub(crate) defaults: &'a Defaults,
}

/// A mount point and where on the host what it shows is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The point.
    pub(crate) point: Point,
    /// Host path; empty for a tmpfs.
    pub(crate) source: String,
    /// Layers of an image, topmost first, in place of a path.
    pub(crate) layers: Vec<String>,
    /// As whom the owners of its files are seen.
    pub(crate) ids: Option<IdMap>,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Source {
    /// A new one.
    #[default]
    New,
    /// The host's.
    Host,
    /// That of another process.
    Path(PathBuf),
}

/// Where the namespaces come from that can be shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Joined {
    /// Process ids.
    pub(crate) pid: Source,
    /// Inter-process communication.
    pub(crate) ipc: Source,
    /// Host name.
    pub(crate) uts: Source,
    /// Network; a path is handed over as a descriptor, not written here.
    pub(crate) network: Source,
    /// Control groups.
    pub(crate) cgroup: Source,
}

/// What the host has that specifications depend on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Capabilities that can be given away, by name with `CAP_`.
    pub(crate) capabilities: Vec<String>,
    /// Device nodes asked for by `--device`, or all of them for a privileged container.
    pub(crate) devices: Vec<HostDevice>,
    /// Rates of block devices.
    pub(crate) rates: BlockIo,
    /// Version and patch level of the kernel.
    pub(crate) kernel: (u32, u32),
}

/// What the daemon does where a container says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    /// Path of the init program on the host.
    pub(crate) init_path: PathBuf,
    /// Run it.
    pub(crate) init: bool,
    /// Bytes of /dev/shm.
    pub(crate) shm_size: i64,
    /// Limits of processes.
    pub(crate) ulimits: Vec<Ulimit>,
    /// Set `no_new_privileges`.
    pub(crate) no_new_privileges: bool,
}

/// Makes the specification.
///
/// # Errors
///
/// The settings contradict each other in a way that creation did not see.
pub(crate) fn generate(input: &Input<'_>) -> Result<Spec> {
    let security = Security::parse(&input.host.security_opt)?;
    let process = process::first(input, &security)?;
    let capabilities = process.capabilities.as_ref();
    let seccomp = security.profile.as_ref().map(|profile| {
        profile.resolve(profile::Surroundings {
            capabilities: capabilities.map_or(&[], |sets| sets.bounding.as_slice()),
            kernel: input.facts.kernel,
        })
    });
    Ok(Spec {
        oci_version: spec::runtime::VERSION.to_owned(),
        // The path is not used: the root file system is handed over beside the specification.
        root: Some(Root {
            path: PathBuf::from("rootfs"),
            readonly: input.host.readonly_rootfs,
        }),
        process: Some(process),
        hostname: hostname(input),
        domainname: domainname(input),
        mounts: mounts::all(input, &security)?,
        hooks: None,
        annotations: input.host.annotations.clone(),
        linux: Some(linux(input, seccomp)?),
    })
}

fn own_uts(input: &Input<'_>) -> bool {
    input.joined.uts == Source::New
}

fn hostname(input: &Input<'_>) -> String {
    if own_uts(input) {
        input.config.hostname.clone()
    } else {
        String::new()
    }
}

fn domainname(input: &Input<'_>) -> String {
    if own_uts(input) {
        input.config.domainname.clone()
    } else {
        String::new()
    }
}

fn linux(input: &Input<'_>, seccomp: Option<LinuxSeccomp>) -> Result<Linux> {
    let privileged = input.host.privileged;
    let paths = |given: &Option<Vec<String>>, default: &[&str]| -> Vec<String> {
        match given {
            Some(paths) => paths.clone(),
            None if privileged => Vec::new(),
            None => default.iter().map(|p| (*p).to_owned()).collect(),
        }
    };
    Ok(Linux {
        namespaces: namespaces(&input.joined),
        devices: devices::nodes(input),
        cgroups_path: input.cgroups_path.clone(),
        resources: Some(limits::resources(input)?),
        // Binds asked for with shared or slave propagation need a parent that lets them.
        rootfs_propagation: mounts::root_propagation(input),
        seccomp,
        sysctl: sysctls(input)?,
        masked_paths: paths(&input.host.masked_paths, &MASKED_PATHS),
        readonly_paths: paths(&input.host.readonly_paths, &READONLY_PATHS),
        ..Linux::default()
    })
}

fn namespaces(joined: &Joined) -> Vec<Namespace> {
    let mut list = vec![Namespace::new(NamespaceKind::Mount)];
    let kinds = [
        (NamespaceKind::Network, &joined.network),
        (NamespaceKind::Uts, &joined.uts),
        (NamespaceKind::Pid, &joined.pid),
        (NamespaceKind::Ipc, &joined.ipc),
        (NamespaceKind::Cgroup, &joined.cgroup),
    ];
    for (kind, source) in kinds {
        match source {
            Source::New => list.push(Namespace::new(kind)),
            Source::Host => {}
            Source::Path(path) => list.push(Namespace {
                kind,
                path: Some(path.clone()),
            }),
        }
    }
    list
}

/// Kernel parameters: Docker's defaults for a network of one's own, then the user's.
fn sysctls(input: &Input<'_>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    if input.joined.network == Source::New {
        all.insert(
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        );
        all.insert(
            "net.ipv4.ping_group_range".to_owned(),
            "0 2147483647".to_owned(),
        );
    }
    for (key, value) in &input.host.sysctls {
        check_sysctl(key, &input.joined)?;
        all.insert(key.clone(), value.clone());
    }
    Ok(all)
}

/// Refuses parameters that are not of a namespace the container has of its own.
///
/// # Errors
///
/// Names the parameter, in Docker's words.
pub(crate) fn check_sysctl(key: &str, joined: &Joined) -> Result<()> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "fs.mqueue.",
    ];
    let refuse = |place: &str| {
        Err(Error::invalid(format!(
            "sysctl \"{key}\" not allowed in host {place} namespace"
        )))
    };
    let ipc = IPC
        .iter()
        .any(|known| key == *known || (known.ends_with('.') && key.starts_with(known)));
    if key
        .split('.')
        .any(|part| part.is_empty() || part.contains('/') || part == "..")
    {
        return Err(Error::invalid(format!("invalid sysctl \"{key}\"")));
    }
    if ipc {
        return if joined.ipc == Source::Host {
            refuse("ipc")
        } else {
            Ok(())
        };
    }
    if key.starts_with("net.") {
        return if joined.network == Source::Host {
            refuse("network")
        } else {
            Ok(())
        };
    }
    if key == "kernel.domainname" && joined.uts != Source::Host {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "sysctl \"{key}\" is not in a separate kernel namespace"
    )))
}

#[cfg(test)]
mod tests;
