//! The container's first process from its birth to `execve`.
//!
//! Runs on a copy of the caller's memory, so the specification need not travel. Everything that can
//! fail is told to the caller through the socket; nothing is printed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use spec::runtime::{Linux, Spec};
use spec::{ErrorKind, Rootfs, WireError};
use sys::caps::CapSet;
use sys::cgroup::{Cgroup, Cgroups, Unified};
use sys::process::{Namespaces, SingleThreaded};

use crate::cgroups::{self, View};
use crate::create::{Gate, Orphan, Seccomp, Stdio};
use crate::filter::{self, Filter};
use crate::process::{self, Prepared, Setting};
use crate::step::{Stage, Step};
use crate::sync::{self, Order};
use crate::{dev, rootfs, sysctl};

/// What the process needs to know.
pub(crate) struct Init<'a> {
    pub single: SingleThreaded,
    pub bundle: &'a Path,
    pub spec: &'a Spec,
    pub linux: &'a Linux,
    pub rootfs: &'a Rootfs,
    /// For each mount the namespace that maps its owners, if they are.
    pub id_maps: &'a [Option<OwnedFd>],
    pub stdio: Stdio,
    /// Namespaces to join, in this order.
    pub joins: Vec<(Namespaces, OwnedFd)>,
    /// Namespaces that are new or joined, so not the host's.
    pub own: Namespaces,
    /// Whether to make a cgroup namespace once in the group.
    pub cgroup_namespace: bool,
    pub hierarchies: &'a Cgroups,
    pub cgroup: &'a Cgroup,
    pub unified: Unified,
    pub seccomp: Seccomp,
    /// The filter, when it was compiled before.
    pub filter: Option<Rc<Filter>>,
    pub gate: Gate,
    pub orphan: Orphan,
    pub socket: OwnedFd,
}

