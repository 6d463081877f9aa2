//! A private daemon: temporary roots on memory, its own names, and everything gone afterwards.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::audit::{self, Baseline};
use crate::command::bin_dir;
use crate::wait::poll;
use crate::{IMAGE, host, http};

/// How long a daemon may take until it answers, and until it has ended.
const LIFE: Duration = Duration::from_secs(15);

/// How long a daemon may take until it has done what it does behind everything else.
const LATE: Duration = Duration::from_secs(60);

/// The environment variable by which the processes of one daemon are known.
const TOKEN: &str = "CORTEN_E2E_TOKEN";

/// The names that a daemon derives from its data root.
#[derive(Debug, Clone)]
pub struct Names {
    pub cgroup: String,
    pub bridge: String,
    pub table: String,
    /// One end of the pair that first packets to published ports go round by.
    pub gate: String,
}

impl Names {
    /// The names of a daemon with this data root, as `docs/on-disk.md` has them.
    pub fn of(data_root: &Path) -> Self {
        let hex = spec::Digest::of(data_root.as_os_str().as_encoded_bytes()).hex();
        let short = &hex[..8];
        Self {
            cgroup: format!("corten-{short}"),
            bridge: format!("cr-{short}"),
            table: format!("corten-{short}"),
            gate: format!("cout-{short}"),
        }
    }
}

/// A running `cortend`. Dropping it removes it and everything it made.
#[derive(Debug)]
pub struct Daemon {
    roots: TempDir,
    data_root: PathBuf,
    flags: Vec<String>,
    certificates: PathBuf,
    wrapper: Vec<String>,
    token: String,
    names: Names,
    child: Option<Child>,
    pub baseline: Baseline,
}

impl Daemon {
    /// Starts a daemon.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a daemon with further flags.
    pub fn start_with(flags: &[&str]) -> Result<Self> {
        Self::start_at(None, flags)
    }

    /// Starts a daemon whose data root is a directory of the test's, as on a disk of its own.
    pub fn start_on(data_root: &Path) -> Result<Self> {
        Self::start_at(Some(data_root), &[])
    }

    /// The same with further flags.
    pub fn start_on_with(data_root: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_at(Some(data_root), flags)
    }

