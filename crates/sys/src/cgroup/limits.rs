//! Limits of a group: from plain numbers to the files of either version.

use super::{Cgroup, read, write};
use crate::{Error, Result};
use rustix::io::Errno;
use std::path::Path;

/// Limits to set; absent ones stay as they are. `-1` means "none" where a number is signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together.
    pub memory_swap: Option<i64>,
    /// Bytes of memory that stay when others need it.
    pub memory_reservation: Option<i64>,
    /// Tendency to swap, 0 to 100; v1 only.
    pub swappiness: Option<u64>,
    /// Pause processes instead of killing one; v1 only.
    pub oom_kill_disable: Option<bool>,
    /// Weight of processor time as v1 counts it, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per period.
    pub cpu_quota: Option<i64>,
    /// Period in microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds that may be saved up.
    pub cpu_burst: Option<u64>,
    /// Microseconds of real-time scheduling per period; v1 only.
    pub realtime_runtime: Option<i64>,
    /// Period of real-time scheduling in microseconds; v1 only.
    pub realtime_period: Option<u64>,
    /// Processors, as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, likewise.
    pub cpuset_mems: Option<String>,
    /// Number of tasks.
    pub pids: Option<i64>,
    /// Weight of block device time, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Bytes read per second by device.
    pub read_bps: Vec<BlockRate>,
    /// Bytes written per second by device.
    pub write_bps: Vec<BlockRate>,
    /// Reads per second by device.
    pub read_iops: Vec<BlockRate>,
    /// Writes per second by device.
    pub write_iops: Vec<BlockRate>,
    /// Raw v2 files and their values.
    pub unified: Vec<(String, String)>,
}

/// Rate of one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockRate {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// Default period of a processor quota in microseconds.
const PERIOD: u64 = 100_000;

impl Cgroup {
    /// Sets limits; used for new groups and for updates.
    ///
    /// # Errors
    /// Tells the file that could not be written; earlier ones stay written. `ENODEV` when a limit is
    /// asked for whose controller is not there.
    pub fn set_limits(&self, limits: &Limits) -> Result<()> {
        match self.v2() {
            Some(dir) => v2(dir, limits),
            None => self.v1(limits),
        }
    }

    fn v1(&self, limits: &Limits) -> Result<()> {
        self.v1_memory(limits)?;
        self.v1_cpu(limits)?;
        if let Some(limit) = limits.pids {
            write(
                self.need("pids")?,
                "pids.max",
                &max_or(limit.max(0).unsigned_abs(), limit <= 0),
            )?;
        }
        if let Some(weight) = limits.blkio_weight {
            let dir = self.need("blkio")?;
            write(dir, "blkio.weight", &weight.to_string())
                .or_else(|_| write(dir, "blkio.bfq.weight", &weight.to_string()))?;
        }
        for (file, rates) in [
            ("blkio.throttle.read_bps_device", &limits.read_bps),
            ("blkio.throttle.write_bps_device", &limits.write_bps),
            ("blkio.throttle.read_iops_device", &limits.read_iops),
            ("blkio.throttle.write_iops_device", &limits.write_iops),
        ] {
            for rate in rates {
                let text = format!("{}:{} {}", rate.major, rate.minor, rate.rate);
                write(self.need("blkio")?, file, &text)?;
            }
        }
        match limits.unified.first() {
            Some((file, _)) => Err(Error::new(
                format!("write(`{file}`) on cgroup v1"),
                Errno::NOTSUP,
            )),
            None => Ok(()),
        }
    }

    fn v1_memory(&self, limits: &Limits) -> Result<()> {
        if limits.memory.is_some() || limits.memory_swap.is_some() {
            let dir = self.need("memory")?;
            // The kernel refuses memory > memory+swap at any moment, so the order depends on
            // whether the limits grow or shrink.
            let now = read(dir, "memory.memsw.limit_in_bytes").ok();
            let now = now
                .and_then(|text| text.trim().parse::<i64>().ok())
                .unwrap_or(i64::MAX);
            let grows = limits.memory.is_some_and(|m| m == -1 || m > now);
            let mut files = [
                ("memory.limit_in_bytes", limits.memory),
                ("memory.memsw.limit_in_bytes", limits.memory_swap),
            ];
            if grows || limits.memory_swap == Some(-1) {
                files.reverse();
            }
            for (file, value) in files {
                if let Some(value) = value {
                    write(dir, file, &value.to_string())?;
                }
            }
        }
        if let Some(value) = limits.memory_reservation {
            write(
                self.need("memory")?,
                "memory.soft_limit_in_bytes",
                &value.to_string(),
            )?;
        }
        if let Some(value) = limits.swappiness {
            write(
                self.need("memory")?,
                "memory.swappiness",
                &value.to_string(),
            )?;
        }
        if let Some(disable) = limits.oom_kill_disable {
            let text = if disable { "1" } else { "0" };
            write(self.need("memory")?, "memory.oom_control", text)?;
        }
        Ok(())
    }

