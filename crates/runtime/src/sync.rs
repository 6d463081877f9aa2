//! Messages between the caller and the process being made, over a SEQPACKET socket pair.
//!
//! ```text
//! caller ─ C ─► init     the cgroups are ready to be joined
//! caller ◄ R ── init     everything is set up: warnings as JSON, with the pty master beside it
//! caller ─ G ─► init     execve now
//! caller ◄ B ── helper   (exec only) the process's id, with its handle beside it
//! caller ◄ E ── init     it failed: a WireError as JSON
//! caller ◄ end of stream execve was done, or the process died
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;
use spec::{ErrorKind, WireError};

/// Longest message.
const MAX_MESSAGE: usize = 16 * 1024;

/// What the init process tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// Everything is set up.
    Ready {
        warnings: Vec<String>,
        console: Option<OwnedFd>,
    },
    /// The helper has made the process.
    Born { pid: Pid, pidfd: OwnedFd },
    /// It gave up.
    Failed(WireError),
    /// It closed its end: `execve` was done, or it died.
    End,
}

/// What the caller tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The cgroups can be joined.
    CgroupsReady,
    /// The user's program may begin.
    Go,
    /// The caller is gone.
    End,
}

/// Makes the two ends; their numbers are above the standard files.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), sys::Error> {
    let (a, b) = sys::fdpass::seqpacket_pair()?;
    Ok((above_stdio(a)?, above_stdio(b)?))
}

/// Moves a descriptor above 2: a caller may run with its standard files closed.
pub(crate) fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, sys::Error> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, 3)
        .map_err(|e| sys::Error::new("fcntl(F_DUPFD_CLOEXEC)", e))
}

/// Reports from the init process.
pub(crate) fn report_ready(
    socket: BorrowedFd<'_>,
    warnings: &[String],
    console: Option<BorrowedFd<'_>>,
) -> std::io::Result<()> {
    let mut message = b"R".to_vec();
    message.extend(serde_json::to_vec(warnings)?);
    message.truncate(MAX_MESSAGE);
    let fds: Vec<BorrowedFd<'_>> = console.into_iter().collect();
    sys::fdpass::send(socket, &message, &fds)
}

/// Reports the process that a helper has made.
pub(crate) fn report_born(
    socket: BorrowedFd<'_>,
    pid: Pid,
    pidfd: BorrowedFd<'_>,
) -> std::io::Result<()> {
    let message = format!("B{}", pid.as_raw_nonzero());
    sys::fdpass::send(socket, message.as_bytes(), &[pidfd])
}

/// Reports a failure from the init process; nothing more can be done if nobody listens.
pub(crate) fn report_failure(socket: BorrowedFd<'_>, error: &WireError) {
    let mut message = b"E".to_vec();
    match serde_json::to_vec(error) {
        Ok(json) if json.len() < MAX_MESSAGE => message.extend(json),
        _ => {
            let kind = error.kind;
            let text = error.message.chars().take(1000).collect::<String>();
            message.extend(serde_json::to_vec(&WireError::new(kind, text)).unwrap_or_default());
        }
    }
    let _ = sys::fdpass::send(socket, &message, &[]);
}

/// Waits for a report.
pub(crate) fn next_report(socket: BorrowedFd<'_>) -> Report {
    let mut buffer = vec![0u8; MAX_MESSAGE];
    let Some((length, mut fds)) = receive(socket, &mut buffer) else {
        return Report::End;
    };
    match buffer[..length].split_first() {
        Some((b'R', json)) => Report::Ready {
            warnings: serde_json::from_slice(json).unwrap_or_default(),
            console: fds.pop(),
        },
        Some((b'B', text)) => {
            let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
            match (number.and_then(Pid::from_raw), fds.pop()) {
                (Some(pid), Some(pidfd)) => Report::Born { pid, pidfd },
                _ => Report::End,
            }
        }
        Some((b'E', json)) => Report::Failed(serde_json::from_slice(json).unwrap_or_else(|_| {
            WireError::new(
                ErrorKind::Internal,
                "the container's process sent a broken report",
            )
        })),
        _ => Report::End,
    }
}

/// Gives an order to the init process.
pub(crate) fn order(socket: BorrowedFd<'_>, order: Order) -> std::io::Result<()> {
    let byte: &[u8] = match order {
        Order::CgroupsReady => b"C",
        Order::Go => b"G",
        Order::End => return Ok(()),
    };
    sys::fdpass::send(socket, byte, &[])
}

/// Waits for an order.
pub(crate) fn next_order(socket: BorrowedFd<'_>) -> Order {
    let mut buffer = [0u8; 8];
    match receive(socket, &mut buffer) {
        Some((1, _)) if buffer[0] == b'C' => Order::CgroupsReady,
        Some((1, _)) if buffer[0] == b'G' => Order::Go,
        _ => Order::End,
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<(usize, Vec<OwnedFd>)> {
    loop {
        match sys::fdpass::recv(socket.as_fd(), buffer) {
            Ok(received) if received.len == 0 => return None,
            Ok(received) => return Some((received.len, received.fds)),
            // A peer that ends with an unread order resets the connection; its report is still there,
            // and the error is told only once.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                sys::process::wait_readable(socket).ok()?;
            }
            Err(_) => return None,
        }
    }
}
