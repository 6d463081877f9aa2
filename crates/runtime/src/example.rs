//! A specification to start from: a shell with Docker's protections.

use spec::runtime::{
    Capabilities, DeviceRule, Linux, Mount, Namespace, NamespaceKind, Process, Resources, Root,
    Spec,
};

/// Capabilities of Docker's default.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: kind.to_owned(),
        options: texts(options),
        ..Mount::default()
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// Makes a specification that protects as Docker does by default.
pub fn example_spec() -> Spec {
    let names = texts(&CAPABILITIES);
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Mount,
        NamespaceKind::Cgroup,
    ];
    Spec {
        oci_version: spec::runtime::VERSION.to_owned(),
        root: Some(Root {
            path: "rootfs".into(),
            readonly: false,
        }),
        process: Some(Process {
            terminal: true,
            args: texts(&["sh"]),
            env: texts(&[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ]),
            cwd: "/".to_owned(),
            capabilities: Some(Capabilities {
                bounding: names.clone(),
                effective: names.clone(),
                permitted: names.clone(),
                ..Capabilities::default()
            }),
            ..Process::default()
        }),
        hostname: "corten".to_owned(),
        mounts: vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount(
                "/dev",
                "tmpfs",
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
            mount(
                "/dev/pts",
                "devpts",
                &[
                    "nosuid",
                    "noexec",
                    "newinstance",
                    "ptmxmode=0666",
                    "mode=0620",
                    "gid=5",
                ],
            ),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "ro"],
            ),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount(
                "/dev/shm",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ),
        ],
        linux: Some(Linux {
            namespaces: kinds.map(Namespace::new).to_vec(),
            resources: Some(Resources {
                devices: vec![DeviceRule {
                    access: "rwm".to_owned(),
                    ..DeviceRule::default()
                }],
                ..Resources::default()
            }),
            seccomp: Some(spec::seccomp::default_profile(&CAPABILITIES)),
            masked_paths: texts(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/sys/devices/virtual/powercap",
                "/sys/firmware",
            ]),
            readonly_paths: texts(&[
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
