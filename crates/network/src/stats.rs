//! Interface counters of a process's network namespace, for `docker stats`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Error, Result};

/// What one interface received and sent, as Docker's statistics name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Errors while receiving.
    pub rx_errors: u64,
    /// Packets dropped while receiving.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Errors while sending.
    pub tx_errors: u64,
    /// Packets dropped while sending.
    pub tx_dropped: u64,
}

/// Reads the counters of every interface but `lo` in the namespace of a process.
///
/// The process must be one that the caller holds alive (or whose end it tolerates as an error).
pub fn read_counters(pid: i32) -> Result<BTreeMap<String, InterfaceCounters>> {
    let path = PathBuf::from(format!("/proc/{pid}/net/dev"));
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", path))?;
    Ok(parse_counters(&text))
}

/// Parses the text of `/proc/PID/net/dev`, leaving out `lo` and lines that do not fit.
pub fn parse_counters(text: &str) -> BTreeMap<String, InterfaceCounters> {
    text.lines()
        .filter_map(parse_line)
        .filter(|(name, _)| name != "lo")
        .collect()
}

/// Parses `name: rx_bytes packets errs drop fifo frame compressed multicast tx_bytes …`.
fn parse_line(line: &str) -> Option<(String, InterfaceCounters)> {
    // The name may be followed by digits without a space, and may hold a colon itself (aliases).
    let (name, rest) = line.rsplit_once(':')?;
    let numbers: Vec<u64> = rest
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()
        .ok()?;
    let &[
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        _,
        _,
        _,
        _,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
        ..,
    ] = numbers.as_slice()
    else {
        return None;
    };
    let counters = InterfaceCounters {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    };
    Some((name.trim().to_owned(), counters))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1040      10    0    0    0     0          0         0     1040      10    0    0    0     0       0          0
  eth0:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
broken: 1 2 3
";

    #[test]
    fn counters_are_read_by_column() {
        let all = parse_counters(TEXT);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["eth0"]);
        let want = InterfaceCounters {
            rx_bytes: u64::MAX,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 9,
            tx_packets: 10,
            tx_errors: 11,
            tx_dropped: 12,
        };
        assert_eq!(all["eth0"], want);
    }
}
