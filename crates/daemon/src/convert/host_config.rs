//! How the host runs a container.

use std::collections::BTreeMap;

use api::container::{
    BindOptions, DeviceMapping as WireDevice, HostConfig as Wire, LogConfig as WireLog,
    Mount as WireMount, PortBinding as WirePort, RestartPolicy as WirePolicy, StringOrList,
    TmpfsOptions, Ulimit as WireUlimit,
};
use engine::container::{
    DeviceMapping, HostConfig, LogConfig, Mount, PortBinding, Resources, Rest, RestartPolicy,
    Ulimit,
};
use serde_json::Value;

use super::{give_list, keep_list};

/// Docker's paths hidden by default, shown where the user named none.
const MASKED: &[&str] = &[
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
/// Docker's paths read-only by default.
const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
/// Bytes of /dev/shm that Docker shows where the user named none.
const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// What the engine is told.
pub fn from_wire(wire: Wire) -> HostConfig {
    let resources = resources_from_wire(&wire);
    let mut rest = Rest::new();
    let r = &mut rest;
    let wire_ports = wire.port_bindings;
    if wire_ports.as_ref().is_some_and(BTreeMap::is_empty) {
        r.insert("PortBindings".to_owned(), Value::Object(Rest::new()));
    }
    HostConfig {
        binds: keep_list(r, "Binds", wire.binds),
        mounts: wire
            .mounts
            .unwrap_or_default()
            .into_iter()
            .map(mount_from_wire)
            .collect(),
        tmpfs: wire.tmpfs.unwrap_or_default(),
        network_mode: wire.network_mode,
        port_bindings: ports_from_wire(wire_ports),
        publish_all_ports: wire.publish_all_ports,
        restart_policy: policy_from_wire(wire.restart_policy),
        auto_remove: wire.auto_remove,
        volume_driver: wire.volume_driver,
        volumes_from: keep_list(r, "VolumesFrom", wire.volumes_from),
        log: LogConfig {
            driver: wire.log_config.driver,
            options: wire.log_config.options.unwrap_or_default(),
        },
        cap_add: keep_list(r, "CapAdd", wire.cap_add.map(|l| l.0)),
        cap_drop: keep_list(r, "CapDrop", wire.cap_drop.map(|l| l.0)),
        cgroupns_mode: wire.cgroupns_mode,
        dns: keep_list(r, "Dns", wire.dns),
        dns_options: keep_list(r, "DnsOptions", wire.dns_options),
        dns_search: keep_list(r, "DnsSearch", wire.dns_search),
        extra_hosts: keep_list(r, "ExtraHosts", wire.extra_hosts),
        group_add: keep_list(r, "GroupAdd", wire.group_add),
        ipc_mode: wire.ipc_mode,
        cgroup: wire.cgroup,
        links: keep_list(r, "Links", wire.links),
        oom_score_adj: wire.oom_score_adj,
        pid_mode: wire.pid_mode,
        privileged: wire.privileged,
        readonly_rootfs: wire.readonly_rootfs,
        security_opt: keep_list(r, "SecurityOpt", wire.security_opt),
        storage_opt: wire.storage_opt.unwrap_or_default(),
        uts_mode: wire.uts_mode,
        userns_mode: wire.userns_mode,
        shm_size: wire.shm_size,
        sysctls: wire.sysctls.unwrap_or_default(),
        runtime: wire.runtime,
        isolation: wire.isolation,
        console_size: Some(wire.console_size).filter(|s| *s != [0, 0]),
        container_id_file: wire.container_id_file,
        annotations: wire.annotations.unwrap_or_default(),
        masked_paths: wire.masked_paths,
        readonly_paths: wire.readonly_paths,
        init: wire.init,
        resources,
        // Records of older daemons have the networks here.
        endpoints: BTreeMap::new(),
        rest,
    }
}

/// Limits alone, as an update sends them.
pub fn resources_from_wire(wire: &Wire) -> Resources {
    let mut rest = Rest::new();
    let r = &mut rest;
    for (key, value) in [
        ("BlkioWeightDevice", &wire.blkio_weight_device),
        ("BlkioDeviceReadBps", &wire.blkio_device_read_bps),
        ("BlkioDeviceWriteBps", &wire.blkio_device_write_bps),
        ("BlkioDeviceReadIOps", &wire.blkio_device_read_iops),
        ("BlkioDeviceWriteIOps", &wire.blkio_device_write_iops),
        ("DeviceRequests", &wire.device_requests),
    ] {
        if let Some(value) = value {
            r.insert(key.to_owned(), value.clone());
        }
    }
    let device = |d: &WireDevice| DeviceMapping {
        path_on_host: d.path_on_host.clone(),
        path_in_container: d.path_in_container.clone(),
        permissions: d.cgroup_permissions.clone(),
    };
    let ulimit = |u: &WireUlimit| Ulimit {
        name: u.name.clone(),
        soft: u.soft,
        hard: u.hard,
    };
    Resources {
        cpu_shares: wire.cpu_shares,
        memory: wire.memory,
        nano_cpus: wire.nano_cpus,
        cgroup_parent: wire.cgroup_parent.clone(),
        blkio_weight: wire.blkio_weight,
        cpu_period: wire.cpu_period,
        cpu_quota: wire.cpu_quota,
        cpu_realtime_period: wire.cpu_realtime_period,
        cpu_realtime_runtime: wire.cpu_realtime_runtime,
        cpuset_cpus: wire.cpuset_cpus.clone(),
        cpuset_mems: wire.cpuset_mems.clone(),
        devices: keep_list(
            r,
            "Devices",
            wire.devices
                .as_ref()
                .map(|l| l.iter().map(device).collect()),
        ),
        device_cgroup_rules: keep_list(r, "DeviceCgroupRules", wire.device_cgroup_rules.clone()),
        memory_reservation: wire.memory_reservation,
        memory_swap: wire.memory_swap,
        // -1 is the older way to say nothing.
        memory_swappiness: wire.memory_swappiness.filter(|n| *n != -1),
        kernel_memory_tcp: wire.kernel_memory_tcp,
        oom_kill_disable: wire.oom_kill_disable,
        pids_limit: wire.pids_limit,
        ulimits: keep_list(
            r,
            "Ulimits",
            wire.ulimits
                .as_ref()
                .map(|l| l.iter().map(ulimit).collect()),
        ),
        rest,
    }
}

/// A restart policy for the engine.
pub fn policy_from_wire(wire: WirePolicy) -> RestartPolicy {
    RestartPolicy {
        name: wire.name,
        maximum_retry_count: wire.maximum_retry_count,
    }
}

fn ports_from_wire(
    wire: Option<BTreeMap<String, Option<Vec<WirePort>>>>,
) -> BTreeMap<String, Vec<PortBinding>> {
    let binding = |p: WirePort| PortBinding {
        host_ip: p.host_ip,
        host_port: p.host_port,
    };
    let list = |l: Option<Vec<WirePort>>| l.unwrap_or_default().into_iter().map(binding).collect();
    wire.unwrap_or_default()
        .into_iter()
        .map(|(port, l)| (port, list(l)))
        .collect()
}

fn mount_from_wire(wire: WireMount) -> Mount {
    let bind = wire.bind_options.unwrap_or_default();
    let tmpfs = wire.tmpfs_options.unwrap_or_default();
    let mut rest = Rest::new();
    for (key, value) in [
        ("VolumeOptions", wire.volume_options),
        ("ImageOptions", wire.image_options),
        ("ClusterOptions", wire.cluster_options),
    ] {
        if let Some(value) = value {
            rest.insert(key.to_owned(), value);
        }
    }
    Mount {
        kind: wire.kind,
        source: wire.source,
        target: wire.target,
        read_only: wire.read_only,
        consistency: wire.consistency,
        propagation: bind.propagation,
        non_recursive: bind.non_recursive,
        create_mountpoint: bind.create_mountpoint,
        read_only_non_recursive: bind.read_only_non_recursive,
        read_only_force_recursive: bind.read_only_force_recursive,
        id_map: bind.id_map,
        match_user: bind.match_user,
        tmpfs_size: tmpfs.size_bytes,
        tmpfs_mode: tmpfs.mode,
        tmpfs_options: tmpfs.options.unwrap_or_default(),
        rest,
    }
}

/// What inspect shows.
pub fn to_wire(host: &HostConfig) -> Wire {
    let rest = &host.rest;
    let mut wire = resources_to_wire(&host.resources);
    wire.binds = give_list(rest, "Binds", host.binds.clone());
    wire.container_id_file.clone_from(&host.container_id_file);
    wire.log_config = WireLog {
        driver: or(&host.log.driver, "json-file"),
        options: Some(host.log.options.clone()),
    };
    wire.network_mode = network_mode(host);
    wire.port_bindings = ports_to_wire(host);
    wire.restart_policy = WirePolicy {
        name: or(&host.restart_policy.name, "no"),
        maximum_retry_count: host.restart_policy.maximum_retry_count,
    };
    wire.auto_remove = host.auto_remove;
    wire.volume_driver.clone_from(&host.volume_driver);
    wire.volumes_from = give_list(rest, "VolumesFrom", host.volumes_from.clone());
    wire.console_size = host.console_size.unwrap_or_default();
    wire.annotations = Some(host.annotations.clone());
    wire.cap_add = give_list(rest, "CapAdd", host.cap_add.clone()).map(StringOrList);
    wire.cap_drop = give_list(rest, "CapDrop", host.cap_drop.clone()).map(StringOrList);
    wire.cgroupns_mode = or(&host.cgroupns_mode, "private");
    wire.dns = give_list(rest, "Dns", host.dns.clone());
    wire.dns_options = give_list(rest, "DnsOptions", host.dns_options.clone());
    wire.dns_search = give_list(rest, "DnsSearch", host.dns_search.clone());
    wire.extra_hosts = give_list(rest, "ExtraHosts", host.extra_hosts.clone());
    wire.group_add = give_list(rest, "GroupAdd", host.group_add.clone());
    wire.ipc_mode = or(&host.ipc_mode, "private");
    wire.cgroup.clone_from(&host.cgroup);
    wire.links = give_list(rest, "Links", host.links.clone());
    wire.oom_score_adj = host.oom_score_adj;
    wire.pid_mode.clone_from(&host.pid_mode);
    wire.privileged = host.privileged;
    wire.publish_all_ports = host.publish_all_ports;
    wire.readonly_rootfs = host.readonly_rootfs;
    wire.security_opt = give_list(rest, "SecurityOpt", host.security_opt.clone());
    wire.storage_opt = Some(host.storage_opt.clone());
    wire.tmpfs = Some(host.tmpfs.clone());
    wire.uts_mode.clone_from(&host.uts_mode);
    wire.userns_mode.clone_from(&host.userns_mode);
    wire.shm_size = if host.shm_size == 0 {
        SHM_SIZE
    } else {
        host.shm_size
    };
    wire.sysctls = Some(host.sysctls.clone());
    wire.runtime = or(&host.runtime, "corten");
    wire.isolation.clone_from(&host.isolation);
    wire.mounts = Some(host.mounts.iter().map(mount_to_wire).collect());
    wire.masked_paths = Some(paths(host, &host.masked_paths, MASKED));
    wire.readonly_paths = Some(paths(host, &host.readonly_paths, READ_ONLY));
    wire.init = host.init;
    wire
}

/// The network mode as Docker shows it: `default` is the bridge.
pub fn network_mode(host: &HostConfig) -> String {
    match host.network_mode.as_str() {
        "" | "default" => "bridge".to_owned(),
        mode => mode.to_owned(),
    }
}

fn or(text: &str, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text.to_owned()
    }
}

