//! Descriptors handed to a program that is executed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes a descriptor appear under a number of the caller's choice in the program of `command`.
///
/// The caller's own copy is closed when `command` is dropped. `number` must be above 2.
pub fn pass_fd(command: &mut Command, fd: OwnedFd, number: i32) {
    debug_assert!(number > 2, "standard streams are set with Command itself");
    let dup = move || {
        let source = fd.as_raw_fd();
        if source == number {
            // SAFETY: fcntl on a descriptor that `fd` owns for as long as the closure lives; it
            // only clears the close-on-exec flag.
            let done = unsafe { libc::fcntl(source, libc::F_SETFD, 0) };
            return if done < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(())
            };
        }
        // SAFETY: dup2 is async-signal-safe and `source` is owned by the closure. Whatever had the
        // number in the parent is the parent's and closed on exec in any case: only the child's
        // copy of its table changes.
        let done = unsafe { libc::dup2(source, number) };
        if done < 0 {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure calls nothing but dup2 and fcntl between fork and exec: no allocation, no
    // lock that another thread of the parent could have held.
    unsafe { command.pre_exec(dup) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_program_finds_it_under_its_number() {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo here >&7"]);
        pass_fd(&mut command, theirs.into(), 7);
        assert!(command.status().unwrap().success());
        drop(command);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here\n");
    }
}
