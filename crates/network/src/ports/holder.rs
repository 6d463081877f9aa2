//! Which process has a port: for the text of a conflict, read from procfs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::Protocol;

/// A process that has a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    /// Its short name (`comm`).
    pub name: String,
}

/// Finds the process whose socket keeps `host` from being bound; none if it cannot be told.
pub(super) fn find(protocol: Protocol, host: SocketAddr) -> Option<Process> {
    let name = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => return None,
    };
    // An IPv6 socket may be bound for both families.
    [name.to_owned(), format!("{name}6")]
        .iter()
        .find_map(|file| {
            let table =
                std::fs::read_to_string(Path::new("/proc/thread-self/net").join(file)).ok()?;
            let lines = table.lines().skip(1);
            let mut inodes = lines
                .filter_map(parse)
                .filter(|(bound, _)| meets(*bound, host));
            inodes.find_map(|(_, inode)| owner(inode))
        })
}

fn meets(bound: SocketAddr, host: SocketAddr) -> bool {
    let same = bound.ip().to_canonical() == host.ip();
    bound.port() == host.port()
        && (same || bound.ip().is_unspecified() || host.ip().is_unspecified())
}

/// Reads the local address and the inode of a line.
fn parse(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let inode = fields.nth(7)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<u32>> = (0..address.len())
        .step_by(8)
        .map(|at| u32::from_str_radix(address.get(at..at + 8)?, 16).ok())
        .collect();
    // Words are in the machine's byte order, their bytes in the network's.
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some((SocketAddr::new(ip, port), inode))
}

/// Finds a process that has the socket open.
fn owner(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let has = |pid: u32| {
        let mut files = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        files.any(|file| {
            let target = file.and_then(|file| std::fs::read_link(file.path()));
            target.is_ok_and(|target| target.as_os_str() == wanted.as_str())
        })
    };
    let entries = std::fs::read_dir("/proc").ok()?;
    let mut pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid| has(*pid))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Process {
        pid,
        name: name.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                    0 0 12345 1 0000000000000000 100 0 0 10 0";
        let want: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(parse(line), Some((want, 12345)));
        let line = "   1: 00000000000000000000000001000000:0050 00:0 0A 0 0 0 0 0 77 1";
        let want: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(parse(line), Some((want, 77)));
        for bad in [
            "",
            "sl local_address",
            "0: zz:1 0 0 0 0 0 0 0 1",
            "0: 0100007F:1F90 0",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_socket_of_both_families_is_in_the_way_of_either() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(meets(at("[::]:80"), at("127.0.0.1:80")));
        assert!(meets(at("127.0.0.1:80"), at("0.0.0.0:80")));
        assert!(meets(at("[::ffff:127.0.0.1]:80"), at("127.0.0.1:80")));
        assert!(!meets(at("127.0.0.1:80"), at("127.0.0.2:80")));
        assert!(!meets(at("0.0.0.0:81"), at("127.0.0.1:80")));
    }
}
