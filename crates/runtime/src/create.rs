//! Makes a container's first process and starts the user's program in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::process::{Pid, Signal};
use spec::WireError;
use spec::runtime::{Hooks, Linux, NamespaceKind, Spec};
use sys::cgroup::{Cgroup, Cgroups, Unified};
use sys::process::{Cloned, Namespaces, Parent, SingleThreaded};

use crate::filter::{self, Filter};
use crate::init::Init;
use crate::sync::{self, Order, Report};
use crate::{Error, cgroups, rootfs};

/// What the new process has as stdin, stdout and stderr.
#[derive(Debug)]
pub enum Stdio {
    /// A new pseudo-terminal of the container; its other end comes back as `console`.
    Terminal,
    /// These files; the caller's copies are closed by the call.
    Files {
        /// Descriptor 0.
        stdin: OwnedFd,
        /// Descriptor 1.
        stdout: OwnedFd,
        /// Descriptor 2.
        stderr: OwnedFd,
    },
    /// The caller's own.
    Inherit,
}

/// Which system call filter applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// The one in the specification, none if it has none.
    Spec,
    /// Docker's default for the process's bounding set, compiled once per set.
    Default,
    /// None.
    Unconfined,
}

/// Who lets the user's program begin.
#[derive(Debug)]
pub enum Gate {
    /// The caller of `create`, by [`Created::start`].
    Caller,
    /// Any process that connects to this listening SEQPACKET socket and sends one byte; see
    /// [`crate::start_through`].
    Listener(OwnedFd),
}

/// What happens to the container when the calling thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// It is killed.
    Kill,
    /// It lives on.
    Keep,
}

/// A container to make.
#[derive(Debug)]
pub struct Create<'a> {
    /// Its id, used in messages and as the name of its cgroup when the specification has no path.
    pub id: &'a str,
    /// Directory that relative paths of the specification start from.
    pub bundle: &'a Path,
    /// What to make.
    pub spec: &'a spec::runtime::Spec,
    /// The root file system; `spec.root` gives only whether it is read-only.
    pub rootfs: &'a spec::Rootfs,
    /// Standard files.
    pub stdio: Stdio,
    /// Network namespace to join; wins over the specification's.
    pub netns: Option<BorrowedFd<'a>>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Who lets it begin.
    pub gate: Gate,
    /// What a lost caller means.
    pub orphan: Orphan,
}

/// A container whose first process waits before `execve`.
#[derive(Debug)]
pub struct Created {
    /// The first process, a child of the caller.
    pub pid: Pid,
    /// Handle to it: readable when it has ended; to be waited for by `waitid(PidFd)`.
    pub pidfd: OwnedFd,
    /// Master end of the terminal with [`Stdio::Terminal`].
    pub console: Option<OwnedFd>,
    /// Its control group, not removed on drop.
    pub cgroup: Cgroup,
    /// What could not be done exactly and was clamped.
    pub warnings: Vec<String>,
    gate: OwnedFd,
}

/// A container whose user program has begun.
#[derive(Debug)]
pub struct Started {
    /// The first process, a child of the caller.
    pub pid: Pid,
    /// Handle to it.
    pub pidfd: OwnedFd,
    /// Master end of the terminal with [`Stdio::Terminal`].
    pub console: Option<OwnedFd>,
    /// Its control group, not removed on drop.
    pub cgroup: Cgroup,
    /// What could not be done exactly and was clamped.
    pub warnings: Vec<String>,
}