fn paths(host: &HostConfig, given: &Option<Vec<String>>, default: &[&str]) -> Vec<String> {
    match given {
        Some(paths) => paths.clone(),
        None if host.privileged => Vec::new(),
        None => default.iter().map(|p| (*p).to_owned()).collect(),
    }
}

fn ports_to_wire(host: &HostConfig) -> Option<BTreeMap<String, Option<Vec<WirePort>>>> {
    let binding = |p: &PortBinding| WirePort {
        host_ip: p.host_ip.clone(),
        host_port: p.host_port.clone(),
    };
    let list = |l: &Vec<PortBinding>| Some(l.iter().map(binding).collect());
    let ports: BTreeMap<_, _> = host
        .port_bindings
        .iter()
        .map(|(port, l)| (port.clone(), list(l)))
        .collect();
    (!ports.is_empty() || host.rest.contains_key("PortBindings")).then_some(ports)
}

fn resources_to_wire(resources: &Resources) -> Wire {
    let rest = &resources.rest;
    let value = |key: &str| rest.get(key).cloned();
    let device = |d: &DeviceMapping| WireDevice {
        path_on_host: d.path_on_host.clone(),
        path_in_container: d.path_in_container.clone(),
        cgroup_permissions: d.permissions.clone(),
    };
    let ulimit = |u: &Ulimit| WireUlimit {
        name: u.name.clone(),
        hard: u.hard,
        soft: u.soft,
    };
    Wire {
        cpu_shares: resources.cpu_shares,
        memory: resources.memory,
        nano_cpus: resources.nano_cpus,
        cgroup_parent: resources.cgroup_parent.clone(),
        blkio_weight: resources.blkio_weight,
        blkio_weight_device: value("BlkioWeightDevice"),
        blkio_device_read_bps: value("BlkioDeviceReadBps"),
        blkio_device_write_bps: value("BlkioDeviceWriteBps"),
        blkio_device_read_iops: value("BlkioDeviceReadIOps"),
        blkio_device_write_iops: value("BlkioDeviceWriteIOps"),
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_realtime_period: resources.cpu_realtime_period,
        cpu_realtime_runtime: resources.cpu_realtime_runtime,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        devices: give_list(
            rest,
            "Devices",
            resources.devices.iter().map(device).collect(),
        ),
        device_cgroup_rules: give_list(
            rest,
            "DeviceCgroupRules",
            resources.device_cgroup_rules.clone(),
        ),
        device_requests: value("DeviceRequests"),
        kernel_memory_tcp: resources.kernel_memory_tcp,
        memory_reservation: resources.memory_reservation,
        memory_swap: resources.memory_swap,
        memory_swappiness: resources.memory_swappiness,
        oom_kill_disable: Some(resources.oom_kill_disable.unwrap_or(false)),
        pids_limit: resources.pids_limit,
        ulimits: give_list(
            rest,
            "Ulimits",
            resources.ulimits.iter().map(ulimit).collect(),
        ),
        ..Wire::default()
    }
}

