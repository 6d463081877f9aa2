//! What a group has used, as plain numbers.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{Cgroup, read, write};
use crate::{Error, Result};

/// The kernel's way to say "no limit" in v1 files: the largest multiple of a page in 63 bits.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

/// All counters of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Bytes transferred by block devices.
    pub io_service_bytes: Vec<BlockEntry>,
    /// Operations of block devices.
    pub io_serviced: Vec<BlockEntry>,
}

/// Processor time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Of all kinds.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// By processor; empty on v2.
    pub percpu_ns: Vec<u64>,
    /// Periods with a quota in force.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// Time spent waiting for the next period.
    pub throttled_ns: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: u64,
    /// The most ever in use; 0 where the kernel does not tell.
    pub max_usage: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failcnt: u64,
    /// `memory.stat` as the kernel names it.
    pub stat: BTreeMap<String, u64>,
}

/// Number of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// The limit, if there is one.
    pub limit: Option<u64>,
}

/// A counter of one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `read`, `write`, `sync`, `async`, `discard`, `total`.
    pub op: String,
    /// The count.
    pub value: u64,
}

impl Cgroup {
    /// Reads all counters; those of controllers that are not there are zero.
    pub fn stats(&self) -> Result<Stats> {
        Ok(match self.v2() {
            Some(dir) => v2_stats(dir),
            None => self.v1_stats(),
        })
    }

    fn v1_stats(&self) -> Stats {
        let mut stats = Stats::default();
        if let Some(dir) = self.controller("cpuacct") {
            stats.cpu.total_ns = number(dir, "cpuacct.usage");
            stats.cpu.user_ns = number(dir, "cpuacct.usage_user");
            stats.cpu.system_ns = number(dir, "cpuacct.usage_sys");
            let percpu = read(dir, "cpuacct.usage_percpu").unwrap_or_default();
            stats.cpu.percpu_ns = percpu.split_whitespace().flat_map(str::parse).collect();
        }
        if let Some(dir) = self.controller("cpu") {
            let table = table(dir, "cpu.stat");
            stats.cpu.periods = get(&table, "nr_periods");
            stats.cpu.throttled_periods = get(&table, "nr_throttled");
            stats.cpu.throttled_ns = get(&table, "throttled_time");
        }
        if let Some(dir) = self.controller("memory") {
            let limit = number(dir, "memory.limit_in_bytes");
            stats.memory = MemoryStats {
                usage: number(dir, "memory.usage_in_bytes"),
                max_usage: number(dir, "memory.max_usage_in_bytes"),
                limit: (limit > 0 && limit < V1_UNLIMITED).then_some(limit),
                failcnt: number(dir, "memory.failcnt"),
                stat: table(dir, "memory.stat"),
            };
        }
        if let Some(dir) = self.controller("pids") {
            stats.pids = pids(dir);
        }
        if let Some(dir) = self.controller("blkio") {
            stats.io_service_bytes = blkio(dir, "blkio.throttle.io_service_bytes_recursive");
            stats.io_serviced = blkio(dir, "blkio.throttle.io_serviced_recursive");
        }
        stats
    }

    /// How many processes of the group the kernel killed because memory ran out.
    pub fn oom_kills(&self) -> u64 {
        if let Some(dir) = self.controller("memory") {
            get(&table(dir, "memory.oom_control"), "oom_kill")
        } else if let Some(dir) = self.v2() {
            get(&table(dir, "memory.events"), "oom_kill")
        } else {
            0
        }
    }

    /// A descriptor that becomes readable when the group runs out of memory (v1: also when it is
    /// removed; v2: also at other events of its memory); `None` without a memory controller.
    ///
    /// Reading at least 8 bytes arms it again; the truth is in [`Cgroup::oom_kills`].
    pub fn oom_event(&self) -> Result<Option<OwnedFd>> {
        use std::os::fd::AsRawFd;
        if let Some(dir) = self.controller("memory") {
            let event = rustix::event::eventfd(
                0,
                rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
            )
            .map_err(|e| Error::new("eventfd()", e))?;
            let path = dir.join("memory.oom_control");
            let control = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| Error::new(format!("open(`{}`)", path.display()), e))?;
            let text = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            write(dir, "cgroup.event_control", &text)?;
            return Ok(Some(event));
        }
        let Some(dir) = self.v2() else {
            return Ok(None);
        };
        use rustix::fs::inotify;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .map_err(|e| Error::new("inotify_init1()", e))?;
        let path = dir.join("memory.events");
        inotify::add_watch(&watch, &path, inotify::WatchFlags::MODIFY)
            .map_err(|e| Error::new(format!("inotify_add_watch(`{}`)", path.display()), e))?;
        Ok(Some(watch))
    }
}