/// Makes a container: everything but the user's program. Blocks for some milliseconds.
///
/// # Errors
/// When it fails, the process has been reaped and the cgroup removed.
pub fn create(request: Create<'_>) -> Result<Created, Error> {
    let kernel = |action| move |source| Error::Kernel { action, source };
    let single = SingleThreaded::check().map_err(kernel("clone the container's process"))?;
    refuse_unsupported(request.spec)?;
    let none = Linux::default();
    let linux = request.spec.linux.as_ref().unwrap_or(&none);
    let plan = Plan::of(linux, request.netns)?;
    let id_maps = rootfs::id_maps(&request.spec.mounts)
        .map_err(kernel("make a user namespace for mapped owners"))?;
    let hierarchies = Cgroups::detect().map_err(kernel("find the control groups"))?;
    let path = cgroups::path(request.spec, request.id)?;
    let cgroup = hierarchies
        .group(&path)
        .map_err(kernel("name the control group"))?;
    cgroup
        .make_unified()
        .map_err(kernel("make the control group"))?;
    let (ours, theirs) = sync::pair().map_err(kernel("make a socket"))?;

    // A failure from here on takes the group back.
    let mut undo = Undo {
        cgroup: Some(cgroup.clone()),
        pidfd: None,
    };
    let into = cgroup
        .unified_fd()
        .map_err(kernel("open the control group"))?;
    let unified = if into.is_some() {
        Unified::Joined
    } else {
        Unified::Join
    };
    let joined_pid = plan.enter_pid(single)?;
    let cloned = sys::process::clone(
        single,
        plan.new,
        into.as_ref().map(AsFd::as_fd),
        Parent::Caller,
    );
    // The child cannot go back: for it the namespace it was born in is its own.
    if !matches!(cloned, Ok(Cloned::Child)) {
        plan.leave_pid(single, joined_pid.as_ref())?;
    }
    let (pid, pidfd) = match cloned.map_err(kernel("clone the container's process"))? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            drop(ours);
            Init {
                single,
                bundle: request.bundle,
                spec: request.spec,
                linux,
                rootfs: request.rootfs,
                id_maps: &id_maps,
                stdio: request.stdio,
                joins: plan.joins,
                own: plan.own,
                cgroup_namespace: plan.cgroup_namespace,
                hierarchies: &hierarchies,
                cgroup: &cgroup,
                unified,
                seccomp: request.seccomp,
                filter: known_filter(request.seccomp, request.spec),
                gate: request.gate,
                orphan: request.orphan,
                socket: theirs,
            }
            .main()
        }
    };
    let pidfd: &OwnedFd = undo.pidfd.insert(pidfd);
    drop(theirs);
    drop(request.stdio);
    drop(plan);

    // While the new process mounts, its groups are made.
    cgroup
        .make_others()
        .map_err(kernel("make the control group"))?;
    cgroups::configure(&cgroup, request.spec)?;
    // If it has died, its report is what counts.
    let _ = sync::order(ours.as_fd(), Order::CgroupsReady);
    let (warnings, console) = match sync::next_report(ours.as_fd()) {
        Report::Ready { warnings, console } => (warnings, console),
        Report::Failed(source) => {
            return Err(Error::Init {
                source: in_init(source),
            });
        }
        Report::Born { .. } | Report::End => return Err(died(pidfd)),
    };
    let pidfd = undo.disarm().expect("the handle was stored above");
    Ok(Created {
        pid,
        pidfd,
        console,
        cgroup,
        warnings,
        gate: ours,
    })
}

/// Refuses what this build would otherwise ignore in silence.
fn refuse_unsupported(spec: &Spec) -> Result<(), Error> {
    let no = |what: &str| {
        Err(Error::Unsupported {
            what: what.to_owned(),
        })
    };
    if spec
        .hooks
        .as_ref()
        .is_some_and(|hooks| *hooks != Hooks::default())
    {
        return no("a specification with hooks");
    }
    if let Some(process) = &spec.process {
        if !matches!(process.apparmor_profile.as_str(), "" | "unconfined") {
            return no("an AppArmor profile");
        }
        if !process.selinux_label.is_empty() {
            return no("an SELinux label");
        }
    }
    match &spec.linux {
        Some(linux) if !linux.mount_label.is_empty() => no("an SELinux mount label"),
        _ => Ok(()),
    }
}

