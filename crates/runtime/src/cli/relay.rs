//! Waits for a process in the foreground, passing its terminal through if it has one.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::termios::{OptionalActions, Termios};
use sys::process::Ended;

/// The caller's terminal in raw mode, put back on drop.
struct Raw(Option<Termios>);

impl Raw {
    fn new() -> Self {
        let stdin = std::io::stdin();
        let Ok(old) = rustix::termios::tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut raw = old.clone();
        raw.make_raw();
        let set = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        Self(set.is_ok().then_some(old))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(old) = &self.0 {
            // The terminal may be gone; then there is nothing to put back.
            let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, old);
        }
    }
}

/// Waits until a process has ended and all its output has been passed on. Without a terminal, whose
/// keys are signals enough, the signals of this process are passed on, too; it is best to block them
/// before.
pub(crate) fn wait(pid: Pid, pidfd: &OwnedFd, console: Option<&OwnedFd>) -> sys::Result<Ended> {
    if let Some(console) = console {
        let _raw = Raw::new();
        relay(console);
        return sys::process::reap(pidfd.as_fd());
    }
    sys::signal::block_all()?;
    loop {
        // Before waiting: it may have ended before the signals were blocked.
        if let Some(ended) = sys::process::try_reap(pidfd.as_fd())? {
            return Ok(ended);
        }
        let signal = sys::sigwait::next()?;
        if signal != Signal::CHILD.as_raw() {
            sys::process::signal(pid.as_raw_nonzero().get(), signal)?;
        }
    }
}

/// Passes bytes between the caller's standard files and a terminal until its other end is closed.
fn relay(console: &OwnedFd) {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if let Ok((width, height)) = sys::pty::size(stdin.as_fd()) {
        let _ = sys::pty::resize(console.as_fd(), width, height);
    }
    let mut input_open = true;
    let mut buffer = [0u8; 8192];
    loop {
        let mut fds = vec![PollFd::new(console, PollFlags::IN)];
        if input_open {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let input_ready = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if !fds[0].revents().is_empty() {
            match rustix::io::read(console, &mut buffer) {
                // EIO: every process has closed the other end.
                Ok(0) | Err(Errno::IO) => return,
                Ok(length) => write_all(&stdout, &buffer[..length]),
                Err(_) => {}
            }
        }
        if input_ready {
            match rustix::io::read(&stdin, &mut buffer) {
                Ok(0) | Err(_) => input_open = false,
                Ok(length) => write_all(console, &buffer[..length]),
            }
        }
    }
}

fn write_all(fd: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(&fd, bytes)) {
            Ok(length) => bytes = &bytes[length..],
            // A reader that is gone: nothing to be told to.
            Err(_) => return,
        }
    }
}
