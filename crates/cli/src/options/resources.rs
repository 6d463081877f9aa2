//! Limits of resources: memory, processors, block devices, devices.

use serde_json::{Value, json};

use super::create::list_or_null;
use super::{devices, limits};
use crate::flags::Parsed;
use crate::units::{nano_cpus, ram_in_bytes};

/// A size of the flags in bytes; 0 where it is not given.
pub(super) fn size(flags: &Parsed, name: &str) -> i64 {
    match flags.str(name) {
        "-1" => -1,
        text => ram_in_bytes(text).unwrap_or(0),
    }
}

/// Adds the limits of resources to the host's part of a container.
pub(super) fn add(flags: &Parsed, host: &mut Value) -> Result<(), String> {
    let swappiness = flags.int("memory-swappiness");
    if swappiness != -1 && !(0..=100).contains(&swappiness) {
        return Err(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        ));
    }
    let each = |name: &str, read: fn(&str) -> Result<Value, String>| -> Result<Value, String> {
        let all: Vec<Value> = flags
            .list(name)
            .iter()
            .map(|text| read(text))
            .collect::<Result<_, _>>()?;
        Ok(json!(all))
    };
    let (mut mapped, mut named) = (Vec::new(), Vec::new());
    for device in flags.list("device") {
        match devices::is_cdi(&device) {
            true => named.push(device),
            false => mapped.push(devices::mapping(&device)?),
        }
    }
    let mut requests: Vec<Value> = flags
        .list("gpus")
        .iter()
        .map(|text| devices::gpus(text))
        .collect::<Result<_, _>>()?;
    if !named.is_empty() {
        requests.push(json!({"Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": null, "Options": null}));
    }
    // The last of a name wins.
    let mut ulimits: Vec<Value> = Vec::new();
    for text in flags.list("ulimit") {
        let limit = limits::ulimit(&text)?;
        ulimits.retain(|other| other["Name"] != limit["Name"]);
        ulimits.push(limit);
    }
    let figures = json!({
        "CpuShares": flags.int("cpu-shares"),
        "Memory": size(flags, "memory"),
        "NanoCpus": nano_cpus(flags.str("cpus")).unwrap_or(0),
        "CgroupParent": flags.str("cgroup-parent"),
        "BlkioWeight": flags.int("blkio-weight"),
        "BlkioWeightDevice": each("blkio-weight-device", limits::weight_device)?,
        "BlkioDeviceReadBps": each("device-read-bps", limits::bytes_device)?,
        "BlkioDeviceWriteBps": each("device-write-bps", limits::bytes_device)?,
        "BlkioDeviceReadIOps": each("device-read-iops", limits::operations_device)?,
        "BlkioDeviceWriteIOps": each("device-write-iops", limits::operations_device)?,
        "CpuPeriod": flags.int("cpu-period"),
        "CpuQuota": flags.int("cpu-quota"),
        "CpuRealtimePeriod": flags.int("cpu-rt-period"),
        "CpuRealtimeRuntime": flags.int("cpu-rt-runtime"),
        "CpusetCpus": flags.str("cpuset-cpus"),
        "CpusetMems": flags.str("cpuset-mems"),
        "Devices": mapped,
        "DeviceCgroupRules": list_or_null(&flags.list("device-cgroup-rule")),
        "DeviceRequests": if requests.is_empty() { Value::Null } else { json!(requests) },
        "MemoryReservation": size(flags, "memory-reservation"),
        "MemorySwap": size(flags, "memory-swap"),
        "MemorySwappiness": swappiness,
        "OomKillDisable": flags.bool("oom-kill-disable"),
        "PidsLimit": flags.int("pids-limit"),
        "Ulimits": ulimits,
    });
    if let (Value::Object(host), Value::Object(figures)) = (&mut *host, figures) {
        host.extend(figures);
    }
    let kernel = size(flags, "kernel-memory");
    if kernel != 0 {
        host["KernelMemory"] = kernel.into();
    }
    Ok(())
}