/// Wraps an account in the words that Docker's users know.
fn in_init(cause: WireError) -> WireError {
    WireError {
        exit_code: cause.exit_code,
        source: Some(Box::new(cause.clone())),
        ..WireError::new(cause.kind, "error during container init")
    }
}

/// Why a process that said nothing is gone.
fn died(pidfd: &OwnedFd) -> Error {
    // It is killed by whoever undoes; here only a word about how it ended by itself is wanted.
    let status = match sys::process::try_reap(pidfd.as_fd()) {
        Ok(Some(ended)) => ended.to_string(),
        _ => "no status".to_owned(),
    };
    Error::Died { status }
}

fn known_filter(choice: Seccomp, spec: &Spec) -> Option<Rc<Filter>> {
    let caps = spec
        .process
        .as_ref()?
        .capabilities
        .clone()
        .unwrap_or_default();
    let (bounding, _) = sys::caps::CapSet::from_names(&caps.bounding);
    (choice == Seccomp::Default)
        .then(|| filter::cached_default(bounding))
        .flatten()
}

/// Kills and reaps the process and removes the group, unless everything went well.
struct Undo {
    cgroup: Option<Cgroup>,
    pidfd: Option<OwnedFd>,
}

impl Undo {
    /// Everything went well: gives the handle back.
    fn disarm(mut self) -> Option<OwnedFd> {
        self.cgroup = None;
        self.pidfd.take()
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // The first failure is already on its way to the caller; these can only add to it.
        if let Some(pidfd) = &self.pidfd {
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
            let _ = sys::process::reap(pidfd.as_fd());
        }
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.remove();
        }
    }
}

/// What to do about each kind of namespace.
#[derive(Debug)]
struct Plan {
    /// Made by the clone.
    new: Namespaces,
    /// Joined by the new process.
    joins: Vec<(Namespaces, OwnedFd)>,
    /// New or joined.
    own: Namespaces,
    /// Joined by the caller for the moment of the clone.
    pid: Option<OwnedFd>,
    cgroup_namespace: bool,
}

