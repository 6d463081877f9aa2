//! Signal dispositions, the signal mask, and the few process-wide switches of a supervisor.
//!
//! For single-threaded processes: everything here acts on the whole process.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::{Error, Result};

/// Last signal number of Linux.
const LAST: libc::c_int = 64;

/// Lets the kernel reap the children of this process.
pub fn ignore_children() -> Result<()> {
    set_disposition(libc::SIGCHLD, libc::SIG_IGN)
}

/// Ignores a signal by number.
pub fn ignore(signal: i32) -> Result<()> {
    set_disposition(signal, libc::SIG_IGN)
}

/// Gives every signal its default action.
pub fn reset_dispositions() {
    for signal in 1..=LAST {
        // KILL, STOP and the two signals libc keeps for itself refuse; they have no handler.
        let _ = set_disposition(signal, libc::SIG_DFL);
    }
}

fn set_disposition(signal: libc::c_int, action: libc::sighandler_t) -> Result<()> {
    // SAFETY: the action is SIG_IGN or SIG_DFL, so no function of ours is ever called by it.
    let previous = unsafe { libc::signal(signal, action) };
    if previous == libc::SIG_ERR {
        return Err(last_error(format!("signal({signal})")));
    }
    Ok(())
}

/// Blocks every signal.
pub fn block_all() -> Result<()> {
    change_mask("SIG_BLOCK", libc::SIG_BLOCK, |set| {
        // SAFETY: `set` points to a sigset_t that lives through the call.
        unsafe { libc::sigfillset(set) }
    })
}

/// Lets every signal through.
pub fn unblock_all() -> Result<()> {
    change_mask("SIG_SETMASK", libc::SIG_SETMASK, |set| {
        // SAFETY: `set` points to a sigset_t that lives through the call.
        unsafe { libc::sigemptyset(set) }
    })
}

fn change_mask(
    name: &str,
    how: libc::c_int,
    fill: impl FnOnce(*mut libc::sigset_t) -> libc::c_int,
) -> Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    fill(set.as_mut_ptr());
    // SAFETY: `fill` initialised the set; the old mask is not asked for.
    let status = unsafe { libc::sigprocmask(how, set.as_ptr(), std::ptr::null_mut()) };
    if status != 0 {
        return Err(last_error(format!("sigprocmask({name})")));
    }
    Ok(())
}

/// Sends a signal, real-time ones included, to exactly the process of a pidfd.
///
/// See pidfd_send_signal(2), Linux 5.1.
pub fn send(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the call takes a descriptor that is open for as long as it is borrowed, a number, no
    // siginfo and no flags; it writes to no memory of ours.
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            null,
            0,
        )
    };
    if status != 0 {
        return Err(last_error(format!("pidfd_send_signal({signal})")));
    }
    Ok(())
}

/// Which of the two processes [`fork`] returned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The caller; the child has this number.
    Parent(i32),
    /// The new process.
    Child,
}

/// Copies this process, which must have one thread.
///
/// # Errors
///
/// `EBUSY` if there are several threads: the child would inherit locks that nobody releases.
pub fn fork() -> Result<Fork> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Error::new(
            format!("fork() with {threads} threads"),
            Errno::BUSY,
        ));
    }
    // SAFETY: the process has a single thread, so the child owns a consistent copy of everything.
    match unsafe { libc::fork() } {
        -1 => Err(last_error("fork()".to_owned())),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Closes every descriptor from `first` on.
///
/// The caller must not hold any of them as an owned descriptor it will use or drop.
pub fn close_from(first: u32) -> Result<()> {
    close_range(first, u32::MAX)
}

/// Closes every descriptor from `first` on except those in `keep`.
///
/// The caller must not hold any of the closed ones as an owned descriptor.
pub fn close_except(first: u32, keep: &mut [u32]) -> Result<()> {
    keep.sort_unstable();
    let mut next = first;
    for &fd in keep.iter().filter(|fd| **fd >= first) {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: close_range(2) takes three numbers; it is the caller's contract that no descriptor in
    // the range is owned by a value that lives on.
    let status = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if status != 0 {
        return Err(last_error(format!("close_range({first}, {last})")));
    }
    Ok(())
}

/// Puts a descriptor at a fixed number, inherited across exec, closing what was there.
pub fn place(fd: OwnedFd, number: i32) -> Result<()> {
    use std::os::fd::IntoRawFd;
    let from = fd.into_raw_fd();
    if from == number {
        // SAFETY: fcntl on a descriptor this function owns; F_SETFD takes a number.
        let status = unsafe { libc::fcntl(from, libc::F_SETFD, 0) };
        return if status == -1 {
            Err(last_error(format!("fcntl({from})")))
        } else {
            Ok(())
        };
    }
    // SAFETY: `from` is open and ours; the caller gives the target number away.
    if unsafe { libc::dup2(from, number) } == -1 {
        return Err(last_error(format!("dup2({from}, {number})")));
    }
    // SAFETY: `from` came out of an OwnedFd and is used nowhere else.
    unsafe { libc::close(from) };
    Ok(())
}

/// Takes a descriptor this process inherited at a fixed number, and closes it on exec.
///
/// To be called once per number, at the start of `main`.
///
/// # Errors
///
/// `EBADF` if nothing was inherited there.
pub fn inherited(number: i32) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: fcntl with F_SETFD takes a number and touches no memory.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(last_error(format!("fcntl({number}, F_SETFD)")));
    }
    // SAFETY: the descriptor is open (fcntl succeeded) and by contract taken only here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives memory that was freed back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number of bytes to keep and only touches the allocator's state.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// How much the allocator may keep for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Heaps that threads share; more of them wait less for each other and keep more.
    pub arenas: i32,
    /// Blocks of this size or more go straight back when they are freed.
    pub large_block: i32,
    /// Free bytes at the end of a heap beyond which they go back.
    pub slack: i32,
}

/// Keeps the allocator from holding on to memory of a burst.
///
/// To be called at the start of `main`, before the first large allocation.
pub fn lean_heap(heap: Heap) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers; it is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, heap.arenas);
        libc::mallopt(libc::M_MMAP_THRESHOLD, heap.large_block);
        libc::mallopt(libc::M_TRIM_THRESHOLD, heap.slack);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = heap;
}

fn last_error(call: String) -> Error {
    let errno = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO);
    Error::new(call, Errno::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test harness runs every test in a thread of its own.
        let error = fork().unwrap_err();
        assert_eq!(error.errno(), Errno::BUSY);
    }
}
