//! The flags of `run` and `create`.

use super::{devices, limits, mount, network, validate};
use crate::flags::{Flag, Kind};

const MEMORY: Kind = Kind::Checked("bytes", validate::bytes);
const SWAP: Kind = Kind::Checked("bytes", validate::swap);
const CPUS: Kind = Kind::Checked("decimal", validate::cpus);
const UINT16: Kind = Kind::Checked("uint16", validate::uint16);
const DURATION: Kind = Kind::Checked("duration", validate::duration);
const SYSCTL: Kind = Kind::List("map", validate::sysctl);
const ANNOTATION: Kind = Kind::List("map", crate::flags::any);
const MOUNT: Kind = Kind::List("mount", mount::check);
const NETWORK: Kind = Kind::List("network", network::check);
const ULIMIT: Kind = Kind::List("ulimit", limits::is_ulimit);
const GPUS: Kind = Kind::List("gpu-request", devices::is_gpus);

const fn list(long: &'static str, usage: &'static str) -> Flag {
    Flag::list(long, '\0', usage)
}

const fn string(long: &'static str, usage: &'static str) -> Flag {
    Flag::string(long, '\0', usage)
}

const fn int(long: &'static str, usage: &'static str) -> Flag {
    Flag::int(long, '\0', usage)
}

const fn bool(long: &'static str, usage: &'static str) -> Flag {
    Flag::bool(long, '\0', usage)
}

const fn of(long: &'static str, kind: Kind, usage: &'static str) -> Flag {
    Flag::of(long, '\0', kind, usage)
}

const fn brackets(flag: Flag) -> Flag {
    flag.default("", "[]")
}

const BPS: Kind = Kind::List("list", limits::is_bytes_device);
const IOPS: Kind = Kind::List("list", limits::is_operations_device);
const WEIGHT: Kind = Kind::List("list", limits::is_weight_device);

const CGROUPNS: &str = "Cgroup namespace to use (host|private)
'host':    Run the container in the Docker host's cgroup namespace
'private': Run the container in its own private cgroup namespace
'':        Use the cgroup namespace as configured by the
           default-cgroupns-mode option on the daemon (default)";

