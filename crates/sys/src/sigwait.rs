//! Waiting for signals by name instead of being interrupted by them.

use rustix::io::Errno;

use crate::{Error, Result};

/// Waits for any blocked signal and takes it; gives its number.
///
/// All signals should be blocked, see [`crate::signal::block_all`].
/// See [sigwaitinfo(2)](https://man7.org/linux/man-pages/man2/sigwaitinfo.2.html).
pub fn next() -> Result<i32> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is to a sigset_t of ours, which sigfillset initialises as a whole.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    loop {
        // SAFETY: `set` was initialised above; no information about the sender is asked for.
        let signal = unsafe { libc::sigwaitinfo(set.as_ptr(), std::ptr::null_mut()) };
        if signal > 0 {
            return Ok(signal);
        }
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        if errno != libc::EINTR {
            return Err(Error::new(
                "sigwaitinfo(all)",
                Errno::from_raw_os_error(errno),
            ));
        }
    }
}

/// Sends a signal, real-time ones included, to a process.
pub fn send(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill(2) takes two numbers and touches no memory of ours.
    if unsafe { libc::kill(pid, signal) } == 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO);
    Err(Error::new(
        format!("kill({pid}, {signal})"),
        Errno::from_raw_os_error(errno),
    ))
}
