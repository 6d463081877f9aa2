//! Pseudo-terminals.
//!
//! See pty(7). A container's terminal is made inside its own devpts by the runtime; this module
//! serves terminals of the host (tests, the client) and the size of any of them.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::{Error, Result};

/// Both ends of a new terminal: the master and the terminal itself.
pub fn open() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)
        .map_err(|e| Error::new(format!("posix_openpt({flags:?})"), e))?;
    rustix::pty::unlockpt(&master).map_err(|e| Error::new("ioctl(TIOCSPTLCK)", e))?;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags)
        .map_err(|e| Error::new("ioctl(TIOCGPTPEER)", e))?;
    Ok((master, terminal))
}

/// Path of the terminal that belongs to a master, in the devpts it was opened in.
pub fn name(master: BorrowedFd<'_>) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let name = rustix::pty::ptsname(master, Vec::new())
        .map_err(|e| Error::new(format!("ptsname(`{}`)", master.as_raw_fd()), e))?;
    Ok(std::ffi::OsString::from_vec(name.into_bytes()).into())
}

/// Sets the size in characters; the foreground process group gets `SIGWINCH`.
pub fn resize(terminal: BorrowedFd<'_>, width: u16, height: u16) -> Result<()> {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).map_err(|e| {
        Error::new(
            format!(
                "ioctl(`{}`, TIOCSWINSZ, {width}x{height})",
                terminal.as_raw_fd()
            ),
            e,
        )
    })
}

/// The size in characters: width, height.
pub fn size(terminal: BorrowedFd<'_>) -> Result<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal)
        .map_err(|e| Error::new(format!("ioctl(`{}`, TIOCGWINSZ)", terminal.as_raw_fd()), e))?;
    Ok((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn both_ends_see_the_size() {
        let (master, terminal) = open().unwrap();
        resize(master.as_fd(), 132, 43).unwrap();
        assert_eq!(size(terminal.as_fd()).unwrap(), (132, 43));
        assert!(name(master.as_fd()).unwrap().starts_with("/dev/pts"));
        assert!(rustix::termios::isatty(&terminal));
    }
}