fn v2_stats(dir: &Path) -> Stats {
    let cpu = table(dir, "cpu.stat");
    let events = table(dir, "memory.events");
    let io = read(dir, "io.stat").unwrap_or_default();
    let us = |name: &str| get(&cpu, name).saturating_mul(1000);
    Stats {
        cpu: CpuStats {
            total_ns: us("usage_usec"),
            user_ns: us("user_usec"),
            system_ns: us("system_usec"),
            percpu_ns: Vec::new(),
            periods: get(&cpu, "nr_periods"),
            throttled_periods: get(&cpu, "nr_throttled"),
            throttled_ns: us("throttled_usec"),
        },
        memory: MemoryStats {
            usage: number(dir, "memory.current"),
            max_usage: number(dir, "memory.peak"),
            limit: read(dir, "memory.max")
                .ok()
                .and_then(|t| t.trim().parse().ok()),
            failcnt: get(&events, "max"),
            stat: table(dir, "memory.stat"),
        },
        pids: pids(dir),
        io_service_bytes: io_stat(&io, &[("rbytes", "read"), ("wbytes", "write")]),
        io_serviced: io_stat(&io, &[("rios", "read"), ("wios", "write")]),
    }
}

fn pids(dir: &Path) -> PidsStats {
    PidsStats {
        current: number(dir, "pids.current"),
        limit: read(dir, "pids.max")
            .ok()
            .and_then(|t| t.trim().parse().ok()),
    }
}

fn number(dir: &Path, file: &str) -> u64 {
    read(dir, file)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn table(dir: &Path, file: &str) -> BTreeMap<String, u64> {
    parse_table(&read(dir, file).unwrap_or_default())
}

fn parse_table(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn get(table: &BTreeMap<String, u64>, name: &str) -> u64 {
    table.get(name).copied().unwrap_or(0)
}

fn blkio(dir: &Path, file: &str) -> Vec<BlockEntry> {
    parse_blkio(&read(dir, file).unwrap_or_default())
}

/// Reads lines of the form `254:0 Read 4096`.
fn parse_blkio(text: &str) -> Vec<BlockEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let (major, minor) = fields.next()?.split_once(':')?;
        Some(BlockEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: fields.next()?.to_ascii_lowercase(),
            value: fields.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// Reads lines of the form `254:0 rbytes=4096 wbytes=0 rios=1 wios=0`.
fn io_stat(text: &str, names: &[(&str, &str)]) -> Vec<BlockEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(|f| f.split_once(':')) else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        for (name, value) in fields.filter_map(|field| field.split_once('=')) {
            let Some((_, op)) = names.iter().find(|(n, _)| *n == name) else {
                continue;
            };
            if let Ok(value) = value.parse() {
                entries.push(BlockEntry {
                    major,
                    minor,
                    op: (*op).to_owned(),
                    value,
                });
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_counters_of_both_versions() {
        let v1 = parse_blkio("254:0 Read 4096\n254:0 Total 4096\nTotal 4096\n");
        assert_eq!(v1.len(), 2);
        assert_eq!(
            (v1[0].major, v1[0].op.as_str(), v1[0].value),
            (254, "read", 4096)
        );
        let v2 = io_stat(
            "254:0 rbytes=10 wbytes=20 rios=1 wios=2\n",
            &[("wbytes", "write")],
        );
        assert_eq!((v2.len(), v2[0].value), (1, 20));
    }

    #[test]
    fn tables_skip_what_is_no_number() {
        let table = parse_table("oom_kill_disable 0\nunder_oom 0\noom_kill 3\nbad x\n");
        assert_eq!(get(&table, "oom_kill"), 3);
        assert_eq!(table.len(), 3);
    }
}
