//! What a process in a container sees, printed as one line of JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Marks the line of the report among those of the test harness.
pub const MARK: &str = "PROBE ";

/// The report.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub struct Seen {
    pub pid: u32,
    pub cwd: String,
    pub hostname: String,
    pub env: BTreeMap<String, String>,
    /// Lines of /proc/self/status.
    pub status: BTreeMap<String, String>,
    /// Numbers of open descriptors.
    pub fds: Vec<i32>,
    pub mounts: String,
    pub cgroup: String,
    /// Results of reading and writing the paths named by `PROBE_PATHS`.
    pub paths: BTreeMap<String, Access>,
    /// Error numbers of some system calls, 0 for success.
    pub calls: BTreeMap<String, i32>,
    pub nofile: String,
    pub oom_score_adj: String,
    pub tty: bool,
}

/// What can be done with a path.
#[derive(Debug, Serialize, Deserialize, PartialEq, Clone)]
pub struct Access {
    /// Bytes read, or entries of a directory; negative error number.
    pub read: i64,
    /// Error number of opening for writing (a file) or making an entry (a directory).
    pub write: i32,
    pub content: String,
}

/// Not a test: the report of a container's process.
#[test]
fn probe() {
    report_if_asked();
}

/// Prints the report when this is the process of a container.
pub fn report_if_asked() -> bool {
    if std::env::var_os("PROBE").is_none() {
        return false;
    }
    let sleep = std::env::var("PROBE_SLEEP").map_or(0, |seconds| seconds.parse().unwrap());
    std::thread::sleep(std::time::Duration::from_secs(sleep));
    println!("{MARK}{}", serde_json::to_string(&look()).unwrap());
    true
}

fn look() -> Seen {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let paths = std::env::var("PROBE_PATHS").unwrap_or_default();
    let limits = read("/proc/self/limits");
    Seen {
        pid: std::process::id(),
        cwd: std::env::current_dir().unwrap().display().to_string(),
        hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
        env: std::env::vars().collect(),
        status: read("/proc/self/status").lines().filter_map(pair).collect(),
        fds: open_fds(),
        mounts: read("/proc/self/mountinfo"),
        cgroup: read("/proc/self/cgroup"),
        paths: paths
            .split(':')
            .filter(|p| !p.is_empty())
            .map(|p| (p.to_owned(), access(p)))
            .collect(),
        calls: calls(),
        nofile: limits
            .lines()
            .find(|l| l.starts_with("Max open files"))
            .unwrap_or("")
            .to_owned(),
        oom_score_adj: read("/proc/self/oom_score_adj").trim().to_owned(),
        tty: rustix::termios::isatty(std::io::stdout()),
    }
}

fn open_fds() -> Vec<i32> {
    // Those that answer, not those that a directory listing (which opens one) would show.
    let is_open = |fd: &i32| {
        Path::new(&format!("/proc/self/fd/{fd}"))
            .symlink_metadata()
            .is_ok()
    };
    (0..1024).filter(is_open).collect()
}

fn access(path: &str) -> Access {
    let number = |e: std::io::Error| e.raw_os_error().unwrap_or(-1);
    let is_dir = Path::new(path).is_dir();
    let (read, content) = if is_dir {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut names: Vec<_> = entries
                    .flatten()
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect();
                names.sort();
                (i64::try_from(names.len()).unwrap(), names.join(","))
            }
            Err(e) => (-i64::from(number(e)), String::new()),
        }
    } else {
        match std::fs::read(path) {
            Ok(bytes) => (
                i64::try_from(bytes.len()).unwrap(),
                String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
            ),
            Err(e) => (-i64::from(number(e)), String::new()),
        }
    };
    let write = if is_dir {
        let entry = Path::new(path).join("probe-entry");
        std::fs::create_dir(&entry).map(|()| drop(std::fs::remove_dir(&entry)))
    } else {
        std::fs::File::options().append(true).open(path).map(drop)
    };
    Access {
        read,
        write: write.err().map_or(0, number),
        content,
    }
}

/// Calls that the default filter decides in different ways.
fn calls() -> BTreeMap<String, i32> {
    use rustix::net::{AddressFamily, SocketType};
    let mut calls = BTreeMap::new();
    let mut add = |name: &str, result: rustix::io::Result<()>| {
        calls.insert(
            name.to_owned(),
            result.err().map_or(0, rustix::io::Errno::raw_os_error),
        );
    };
    let socket = |family| rustix::net::socket(family, SocketType::DGRAM, None).map(drop);
    add("socket inet", socket(AddressFamily::INET));
    add("socket alg", socket(AddressFamily::from_raw(38)));
    add("socket vsock", socket(AddressFamily::from_raw(40)));
    add(
        "mount",
        rustix::mount::mount_change("/", rustix::mount::MountPropagationFlags::PRIVATE),
    );
    add("sethostname", rustix::system::sethostname(b"probe"));
    add("chroot", rustix::process::chroot("/"));
    calls
}