impl Plan {
    fn of(linux: &Linux, netns: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let kernel = |source| Error::Kernel {
            action: "open a namespace",
            source,
        };
        let mut plan = Self {
            new: Namespaces::default(),
            joins: Vec::new(),
            own: Namespaces::default(),
            pid: None,
            cgroup_namespace: false,
        };
        for namespace in &linux.namespaces {
            let kind = match namespace.kind {
                NamespaceKind::Pid => Namespaces::PID,
                NamespaceKind::Network => Namespaces::NETWORK,
                NamespaceKind::Mount => Namespaces::MOUNT,
                NamespaceKind::Ipc => Namespaces::IPC,
                NamespaceKind::Uts => Namespaces::UTS,
                NamespaceKind::Cgroup => Namespaces::CGROUP,
                other @ (NamespaceKind::User | NamespaceKind::Time) => {
                    return Err(Error::Unsupported {
                        what: format!("a namespace of kind {other:?}"),
                    });
                }
            };
            if plan.own.contains(kind) {
                let reason = format!("the namespace {:?} is listed twice", namespace.kind);
                return Err(Error::Invalid { reason });
            }
            plan.own = plan.own.with(kind);
            match namespace
                .path
                .as_deref()
                .filter(|path| !path.as_os_str().is_empty())
            {
                Some(_) if kind == Namespaces::MOUNT => {
                    return Err(Error::Unsupported {
                        what: "joining a mount namespace".to_owned(),
                    });
                }
                Some(_) if kind == Namespaces::NETWORK && netns.is_some() => {}
                Some(path) if kind == Namespaces::PID => {
                    plan.pid = Some(sys::process::open_namespace(path).map_err(kernel)?);
                }
                Some(path) => {
                    let file = sys::process::open_namespace(path).map_err(kernel)?;
                    plan.joins.push((kind, file));
                }
                None if kind == Namespaces::CGROUP => plan.cgroup_namespace = true,
                None if kind == Namespaces::NETWORK && netns.is_some() => {}
                None => plan.new = plan.new.with(kind),
            }
        }
        if let Some(netns) = netns {
            let copy = netns.try_clone_to_owned().map_err(|e| Error::Kernel {
                action: "keep the network namespace",
                source: sys::Error::new(
                    "fcntl(F_DUPFD_CLOEXEC)",
                    rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO),
                ),
            })?;
            plan.own = plan.own.with(Namespaces::NETWORK);
            plan.joins.push((Namespaces::NETWORK, copy));
        }
        if !plan.new.contains(Namespaces::MOUNT) {
            return Err(Error::Unsupported {
                what: "a container without a mount namespace".to_owned(),
            });
        }
        Ok(plan)
    }

    /// Makes children of this process be born in the pid namespace to join; returns its own.
    fn enter_pid(&self, single: SingleThreaded) -> Result<Option<OwnedFd>, Error> {
        let kernel = |source| Error::Kernel {
            action: "join the pid namespace",
            source,
        };
        let Some(target) = &self.pid else {
            return Ok(None);
        };
        let own = sys::process::open_namespace(Path::new("/proc/self/ns/pid")).map_err(kernel)?;
        sys::process::join(single, target.as_fd(), Namespaces::PID).map_err(kernel)?;
        Ok(Some(own))
    }

    fn leave_pid(&self, single: SingleThreaded, own: Option<&OwnedFd>) -> Result<(), Error> {
        let kernel = |source| Error::Kernel {
            action: "return to the own pid namespace",
            source,
        };
        match own {
            Some(own) => sys::process::join(single, own.as_fd(), Namespaces::PID).map_err(kernel),
            None => Ok(()),
        }
    }
}

impl Created {
    /// Lets the user's program begin; returns when `execve` has succeeded.
    ///
    /// # Errors
    /// When the program cannot be executed, the error says why, the process has been reaped and the
    /// cgroup removed.
    pub fn start(self) -> Result<Started, Error> {
        let mut undo = Undo {
            cgroup: Some(self.cgroup.clone()),
            pidfd: None,
        };
        go(self.gate.as_fd(), undo.pidfd.insert(self.pidfd))?;
        let pidfd = undo.disarm().expect("the handle was stored above");
        Ok(Started {
            pid: self.pid,
            pidfd,
            console: self.console,
            cgroup: self.cgroup,
            warnings: self.warnings,
        })
    }
}

/// Sends the order to begin, and waits for `execve` or the reason why not.
fn go(gate: BorrowedFd<'_>, pidfd: &OwnedFd) -> Result<(), Error> {
    // A process that has died cannot be told; the end of its stream says the same.
    let sent = sync::order(gate, Order::Go).is_ok();
    match sync::next_report(gate) {
        Report::Failed(source) => Err(Error::Init {
            source: in_init(source),
        }),
        Report::End if sent => Ok(()),
        _ => Err(died(pidfd)),
    }
}

/// Lets a container begin that was made with [`Gate::Listener`], from any process.
///
/// # Errors
/// As [`Created::start`], but nothing is taken back: the process is not a child of the caller.
pub fn start_through(dir: &Path, name: &str) -> Result<(), Error> {
    let kernel = |source| Error::Kernel {
        action: "reach the container's process",
        source,
    };
    let socket = sys::fdpass::connect(dir, name).map_err(kernel)?;
    let sent = sync::order(socket.as_fd(), Order::Go).is_ok();
    match sync::next_report(socket.as_fd()) {
        Report::Failed(source) => Err(Error::Init {
            source: in_init(source),
        }),
        Report::End if sent => Ok(()),
        _ => Err(Error::Died {
            status: "not waiting to be started".to_owned(),
        }),
    }
}
