//! Local sockets that carry messages and descriptors.
//!
//! `SOCK_SEQPACKET`: one send is one receive, never merged or split. The calls that a non-blocking
//! caller repeats ([`send`], [`recv`], [`accept`]) answer with [`std::io::Error`], whose kind
//! `WouldBlock` event loops understand. See unix(7), `SCM_RIGHTS`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::{Error, Result};

/// Most descriptors that one [`send`] or [`recv`] passes.
pub const MAX_FDS: usize = 8;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Makes a connected pair of message sockets.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::SEQPACKET)
}

/// Makes a connected pair of byte stream sockets.
pub fn stream_pair() -> Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::STREAM)
}

fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .map_err(|e| Error::new(format!("socketpair(AF_UNIX, {kind:?})"), e))
}

/// Listens for message connections on the name `name` in the directory `dir`, mode 0600.
///
/// An existing socket of that name is replaced. The directory is named through its descriptor, so
/// that the length of its path does not matter (socket addresses end at 108 bytes).
pub fn listen(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = socket()?;
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(e) => {
            return Err(Error::new(
                format!("unlinkat(`{}`, `{name}`)", dir.as_raw_fd()),
                e,
            ));
        }
    }
    rustix::net::bind(&socket, &address(dir, name)?)
        .map_err(|e| Error::new(format!("bind(`{name}`)"), e))?;
    // Nobody can connect before listen(2), so the mode is never wider than it should be.
    rustix::fs::chmodat(dir, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())
        .map_err(|e| Error::new(format!("fchmodat(`{}`, `{name}`)", dir.as_raw_fd()), e))?;
    rustix::net::listen(&socket, BACKLOG)
        .map_err(|e| Error::new(format!("listen(`{name}`)"), e))?;
    Ok(socket)
}

/// Connects to the message socket `name` in the directory `dir` (a path of any length).
///
/// Does not wait: a listener whose queue is full answers `EAGAIN`.
pub fn connect(dir: &Path, name: &str) -> Result<OwnedFd> {
    use rustix::fs::OFlags;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dirfd = rustix::fs::open(dir, flags, Mode::empty())
        .map_err(|e| Error::new(format!("open(`{}`, {flags:?})", dir.display()), e))?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address(dirfd.as_fd(), name)?)
        .map_err(|e| Error::new(format!("connect(`{}/{name}`)", dir.display()), e))?;
    Ok(socket)
}

/// Accepts a waiting connection; `None` if there is none. The connection does not block.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::accept_with(listener, flags) {
        Ok(socket) => Ok(Some(socket)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn socket() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(|e| Error::new("socket(AF_UNIX, SOCK_SEQPACKET)", e))
}

fn address(dir: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    SocketAddrUnix::new(path.as_str()).map_err(|e| Error::new(format!("sockaddr_un(`{path}`)"), e))
}

/// The user id of the process that made the other end of a connection.
pub fn peer_uid(socket: BorrowedFd<'_>) -> Result<u32> {
    let cred = rustix::net::sockopt::socket_peercred(socket)
        .map_err(|e| Error::new("getsockopt(SO_PEERCRED)", e))?;
    Ok(cred.uid.as_raw())
}

/// Makes calls on a descriptor answer "would block" instead of waiting.
///
/// This is a property of the open file: everyone who shares it is affected.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true)
        .map_err(|e| Error::new(format!("ioctl(`{}`, FIONBIO)", fd.as_raw_fd()), e))
}

/// Sends one message with descriptors; never raises `SIGPIPE`.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slice = [IoSlice::new(bytes)];
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &slice, &mut control, SendFlags::NOSIGNAL)
    })?;
    // A message socket takes all or nothing.
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// A message that arrived.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it fills; 0 means that the peer has closed.
    pub len: usize,
    /// The descriptors beside it, closed on exec.
    pub fds: Vec<OwnedFd>,
    /// Whether bytes or descriptors were cut off because there was no room.
    pub truncated: bool,
}

/// Receives one message with descriptors.
pub fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let mut slice = [IoSliceMut::new(buffer)];
        rustix::net::recvmsg(socket, &mut slice, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
    Ok(Received {
        len: message.bytes,
        fds,
        truncated: message.flags.intersects(cut),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (a, b) = seqpacket_pair().unwrap();
        let (one, two) = stream_pair().unwrap();
        send(a.as_fd(), b"first", &[one.as_fd(), two.as_fd()]).unwrap();
        send(a.as_fd(), b"second", &[]).unwrap();
        let mut buffer = [0; 64];
        let first = recv(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..first.len], first.fds.len()), (&b"first"[..], 2));
        let flags = rustix::io::fcntl_getfd(&first.fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let second = recv(b.as_fd(), &mut buffer).unwrap();
        assert_eq!(
            (&buffer[..second.len], second.fds.len()),
            (&b"second"[..], 0)
        );
        drop(a);
        assert_eq!(recv(b.as_fd(), &mut buffer).unwrap().len, 0);
    }

    #[test]
    fn truncation_is_told_and_a_closed_peer_is_an_error() {
        let (a, b) = seqpacket_pair().unwrap();
        send(a.as_fd(), &[7; 100], &[]).unwrap();
        assert!(recv(b.as_fd(), &mut [0; 10]).unwrap().truncated);
        set_nonblocking(b.as_fd()).unwrap();
        let empty = recv(b.as_fd(), &mut [0; 10]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        drop(b);
        let gone = send(a.as_fd(), b"x", &[]).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn listens_in_a_directory_with_a_long_path() {
        let base = std::env::temp_dir().join(format!("corten-fdpass-{}", std::process::id()));
        let dir = base.join("d".repeat(150));
        std::fs::create_dir_all(&dir).unwrap();
        let handle = std::fs::File::open(&dir).unwrap();
        let listener = listen(handle.as_fd(), "s.sock").unwrap();
        assert!(accept(listener.as_fd()).unwrap().is_none());
        let client = connect(&dir, "s.sock").unwrap();
        let server = accept(listener.as_fd()).unwrap().unwrap();
        assert_eq!(
            peer_uid(server.as_fd()).unwrap(),
            rustix::process::getuid().as_raw()
        );
        send(client.as_fd(), b"hi", &[]).unwrap();
        assert_eq!(recv(server.as_fd(), &mut [0; 8]).unwrap().len, 2);
        drop(listen(handle.as_fd(), "s.sock").unwrap());
        let refused = connect(&dir, "s.sock").unwrap_err();
        assert_eq!(refused.errno(), rustix::io::Errno::CONNREFUSED);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
