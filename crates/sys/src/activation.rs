//! Sockets handed over by a service manager.
//!
//! See [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html).

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is handed over.
const FIRST: i32 = 3;
/// More descriptors than any unit has sockets.
const MOST: i32 = 64;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors that were handed to this very process; a second call returns none.
pub fn listen_fds() -> Vec<OwnedFd> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<i32>().ok());
    let own = i32::try_from(std::process::id()).ok();
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, MOST);
    if number("LISTEN_PID") != own || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    (FIRST..FIRST + count).filter_map(adopt).collect()
}

fn adopt(raw: i32) -> Option<OwnedFd> {
    // SAFETY: fcntl(F_SETFD) on a number that is not open only fails with EBADF.
    let set = unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) };
    if set < 0 {
        return None;
    }
    // SAFETY: the descriptor is open (the call above succeeded), the protocol makes it this
    // process's own, and `TAKEN` hands each out once.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}
