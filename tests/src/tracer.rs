//! `strace` on a running daemon: calls that fail, or at which it dies.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Daemon;
use crate::wait::wait_for;

/// How long it may take to attach to every thread.
const SOON: Duration = Duration::from_secs(10);

/// A tracer that is attached to a daemon. Dropping it lets the daemon go on undisturbed.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
}

impl Tracer {
    /// Whether there is an `strace`; says so when there is none.
    pub fn is_there() -> bool {
        let version =
            Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            eprintln!("not run: it needs strace");
        }
        version.is_ok()
    }

    /// Attaches to a daemon and does something at its `calls` (names with commas between), as
    /// `error=EIO` or `signal=KILL:when=3`.
    pub fn attach(daemon: &Daemon, calls: &str, what: &str) -> Self {
        let pid = daemon.pid().expect("it runs").to_string();
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{what}"));
        let child = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid, "-e", &trace, "-e", &inject])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed");
        let mut tracer = Self { child };
        wait_for("the tracer is attached", SOON, || is_traced(&pid) || tracer.has_ended());
        // It may have done already what it is for.
        assert!(!tracer.has_ended() || !is_alive(&pid), "strace refuses {calls}:{what}");
        tracer
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It detaches when it is asked to end; it has ended already when the daemon has.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Whether a tracer is attached to every thread.
fn is_traced(pid: &str) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

/// Whether a process runs: not gone, not waiting to be reaped.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
