//! The OCI runtime specification's `config.json` and `state.json` as plain values.
//!
//! Every field is public and defaultable: any value is representable, `runtime` decides what it can
//! do. Lists and maps written as `null` (as Go programs do) read as empty ones. Unknown fields are
//! skipped, as the specification asks.
//!
//! Two extensions of ours, in [`User`]: `username` and `additional_group_names` are texts that the
//! runtime resolves against the container's own `/etc/passwd` and `/etc/group`.
//!
//! See [OCI runtime-spec](https://github.com/opencontainers/runtime-spec/blob/main/config.md).

mod filter;
mod resources;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

pub use filter::{LinuxSeccomp, SeccompArg, SeccompRule};
pub use resources::{
    BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, ThrottleDevice, WeightDevice,
};

/// The version of the specification that these types follow.
pub const VERSION: &str = "1.2.0";

/// Reads `null` as the default value.
fn nullable<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

fn is_false(value: &bool) -> bool {
    !value
}

/// `config.json`: everything about one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the specification.
    pub oci_version: String,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// The container's first process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Host name in the container's UTS namespace; empty leaves it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// NIS domain name in the container's UTS namespace; empty leaves it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounts beside the root, in this order.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs called at points of the container's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Free texts.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The root file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Host path, absolute or relative to the bundle.
    pub path: PathBuf,
    /// Mounted read-only.
    #[serde(skip_serializing_if = "is_false")]
    pub readonly: bool,
}

/// One process in a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Has a terminal as stdin, stdout and stderr.
    #[serde(skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// First size of the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who runs it.
    pub user: User,
    /// Program and arguments.
    #[serde(deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// Environment, `NAME=value` each.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory, absolute in the container.
    pub cwd: String,
    /// Capability sets; absent means all empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Privileges cannot be gained by `execve`.
    #[serde(skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// AppArmor profile.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apparmor_profile: String,
    /// SELinux label.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selinux_label: String,
    /// The kernel's preference when memory runs out, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// File mode creation mask; 0022 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups by number.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
    /// Extension: Docker's `user[:group]`, resolved inside the root file system; wins over `uid`
    /// and `gid` when not empty. A text of digits only is always a number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Extension: supplementary groups by name or number (`--group-add`), resolved likewise.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub additional_group_names: Vec<String>,
}

/// The five capability sets, names with `CAP_`; a missing set is an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// The most that any descendant can ever have.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// What is in force.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// Kept over `execve` of programs that ask for it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// What may be brought into force.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// Kept over `execve` of any program.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// A resource limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The limit in force.
    pub soft: u64,
    /// The most that the process may set.
    pub hard: u64,
}

/// A mount in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// File system type, or `bind`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Host path of a bind mount, or the device text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Options as mount(8) writes them.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Corten's extension: what of the source is seen, resolved without leaving the source.
    #[serde(rename = "x-corten-subpath", skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Corten's extension: layers of a read-only overlay, topmost first, in place of a source.
    #[serde(rename = "x-corten-layers", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Users of the source's file system (`containerID`) and as whom they are seen (`hostID`).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Groups likewise.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs called with host privileges at points of the container's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated form of `create_runtime`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, before the root is changed.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root is changed.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// In the container, before the user's program.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// After the user's program was started.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One program to call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments with the program's name first.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

/// What is particular to Linux.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Namespaces to make or join; those not listed are the runtime's own.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// User ids of a user namespace.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a user namespace.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Device nodes beside the default ones.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Absolute path below the roots of the control group hierarchies.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroups_path: String,
    /// Limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Propagation of the root mount: `private`, `slave`, `shared`, `unbindable`, also with `r`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rootfs_propagation: String,
    /// System call filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<LinuxSeccomp>,
    /// Kernel parameters of the container's namespaces.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub sysctl: BTreeMap<String, String>,
    /// Paths that cannot be read.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    /// SELinux label of mounts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
}

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// Process ids.
    Pid,
    /// Network stack.
    Network,
    /// Mount table.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// User and group ids.
    User,
    /// Root of the control group hierarchies.
    Cgroup,
    /// Monotonic and boot clocks.
    Time,
}

/// A namespace to make, or to join when it has a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// `/proc/PID/ns/*` or a pinned namespace file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

impl Namespace {
    /// A new namespace of a kind.
    pub fn new(kind: NamespaceKind) -> Self {
        Self { kind, path: None }
    }
}

/// A range of ids of a user namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IdMapping {
    /// First id in the container.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id on the host.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Absolute path in the container.
    pub path: String,
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permission bits; 0666 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Owning group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// How far a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the user's program has not run.
    Created,
    /// The user's program runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

/// `state`: what a runtime tells about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// Its first process on the host; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Its bundle directory.
    pub bundle: PathBuf,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_of_go_programs_read_as_empty() {
        let text = r#"{"ociVersion":"1.0.2","process":{"args":null,"user":{"uid":0,"gid":0},
            "cwd":"/","env":null},"mounts":null,"linux":{"namespaces":[{"type":"pid"},
            {"type":"network","path":"/proc/1/ns/net"}],"sysctl":null,"future":[1]}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let linux = spec.linux.unwrap();
        assert_eq!(linux.namespaces[0], Namespace::new(NamespaceKind::Pid));
        assert_eq!(linux.namespaces[1].kind, NamespaceKind::Network);
        assert!(spec.process.unwrap().args.is_empty());
    }

    #[test]
    fn field_names_are_those_of_the_specification() {
        let spec = Spec {
            linux: Some(Linux {
                resources: Some(Resources {
                    memory: Some(Memory {
                        disable_oom_killer: Some(true),
                        kernel_tcp: Some(1),
                        ..Memory::default()
                    }),
                    block_io: Some(BlockIo {
                        throttle_read_iops_device: vec![ThrottleDevice::default()],
                        ..BlockIo::default()
                    }),
                    ..Resources::default()
                }),
                ..Linux::default()
            }),
            ..Spec::default()
        };
        let json = serde_json::to_string(&spec).unwrap();
        for name in [
            "disableOOMKiller",
            "kernelTCP",
            "blockIO",
            "throttleReadIOPSDevice",
        ] {
            assert!(json.contains(name), "{name} in {json}");
        }
    }
}
