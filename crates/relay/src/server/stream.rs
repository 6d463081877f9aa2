//! TCP: two sockets, and what passes between them without ever being seen.
//!
//! What one side says is taken only when the other has taken what came before: a side that does not
//! read stops the other, as it would without a relay. An end is passed on as an end, a reset as one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, connect, shutdown, socket_with, sockopt,
};
use sys::poll::{Interest, Poll, Ready};

use super::pipes::{Pipe, Pipes};
use super::{Kind, Number, Server};

/// How much passes before others have their turn, in pipes.
const ROUNDS: usize = 16;
/// How often a silent side is asked whether it is still there, as docker-proxy does.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) port: Number,
    client: Side,
    container: Side,
    /// From the client to the container.
    there: Way,
    /// From the container to the client.
    back: Way,
    connected: bool,
}

/// One end of a connection.
#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    token: u64,
    /// What it is watched for, if it is.
    watched: Option<Interest>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    pipe: Option<Pipe>,
    /// No more will come.
    ended: bool,
    /// The end was passed on.
    shut: bool,
}

impl Side {
    fn new(socket: OwnedFd, token: u64) -> Self {
        Self {
            socket,
            token,
            watched: None,
        }
    }

    fn watch(&mut self, poll: &Poll, wanted: Option<Interest>) -> sys::Result<()> {
        if wanted == self.watched {
            return Ok(());
        }
        let socket = self.socket.as_fd();
        match (self.watched, wanted) {
            (None, Some(wanted)) => poll.add(socket, self.token, wanted)?,
            (Some(_), Some(wanted)) => poll.modify(socket, self.token, wanted)?,
            (_, None) => poll.remove(socket)?,
        }
        self.watched = wanted;
        Ok(())
    }

    fn wanted(&self, from: &Way, to: &Way) -> Interest {
        Interest {
            readable: !from.ended && from.pipe.is_none(),
            writable: to.pipe.is_some(),
            priority: false,
        }
    }

    /// Whether it was reset, or cannot be reached.
    fn is_broken(&self) -> bool {
        !matches!(sockopt::socket_error(&self.socket), Ok(Ok(())))
    }

    /// Has its end be a reset, so that nobody takes what came for the whole.
    fn reset(&self) {
        // It may be broken already.
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl Way {
    /// Moves what can be moved.
    fn carry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        pipes: &mut Pipes,
    ) -> Result<(), Errno> {
        for _ in 0..ROUNDS {
            if self.pipe.is_none() {
                if self.ended {
                    break;
                }
                let mut pipe = pipes.take()?;
                match pipe.fill(from) {
                    Ok(0) => {
                        self.ended = true;
                        pipes.give(pipe);
                        break;
                    }
                    Ok(_) => self.pipe = Some(pipe),
                    Err(Errno::AGAIN | Errno::INTR) => {
                        pipes.give(pipe);
                        break;
                    }
                    Err(errno) => return Err(errno),
                }
            }
            if let Some(pipe) = &mut self.pipe {
                match pipe.drain(to) {
                    Ok(()) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(errno) => return Err(errno),
                }
            }
            if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
                pipes.give(pipe);
            }
        }
        if self.ended && self.pipe.is_none() && !self.shut {
            self.shut = true;
            // Whoever is gone needs not be told.
            let _ = shutdown(to, Shutdown::Write);
        }
        Ok(())
    }
}

impl Stream {
    /// Does what a side has become ready for; tells whether that was all.
    fn advance(&mut self, side: Kind, ready: Ready, pipes: &mut Pipes) -> Result<bool, Errno> {
        let (client, container) = (self.client.socket.as_fd(), self.container.socket.as_fd());
        let (from, to) = (
            ready.readable || ready.hangup,
            ready.writable || ready.hangup,
        );
        let (there, back) = if side == Kind::Client {
            (from, to)
        } else {
            (to, from)
        };
        if there {
            self.there.carry(client, container, pipes)?;
        }
        if back {
            self.back.carry(container, client, pipes)?;
        }
        Ok(self.there.shut && self.back.shut)
    }

