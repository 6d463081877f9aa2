//! What the kernel says about the host: mounts, links, cgroups, firewall tables, processes.
//!
//! Everything is read from `/proc` and `/sys`; only the firewall needs a program (`nft`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A process that belongs to a daemon under test.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub command: String,
    pub state: char,
}

impl Process {
    /// Kills it.
    pub fn kill(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            // It may have ended since it was seen.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The mounts of a process (`self` or a pid) whose line mentions a path below `root`.
pub fn mounts_below(pid: &str, root: &Path) -> Vec<String> {
    let root = root.display().to_string();
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    table.lines().filter(|line| line.contains(&root)).map(str::to_owned).collect()
}

/// The mount points of every cgroup hierarchy, v1 and v2.
pub fn cgroup_hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter(|line| line.contains(" - cgroup ") || line.contains(" - cgroup2 "))
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect();
    points.sort();
    points.dedup();
    points
}

/// The cgroups called `path` (relative to the hierarchies) that exist.
pub fn cgroups_at(path: &str) -> Vec<PathBuf> {
    let exists = |point: PathBuf| Some(point.join(path)).filter(|dir| dir.is_dir());
    cgroup_hierarchies().into_iter().filter_map(exists).collect()
}

/// The directories directly in `dir`.
pub fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Kills what runs in a cgroup tree and removes it.
pub fn remove_cgroup_tree(dir: &Path) {
    for child in subdirs(dir) {
        remove_cgroup_tree(&child);
    }
    for pid in cgroup_pids(dir) {
        Process {
            pid,
            command: String::new(),
            state: '?',
        }
        .kill();
    }
    crate::wait::poll(crate::wait::SETTLE, || {
        (fs::remove_dir(dir).is_ok() || !dir.exists()).then_some(())
    });
}

/// The processes in a cgroup.
pub fn cgroup_pids(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The links that are ports of a bridge.
pub fn ports_of(bridge: &str) -> Vec<String> {
    let Ok(links) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let is_port = |path: &Path| {
        fs::read_link(path.join("master")).is_ok_and(|master| master.ends_with(bridge))
    };
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    links
        .flatten()
        .map(|link| link.path())
        .filter(|path| is_port(path))
        .filter_map(name)
        .collect()
}

/// Whether there is a link of this name.
pub fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// The bridges that carry the mark of a daemon's networks, and the id of the network of each.
pub fn bridges_of(table: &str) -> Vec<(String, String)> {
    let mark = format!("corten {table} ");
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    links
        .filter_map(|link| {
            let alias = fs::read_to_string(link.path().join("ifalias")).ok()?;
            let id = alias.trim_end().strip_prefix(&mark)?;
            Some((link.file_name().to_string_lossy().into_owned(), id.to_owned()))
        })
        .collect()
}

/// The rules of a firewall table without counters; nothing when there is no such table.
pub fn nft_table(name: &str) -> Option<String> {
    let output = Command::new("nft")
        .args(["--stateless", "list", "ruleset"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let head = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("table") && words.nth(1) == Some(name)
    };
    let mut lines = text.lines().skip_while(|line| !head(line));
    // Behind a `#` stands the program that owns the table, if it is found at that moment.
    let first = lines.next()?.split(" #").next()?.to_owned();
    Some(lines.take_while(|line| *line != "}").fold(first, |all, line| all + "\n" + line))
}

/// Removes a firewall table of any family.
pub fn remove_nft_table(name: &str) {
    for family in ["inet", "ip", "ip6", "bridge"] {
        quiet("nft", &["delete", "table", family, name]);
    }
}

/// Removes a link.
pub fn remove_link(name: &str) {
    quiet("ip", &["link", "delete", name]);
}

fn quiet(program: &str, args: &[&str]) {
    // Used to clean up: what is not there need not be removed.
    let _ = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// All processes that a daemon under test started, directly or not.
///
/// They are known by any of: the token in their environment, their cgroup, or a descriptor,
/// directory or mapped program below the daemon's roots.
pub fn processes_of(token: &str, cgroup: &str, root: &Path) -> Vec<Process> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| *pid != own)
        .filter(|pid| belongs(&PathBuf::from(format!("/proc/{pid}")), token, cgroup, root))
        .filter_map(describe)
        .collect()
}

fn belongs(proc: &Path, token: &str, cgroup: &str, root: &Path) -> bool {
    let contains = |file: &str, text: &str| {
        let bytes = fs::read(proc.join(file)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let below = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(root));
    if contains("environ", token) || contains("cgroup", &format!("/{cgroup}/")) {
        return true;
    }
    // The test processes themselves hold files below the root; they are no part of the daemon.
    let name = fs::read_to_string(proc.join("comm")).unwrap_or_default();
    name.starts_with("corten")
        && (["cwd", "root"].iter().any(|link| below(&proc.join(link)))
            || fs::read_dir(proc.join("fd"))
                .is_ok_and(|fds| fds.flatten().any(|fd| below(&fd.path()))))
}

fn describe(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    Some(Process {
        pid: i32::try_from(pid).ok()?,
        command: if line.is_empty() {
            format!("[{name}]")
        } else {
            line
        },
        state: tail.chars().next().unwrap_or('?'),
    })
}

/// How many descriptors of each kind a process has open.
pub fn descriptors(pid: i32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return kinds;
    };
    for target in entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
        let target = target.to_string_lossy().into_owned();
        let kind = target.split(":[").next().unwrap_or(&target).to_owned();
        *kinds.entry(kind).or_insert(0) += 1;
    }
    kinds
}

/// A line of `/proc/PID/smaps_rollup`, in kB.
pub fn memory_kb(pid: i32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How long a process has been computing, in the kernel's ticks.
pub fn cpu_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(") ")?.1.split(' ');
    let ticks: Vec<u64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Some(ticks.iter().sum())
}

/// The peak of the resident memory of a process, in kB.
pub fn peak_kb(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Has the peak be what it is now.
pub fn reset_peak(pid: i32) {
    // A process that has ended has no peak, which whoever reads it then sees.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// All files and directories below a directory, relative to it.
pub fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(path.clone());
            }
            if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.display().to_string());
            }
        }
    }
    found.sort();
    found
}
