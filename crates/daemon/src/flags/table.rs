//! All flags of dockerd 28, their keys in `daemon.json`, and what they do here.
//!
//! Flags about registries and the space of images are in [`super::images`], those about networks
//! in [`super::networks`].

use std::sync::LazyLock;

use super::flag::{Effect, Flag, f};
use super::images::IMAGES;
use super::kind::Kind;
use super::networks::NETWORKS;
use Effect::{Accepted, Refused, Used};
use Kind::{Bool, Bytes, Int, List, Map, Text, Ulimit};

const NO_TLS: Effect =
    Refused("TLS is not yet supported; listen at a unix socket, or put a proxy in front");
const NO_PROFILE: Effect = Refused(
    "a seccomp profile for all containers is not yet supported; give each its own by --security-opt seccomp=FILE",
);
const NO_USERNS: Effect = Refused("user namespaces are not yet supported");

/// All flags, sorted as help shows them.
pub static TABLE: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let mut all = [OTHERS, IMAGES, NETWORKS].concat();
    all.sort_by_key(|flag| flag.name);
    all
});

const OTHERS: &[Flag] = &[
    f(
        "add-runtime",
        Map,
        Used,
        "Register an additional OCI compatible runtime",
    )
    .key(""),
    f(
        "authorization-plugin",
        List,
        Refused("authorization plugins are not yet supported"),
        "Authorization plugins to load",
    )
    .key("authorization-plugins"),
    f(
        "cdi-spec-dir",
        List,
        Accepted,
        "CDI specification directories to use",
    )
    .key("cdi-spec-dirs"),
    f(
        "cgroup-parent",
        Text,
        Used,
        "Set parent cgroup for all containers",
    ),
    f("config-file", Text, Used, "Daemon configuration file").key(""),
    f("containerd", Text, Accepted, "containerd grpc address"),
    f(
        "containerd-namespace",
        Text,
        Accepted,
        "Containerd namespace to use",
    ),
    f(
        "containerd-plugins-namespace",
        Text,
        Accepted,
        "Containerd namespace to use for plugins",
    )
    .key("containerd-plugin-namespace"),
    f(
        "cpu-rt-period",
        Int,
        Accepted,
        "Limit the CPU real-time period in microseconds for the parent cgroup",
    ),
    f(
        "cpu-rt-runtime",
        Int,
        Accepted,
        "Limit the CPU real-time runtime in microseconds for the parent cgroup",
    ),
    f(
        "cri-containerd",
        Bool,
        Accepted,
        "start containerd with cri",
    ),
    f(
        "data-root",
        Text,
        Used,
        "Root directory of persistent state",
    ),
    f("debug", Bool, Used, "Enable debug mode").letter('D'),
    f(
        "default-cgroupns-mode",
        Text,
        Accepted,
        "Default mode for containers cgroup namespace (\"host\" | \"private\")",
    ),
    f(
        "default-ipc-mode",
        Text,
        Accepted,
        "Default mode for containers ipc (\"shareable\" | \"private\")",
    ),
    f(
        "default-runtime",
        Text,
        Used,
        "Default OCI runtime for containers",
    ),
    f(
        "default-shm-size",
        Bytes,
        Used,
        "Default shm size for containers",
    ),
    f(
        "default-ulimit",
        Ulimit,
        Used,
        "Default ulimits for containers",
    )
    .key("default-ulimits"),
    f("exec-opt", List, Accepted, "Runtime execution options").key("exec-opts"),
    f(
        "exec-root",
        Text,
        Used,
        "Root directory for execution state files",
    ),
    f("experimental", Bool, Used, "Enable experimental features"),
    f("feature", Map, Accepted, "Enable feature in the daemon").key("features"),
    f(
        "fsck",
        Bool,
        Used,
        "Check everything stored below the data root and exit",
    )
    .key(""),
    f("group", Text, Used, "Group for the unix socket").letter('G'),
    f("help", Bool, Used, "Print usage").key(""),
    f("host", Kind::Hosts, Used, "Daemon socket(s) to connect to")
        .letter('H')
        .key("hosts"),
    f(
        "init",
        Bool,
        Used,
        "Run an init in the container to forward signals and reap processes",
    ),
    f("init-path", Text, Used, "Path to the init binary"),
    f(
        "label",
        Kind::Labels,
        Used,
        "Set key=value labels to the daemon",
    )
    .key("labels"),
    f(
        "live-restore",
        Bool,
        Used,
        "Keep containers running when the daemon ends; they do unless this is false",
    ),
    f(
        "log-driver",
        Text,
        Used,
        "Default driver for container logs",
    ),
    f(
        "log-format",
        Text,
        Used,
        "Set the logging format (\"text\"|\"json\")",
    ),
    f(
        "log-level",
        Text,
        Used,
        "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")",
    )
    .letter('l'),
    f(
        "log-opt",
        Map,
        Used,
        "Default log driver options for containers",
    )
    .key("log-opts"),
    f(
        "metrics-addr",
        Text,
        Accepted,
        "Set default address and port to serve the metrics api on",
    ),
    f(
        "min-api-version",
        Text,
        Accepted,
        "Minimum API version to serve",
    )
    .key("min-api-version"),
    f(
        "no-new-privileges",
        Bool,
        Used,
        "Set no-new-privileges by default for new containers",
    ),
    f(
        "node-generic-resource",
        List,
        Accepted,
        "Advertise user-defined resource",
    )
    .key("node-generic-resources"),
    f("pidfile", Text, Used, "Path to use for daemon PID file").letter('p'),
    f(
        "raw-logs",
        Bool,
        Accepted,
        "Full timestamps without ANSI coloring",
    ),
    f(
        "rootless",
        Bool,
        Refused("rootless mode is not yet supported"),
        "Enable rootless mode",
    )
    .key(""),
    f(
        "seccomp-profile",
        Text,
        NO_PROFILE,
        "Path to seccomp profile; \"unconfined\" disables the default one",
    ),
    f(
        "selinux-enabled",
        Bool,
        Refused("SELinux is not supported"),
        "Enable selinux support",
    ),
    f(
        "shutdown-timeout",
        Int,
        Used,
        "Seconds for containers to stop when the daemon stops them",
    ),
    f("storage-driver", Text, Used, "Storage driver to use").letter('s'),
    f("storage-opt", List, Accepted, "Storage driver options").key("storage-opts"),
    f(
        "swarm-default-advertise-addr",
        Text,
        Accepted,
        "Set default address or interface for swarm advertised address",
    ),
    f("tls", Bool, NO_TLS, "Use TLS; implied by --tlsverify"),
    f(
        "tlscacert",
        Text,
        Accepted,
        "Trust certs signed only by this CA",
    ),
    f("tlscert", Text, Accepted, "Path to TLS certificate file"),
    f("tlskey", Text, Accepted, "Path to TLS key file"),
    f("tlsverify", Bool, NO_TLS, "Use TLS and verify the remote"),
    f(
        "userns-remap",
        Text,
        NO_USERNS,
        "User/Group setting for user namespaces",
    ),
    f(
        "validate",
        Bool,
        Used,
        "Validate daemon configuration and exit",
    )
    .key(""),
    f("version", Bool, Used, "Print version information and quit")
        .letter('v')
        .key(""),
    f(
        "volume-plugin-dir",
        List,
        Used,
        "Directories with sockets and spec files of volume plugins",
    )
    .key("volume-plugin-dirs"),
];

/// The flag of a name.
pub fn by_name(name: &str) -> Option<&'static Flag> {
    TABLE.iter().find(|f| f.name == name)
}

/// The flag of a key in `daemon.json`.
pub fn by_key(key: &str) -> Option<&'static Flag> {
    TABLE.iter().find(|f| f.key == key && !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_unique_and_sorted() {
        for pair in TABLE.windows(2) {
            assert!(
                pair[0].name < pair[1].name,
                "{} {}",
                pair[0].name,
                pair[1].name
            );
        }
        for flag in TABLE.iter().filter(|f| !f.key.is_empty()) {
            assert_eq!(by_key(flag.key).unwrap().name, flag.name);
        }
    }
}
