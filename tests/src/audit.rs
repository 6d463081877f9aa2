//! The leak audit: what may be left on the host, and what is.
//!
//! Three moments. Of one container, after its removal; of a daemon that has no containers any
//! more; of a daemon that has ended. Each answers with a list of sentences, empty when all is
//! well. The kernel cleans up in the background, so [`settled`] looks again for some seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::hostile::base64;
use crate::wait::{SETTLE, poll};
use crate::{host, http, registry};

/// What a daemon holds when it has started and nothing is in it.
#[derive(Debug, Default, Clone)]
pub struct Baseline {
    descriptors: BTreeMap<String, usize>,
    files: BTreeSet<String>,
    ports: usize,
    pub table: Option<String>,
}

impl Baseline {
    /// Takes the state of a daemon as what it may keep.
    pub fn of(daemon: &Daemon) -> Self {
        Self {
            descriptors: daemon.pid().map(host::descriptors).unwrap_or_default(),
            files: files(daemon),
            ports: host::ports_of(&daemon.names().bridge).len(),
            table: host::nft_table(&daemon.names().table),
        }
    }
}

/// Repeats an audit until it is clean or the time to settle has passed.
pub fn settled(audit: impl FnMut() -> Vec<String>) -> Vec<String> {
    settled_within(SETTLE, audit)
}

/// The same with another deadline.
pub fn settled_within(deadline: Duration, mut audit: impl FnMut() -> Vec<String>) -> Vec<String> {
    let mut found = Vec::new();
    poll(deadline, || {
        found = audit();
        found.is_empty().then_some(())
    });
    found
}

/// What is left of a removed container.
pub fn of_container(daemon: &Daemon, id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for dir in host::cgroups_at(&format!("{}/{id}", daemon.names().cgroup)) {
        found.push(format!("cgroup {}", dir.display()));
    }
    for root in [daemon.data_root(), daemon.exec_root()] {
        let dir = root.join("containers").join(id);
        if dir.exists() {
            found.push(format!("directory {}", dir.display()));
        }
    }
    for mount in host::mounts_below("self", daemon.roots()).iter().filter(|line| line.contains(id))
    {
        found.push(format!("mount {mount}"));
    }
    found
}

/// What a living daemon without containers holds beyond its baseline.
pub fn of_idle_daemon(daemon: &Daemon) -> Vec<String> {
    let mut found = common(daemon);
    let base = &daemon.baseline;
    for dir in host::cgroups_at(&daemon.names().cgroup) {
        for child in host::subdirs(&dir) {
            found.push(format!("cgroup {}", child.display()));
        }
    }
    if let Some(pid) = daemon.pid() {
        // A resolver that was needed once is kept, and watched, and so is a relay.
        let processes = daemon.processes();
        let count_of = |command: &str| {
            processes.iter().filter(|process| process.command.contains(command)).count()
        };
        let helpers = count_of("shim resolver").min(1) + count_of("shim relay").min(1);
        for (kind, count) in host::descriptors(pid) {
            let before = base.descriptors.get(&kind).copied().unwrap_or(0);
            // Ready-made network namespaces come and go in the background.
            let spare = if kind == "net" { SPARE_PORTS } else { 0 };
            if count > (before + helpers * HELPER_DESCRIPTORS).max(spare)
                && !base.descriptors.is_empty()
            {
                found.push(format!(
                    "descriptors `{kind}` of the daemon: {before} before, {count} now"
                ));
            }
        }
        for process in daemon.processes() {
            let mounts = host::mounts_below(&process.pid.to_string(), daemon.roots());
            found.extend(mounts.iter().map(|line| format!("mount of {}: {line}", process.command)));
            if process.state == 'Z' {
                found.push(format!("zombie {} {}", process.pid, process.command));
            }
        }
        // The daemon, the process from which supervisors are forked, one resolver and one relay.
        if daemon.processes().len() > 2 + helpers {
            let list: Vec<_> = daemon.processes().into_iter().map(|p| (p.pid, p.command)).collect();
            found.push(format!("more processes than daemon and spawner: {list:?}"));
        }
    }
    found.extend(endpoints(daemon));
    found.extend(secrets(daemon));
    let ports = host::ports_of(&daemon.names().bridge);
    if ports.len() > base.ports.max(SPARE_PORTS) {
        found.push(format!("links on the bridge: {} before, now {ports:?}", base.ports));
    }
    found.extend(stray_bridges(daemon));
    let table = host::nft_table(&daemon.names().table);
    if base.table.is_some() && table != base.table {
        found.push(format!("firewall: before {:?}, now {table:?}", base.table));
    }
    if !base.files.is_empty() {
        let files = files(daemon);
        let more = files.difference(&base.files);
        // What is kept of interrupted downloads is wanted: it goes with its age.
        let more = more.filter(|path| !path.starts_with("data/store/partial/"));
        // Directories made with the first network of a kind, and sockets of the helpers.
        let more = more.filter(|path| {
            let usual = [
                "data/network/networks", "data/network/plugins", "data/network/plugins/endpoints",
                "exec/resolver.sock", "exec/relay.sock",
            ];
            !usual.contains(&path.as_str())
        });
        // An image that was pushed has a manifest from then on, and its layers the compressed form
        // that the manifest names, if they had been pulled in it.
        let wanted = documents(daemon);
        let more = more.filter(|path| {
            let hex = path.strip_prefix("data/store/blobs/sha256/");
            !hex.is_some_and(|hex| wanted.contains(hex))
        });
        found.extend(more.map(|path| format!("file {path}")));
    }
    found
}