fn mount_to_wire(mount: &Mount) -> WireMount {
    let bind = BindOptions {
        propagation: mount.propagation.clone(),
        non_recursive: mount.non_recursive,
        create_mountpoint: mount.create_mountpoint,
        read_only_non_recursive: mount.read_only_non_recursive,
        read_only_force_recursive: mount.read_only_force_recursive,
        id_map: mount.id_map.clone(),
        match_user: mount.match_user,
    };
    let tmpfs = TmpfsOptions {
        size_bytes: mount.tmpfs_size,
        mode: mount.tmpfs_mode,
        options: Some(mount.tmpfs_options.clone()).filter(|options| !options.is_empty()),
    };
    WireMount {
        kind: mount.kind.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone(),
        bind_options: Some(bind).filter(|o| *o != BindOptions::default()),
        tmpfs_options: Some(tmpfs).filter(|o| *o != TmpfsOptions::default()),
        volume_options: mount.rest.get("VolumeOptions").cloned(),
        image_options: mount.rest.get("ImageOptions").cloned(),
        cluster_options: mount.rest.get("ClusterOptions").cloned(),
    }
}

#[cfg(test)]
mod tests {
    use api::container::CreateRequest;
    use api::gojson::encode;

    use super::*;

    fn round(body: &str) -> String {
        let request = CreateRequest::decode(body.as_bytes()).unwrap();
        let host = from_wire(request.host_config.unwrap_or_default());
        String::from_utf8(encode(&to_wire(&host))).unwrap()
    }