    fn reset(&self) {
        self.client.reset();
        self.container.reset();
    }

    /// Watches both sides for what would be of use.
    ///
    /// A side that has hung up and is of no use for now is not watched at all: the kernel would tell
    /// it again and again.
    fn watch(&mut self, poll: &Poll, hung_up: Option<Kind>) -> sys::Result<()> {
        if !self.connected {
            self.client.watch(poll, Some(Interest::NONE))?;
            return self.container.watch(poll, Some(Interest::WRITE));
        }
        for (side, from, to, kind) in [
            (&mut self.client, &self.there, &self.back, Kind::Client),
            (
                &mut self.container,
                &self.back,
                &self.there,
                Kind::Container,
            ),
        ] {
            let wanted = side.wanted(from, to);
            let rests =
                wanted == Interest::NONE && (hung_up == Some(kind) || side.watched.is_none());
            side.watch(poll, (!rests).then_some(wanted))?;
        }
        Ok(())
    }
}

impl Server {
    /// Carries an accepted connection.
    pub(super) fn carry(&mut self, at: Number, client: OwnedFd) {
        let Some(port) = self.ports.get_mut(&at) else {
            return;
        };
        let target = port.target;
        let opened = || -> Result<OwnedFd, Errno> {
            let family = if target.is_ipv4() {
                AddressFamily::INET
            } else {
                AddressFamily::INET6
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let container = socket_with(family, SocketType::STREAM, flags, None)?;
            for socket in [client.as_fd(), container.as_fd()] {
                sockopt::set_tcp_nodelay(socket, true)?;
                sockopt::set_socket_keepalive(socket, true)?;
                sockopt::set_tcp_keepidle(socket, KEEP_ALIVE)?;
                sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE)?;
            }
            match connect(&container, &target) {
                Ok(()) | Err(Errno::INPROGRESS) => Ok(container),
                Err(errno) => Err(errno),
            }
        };
        let Ok(container) = opened() else {
            return Side::new(client, 0).reset();
        };
        port.streams.insert(self.last_number + 1);
        let number = self.number();
        let mut stream = Stream {
            port: at,
            client: Side::new(client, Kind::Client.token(number)),
            container: Side::new(container, Kind::Container.token(number)),
            there: Way::default(),
            back: Way::default(),
            connected: false,
        };
        self.busy = true;
        let watched = stream.watch(&self.poll, None);
        self.streams.insert(number, stream);
        if watched.is_err() {
            self.end_stream(number, true);
        }
    }

    pub(super) fn stream_ready(&mut self, number: Number, side: Kind, ready: Ready) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        if ready.hangup {
            let side = if side == Kind::Client {
                &stream.client
            } else {
                &stream.container
            };
            // A client that does not wait for the connection has no use for it.
            if side.is_broken() || !stream.connected {
                return self.end_stream(number, true);
            }
        }
        stream.connected |= side == Kind::Container;
        if !stream.connected {
            return;
        }
        match stream.advance(side, ready, &mut self.pipes) {
            Ok(true) => return self.end_stream(number, false),
            Ok(false) => {}
            Err(_) => return self.end_stream(number, true),
        }
        let watched = stream.watch(&self.poll, ready.hangup.then_some(side));
        if watched.is_err() {
            self.end_stream(number, true);
        }
    }

    /// Ends a connection; `reset` where not everything was said.
    pub(super) fn end_stream(&mut self, number: Number, reset: bool) {
        let Some(mut stream) = self.streams.remove(&number) else {
            return;
        };
        if reset {
            stream.reset();
        }
        for side in [&mut stream.client, &mut stream.container] {
            // Closing does the same; a failure changes nothing.
            let _ = side.watch(&self.poll, None);
        }
        if let Some(port) = self.ports.get_mut(&stream.port) {
            port.streams.remove(&number);
        }
        if self.resting.contains(&stream.port) || self.streams.len() + 1 >= self.limits.connections
        {
            self.wake_ports();
        }
    }
}
