//! A message socket with descriptors on tokio.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdSocket;

use shim::protocol::{MAX_MESSAGE, Packet, ProtocolError};
use spec::{ErrorKind, WireError};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// Room for the longest message and one byte more.
const BUFFER: usize = MAX_MESSAGE + 1;

/// One end of a `SOCK_SEQPACKET` pair.
#[derive(Debug)]
pub(super) struct Connection {
    // Only the readiness of this type is used, never its own sends and receives: it is the safe way
    // to have tokio watch a socket that keeps the boundaries of messages.
    socket: UnixDatagram,
}

impl Connection {
    /// Takes a connected socket and makes it non-blocking.
    pub(super) fn new(socket: OwnedFd) -> Result<Self, WireError> {
        sys::fdpass::set_nonblocking(socket.as_fd()).map_err(|e| wire("prepare a socket", &e))?;
        let socket = UnixDatagram::from_std(StdSocket::from(socket))
            .map_err(|e| wire("watch a socket", &e))?;
        Ok(Self { socket })
    }

    /// Sends a packet; whole or not at all. Cancel-safe.
    pub(super) async fn send(&self, packet: &Packet) -> Result<(), WireError> {
        let fds: Vec<BorrowedFd<'_>> = packet.fds.iter().map(AsFd::as_fd).collect();
        // Nearly always there is room: try before asking the reactor.
        match sys::fdpass::send(self.socket.as_fd(), &packet.bytes, &fds) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            done => return done.map_err(|e| wire("send to the supervisor", &e)),
        }
        drop(fds);
        self.socket
            .async_io(Interest::WRITABLE, || {
                let fds: Vec<BorrowedFd<'_>> = packet.fds.iter().map(AsFd::as_fd).collect();
                sys::fdpass::send(self.socket.as_fd(), &packet.bytes, &fds)
            })
            .await
            .map_err(|e| wire("send to the supervisor", &e))
    }

    /// Receives a packet; `None` when the peer has closed. Cancel-safe.
    pub(super) async fn receive(&self) -> Result<Option<Packet>, WireError> {
        let mut reset = false;
        loop {
            match self.receive_once().await {
                Ok((_, received)) if received.len == 0 => return Ok(None),
                Ok((_, received)) if received.truncated => {
                    return Err(protocol(&ProtocolError::Truncated));
                }
                Ok((bytes, received)) => {
                    return Ok(Some(Packet {
                        bytes,
                        fds: received.fds,
                    }));
                }
                // The peer ended without having read everything. The kernel tells that first, and
                // once; what the peer had said before is still to be read.
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset && !reset => reset = true,
                Err(e) => return Err(wire("receive from the supervisor", &e)),
            }
        }
    }

    async fn receive_once(&self) -> std::io::Result<(Vec<u8>, sys::fdpass::Received)> {
        self.socket
            .async_io(Interest::READABLE, || {
                BUFFER_OF_THREAD.with_borrow_mut(|buffer| {
                    let received = sys::fdpass::recv(self.socket.as_fd(), buffer)?;
                    let bytes = buffer[..received.len].to_vec();
                    Ok((bytes, received))
                })
            })
            .await
    }
}

thread_local! {
    // Shared by all connections of a worker: a buffer each would be 64 KiB per container.
    static BUFFER_OF_THREAD: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; BUFFER]);
}

/// Wraps a failure below the protocol.
pub(super) fn wire(what: &str, error: &dyn std::error::Error) -> WireError {
    WireError {
        source: Some(Box::new(WireError::from_error(ErrorKind::Internal, error))),
        ..WireError::new(ErrorKind::Internal, format!("failed to {what}"))
    }
}

/// Wraps a failure of the protocol.
pub(super) fn protocol(error: &ProtocolError) -> WireError {
    WireError::from_error(spec::Classify::kind(error), error)
}

/// What is said when the other side has gone away.
pub(super) fn gone(who: &str) -> WireError {
    WireError::new(ErrorKind::Unavailable, format!("the {who} is gone"))
}
