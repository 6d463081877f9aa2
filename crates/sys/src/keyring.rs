//! The session keyring of a process: keys of the kernel that are inherited by children.
//!
//! Without one of its own, a container would possess the keys of whoever started the daemon. See
//! keyctl(2).

use std::ffi::CStr;

use crate::{Error, Result};

/// `KEYCTL_JOIN_SESSION_KEYRING`.
const JOIN: libc::c_long = 1;
/// `KEYCTL_SETPERM`.
const SET_PERMISSIONS: libc::c_long = 5;

/// Everything for its possessors; viewing, reading, searching and linking for its user. Searching
/// is what lets a later process of the same container join it by name.
const PERMISSIONS: libc::c_long = 0x3f1b_0000;

/// Gives this process the session keyring of this name, a new one if there is none.
///
/// # Errors
/// `ENOSYS` when the kernel has no keyrings, `EPERM` under a filter that forbids them, `EDQUOT` when
/// the user has too many.
pub fn join_session(name: &CStr) -> Result<()> {
    // SAFETY: this operation of keyctl(2) reads the string, which ends with a zero byte and outlives
    // the call.
    let keyring = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name.as_ptr()) };
    if keyring < 0 {
        return Err(last("keyctl(JOIN_SESSION_KEYRING)"));
    }
    // SAFETY: this operation of keyctl(2) takes numbers only.
    if unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, keyring, PERMISSIONS) } != 0 {
        return Err(last("keyctl(SETPERM)"));
    }
    Ok(())
}

fn last(call: &'static str) -> Error {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Error::new(call, errno)
}
