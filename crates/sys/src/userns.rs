//! User namespaces that nobody lives in: tables of ids, for id-mapped mounts.
//!
//! A namespace needs a process for as long as its tables are written. That process shares the
//! caller's memory and descriptors and does nothing but wait, so nothing is copied and a program
//! with many threads can make one too. It dies with the thread that made it.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use crate::{Error, Result};

/// Bytes of stack of the waiting process, which makes three calls.
const STACK: usize = 32 * 1024;

/// A range of ids. See user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the namespace: what a mounted file system has on its disk.
    pub inside: u32,
    /// First id outside: what processes see through the mount.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Makes a user namespace with these tables; it lasts as long as the descriptor and its mounts.
///
/// # Errors
///
/// No permission, too many namespaces (`ENOSPC`), or tables that the kernel refuses (`EINVAL`).
pub fn with_ids(uids: &[IdRange], gids: &[IdRange]) -> Result<OwnedFd> {
    let waiting = Waiting::start()?;
    let path = |name: &str| format!("/proc/{}/{name}", waiting.pid.as_raw_nonzero());
    write(&path("uid_map"), uids)?;
    write(&path("gid_map"), gids)?;
    let path = path("ns/user");
    std::fs::File::open(&path)
        .map(OwnedFd::from)
        .map_err(|error| failed(format!("open(`{path}`)"), &error))
}

fn write(path: &str, ranges: &[IdRange]) -> Result<()> {
    let text: String = ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count))
        .collect();
    // The kernel takes a table in one write.
    rustix::fs::open(
        path,
        rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .and_then(|file| rustix::io::write(&file, text.as_bytes()))
    .map(drop)
    .map_err(|errno| Error::new(format!("write(`{path}`, `{}`)", text.trim_end()), errno))
}

fn failed(call: String, error: &std::io::Error) -> Error {
    Error::new(call, Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// The process in a new namespace; killed and reaped when dropped.
struct Waiting {
    pid: Pid,
    /// In use by the process until it is reaped.
    _stack: Box<[u128]>,
}

impl Waiting {
    fn start() -> Result<Self> {
        let mut stack = vec![0u128; STACK / size_of::<u128>()].into_boxed_slice();
        let top = stack.as_mut_ptr_range().end;
        let own = i64::from(std::process::id());
        let flags = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::CLONE_FILES;
        let signals = Blocked::all()?;
        // SAFETY: the new process runs `wait` on a stack of its own, which outlives it: whoever
        // drops the stack has reaped it. `wait` touches no memory but that stack, and no handler
        // of this program can run in it because all signals are blocked.
        let pid = unsafe { libc::clone(wait, top.cast(), flags, own as *mut libc::c_void) };
        let error = std::io::Error::last_os_error();
        drop(signals);
        match Pid::from_raw(pid) {
            Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Self { pid, _stack: stack }),
            _ => Err(failed("clone(CLONE_NEWUSER)".to_owned(), &error)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
        // Without an exit signal it is no ordinary child: nobody else waits for it by accident.
        let options = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.pid), options) {}
    }
}

/// What the process does: nothing, until it is killed or whoever made it is gone.
extern "C" fn wait(parent: *mut libc::c_void) -> libc::c_int {
    // SAFETY: prctl(2) takes numbers. The bare call leaves alone what libc keeps per thread, which
    // is the parent's here.
    unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_SET_PDEATHSIG,
            libc::SIGKILL,
            0,
            0,
            0,
        );
    }
    // SAFETY: getppid(2) takes nothing and cannot fail.
    let now = unsafe { libc::syscall(libc::SYS_getppid) };
    // The parent may have died before the line above.
    if now != parent as libc::c_long {
        return 0;
    }
    loop {
        // SAFETY: ppoll(2) of no descriptors, without end and without a mask: null pointers are
        // what it takes for these.
        unsafe {
            libc::syscall(
                libc::SYS_ppoll,
                std::ptr::null::<libc::pollfd>(),
                0,
                std::ptr::null::<libc::timespec>(),
                std::ptr::null::<libc::sigset_t>(),
                0,
            );
        }
    }
}

/// All signals of this thread, blocked until dropped.
struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    fn all() -> Result<Self> {
        // SAFETY: a sigset_t is plain bits, for which zero is a value.
        let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: plain bits again, which zero is a value of.
        let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `all` is a signal set that may be written.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: both are signal sets of this function.
        let status =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
        match status {
            0 => Ok(Self { before }),
            errno => Err(Error::new(
                "pthread_sigmask",
                Errno::from_raw_os_error(errno),
            )),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled by the call that blocked them.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use crate::mount::{self, Attributes, Reach};

    fn one(inside: u32, outside: u32) -> [IdRange; 1] {
        [IdRange {
            inside,
            outside,
            count: 1,
        }]
    }

    #[test]
    fn namespaces_are_made_by_many_threads_at_once() {
        std::thread::scope(|scope| {
            for number in 1..9 {
                scope.spawn(move || {
                    for _ in 0..20 {
                        with_ids(&one(0, number), &one(0, number)).unwrap();
                    }
                });
            }
        });
        assert!(with_ids(&one(0, u32::MAX), &one(0, 0)).is_err());
    }

    #[test]
    fn a_mapped_mount_shows_other_owners() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"x").unwrap();
        std::os::unix::fs::chown(dir.path().join("f"), Some(1000), Some(1001)).unwrap();
        let ids = with_ids(&one(1000, 33), &one(1001, 34)).unwrap();
        let copy = mount::copy_path(dir.path(), Reach::Single).unwrap();
        mount::map_ids(copy.as_fd(), ids.as_fd(), Reach::Single).unwrap();
        let flags = rustix::fs::OFlags::PATH;
        let file = rustix::fs::openat(&copy, "f", flags, rustix::fs::Mode::empty()).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        assert_eq!((stat.st_uid, stat.st_gid), (33, 34));
        let host = std::fs::metadata(dir.path().join("f")).unwrap();
        assert_eq!((host.uid(), host.gid()), (1000, 1001));
    }

    #[test]
    fn file_systems_without_owners_cannot_be_mapped() {
        let ids = with_ids(&one(0, 1), &one(0, 1)).unwrap();
        let proc = mount::create("proc", &[], Attributes::empty()).unwrap();
        let error = mount::map_ids(proc.as_fd(), ids.as_fd(), Reach::Single).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
    }
}
