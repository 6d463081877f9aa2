//! The init process of the container and what belongs to it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions};
use shim::protocol::{Create, Seccomp, StdinPolicy};
use spec::runtime::{ConsoleSize, Spec};
use spec::{ErrorKind, Signal, Timestamp, WireError};
use sys::caps::CapSet;
use sys::cgroup::Cgroup;

use super::stdio::Ends;
use super::watched::Watched;

/// How far the task is.
#[derive(Debug)]
pub enum Phase {
    Empty,
    Created(runtime::Created),
    Running(Running),
    /// The init process has ended or never ran.
    Over,
}

/// The init process after its `execve`.
#[derive(Debug)]
pub struct Running {
    pub pid: i32,
    pub pidfd: Watched,
    pub cgroup: Cgroup,
    pub oom: Option<Watched>,
    pub paused: bool,
}

/// What later requests need to know of `Create`.
#[derive(Debug)]
pub struct Settings {
    pub bundle: PathBuf,
    pub seccomp: Seccomp,
    pub oom_score_adj: Option<i32>,
    /// What the default filter of every process is made for.
    pub bounding: CapSet,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub signal: Option<i32>,
    pub at: Timestamp,
}

/// Now, by the wall clock.
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Collects the exit status of a child, if it has ended.
pub fn reap(pidfd: impl AsFd) -> Option<Ended> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)
    });
    let at = now();
    match status {
        Ok(None) => None,
        Ok(Some(status)) => {
            let signal = status.terminating_signal();
            let code = signal.map_or_else(|| status.exit_status().unwrap_or(255), |n| 128 + n);
            Some(Ended { code, signal, at })
        }
        // Somebody else collected it: it is gone, and nobody will ever know how.
        Err(_) => Some(Ended {
            code: 255,
            signal: None,
            at,
        }),
    }
}

/// Sends a signal to exactly the process of a descriptor.
pub fn signal(pidfd: impl AsFd, signal: Signal) -> Result<(), WireError> {
    sys::signal::send(pidfd.as_fd(), signal.number()).map_err(|error| {
        let kind = match error.errno() {
            rustix::io::Errno::SRCH => ErrorKind::Conflict,
            rustix::io::Errno::INVAL => ErrorKind::InvalidArgument,
            _ => ErrorKind::Internal,
        };
        WireError {
            kind,
            ..internal("send the signal", &error)
        }
    })
}

/// An error of the machine below.
pub fn internal(what: &str, error: &dyn std::error::Error) -> WireError {
    let source = WireError::from_error(ErrorKind::Internal, error);
    WireError {
        source: Some(Box::new(source)),
        ..WireError::new(ErrorKind::Internal, format!("failed to {what}"))
    }
}

/// Reads the bundle's `config.json`.
pub fn read_spec(bundle: &std::path::Path) -> Result<Spec, WireError> {
    let path = bundle.join("config.json");
    let what = format!("read `{}`", path.display());
    let bytes = std::fs::read(&path).map_err(|e| internal(&what, &e))?;
    serde_json::from_slice(&bytes).map_err(|e| WireError {
        kind: ErrorKind::InvalidArgument,
        ..internal(&what, &e)
    })
}

/// The capabilities that no process of the container can exceed.
pub fn bounding(spec: &Spec) -> CapSet {
    let process = spec.process.as_ref();
    let sets = process.and_then(|process| process.capabilities.as_ref());
    sets.map_or(CapSet::EMPTY, |sets| CapSet::from_names(&sets.bounding).0)
}

/// Adapts the specification to what the request says.
pub fn adapt(spec: &mut Spec, request: &Create) -> Result<(), WireError> {
    let process = spec.process.as_mut().ok_or_else(|| {
        WireError::new(ErrorKind::InvalidArgument, "`config.json` has no process")
    })?;
    process.terminal = request.terminal;
    if let Some(size) = request.console_size {
        process.console_size = Some(ConsoleSize {
            width: size.width,
            height: size.height,
        });
    }
    // Our own score is not for the container to inherit.
    process.oom_score_adj.get_or_insert(0);
    Ok(())
}

/// Which ends a process's standard streams have.
pub fn streams(
    terminal: bool,
    stdin: StdinPolicy,
    output: Output,
) -> sys::Result<(runtime::Stdio, Option<Ends>)> {
    if terminal {
        return Ok((runtime::Stdio::Terminal, None));
    }
    let (theirs_in, ours_in) = if stdin == StdinPolicy::Closed {
        (null()?, None)
    } else {
        let (reader, writer) = pipe()?;
        (reader, Some(writer))
    };
    let out = || -> sys::Result<(OwnedFd, Option<OwnedFd>)> {
        match output {
            Output::Kept => pipe().map(|(reader, writer)| (writer, Some(reader))),
            Output::Discarded => null().map(|fd| (fd, None)),
        }
    };
    let (stdout, ours_out) = out()?;
    let (stderr, ours_err) = out()?;
    Ok((
        runtime::Stdio::Files {
            stdin: theirs_in,
            stdout,
            stderr,
        },
        Some(Ends::Pipes {
            stdin: ours_in,
            stdout: ours_out,
            stderr: ours_err,
        }),
    ))
}

/// Whether anybody wants what a process prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Kept,
    Discarded,
}

fn pipe() -> sys::Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| sys::Error::new("pipe2(O_CLOEXEC)", e))
}

fn null() -> sys::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| sys::Error::new("open(`/dev/null`)", e))
}

/// Which filter the runtime is to use.
pub fn seccomp(choice: Seccomp) -> runtime::Seccomp {
    match choice {
        Seccomp::Spec => runtime::Seccomp::Spec,
        Seccomp::Default => runtime::Seccomp::Default,
        Seccomp::Unconfined => runtime::Seccomp::Unconfined,
    }
}

/// Kills a process that may not live any longer and waits for its end.
pub fn kill_and_reap(pidfd: impl AsFd) {
    let pidfd = pidfd.as_fd();
    // SIGKILL cannot fail but for a process that is gone already.
    let _ = sys::signal::send(pidfd, Signal::KILL.number());
    let _ = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)
    });
}
