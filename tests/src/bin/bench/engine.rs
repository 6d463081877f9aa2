//! The engines that are measured: our daemon, a dockerd that is started here, or a given socket.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tests::command::Client;
use tests::{Daemon, host, poll};

/// The environment variable by which a started dockerd's processes are known.
const TOKEN: &str = "CORTEN_BENCH_TOKEN";

/// One engine.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) socket: PathBuf,
    pub(crate) client: Client,
    kind: Kind,
}

enum Kind {
    Ours(Box<Daemon>),
    Started { child: Child, roots: TempDir },
    Given,
}

impl Engine {
    /// A private daemon of ours.
    pub(crate) fn ours() -> Result<Self> {
        let daemon = Box::new(Daemon::start()?);
        let socket = daemon.socket();
        Ok(Self {
            name: "corten",
            socket,
            client: Client::Corten,
            kind: Kind::Ours(daemon),
        })
    }

    /// The dockerd to compare with: a program to start, or a socket.
    pub(crate) fn reference(place: &str) -> Result<Self> {
        let path = PathBuf::from(place.strip_prefix("unix://").unwrap_or(place));
        let meta = path.metadata().with_context(|| format!("no dockerd at {place}"))?;
        if meta.is_file() {
            return Self::start(&path);
        }
        Ok(Self {
            name: "dockerd",
            socket: path,
            client: Client::Docker,
            kind: Kind::Given,
        })
    }

    /// Starts a dockerd in network and mount namespaces of its own, with its data on memory.
    fn start(program: &Path) -> Result<Self> {
        let roots = tempfile::Builder::new().prefix("cb-").tempdir_in("/dev/shm")?;
        let root = roots.path().display();
        let socket = roots.path().join("s");
        let dir = program.parent().unwrap_or(program).display();
        let script = format!(
            "mount --make-rprivate / && ip link set lo up && PATH={dir}:{dir}/../bin:{dir}/../sbin:$PATH exec {} \
             --data-root {root}/d --exec-root {root}/x --pidfile {root}/pid -H unix://{root}/s",
            program.display()
        );
        let log = std::fs::File::create(roots.path().join("log"))?;
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", &script])
            .env(TOKEN, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare of util-linux")?;
        let pings =
            || tests::http::request(&socket, "GET", "/_ping", None).is_ok_and(|a| a.status == 200);
        if poll(Duration::from_secs(60), || pings().then_some(())).is_none() {
            // It did not come up: whatever state it is in, it goes.
            let _ = child.kill();
            let log = std::fs::read_to_string(roots.path().join("log")).unwrap_or_default();
            bail!("dockerd does not answer:\n{log}");
        }
        Ok(Self {
            name: "dockerd",
            socket,
            client: Client::Docker,
            kind: Kind::Started { child, roots },
        })
    }

    /// Whether it is our daemon.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Ours(_))
    }

    /// The pid of the daemon, where it is known.
    pub(crate) fn pid(&self) -> Option<i32> {
        match &self.kind {
            Kind::Ours(daemon) => daemon.pid(),
            Kind::Started { child, .. } => i32::try_from(child.id()).ok(),
            Kind::Given => None,
        }
    }

    /// The process in whose network namespace a registry can be reached; none for our own.
    pub(crate) fn namespace(&self) -> Option<i32> {
        match &self.kind {
            Kind::Started { child, .. } => i32::try_from(child.id()).ok(),
            Kind::Ours(_) => None,
            // It may have a network namespace of its own: that of whoever serves the socket.
            Kind::Given => {
                let socket = std::os::unix::net::UnixStream::connect(&self.socket).ok()?;
                let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
                Some(peer.pid.as_raw_nonzero().get())
            }
        }
    }

    /// The processes of the engine, where they are known; those of its containers are among them.
    pub(crate) fn processes(&self) -> Vec<host::Process> {
        match &self.kind {
            Kind::Ours(daemon) => daemon.processes(),
            Kind::Started { roots, .. } => {
                let token = format!("{TOKEN}={}", std::process::id());
                host::processes_of(&token, "no cgroup of this name", roots.path())
            }
            Kind::Given => Vec::new(),
        }
    }

    /// Ends what was started here.
    pub(crate) fn end(self) -> Result<()> {
        match self.kind {
            Kind::Ours(mut daemon) => {
                let leaks = daemon.retire();
                if !leaks.is_empty() {
                    bail!("the benchmark left something behind:\n  {}", leaks.join("\n  "));
                }
            }
            Kind::Started { mut child, roots } => {
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
                let ended = poll(Duration::from_secs(30), || child.try_wait().ok().flatten());
                if ended.is_none() {
                    child.kill()?;
                    child.wait()?;
                }
                drop(roots);
            }
            Kind::Given => {}
        }
        Ok(())
    }
}
