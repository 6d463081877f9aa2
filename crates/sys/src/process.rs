//! Clones, namespaces and `execve` for processes with a single thread.
//!
//! A clone of a process with threads would inherit locks that nobody releases, so every call that
//! makes a process asks for [`SingleThreaded`].

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use crate::{Error, Result};

/// Proof that the process has one thread; only threads made afterwards could belie it.
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the threads of the process.
    ///
    /// # Errors
    /// `EBUSY` when there are several.
    pub fn check() -> Result<Self> {
        // A directory has two links and one for each directory in it: one per thread.
        let links = rustix::fs::stat("/proc/self/task")
            .map_err(|e| Error::new("stat(`/proc/self/task`)", e))?
            .st_nlink;
        if links == 3 {
            Ok(Self(()))
        } else {
            Err(Error::new(
                format!("clone with {} threads", links - 2),
                Errno::BUSY,
            ))
        }
    }
}

/// Kinds of namespaces, as `CLONE_NEW*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces(u32);

impl Namespaces {
    /// Mount table.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u32);
    /// Process ids.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u32);
    /// Network stack.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u32);
    /// System V IPC and message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u32);
    /// Host name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u32);
    /// Root of the control groups.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u32);

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of the other set are in this one.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Who the new process's parent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The caller.
    Caller,
    /// The caller's parent.
    OfCaller,
}