macro_rules! container_flags {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            // General.
            Flag::checked_list("attach", 'a', validate::stream, "Attach to STDIN, STDOUT or STDERR"),
            Flag::checked_list("env", 'e', validate::env, "Set environment variables"),
            list("env-file", "Read in a file of environment variables"),
            string("entrypoint", "Overwrite the default ENTRYPOINT of the image"),
            list("group-add", "Add additional groups to join"),
            bool("help", "Print usage"),
            Flag::string("hostname", 'h', "Container host name"),
            string("domainname", "Container NIS domain name"),
            Flag::bool("interactive", 'i', "Keep STDIN open even if not attached"),
            Flag::checked_list("label", 'l', validate::label, "Set meta data on a container"),
            list("label-file", "Read in a line delimited file of labels"),
            string("name", "Assign a name to the container"),
            string("platform", "Set platform if server is multi-platform capable"),
            Flag::bool("quiet", 'q', "Suppress the pull output"),
            bool("read-only", "Mount the container's root filesystem as read only"),
            string("restart", "Restart policy to apply when a container exits").default("no", "no"),
            bool("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
            string("stop-signal", "Signal to stop the container"),
            int("stop-timeout", "Timeout (in seconds) to stop a container"),
            of("sysctl", SYSCTL, "Sysctl options").default("", "map[]"),
            Flag::bool("tty", 't', "Allocate a pseudo-TTY"),
            brackets(of("ulimit", ULIMIT, "Ulimit options")),
            bool("use-api-socket", "Bind mount Docker API socket and required auth"),
            Flag::string("user", 'u', "Username or UID (format: <name|uid>[:<group|gid>])"),
            Flag::string("workdir", 'w', "Working directory inside the container"),
            bool("disable-content-trust", "Skip image verification").default("true", "true"),
            // Security.
            list("cap-add", "Add Linux capabilities"),
            list("cap-drop", "Drop Linux capabilities"),
            bool("privileged", "Give extended privileges to this container"),
            list("security-opt", "Security Options"),
            string("userns", "User namespace to use"),
            string("cgroupns", CGROUPNS),
            // Network.
            Flag::checked_list("add-host", '\0', validate::is_add_host, "Add a custom host-to-IP mapping (host:ip)"),
            Flag::checked_list("dns", '\0', validate::is_ip, "Set custom DNS servers"),
            list("dns-opt", "Set DNS options").hidden(),
            list("dns-option", "Set DNS options"),
            Flag::checked_list("dns-search", '\0', validate::is_domain, "Set custom DNS search domains"),
            list("expose", "Expose a port or a range of ports"),
            string("ip", "IPv4 address (e.g., 172.30.100.104)"),
            string("ip6", "IPv6 address (e.g., 2001:db8::33)"),
            Flag::checked_list("link", '\0', validate::link, "Add link to another container"),
            list("link-local-ip", "Container IPv4/IPv6 link-local addresses"),
            string("mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
            Flag::list("publish", 'p', "Publish a container's port(s) to the host"),
            Flag::bool("publish-all", 'P', "Publish all exposed ports to random ports"),
            of("net", NETWORK, "Connect a container to a network").hidden(),
            of("network", NETWORK, "Connect a container to a network"),
            list("net-alias", "Add network-scoped alias for the container").hidden(),
            list("network-alias", "Add network-scoped alias for the container"),
            // Logs and storage.
            string("log-driver", "Logging driver for the container"),
            list("log-opt", "Log driver options"),
            string("volume-driver", "Optional volume driver for the container"),
            list("storage-opt", "Storage driver options for the container"),
            list("tmpfs", "Mount a tmpfs directory"),
            list("volumes-from", "Mount volumes from the specified container(s)"),
            Flag::list("volume", 'v', "Bind mount a volume"),
            of("mount", MOUNT, "Attach a filesystem mount to the container"),
            // Health.
            string("health-cmd", "Command to run to check health"),
            of("health-interval", DURATION, "Time between running the check (ms|s|m|h) (default 0s)"),
            int("health-retries", "Consecutive failures needed to report unhealthy"),
            of("health-timeout", DURATION, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
            of("health-start-period", DURATION, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)"),
            of("health-start-interval", DURATION, "Time between running the check during the start period (ms|s|m|h) (default 0s)"),
            bool("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
            // Resources.
            of("blkio-weight", UINT16, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
            brackets(of("blkio-weight-device", WEIGHT, "Block IO weight (relative device weight)")),
            string("cidfile", "Write the container ID to the file"),
            string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
            string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
            int("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
            int("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
            int("cpu-rt-period", "Limit CPU real-time period in microseconds"),
            int("cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
            Flag::int("cpu-shares", 'c', "CPU shares (relative weight)"),
            of("cpus", CPUS, "Number of CPUs"),
            list("device", "Add a host device to the container"),
            Flag::checked_list("device-cgroup-rule", '\0', validate::device_rule, "Add a rule to the cgroup allowed devices list"),
            brackets(of("device-read-bps", BPS, "Limit read rate (bytes per second) from a device")),
            brackets(of("device-read-iops", IOPS, "Limit read rate (IO per second) from a device")),
            brackets(of("device-write-bps", BPS, "Limit write rate (bytes per second) to a device")),
            brackets(of("device-write-iops", IOPS, "Limit write rate (IO per second) to a device")),
            of("gpus", GPUS, "GPU devices to add to the container ('all' to pass all GPUs)"),
            of("kernel-memory", MEMORY, "Kernel memory limit"),
            Flag::of("memory", 'm', MEMORY, "Memory limit"),
            of("memory-reservation", MEMORY, "Memory soft limit"),
            of("memory-swap", SWAP, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
            int("memory-swappiness", "Tune container memory swappiness (0 to 100)").default("-1", "-1"),
            bool("oom-kill-disable", "Disable OOM Killer"),
            int("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)"),
            int("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
            of("shm-size", MEMORY, "Size of /dev/shm"),
            // Namespaces and the like.
            of("annotation", ANNOTATION, "Add an annotation to the container (passed through to the OCI runtime)").default("", "map[]"),
            string("cgroup-parent", "Optional parent cgroup for the container"),
            bool("init", "Run an init inside the container that forwards signals and reaps processes"),
            string("ipc", "IPC mode to use"),
            string("isolation", "Container isolation technology"),
            string("pid", "PID namespace to use"),
            string("runtime", "Runtime to use for this container"),
            string("uts", "UTS namespace to use"),
        ]
    };
}

/// The flags of `run`.
pub const RUN: &[Flag] = container_flags![
    Flag::bool(
        "detach",
        'd',
        "Run container in background and print container ID"
    ),
    string(
        "detach-keys",
        "Override the key sequence for detaching a container"
    ),
    bool("sig-proxy", "Proxy received signals to the process").default("true", "true"),
    string(
        "pull",
        "Pull image before running (\"always\", \"missing\", \"never\")"
    )
    .default("missing", "missing"),
];

/// The flags of `create`.
pub const CREATE: &[Flag] = container_flags![
    string(
        "pull",
        "Pull image before creating (\"always\", \"|missing\", \"never\")"
    )
    .default("missing", "missing"),
];