    #[test]
    fn missing_settings_print_as_dockerd_prints_them() {
        assert_eq!(
            round("{}"),
            r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"bridge","PortBindings":null,"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"private","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,"IpcMode":"private","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":67108864,"Runtime":"corten","Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":false,"PidsLimit":null,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":["/proc/asound","/proc/acpi","/proc/interrupts","/proc/kcore","/proc/keys","/proc/latency_stats","/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/proc/scsi","/sys/firmware","/sys/devices/virtual/powercap"],"ReadonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]}"#
        );
    }

    #[test]
    fn empty_lists_stay_empty_lists() {
        let got = round(
            r#"{"HostConfig":{"Dns":[],"CapAdd":["all"],"Binds":[],"PortBindings":{},"Devices":[],"SecurityOpt":[],"Ulimits":[],"BlkioWeightDevice":[],"Mounts":[],"MemorySwappiness":-1,"Tmpfs":{"/x":""},"MaskedPaths":[],"LogConfig":{"Type":"","Config":null},"Init":null}}"#,
        );
        for part in [
            r#""Dns":[],"DnsOptions":null"#,
            r#""CapAdd":["all"],"CapDrop":null"#,
            r#""Binds":[]"#,
            r#""PortBindings":{}"#,
            r#""Devices":[]"#,
            r#""SecurityOpt":[],"Tmpfs":{"/x":""},"UTSMode""#,
            r#""Ulimits":[]"#,
            r#""BlkioWeightDevice":[],"BlkioDeviceReadBps":null"#,
            r#""MemorySwappiness":null"#,
            r#""IOMaximumBandwidth":0,"MaskedPaths":[],"ReadonlyPaths":["/proc/bus""#,
        ] {
            assert!(got.contains(part), "{part} in {got}");
        }
    }

    #[test]
    fn long_mounts_survive() {
        let got = round(
            r#"{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":5,"Options":[["exec"]]}},{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}}]}}"#,
        );
        assert!(got.contains(r#""Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":5,"Options":[["exec"]]}},{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}}]"#), "{got}");
    }
}