impl Init<'_> {
    /// Never returns.
    pub(crate) fn main(mut self) -> ! {
        let socket = std::mem::replace(&mut self.gate, Gate::Caller);
        let status =
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(socket))) {
                Ok(()) | Err(_) => 1,
            };
        sys::process::exit(status)
    }

    /// Returns only after a failure that has been told, or when the caller is gone.
    fn run(mut self, gate: Gate) {
        let mut warnings = Vec::new();
        let prepared = match self.set_up(&mut warnings) {
            Ok(prepared) => prepared,
            Err(error) => return sync::report_failure(self.socket.as_fd(), &error),
        };
        let console = prepared.console.as_ref().map(AsFd::as_fd);
        if sync::report_ready(self.socket.as_fd(), &warnings, console).is_err() {
            return;
        }
        let Some(caller) = self.wait(gate) else {
            return;
        };
        let filter = match prepared.filter {
            Ok(filter) => filter,
            Err(error) => return sync::report_failure(caller.as_fd(), &error),
        };
        let error = prepared.process.execute(filter.as_deref());
        sync::report_failure(caller.as_fd(), &error);
    }

    /// Waits until somebody wants the user's program to begin, and returns the socket to them.
    fn wait(&self, gate: Gate) -> Option<OwnedFd> {
        let socket = match gate {
            Gate::Caller => self.socket.try_clone().ok()?,
            Gate::Listener(listener) => {
                // The caller of `create` need not stay; whoever starts the container connects.
                sys::process::wait_connection(listener.as_fd()).ok()?
            }
        };
        (sync::next_order(socket.as_fd()) == Order::Go).then_some(socket)
    }

    fn set_up(&mut self, warnings: &mut Vec<String>) -> Step<Ready> {
        sys::signal::reset_dispositions();
        sys::signal::unblock_all().stage(|| "failed to unblock signals")?;
        sys::process::hide_from_tracers().stage(|| "failed to hide from tracers")?;
        if self.orphan == Orphan::Kill {
            sys::process::die_with_parent()
                .stage(|| "failed to tie the process to its supervisor")?;
        }
        self.namespaces()?;
        rustix::process::setsid().stage(|| "failed to make a session")?;
        process::join_keyring(self.cgroup, warnings)?;
        self.oom_score(warnings)?;
        sysctl::apply(&self.linux.sysctl, self.own)?;

        let propagation = self.linux.rootfs_propagation.as_str();
        let root = rootfs::mount_root(self.rootfs, propagation)?;
        // Modes given to mkdir and mknod are meant exactly.
        rustix::process::umask(rustix::fs::Mode::empty());
        let cgroup_mounts = rootfs::mount_all(&root, self.bundle, &self.spec.mounts, self.id_maps)?;
        dev::populate(&root, &self.spec.mounts, &self.linux.devices)?;
        let process = self.spec.process.as_ref().ok_or_else(|| {
            WireError::new(
                ErrorKind::InvalidArgument,
                "the specification has no process",
            )
        })?;
        let console = match self.stdio {
            Stdio::Terminal => Some(dev::console(&root, process)?),
            _ => None,
        };
        if let Some(console) = &console {
            dev::attach_console(&root, console)?;
        }
        rootfs::ensure_cwd(&root, &process.cwd)?;

        self.join_cgroup()?;
        let view = if self.cgroup_namespace {
            View::Own
        } else {
            View::Host
        };
        for (mount, plan) in &cgroup_mounts {
            cgroups::mount(
                &root,
                &mount.destination,
                plan,
                self.hierarchies,
                self.cgroup,
                view,
            )
            .stage(|| format!("failed to mount the cgroups at `{}`", mount.destination))?;
        }
        rootfs::protect(&root, &self.linux.readonly_paths)?;
        rootfs::mask(&root, &self.linux.masked_paths)?;
        let readonly = self.spec.root.as_ref().is_some_and(|root| root.readonly);
        rootfs::enter(&root, readonly, propagation)?;
        drop(root);

        let own_stdio = matches!(self.stdio, Stdio::Files { .. });
        let (master, slave) = match console {
            Some(console) => (Some(console.master), Some(console.slave)),
            None => (None, None),
        };
        self.standard_files(slave.as_ref())?;
        let setting = Setting {
            orphan: self.orphan,
            terminal: slave.as_ref(),
            own_stdio,
        };
        let prepared = process::prepare(process, &setting, warnings)?;
        let filter = self.filter(&prepared);
        Ok(Ready {
            process: prepared,
            console: master,
            filter,
        })
    }

    fn namespaces(&self) -> Step<()> {
        for (kind, file) in &self.joins {
            sys::process::join(self.single, file.as_fd(), *kind)
                .stage(|| "failed to join a namespace")?;
        }
        let new_network = self.own.contains(Namespaces::NETWORK)
            && !self
                .joins
                .iter()
                .any(|(kind, _)| *kind == Namespaces::NETWORK);
        if new_network {
            sys::process::loopback_up().stage(|| "failed to set up the loopback interface")?;
        }
        if !self.spec.hostname.is_empty() {
            rustix::system::sethostname(self.spec.hostname.as_bytes())
                .stage(|| "failed to set the host name")?;
        }
        if !self.spec.domainname.is_empty() {
            rustix::system::setdomainname(self.spec.domainname.as_bytes())
                .stage(|| "failed to set the domain name")?;
        }
        Ok(())
    }

    /// Sets the preference of the out-of-memory killer, as near as this machine allows.
    fn oom_score(&self, warnings: &mut Vec<String>) -> Step<()> {
        let process = self.spec.process.as_ref();
        let Some(score) = process.and_then(|process| process.oom_score_adj) else {
            return Ok(());
        };
        set_oom_score(score, warnings)
    }

    fn join_cgroup(&self) -> Step<()> {
        // The caller makes the groups while this process mounts; the end of the stream means that it
        // failed or died, and that nobody wants to hear more.
        if sync::next_order(self.socket.as_fd()) != Order::CgroupsReady {
            sys::process::exit(1);
        }
        self.cgroup
            .join(self.unified)
            .stage(|| "failed to join the control groups")?;
        if self.cgroup_namespace {
            sys::process::unshare(self.single, Namespaces::CGROUP)
                .stage(|| "failed to make a cgroup namespace")?;
        }
        Ok(())
    }

    fn standard_files(&mut self, terminal: Option<&OwnedFd>) -> Step<()> {
        match std::mem::replace(&mut self.stdio, Stdio::Inherit) {
            Stdio::Files {
                stdin,
                stdout,
                stderr,
            } => dev::place_stdio([stdin, stdout, stderr]),
            Stdio::Terminal => terminal.map_or(Ok(()), dev::use_terminal),
            Stdio::Inherit => Ok(()),
        }
    }

    fn filter(&self, prepared: &Prepared) -> Step<Option<Rc<Filter>>> {
        choose_filter(
            self.seccomp,
            self.linux.seccomp.as_ref(),
            self.filter.as_ref(),
            prepared.bounding(),
        )
    }
}

/// Finds or compiles the filter of a process of a container with this bounding set.
pub(crate) fn choose_filter(
    choice: Seccomp,
    profile: Option<&spec::runtime::LinuxSeccomp>,
    known: Option<&Rc<Filter>>,
    bounding: CapSet,
) -> Step<Option<Rc<Filter>>> {
    let compiled = match (choice, profile, known) {
        (Seccomp::Unconfined, _, _) | (Seccomp::Spec, None, _) => return Ok(None),
        (Seccomp::Default, _, Some(filter)) => return Ok(Some(filter.clone())),
        (Seccomp::Default, _, None) => filter::default(bounding),
        (Seccomp::Spec, Some(profile), _) => Filter::new(profile).map(Rc::new),
    };
    compiled
        .map(Some)
        .stage(|| "failed to make the seccomp filter")
}

/// Writes the preference of the out-of-memory killer; lowering it may be forbidden.
pub(crate) fn set_oom_score(score: i32, warnings: &mut Vec<String>) -> Step<()> {
    let path = "/proc/self/oom_score_adj";
    match std::fs::write(path, score.to_string()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            warnings.push(format!(
                "oom_score_adj {score} is not permitted here and was left out"
            ));
            Ok(())
        }
        Err(e) => Err(e).stage(|| format!("failed to set oom_score_adj to {score}")),
    }
}

/// A process that is set up.
struct Ready {
    process: Prepared,
    console: Option<OwnedFd>,
    filter: Step<Option<Rc<Filter>>>,
}
