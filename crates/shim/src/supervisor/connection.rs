//! A daemon's connection: messages in, answers and events out, never waiting for it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;
use shim::protocol::{Call, MAX_MESSAGE, Packet, ProtocolError};
use sys::poll::{Interest, Poll};

use super::watched::{Kind, Token, Watched};

/// Messages kept for a daemon that does not read; then it is cut off, and may come back.
const MAX_QUEUED: usize = 256;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub id: u32,
    socket: Watched,
    /// Whether the peer has told its version; the first connection need not.
    pub greeted: bool,
    queue: VecDeque<Packet>,
    broken: bool,
}

/// What came from a daemon.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack of the loop"
)]
pub enum Incoming {
    Call(Call, Vec<OwnedFd>),
    Malformed(ProtocolError),
    Nothing,
    End,
}

impl Connection {
    /// Takes over a connected socket.
    pub fn new(poll: &Poll, id: u32, socket: OwnedFd, greeted: bool) -> sys::Result<Self> {
        sys::fdpass::set_nonblocking(socket.as_fd())?;
        let token = Token {
            owner: 0,
            kind: Kind::Connection,
            member: id,
        };
        let socket = Watched::new(socket, token);
        let mut connection = Self {
            id,
            socket,
            greeted,
            queue: VecDeque::new(),
            broken: false,
        };
        connection.watch(poll);
        Ok(connection)
    }

    /// Reads one message.
    pub fn receive(&mut self) -> Incoming {
        // Fresh from the kernel and back to it: only the pages a message fills are ever touched.
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        let received = match sys::fdpass::recv(self.socket.as_fd(), &mut buffer) {
            Ok(received) if received.len == 0 => return Incoming::End,
            Ok(received) if received.truncated => {
                return Incoming::Malformed(ProtocolError::Truncated);
            }
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Incoming::Nothing,
            Err(_) => return Incoming::End,
        };
        let bytes = buffer[..received.len].to_vec();
        match (Packet {
            bytes,
            fds: received.fds,
        })
        .decode()
        {
            Ok((call, fds)) => Incoming::Call(call, fds),
            Err(error) => Incoming::Malformed(error),
        }
    }

    /// Sends a message, or keeps it until there is room.
    pub fn send<T: Serialize>(&mut self, poll: &Poll, message: &T) {
        match Packet::encode(message, Vec::new()) {
            Ok(packet) => self.queue.push_back(packet),
            Err(_) => self.broken = true,
        }
        self.flush(poll);
        if self.queue.len() > MAX_QUEUED {
            self.broken = true;
        }
    }

    /// Sends what was kept.
    pub fn flush(&mut self, poll: &Poll) {
        while let Some(packet) = self.queue.front() {
            let fds: Vec<_> = packet.fds.iter().map(AsFd::as_fd).collect();
            match sys::fdpass::send(self.socket.as_fd(), &packet.bytes, &fds) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.broken = true;
                    break;
                }
            }
        }
        self.watch(poll);
    }

    /// Whether the peer is gone or was given up.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Closes it.
    pub fn close(self, poll: &Poll) {
        self.socket.close(poll);
    }

    fn watch(&mut self, poll: &Poll) {
        let interest = Interest {
            writable: !self.queue.is_empty(),
            ..Interest::READ
        };
        self.socket.want(poll, Some(interest));
    }
}