/// Which of the two processes [`clone`] returned to.
#[derive(Debug)]
pub enum Cloned {
    /// The caller.
    Parent {
        /// The new process in the caller's pid namespace.
        pid: Pid,
        /// Handle to it.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// `struct clone_args` up to its third version. See clone3(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 88);

/// Copies this process into new namespaces and, if given, a v2 control group (Linux 5.7).
///
/// The child must end by [`execute`] or [`exit`].
pub fn clone(
    _: SingleThreaded,
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    parent: Parent,
) -> Result<Cloned> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: u64::from(namespaces.0) | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        ..CloneArgs::default()
    };
    match parent {
        Parent::Caller => args.exit_signal = libc::SIGCHLD as u64,
        // The kernel takes the caller's own exit signal then and refuses another.
        Parent::OfCaller => args.flags |= libc::CLONE_PARENT as u64,
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` is a valid clone_args of the size given and no stack is named, so the child
    // runs on a copy of this one; the process has one thread (see `SingleThreaded`), hence the copy
    // of its memory is consistent. `pidfd` outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match result {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel stored a new descriptor there, which nobody else knows.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.expect("the kernel returns positive 32-bit process ids");
            Ok(Cloned::Parent { pid, pidfd })
        }
        _ => Err(last_error(format!("clone3({namespaces:?})"))),
    }
}

/// Moves this process into the namespaces of another one; the pid namespace is for later children.
pub fn join_process(_: SingleThreaded, pidfd: BorrowedFd<'_>, kinds: Namespaces) -> Result<()> {
    let types = ThreadNameSpaceType::from_bits_retain(kinds.0);
    rustix::thread::move_into_thread_name_spaces(pidfd, types)
        .map_err(|e| Error::new(format!("setns(pidfd {}, {kinds:?})", pidfd.as_raw_fd()), e))
}

/// Moves this process into one namespace given by its file.
pub fn join(_: SingleThreaded, namespace: BorrowedFd<'_>, kind: Namespaces) -> Result<()> {
    let allowed = match kind {
        Namespaces::MOUNT => LinkNameSpaceType::Mount,
        Namespaces::PID => LinkNameSpaceType::ProcessID,
        Namespaces::NETWORK => LinkNameSpaceType::Network,
        Namespaces::IPC => LinkNameSpaceType::InterProcessCommunication,
        Namespaces::UTS => LinkNameSpaceType::HostNameAndNISDomainName,
        Namespaces::CGROUP => LinkNameSpaceType::ControlGroup,
        _ => return Err(Error::new("setns of several kinds", Errno::INVAL)),
    };
    rustix::thread::move_into_link_name_space(namespace, Some(allowed))
        .map_err(|e| Error::new(format!("setns({}, {kind:?})", namespace.as_raw_fd()), e))
}

/// Moves this process into new namespaces.
pub fn unshare(_: SingleThreaded, kinds: Namespaces) -> Result<()> {
    // SAFETY: unshare(2) with namespace bits only; the process has one thread, so no other thread
    // is surprised by it.
    if unsafe { libc::unshare(kinds.0.cast_signed()) } != 0 {
        return Err(last_error(format!("unshare({kinds:?})")));
    }
    Ok(())
}

/// Replaces this process by a program; returns only the failure.
pub fn execute(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: path and all strings end with a zero byte, both lists end with a null pointer, and all
    // of them live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Ends this process at once, without running anything of the process it was cloned from.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// Makes every descriptor from `first` on be closed by the next `execve`.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: close_range(2) takes three numbers; with CLOSE_RANGE_CLOEXEC nothing is closed now.
    let status = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if status != 0 {
        return Err(last_error(format!("close_range({first}, CLOEXEC)")));
    }
    Ok(())
}

/// Has the kernel kill this process when its parent's thread ends; undone by changes of user.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Error::new("prctl(PR_SET_PDEATHSIG, SIGKILL)", e))
}

/// Keeps others from tracing this process or reading its memory until the next `execve`.
pub fn hide_from_tracers() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|e| Error::new("prctl(PR_SET_DUMPABLE, 0)", e))
}

/// Opens a namespace file, e.g. `/proc/7/ns/ipc`.
pub fn open_namespace(path: &std::path::Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::new(format!("open(`{}`)", path.display()), e))
}

/// Sends a signal by number; a process that is gone is no error.
pub fn signal(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill(2) takes two numbers.
    if pid <= 0 || unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    match last_errno() {
        Errno::SRCH => Ok(()),
        errno => Err(Error::new(format!("kill({pid}, {signal})"), errno)),
    }
}

/// Waits for a connection to a listening socket.
pub fn wait_connection(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    wait_readable(listener)?;
    rustix::io::retry_on_intr(|| {
        rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC)
    })
    .map_err(|e| Error::new(format!("accept4({})", listener.as_raw_fd()), e))
}

/// Waits until a descriptor, which may be non-blocking, can be read.
pub fn wait_readable(fd: BorrowedFd<'_>) -> Result<()> {
    use rustix::event::{PollFd, PollFlags};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))
        .map(drop)
        .map_err(|e| Error::new(format!("poll({})", fd.as_raw_fd()), e))
}

/// Brings up the loopback interface of this process's network namespace.
pub fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let fail = |call: &str| Error::new(format!("{call} of `lo`"), last_errno());
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| Error::new("socket(AF_INET, SOCK_DGRAM)", e))?;
    // SAFETY: an ifreq is plain numbers and a union of plain numbers; all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: SIOCGIFFLAGS reads the name from and writes the flags into the request, which is alive.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(fail("ioctl(SIOCGIFFLAGS)"));
    }
    // SAFETY: the call above wrote the flags, so this member of the union is the valid one.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads name and flags from the request, which is alive.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(fail("ioctl(SIOCSIFFLAGS)"));
    }
    Ok(())
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By exit, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl Ended {
    /// The status as shells tell it: 128 is added to a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Waits for a child to end and reaps it.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
    })
    .map_err(|e| Error::new(format!("waitid(pidfd {})", pidfd.as_raw_fd()), e))?;
    Ok(status.as_ref().map_or(Ended::Exited(0), ended))
}

/// Reaps a child if it has ended; `None` if it lives.
pub fn try_reap(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)
        .map_err(|e| Error::new(format!("waitid(pidfd {}, WNOHANG)", pidfd.as_raw_fd()), e))?;
    Ok(status.as_ref().map(ended))
}

fn ended(status: &WaitIdStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signaled(signal),
        (None, None) => Ended::Exited(0),
    }
}

fn last_error(call: String) -> Error {
    Error::new(call, last_errno())
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_noticed() {
        // The test harness runs tests on threads of their own beside the main one.
        assert!(SingleThreaded::check().is_err());
    }

    #[test]
    fn namespace_sets() {
        let set = Namespaces::PID.with(Namespaces::IPC);
        assert!(set.contains(Namespaces::PID) && !set.contains(Namespaces::UTS));
        assert_eq!(set.without(Namespaces::PID), Namespaces::IPC);
    }
}
