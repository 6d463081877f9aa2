//! Adds a process to a running container.
//!
//! ```text
//! caller ── clone ──► helper     closes every other descriptor, joins the cgroups (by itself: no
//!                       │        wait, see `sys::cgroup`), then the container's namespaces
//!                       ├─ clone, as a child of the caller ──► the process
//!                       │                                      user, capabilities, filter, execve
//!                       └─ tells its id and handle, ends
//! ```
//!
//! The helper keeps what the caller has open away from the container: the process is born inside,
//! where others could look at it, without any of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, Signal};
use spec::WireError;
use spec::runtime::{LinuxSeccomp, Process};
use sys::caps::CapSet;
use sys::cgroup::{Cgroup, Unified};
use sys::process::{Cloned, Namespaces, Parent, SingleThreaded};
use sys::root::Root;

use crate::create::Orphan;
use crate::process::Setting;
use crate::step::{Stage, Step};
use crate::sync::{self, Report};
use crate::{Error, Seccomp, Stdio, dev, init, process};

/// A process to add.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The container's first process, whose namespaces are joined.
    pub target: BorrowedFd<'a>,
    /// The container's control group.
    pub cgroup: &'a Cgroup,
    /// What to run.
    pub process: &'a Process,
    /// Standard files.
    pub stdio: Stdio,
    /// System call filter; with [`Seccomp::Spec`] that of `profile`.
    pub seccomp: Seccomp,
    /// Filter of the container's specification.
    pub profile: Option<&'a LinuxSeccomp>,
    /// The container's bounding set, which the default filter is made for: more capabilities for the
    /// process do not open more calls. `None` takes the process's own.
    pub bounding: Option<CapSet>,
    /// What happens to the process when the calling thread ends.
    pub orphan: Orphan,
}

/// An added process, a child of the caller.
#[derive(Debug)]
pub struct Executed {
    /// Its id for the caller.
    pub pid: Pid,
    /// Handle to it: readable when it has ended; to be waited for by `waitid(PidFd)`.
    pub pidfd: OwnedFd,
    /// Master end of the terminal with [`Stdio::Terminal`].
    pub console: Option<OwnedFd>,
    /// What could not be done exactly and was clamped.
    pub warnings: Vec<String>,
}

/// All namespaces that a container can have of its own. Joining the caller's own again is no harm.
const JOINED: [Namespaces; 6] = [
    Namespaces::MOUNT,
    Namespaces::PID,
    Namespaces::NETWORK,
    Namespaces::IPC,
    Namespaces::UTS,
    Namespaces::CGROUP,
];

/// Adds a process to a container; returns when `execve` has succeeded.
///
/// # Errors
/// When the program cannot be executed, the error says why and the process has been reaped.
pub fn exec(request: Exec<'_>) -> Result<Executed, Error> {
    let kernel = |action| move |source| Error::Kernel { action, source };
    let single = SingleThreaded::check().map_err(kernel("clone a process"))?;
    let (ours, theirs) = sync::pair().map_err(kernel("make a socket"))?;
    let into = request
        .cgroup
        .unified_fd()
        .map_err(kernel("open the control group"))?;
    let unified = if into.is_some() {
        Unified::Joined
    } else {
        Unified::Join
    };
    let none = Namespaces::default();
    let cloned = sys::process::clone(single, none, into.as_ref().map(AsFd::as_fd), Parent::Caller)
        .map_err(kernel("clone a helper process"))?;
    let helper = match cloned {
        Cloned::Parent { pidfd, .. } => pidfd,
        Cloned::Child => {
            drop(ours);
            Added {
                single,
                unified,
                socket: theirs,
                request,
            }
            .main()
        }
    };
    drop(theirs);
    drop(request.stdio);
    let told = Told::listen(ours.as_fd());
    sys::process::reap(helper.as_fd()).map_err(kernel("reap the helper process"))?;
    told.into_process()
}

/// What helper and process have told until both closed the socket.
#[derive(Default)]
struct Told {
    born: Option<(Pid, OwnedFd)>,
    ready: Option<(Vec<String>, Option<OwnedFd>)>,
    failure: Option<WireError>,
}

impl Told {
    /// The two are not ordered against each other, so reports are taken as they come.
    fn listen(socket: BorrowedFd<'_>) -> Self {
        let mut told = Self::default();
        loop {
            match sync::next_report(socket) {
                Report::Born { pid, pidfd } => told.born = Some((pid, pidfd)),
                Report::Ready { warnings, console } => told.ready = Some((warnings, console)),
                Report::Failed(error) => told.failure = Some(error),
                Report::End => return told,
            }
        }
    }