/// The records of all images in the store and the documents that they name, one after the other.
fn documents(daemon: &Daemon) -> String {
    let store = daemon.data_root().join("store");
    let all_in = |dir: &str| {
        let entries = std::fs::read_dir(store.join(dir)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    let records: Vec<String> =
        all_in("images").filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let mut all = records.concat();
    for path in all_in("blobs/sha256") {
        let is_document = path.metadata().is_ok_and(|found| found.len() <= MAX_DOCUMENT);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if is_document && records.iter().any(|record| record.contains(name)) {
            // A compressed layer is no text.
            all += &std::fs::read_to_string(&path).unwrap_or_default();
        }
    }
    all
}

/// Largest manifest that is read; what is larger is content of images.
const MAX_DOCUMENT: u64 = 1 << 20;

/// What a daemon that watches a helper holds of each kind: its connection, its end, its namespace.
const HELPER_DESCRIPTORS: usize = 3;

/// Ready-made network endpoints that a daemon may keep for the next container.
const SPARE_PORTS: usize = 8;

/// What an ended daemon without containers left on the host.
pub fn of_ended_daemon(daemon: &Daemon) -> Vec<String> {
    let mut found = common(daemon);
    for process in daemon.processes() {
        found.push(format!("process {} {}", process.pid, process.command));
    }
    for dir in host::cgroups_at(&daemon.names().cgroup) {
        found.push(format!("cgroup {}", dir.display()));
    }
    for (bridge, _) in host::bridges_of(&daemon.names().table) {
        found.push(format!("bridge {bridge}"));
    }
    if host::link_exists(&daemon.names().gate) {
        found.push(format!("link {}", daemon.names().gate));
    }
    if host::nft_table(&daemon.names().table).is_some() {
        found.push(format!("firewall table {}", daemon.names().table));
    }
    found
}

/// What the tests give as passwords and tokens, in every form in which it could be written down.
fn secret_texts() -> Vec<String> {
    let account = format!("{}:{}", registry::USER, registry::PASSWORD);
    let plain = [registry::PASSWORD.to_owned(), registry::IDENTITY.to_owned()];
    let coded = [registry::PASSWORD, registry::IDENTITY, &account].map(|t| base64(t.as_bytes()));
    let mut texts: Vec<String> = plain.into_iter().chain(coded).collect();
    // The end of a coded text depends on what follows it.
    texts.iter_mut().for_each(|text| text.truncate(text.trim_end_matches('=').len() - 1));
    texts
}

/// Where secrets of the tests are to be read, though only registries and clients may know them.
fn secrets(daemon: &Daemon) -> Vec<String> {
    /// Larger files are content of images.
    const MAX_FILE: u64 = 1 << 20;
    let texts = secret_texts();
    let told = |bytes: &[u8]| {
        texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    let mut found = Vec::new();
    for root in [daemon.data_root(), daemon.exec_root()] {
        for path in host::tree(&root) {
            let path = root.join(path);
            let small = path
                .symlink_metadata()
                .is_ok_and(|meta| meta.is_file() && meta.len() > 0 && meta.len() < MAX_FILE);
            if small && std::fs::read(&path).is_ok_and(|bytes| told(&bytes)) {
                found.push(format!("a secret in {}", path.display()));
            }
        }
    }
    if let Some(line) = daemon.log().lines().find(|line| told(line.as_bytes())) {
        found.push(format!("a secret in the log: {line}"));
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let path = format!("/events?since=1&until={now}");
    let events = http::request(&daemon.socket(), "GET", &path, None);
    if events.is_ok_and(|answer| told(&answer.body)) {
        found.push("a secret in the events".to_owned());
    }
    for process in daemon.processes() {
        if told(process.command.as_bytes()) {
            found.push(format!("a secret in the command line of {}", process.pid));
        }
    }
    found
}

/// Bridges of networks that the daemon does not know any more.
fn stray_bridges(daemon: &Daemon) -> Vec<String> {
    let Ok(answer) = http::request(&daemon.socket(), "GET", "/networks", None) else {
        return Vec::new();
    };
    let known = answer.text();
    let bridges = host::bridges_of(&daemon.names().table).into_iter();
    let stray = bridges.filter(|(_, network)| !known.contains(network.as_str()));
    stray.map(|(bridge, _)| format!("bridge {bridge} of a network that is gone")).collect()
}

/// The addresses that the default bridge believes to be in use.
fn endpoints(daemon: &Daemon) -> Vec<String> {
    let Ok(answer) = http::request(&daemon.socket(), "GET", "/networks/bridge", None) else {
        return vec!["the engine does not answer".into()];
    };
    let network = answer.json();
    let held = network["Containers"].as_object().into_iter().flatten();
    held.map(|(id, endpoint)| format!("endpoint of {id}: {endpoint}")).collect()
}

/// What may never be there.
fn common(daemon: &Daemon) -> Vec<String> {
    let mut found = host::mounts_below("self", daemon.roots());
    for root in [daemon.data_root(), daemon.exec_root()] {
        for dir in host::subdirs(&root.join("containers")) {
            found.push(format!("directory {}", dir.display()));
        }
    }
    let temporary = |path: &&String| path.ends_with(".tmp") || path.contains("/.tmp");
    found.extend(files(daemon).iter().filter(temporary).map(|path| format!("temporary {path}")));
    let log = daemon.log();
    let panicked = log.lines().find(|line| line.contains("panicked at"));
    found.extend(panicked.map(|line| format!("a panic in the log: {line}")));
    found
}

fn files(daemon: &Daemon) -> BTreeSet<String> {
    let below = |name: &str, root: &Path| -> Vec<String> {
        host::tree(root).into_iter().map(|path| format!("{name}/{path}")).collect()
    };
    let mut all = below("data", &daemon.data_root());
    all.extend(below("exec", &daemon.exec_root()));
    all.into_iter().collect()
}