    fn start_at(data_root: Option<&Path>, flags: &[&str]) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let roots = tempfile::Builder::new()
            .prefix("ce-")
            .tempdir_in(root_parent())
            .context("making temporary roots")?;
        let data_root = data_root.map_or_else(|| roots.path().join("d"), Path::to_path_buf);
        let mut daemon = Self {
            names: Names::of(&data_root),
            data_root,
            token: format!("{TOKEN}={}-{number}", std::process::id()),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            certificates: roots.path().join("certs.d"),
            wrapper: Vec::new(),
            roots,
            child: None,
            baseline: Baseline::default(),
        };
        daemon.launch()?;
        Ok(daemon)
    }

    /// Changes the flags of its next launch.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Puts a program (as `strace …`) before the daemon at its next launch.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// Starts the process and waits until it answers.
    pub fn launch(&mut self) -> Result<()> {
        self.spawn()?;
        let ready =
            poll(LIFE, || self.has_ended().then_some(false).or(self.pings().then_some(true)));
        if ready != Some(true) {
            bail!("the daemon does not answer; its log:\n{}", self.log_tail());
        }
        // One that ended with no container running took its bridge along, and may find its subnet
        // taken.
        let bridge = http::request(&self.socket(), "GET", "/networks/bridge", None)?.json();
        let subnet = bridge["IPAM"]["Config"][0]["Subnet"].as_str().unwrap_or_default();
        let moved = self.baseline.table.as_ref().is_some_and(|table| !table.contains(subnet));
        let list = http::request(&self.socket(), "GET", "/containers/json?all=1", None);
        let empty = list.is_ok_and(|list| list.text().trim() == "[]");
        if self.baseline.table.is_some() && (moved || empty) {
            self.baseline.table = crate::host::nft_table(&self.names.table);
        }
        Ok(())
    }

    /// Starts the process.
    pub fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let binary = bin_dir().join("cortend");
        let mut words = self.wrapper.clone();
        words.push(binary.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let (name, value) = self.token.split_once('=').expect("a token is NAME=value");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.exec_root())
            .arg("--pidfile")
            .arg(self.roots.path().join("pid"))
            .arg("--certs-dir")
            .arg(&self.certificates)
            .args(self.own_plugins())
            .args(&self.flags)
            .env(name, value)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn();
        let child = child.with_context(|| {
            format!("starting {}: build it with `cargo build --workspace`", words.join(" "))
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// An empty directory of plugins, so that those of this host are not ours; a test may name its own.
    fn own_plugins(&self) -> Vec<String> {
        const FLAG: &str = "--volume-plugin-dir";
        if self.flags.iter().any(|flag| flag.starts_with(FLAG)) {
            return Vec::new();
        }
        let dir = self.roots.path().join("plugins");
        vec![FLAG.to_owned(), dir.display().to_string()]
    }

    /// Whether `/_ping` is answered.
    pub fn pings(&self) -> bool {
        http::request(&self.socket(), "GET", "/_ping", None)
            .is_ok_and(|answer| answer.status == 200)
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_)) | Err(_)))
    }

    /// The API socket.
    pub fn socket(&self) -> PathBuf {
        self.roots.path().join("s")
    }

    /// Where persistent state is kept.
    pub fn data_root(&self) -> PathBuf {
        self.data_root.clone()
    }

    /// Where the state of running things is kept.
    pub fn exec_root(&self) -> PathBuf {
        self.roots.path().join("x")
    }

    /// Where it looks for `<host>/` with certificates and `hosts.toml`.
    pub fn certificates(&self) -> &Path {
        &self.certificates
    }

    /// The directory that holds what is temporary; the data root too, unless a test gave one.
    pub fn roots(&self) -> &Path {
        self.roots.path()
    }

    /// The names it derives from its data root.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The pid of the daemon; of the wrapper when there is one.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// All processes of this daemon: itself, its helpers, its containers.
    pub fn processes(&self) -> Vec<host::Process> {
        host::processes_of(&self.token, &self.names.cgroup, self.roots.path())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Its whole log.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.roots.path().join("log")
    }

    /// Kills it without warning.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
    }

    /// Kills it without warning and starts it again.
    pub fn crash(&mut self) -> Result<()> {
        self.kill9();
        self.launch()
    }

    /// Asks it to end; true when it did so with exit code 0.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        // When it has ended already the wait below says how.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        match poll(LIFE, || child.try_wait().ok().flatten()) {
            Some(status) => status.success(),
            None => {
                // It was our child a moment ago: nobody else has reaped it.
                let _ = child.kill();
                let _ = child.wait();
                false
            }
        }
    }

    /// Sends a request and returns the answer; panics when there is none.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> http::Response {
        match http::request(&self.socket(), method, path, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path}: {error}; the log:\n{}", self.log_tail()),
        }
    }

    /// Runs one container, so that what is made once per daemon is there, and takes what there is
    /// then as the baseline of the audits.
    pub fn warm_up(&mut self) {
        let body = serde_json::json!({"Image": IMAGE, "Cmd": ["true"]});
        let created = self.api("POST", "/containers/create", Some(&body));
        if created.status == 201 {
            let id = created.json()["Id"].as_str().unwrap_or_default().to_owned();
            self.api("POST", &format!("/containers/{id}/start"), None);
            self.api("POST", &format!("/containers/{id}/wait"), None);
            self.api("DELETE", &format!("/containers/{id}?force=1"), None);
        }
        let leaks = audit::settled(|| audit::of_idle_daemon(self));
        if !leaks.is_empty() {
            eprintln!("after the first container: {leaks:#?}");
        }
        self.baseline = Baseline::of(self);
    }

    /// Removes every container.
    pub fn remove_containers(&self) -> Result<()> {
        let list = http::request(&self.socket(), "GET", "/containers/json?all=1", None)?;
        for container in list.json().as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            let path = format!("/containers/{id}?force=1&v=1");
            let answer = http::request(&self.socket(), "DELETE", &path, None)?;
            if !matches!(answer.status, 204 | 404 | 409) {
                bail!("removing {id}: {} {}", answer.status, answer.text());
            }
        }
        Ok(())
    }

    /// Ends it in order and says what it left behind; nothing in the best case.
    pub fn retire(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.child.is_some() {
            if let Err(error) = self.remove_containers() {
                problems.push(format!("removing all containers failed: {error:#}"));
            }
            // As with Docker, the nameless parent of a committed image outlives the image where a
            // container was made of it.
            if let Err(error) = crate::http::request(&self.socket(), "POST", "/images/prune", None)
            {
                problems.push(format!("pruning nameless images failed: {error:#}"));
            }
            problems.extend(audit::settled_within(LATE, || audit::of_idle_daemon(self)));
            if !self.stop() {
                problems.push("the daemon did not end within the time, or not with 0".into());
            }
        }
        problems.extend(audit::settled(|| audit::of_ended_daemon(self)));
        self.sweep();
        if !problems.is_empty() {
            problems.push(format!("the end of the log:\n{}", self.log_tail()));
        }
        problems
    }

    /// Removes by force what is left of it.
    fn sweep(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Whoever wraps it does not pass signals on: the processes below are killed too.
            let _ = child.kill();
            let _ = child.wait();
        }
        for process in self.processes() {
            process.kill();
        }
        for dir in host::cgroups_at(&self.names.cgroup) {
            host::remove_cgroup_tree(&dir);
        }
        let bridges = host::bridges_of(&self.names.table);
        for link in bridges.iter().map(|(bridge, _)| bridge).chain([&self.names.gate]) {
            if host::link_exists(link) {
                host::remove_link(link);
            }
        }
        if host::nft_table(&self.names.table).is_some() {
            host::remove_nft_table(&self.names.table);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// Where temporary roots are made: memory where it can be had, and a short path always.
pub(crate) fn root_parent() -> PathBuf {
    if let Some(dir) = std::env::var_os("CORTEN_E2E_ROOT") {
        return dir.into();
    }
    let memory = Path::new("/dev/shm");
    let writable = memory.is_dir() && tempfile::tempfile_in(memory).is_ok();
    if writable {
        memory.into()
    } else {
        "/tmp".into()
    }
}