    fn v1_cpu(&self, limits: &Limits) -> Result<()> {
        if let Some(shares) = limits.cpu_shares {
            write(self.need("cpu")?, "cpu.shares", &shares.to_string())?;
        }
        if let Some(period) = limits.cpu_period {
            write(self.need("cpu")?, "cpu.cfs_period_us", &period.to_string())?;
        }
        if let Some(quota) = limits.cpu_quota {
            write(self.need("cpu")?, "cpu.cfs_quota_us", &quota.to_string())?;
        }
        if let Some(burst) = limits.cpu_burst {
            write(self.need("cpu")?, "cpu.cfs_burst_us", &burst.to_string())?;
        }
        if let Some(period) = limits.realtime_period {
            write(self.need("cpu")?, "cpu.rt_period_us", &period.to_string())?;
        }
        if let Some(runtime) = limits.realtime_runtime {
            write(self.need("cpu")?, "cpu.rt_runtime_us", &runtime.to_string())?;
        }
        if let Some(cpus) = &limits.cpuset_cpus {
            write(self.need("cpuset")?, "cpuset.cpus", cpus)?;
        }
        if let Some(mems) = &limits.cpuset_mems {
            write(self.need("cpuset")?, "cpuset.mems", mems)?;
        }
        Ok(())
    }

    fn need(&self, controller: &str) -> Result<&Path> {
        let missing = || {
            Error::new(
                format!("find the cgroup controller `{controller}`"),
                Errno::NODEV,
            )
        };
        self.controller(controller).ok_or_else(missing)
    }
}

fn max_or(value: u64, unlimited: bool) -> String {
    if unlimited {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn v2(dir: &Path, limits: &Limits) -> Result<()> {
    if limits.realtime_runtime.is_some() || limits.realtime_period.is_some() {
        return Err(Error::new(
            "limit real-time scheduling on cgroup v2",
            Errno::NOTSUP,
        ));
    }
    for (file, value) in v2_files(limits) {
        let written = write(dir, &file, &value);
        match (file.as_str(), written) {
            (_, Ok(())) => {}
            // A kernel without swap has nothing to limit.
            ("memory.swap.max", Err(e)) if e.errno() == Errno::NOENT => {}
            // Which file weighs depends on how the kernel schedules block devices.
            ("io.weight", Err(e)) => match limits.blkio_weight {
                Some(weight) => write(dir, "io.bfq.weight", &weight.to_string()).map_err(|_| e)?,
                None => return Err(e),
            },
            (_, Err(e)) => return Err(e),
        }
    }
    Ok(())
}

/// The v2 files to write, in order.
fn v2_files(limits: &Limits) -> Vec<(String, String)> {
    let mut files: Vec<(&str, String)> = Vec::new();
    let bytes = |value: i64| max_or(value.max(0).unsigned_abs(), value < 0);
    if let Some(swap) = limits.memory_swap {
        // v1 counts memory and swap together, v2 swap alone.
        let alone = if swap < 0 {
            swap
        } else {
            swap - limits.memory.unwrap_or(0).max(0)
        };
        files.push(("memory.swap.max", bytes(alone)));
    }
    if let Some(memory) = limits.memory {
        files.push(("memory.max", bytes(memory)));
    }
    if let Some(low) = limits.memory_reservation {
        files.push(("memory.low", bytes(low)));
    }
    if let Some(shares) = limits.cpu_shares.filter(|s| *s > 0) {
        files.push(("cpu.weight", cpu_weight(shares).to_string()));
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota = limits.cpu_quota.unwrap_or(-1);
        let period = limits.cpu_period.filter(|p| *p > 0).unwrap_or(PERIOD);
        let text = max_or(quota.max(0).unsigned_abs(), quota <= 0);
        files.push(("cpu.max", format!("{text} {period}")));
    }
    if let Some(burst) = limits.cpu_burst {
        files.push(("cpu.max.burst", burst.to_string()));
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        files.push(("cpuset.cpus", cpus.clone()));
    }
    if let Some(mems) = &limits.cpuset_mems {
        files.push(("cpuset.mems", mems.clone()));
    }
    if let Some(limit) = limits.pids {
        files.push(("pids.max", max_or(limit.max(0).unsigned_abs(), limit <= 0)));
    }
    if let Some(weight) = limits.blkio_weight.filter(|w| *w > 0) {
        files.push(("io.weight", io_weight(weight).to_string()));
    }
    for (key, rates) in [
        ("rbps", &limits.read_bps),
        ("wbps", &limits.write_bps),
        ("riops", &limits.read_iops),
        ("wiops", &limits.write_iops),
    ] {
        for rate in rates {
            let text = format!("{}:{} {key}={}", rate.major, rate.minor, rate.rate);
            files.push(("io.max", text));
        }
    }
    let own = files
        .into_iter()
        .map(|(file, value)| (file.to_owned(), value));
    own.chain(limits.unified.iter().cloned()).collect()
}

/// Maps v1 shares 2..=262144 to v2 weights 1..=10000, as runc documents.
fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// Maps v1 weights 10..=1000 to v2 weights 1..=10000, as runc documents.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_conversions() {
        assert_eq!(
            (cpu_weight(2), cpu_weight(1024), cpu_weight(262_144)),
            (1, 39, 10_000)
        );
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
        let limits = Limits {
            memory: Some(1 << 20),
            memory_swap: Some(3 << 20),
            cpu_quota: Some(50_000),
            pids: Some(-1),
            unified: vec![("memory.high".to_owned(), "5".to_owned())],
            ..Limits::default()
        };
        let files = v2_files(&limits);
        let text: Vec<_> = files.iter().map(|(f, v)| format!("{f}={v}")).collect();
        assert_eq!(
            text,
            [
                "memory.swap.max=2097152",
                "memory.max=1048576",
                "cpu.max=50000 100000",
                "pids.max=max",
                "memory.high=5"
            ]
        );
    }

    #[test]
    fn nothing_asked_nothing_written() {
        assert!(v2_files(&Limits::default()).is_empty());
    }
}
