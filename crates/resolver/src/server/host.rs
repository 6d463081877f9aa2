//! The host's own name servers, followed as its `resolv.conf` changes.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the file is looked at, while anybody asks.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Most bytes of the file that are read.
const MAX_BYTES: u64 = 64 * 1024;
/// The port of name servers.
pub(super) const PORT: u16 = 53;

/// What the file says.
#[derive(Debug)]
pub(super) struct HostServers {
    path: PathBuf,
    checked: Option<Instant>,
    stamp: Option<Stamp>,
    servers: Vec<SocketAddr>,
}

/// What changes when a file changes.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl HostServers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            checked: None,
            stamp: None,
            servers: Vec::new(),
        }
    }

    /// The servers as the file has them now.
    pub(super) fn get(&mut self, now: Instant) -> &[SocketAddr] {
        let due = self
            .checked
            .is_none_or(|checked| now.duration_since(checked) >= CHECK_EVERY);
        if due {
            self.checked = Some(now);
            self.refresh();
        }
        &self.servers
    }

    fn refresh(&mut self) {
        use std::io::Read as _;
        // A file that is gone for a moment, while it is replaced, leaves what was known.
        let Ok(file) = std::fs::File::open(&self.path) else {
            return;
        };
        let Ok(about) = file.metadata() else { return };
        let stamp = Stamp {
            file: (about.dev(), about.ino()),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
        };
        if self.stamp.as_ref() == Some(&stamp) {
            return;
        }
        let mut bytes = Vec::new();
        if file.take(MAX_BYTES).read_to_end(&mut bytes).is_ok() {
            self.servers = parse(&String::from_utf8_lossy(&bytes));
            self.stamp = Some(stamp);
        }
    }
}

/// The name servers of a `resolv.conf`.
fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let word = words.next().filter(|word| *word == "nameserver");
        word.and(words.next()).and_then(address)
    };
    text.lines().filter_map(server).collect()
}

/// An address, perhaps with the interface that it is reached by.
fn address(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT));
    };
    let scope = match zone.parse() {
        Ok(number) => number,
        Err(_) => interface(zone)?,
    };
    let address = address.parse().ok()?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

fn interface(name: &str) -> Option<u32> {
    let index = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    index.ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_are_read() {
        let text = "# nameserver 1.1.1.1\nnameserver\nnameserver x\n search a\n\
                    \tnameserver 10.0.0.1 # ours\nnameserver ::1\nnameserver fe80::1%3\n";
        let servers: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "[fe80::1%3]:53"]);
        assert_eq!(address("fe80::1%no-such-interface"), None);
        assert_eq!(address("1.2.3.4%lo"), None);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let mut host = HostServers::new(path.clone());
        let mut now = Instant::now();
        assert!(host.get(now).is_empty());
        std::fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        assert!(host.get(now).is_empty(), "it was looked at a moment ago");
        now += CHECK_EVERY;
        assert_eq!(host.get(now)[0].to_string(), "10.0.0.1:53");
        let next = dir.path().join("next");
        std::fs::write(&next, "nameserver 10.0.0.2\n").unwrap();
        std::fs::rename(&next, &path).unwrap();
        now += CHECK_EVERY;
        assert_eq!(host.get(now)[0].to_string(), "10.0.0.2:53");
        std::fs::remove_file(&path).unwrap();
        now += CHECK_EVERY;
        assert_eq!(
            host.get(now).len(),
            1,
            "a file that is gone changes nothing"
        );
    }
}