    fn into_process(self) -> Result<Executed, Error> {
        let error = match (self.born, self.ready, self.failure) {
            (Some((pid, pidfd)), Some((warnings, console)), None) => {
                return Ok(Executed {
                    pid,
                    pidfd,
                    console,
                    warnings,
                });
            }
            (born, _, failure) => {
                if let Some((_, pidfd)) = born {
                    // It is ending: only its status is left to be collected.
                    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                    let _ = sys::process::reap(pidfd.as_fd());
                }
                failure
            }
        };
        match error {
            Some(source) => Err(Error::Init { source }),
            None => Err(Error::Died {
                status: "no report".to_owned(),
            }),
        }
    }
}

/// The helper, then the added process.
struct Added<'a> {
    single: SingleThreaded,
    unified: Unified,
    socket: OwnedFd,
    request: Exec<'a>,
}

impl Added<'_> {
    /// Never returns.
    fn main(mut self) -> ! {
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            match self.helper() {
                Ok(true) => return 0,
                Ok(false) => {}
                Err(error) => {
                    sync::report_failure(self.socket.as_fd(), &error);
                    return 1;
                }
            }
            let error = match self.process() {
                Ok(error) | Err(error) => error,
            };
            sync::report_failure(self.socket.as_fd(), &error);
            1
        }));
        sys::process::exit(status.unwrap_or(1))
    }

    /// Returns `true` in the helper when its work is done, `false` in the new process.
    fn helper(&mut self) -> Step<bool> {
        sys::process::hide_from_tracers().stage(|| "failed to hide from tracers")?;
        let given = std::mem::replace(&mut self.request.stdio, Stdio::Inherit);
        self.request.stdio = match given {
            // Above all others, so that they survive the closing below.
            Stdio::Files {
                stdin,
                stdout,
                stderr,
            } => {
                let above =
                    |fd| sync::above_stdio(fd).stage(|| "failed to set up the standard files");
                Stdio::Files {
                    stdin: above(stdin)?,
                    stdout: above(stdout)?,
                    stderr: above(stderr)?,
                }
            }
            other => other,
        };
        self.close_others()?;
        let text = || "failed to join the control groups";
        self.request.cgroup.join(self.unified).stage(text)?;
        let mut warnings = Vec::new();
        if let Some(score) = self.request.process.oom_score_adj {
            init::set_oom_score(score, &mut warnings)?;
        }
        let all = JOINED
            .into_iter()
            .fold(Namespaces::default(), Namespaces::with);
        sys::process::join_process(self.single, self.request.target, all)
            .stage(|| "failed to join the namespaces of the container")?;
        let none = Namespaces::default();
        match sys::process::clone(self.single, none, None, Parent::OfCaller)
            .stage(|| "failed to clone the process")?
        {
            Cloned::Child => Ok(false),
            Cloned::Parent { pid, pidfd } => {
                sync::report_born(self.socket.as_fd(), pid, pidfd.as_fd())
                    .stage(|| "failed to report the process")?;
                Ok(true)
            }
        }
    }

    /// Closes what the caller has open, except what this process needs.
    fn close_others(&self) -> Step<()> {
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().unsigned_abs();
        let mut keep = vec![number(self.socket.as_fd()), number(self.request.target)];
        if let Stdio::Files {
            stdin,
            stdout,
            stderr,
        } = &self.request.stdio
        {
            keep.extend([stdin, stdout, stderr].map(|fd| number(fd.as_fd())));
        }
        sys::signal::close_except(3, &mut keep).stage(|| "failed to close descriptors")
    }

    /// Becomes the user's program; returns only the failure.
    fn process(&mut self) -> Step<WireError> {
        sys::signal::reset_dispositions();
        sys::signal::unblock_all().stage(|| "failed to unblock signals")?;
        rustix::process::setsid().stage(|| "failed to make a session")?;
        let mut warnings = Vec::new();
        process::join_keyring(self.request.cgroup, &mut warnings)?;
        let own_stdio = matches!(self.request.stdio, Stdio::Files { .. });
        let console = match std::mem::replace(&mut self.request.stdio, Stdio::Inherit) {
            Stdio::Files {
                stdin,
                stdout,
                stderr,
            } => {
                dev::place_stdio([stdin, stdout, stderr])?;
                None
            }
            Stdio::Terminal => {
                let root = Root::open(Path::new("/")).stage(|| "failed to open the root")?;
                let console = dev::console(&root, self.request.process)?;
                dev::use_terminal(&console.slave)?;
                Some(console)
            }
            Stdio::Inherit => None,
        };
        let setting = Setting {
            orphan: self.request.orphan,
            terminal: console.as_ref().map(|c| &c.slave),
            own_stdio,
        };
        let prepared = process::prepare(self.request.process, &setting, &mut warnings)?;
        let bounding = self.request.bounding.unwrap_or(prepared.bounding());
        let (choice, profile) = (self.request.seccomp, self.request.profile);
        let filter = init::choose_filter(choice, profile, None, bounding)?;
        let master = console.as_ref().map(|c| c.master.as_fd());
        sync::report_ready(self.socket.as_fd(), &warnings, master)
            .stage(|| "failed to report to the caller")?;
        Ok(prepared.execute(filter.as_deref()))
    }
}
