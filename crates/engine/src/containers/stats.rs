//! One sample of a container's use of resources.

use std::sync::Arc;

use sys::cgroup::BlockEntry;

use super::request::{BlockIo, InterfaceCounters, Sample};
use super::shared::Shared;
use crate::container::Container;
use crate::{Error, Result, clock};

/// Takes a sample; zeros while the container does not run.
pub(super) async fn sample(shared: &Arc<Shared>, container: &Container) -> Result<Sample> {
    let base = Sample {
        id: container.id.to_string(),
        name: container.name.to_string(),
        ..Sample::default()
    };
    let Some(pid) = container.state.running().map(|r| r.pid) else {
        return Ok(base);
    };
    let group = shared.cgroup(container)?;
    let own_network = container.host.network_mode != "host";
    let job = move || {
        let stats = group.stats().map_err(|source| Error::System {
            what: "failed to read counters".to_owned(),
            source,
        })?;
        let networks = match own_network.then(|| network::read_counters(pid)) {
            // It may have ended since.
            None | Some(Err(_)) => Default::default(),
            Some(Ok(counters)) => counters,
        };
        let mut sample = base;
        sample.read = Some(clock::now());
        sample.networks = networks
            .into_iter()
            .map(|(name, c)| {
                let counters = InterfaceCounters {
                    rx_bytes: c.rx_bytes,
                    rx_packets: c.rx_packets,
                    rx_errors: c.rx_errors,
                    rx_dropped: c.rx_dropped,
                    tx_bytes: c.tx_bytes,
                    tx_packets: c.tx_packets,
                    tx_errors: c.tx_errors,
                    tx_dropped: c.tx_dropped,
                };
                (name, counters)
            })
            .collect();
        fill(&mut sample, stats);
        Ok(sample)
    };
    shared.blocking.quick(job).await
}

fn fill(sample: &mut Sample, stats: sys::cgroup::Stats) {
    sample.cpu_total = stats.cpu.total_ns;
    sample.cpu_user = stats.cpu.user_ns;
    sample.cpu_kernel = stats.cpu.system_ns;
    sample.throttling = [
        stats.cpu.periods,
        stats.cpu.throttled_periods,
        stats.cpu.throttled_ns,
    ];
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    sample.online_cpus = u32::try_from(cpus).unwrap_or(1);
    sample.cpu_system = host_cpu_ns();
    sample.cpu_per_cpu = stats.cpu.percpu_ns;
    sample.memory_usage = stats.memory.usage;
    sample.memory_max_usage = stats.memory.max_usage;
    let host = crate::system::memory_total();
    sample.memory_limit = stats.memory.limit.map_or(host, |limit| limit.min(host));
    sample.memory_failures = stats.memory.failcnt;
    sample.memory_stats = stats.memory.stat;
    sample.pids_current = stats.pids.current;
    sample.pids_limit = stats.pids.limit.unwrap_or(0);
    sample.block_io = block_io(&stats.io_service_bytes, &stats.io_serviced);
}

fn block_io(bytes: &[BlockEntry], operations: &[BlockEntry]) -> Vec<BlockIo> {
    let mut devices: std::collections::BTreeMap<(u64, u64), BlockIo> = Default::default();
    for (entries, counts_bytes) in [(bytes, true), (operations, false)] {
        for entry in entries {
            let key = (entry.major, entry.minor);
            let device = devices.entry(key).or_insert(BlockIo {
                major: entry.major,
                minor: entry.minor,
                read_bytes: 0,
                write_bytes: 0,
                reads: 0,
                writes: 0,
            });
            let slot = match (entry.op.to_ascii_lowercase().as_str(), counts_bytes) {
                ("read", true) => &mut device.read_bytes,
                ("write", true) => &mut device.write_bytes,
                ("read", false) => &mut device.reads,
                ("write", false) => &mut device.writes,
                _ => continue,
            };
            *slot = entry.value;
        }
    }
    devices.into_values().collect()
}

/// CPU time of the whole host: the first seven counters of `/proc/stat`, as Docker sums them.
fn host_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .map(|rest| {
            rest.split_ascii_whitespace()
                .take(7)
                .flat_map(str::parse::<u64>)
                .sum()
        })
        .unwrap_or(0);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    ticks.saturating_mul(1_000_000_000 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_are_merged() {
        let entry = |op: &str, value| BlockEntry {
            major: 8,
            minor: 0,
            op: op.to_owned(),
            value,
        };
        let merged = block_io(&[entry("Read", 1), entry("Write", 2)], &[entry("read", 3)]);
        assert_eq!(merged.len(), 1);
        assert_eq!(
            (merged[0].read_bytes, merged[0].write_bytes, merged[0].reads),
            (1, 2, 3)
        );
        assert!(host_cpu_ns() > 0);
    }
}
