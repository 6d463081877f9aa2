//! Statistics in Docker's shape.

use api::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    ThrottlingData,
};
use engine::containers::{BlockIo, InterfaceCounters, Sample};
use spec::Timestamp;

/// Whether the answer names its container; Docker's one-shot answer does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Name and id are there.
    Named,
    /// They are left out.
    Bare,
}

/// A sample beside the one before it; all zeros while the container does not run.
pub fn to_wire(sample: &Sample, before: Option<&Sample>, label: Label) -> Stats {
    let time = |s: Option<&Sample>| {
        s.and_then(|s| s.read)
            .unwrap_or(Timestamp::ZERO)
            .to_string()
    };
    let named = label == Label::Named;
    let names = Stats {
        name: if named {
            format!("/{}", sample.name)
        } else {
            String::new()
        },
        id: if named {
            sample.id.clone()
        } else {
            String::new()
        },
        read: time(Some(sample)),
        preread: time(before),
        ..Stats::default()
    };
    if sample.read.is_none() {
        return Stats {
            preread: Timestamp::ZERO.to_string(),
            ..names
        };
    }
    Stats {
        pids_stats: PidsStats {
            current: sample.pids_current,
            limit: sample.pids_limit,
        },
        blkio_stats: blkio(&sample.block_io),
        cpu_stats: cpu(sample),
        precpu_stats: before
            .filter(|b| b.read.is_some())
            .map(cpu)
            .unwrap_or_default(),
        memory_stats: MemoryStats {
            usage: sample.memory_usage,
            max_usage: sample.memory_max_usage,
            stats: sample.memory_stats.clone(),
            failcnt: sample.memory_failures,
            limit: sample.memory_limit,
        },
        networks: sample
            .networks
            .iter()
            .map(|(name, c)| (name.clone(), interface(c)))
            .collect(),
        ..names
    }
}

fn cpu(sample: &Sample) -> CpuStats {
    let [periods, throttled_periods, throttled_time] = sample.throttling;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: sample.cpu_total,
            percpu_usage: sample.cpu_per_cpu.clone(),
            usage_in_kernelmode: sample.cpu_kernel,
            usage_in_usermode: sample.cpu_user,
        },
        system_cpu_usage: sample.cpu_system,
        online_cpus: sample.online_cpus,
        throttling_data: ThrottlingData {
            periods,
            throttled_periods,
            throttled_time,
        },
    }
}

/// Clients sum the entries called `read` and `write`, in any case.
fn blkio(devices: &[BlockIo]) -> BlkioStats {
    let entries = |read: fn(&BlockIo) -> u64, write: fn(&BlockIo) -> u64| {
        let pair = |d: &BlockIo| {
            [("read", read(d)), ("write", write(d))].map(|(op, value)| BlkioEntry {
                major: d.major,
                minor: d.minor,
                op: op.to_owned(),
                value,
            })
        };
        Some(devices.iter().flat_map(pair).collect())
    };
    BlkioStats {
        io_service_bytes_recursive: entries(|d| d.read_bytes, |d| d.write_bytes),
        io_serviced_recursive: entries(|d| d.reads, |d| d.writes),
        io_queue_recursive: Some(Vec::new()),
        io_service_time_recursive: Some(Vec::new()),
        io_wait_time_recursive: Some(Vec::new()),
        io_merged_recursive: Some(Vec::new()),
        io_time_recursive: Some(Vec::new()),
        sectors_recursive: Some(Vec::new()),
    }
}

fn interface(c: &InterfaceCounters) -> NetworkStats {
    NetworkStats {
        rx_bytes: c.rx_bytes,
        rx_packets: c.rx_packets,
        rx_errors: c.rx_errors,
        rx_dropped: c.rx_dropped,
        tx_bytes: c.tx_bytes,
        tx_packets: c.tx_packets,
        tx_errors: c.tx_errors,
        tx_dropped: c.tx_dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_container_has_zeros_and_null_lists() {
        let sample = Sample {
            id: "ab".to_owned(),
            name: "web".to_owned(),
            ..Sample::default()
        };
        let stats = to_wire(&sample, None, Label::Named);
        assert_eq!(stats.name, "/web");
        assert_eq!(stats.read, "0001-01-01T00:00:00Z");
        assert_eq!(stats.blkio_stats.io_serviced_recursive, None);
    }

    #[test]
    fn the_sample_before_is_precpu() {
        let before = Sample {
            read: Some(Timestamp::from_unix(1, 0)),
            cpu_total: 5,
            ..Sample::default()
        };
        let after = Sample {
            read: Some(Timestamp::from_unix(2, 0)),
            cpu_total: 9,
            block_io: vec![BlockIo {
                major: 8,
                minor: 0,
                read_bytes: 1,
                write_bytes: 2,
                reads: 3,
                writes: 4,
            }],
            ..Sample::default()
        };
        let stats = to_wire(&after, Some(&before), Label::Bare);
        assert_eq!(stats.precpu_stats.cpu_usage.total_usage, 5);
        assert_eq!(stats.cpu_stats.cpu_usage.total_usage, 9);
        assert_eq!(stats.preread, "1970-01-01T00:00:01Z");
        let bytes = stats.blkio_stats.io_service_bytes_recursive.unwrap();
        assert_eq!(
            (bytes[0].op.as_str(), bytes[0].value, bytes[1].value),
            ("read", 1, 2)
        );
        assert_eq!(stats.name, "");
    }
}
