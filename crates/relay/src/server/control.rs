//! Daemons: what they say is done at once and answered.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use spec::{ErrorKind, WireError};
use sys::poll::Interest;

use super::{Kind, Number, Server};
use crate::protocol::{self, About, Forward, MAX_SOCKETS, Reply, Request, VERSION};

/// A connected daemon.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
}

impl Server {
    pub(super) fn accept_daemon(&mut self) {
        match sys::fdpass::accept(self.listener.as_fd()) {
            Ok(Some(socket)) => self.greet(socket),
            Ok(None) => {}
            Err(error) => (self.say)(&format!("failed to accept a daemon: {error}")),
        }
    }

    fn greet(&mut self, socket: OwnedFd) {
        let own = rustix::process::geteuid().as_raw();
        // The socket's mode says so already; a descriptor may have been passed on.
        if sys::fdpass::peer_uid(socket.as_fd()).map_or(true, |uid| uid != own && uid != 0) {
            return;
        }
        let number = self.number();
        let token = Kind::Control.token(number);
        match self.poll.add(socket.as_fd(), token, Interest::READ) {
            Ok(()) => drop(self.controls.insert(number, Control { socket })),
            Err(error) => (self.say)(&spec::error::chain(&error)),
        }
    }

    /// Reads and answers one request.
    pub(super) fn hear(&mut self, number: Number) {
        let Some(control) = self.controls.get(&number) else {
            return;
        };
        let (request, fds) = match protocol::receive::<Request>(control.socket.as_fd()) {
            Ok(Some(heard)) => heard,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let error = WireError::new(ErrorKind::InvalidArgument, error.to_string());
                return self.say_to(number, &Reply::Error(error), &[]);
            }
            Ok(None) | Err(_) => return self.hang_up(number),
        };
        self.busy = true;
        if let Request::Ports { known } = request {
            return self.tell_ports(number, known);
        }
        let reply = self.obey(number, request, fds);
        self.say_to(number, &reply.unwrap_or_else(Reply::Error), &[]);
    }

    fn say_to(&mut self, number: Number, reply: &Reply, fds: &[BorrowedFd<'_>]) {
        let Some(control) = self.controls.get(&number) else {
            return;
        };
        // A daemon waits for each answer, so there is always room for one.
        if protocol::send(control.socket.as_fd(), reply, fds).is_err() {
            self.hang_up(number);
        }
    }

    fn hang_up(&mut self, number: Number) {
        if let Some(control) = self.controls.remove(&number) {
            let _ = self.poll.remove(control.socket.as_fd());
        }
        // Whoever was spoken to once need not be waited for again.
        let now = Instant::now();
        self.expected_until = now;
        self.swept = now;
    }

    /// Hands out sockets, for a daemon that has just started or for the next relay.
    fn tell_ports(&mut self, number: Number, known: usize) {
        let some = self.places.iter().skip(known).take(MAX_SOCKETS);
        let ports = some.filter_map(|(place, port)| {
            let socket = self.ports.get(port)?.socket.as_fd();
            Some((*place, socket.try_clone_to_owned()))
        });
        let (places, sockets): (Vec<_>, Vec<_>) = ports.unzip();
        match sockets.into_iter().collect::<io::Result<Vec<OwnedFd>>>() {
            Ok(sockets) => {
                let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                self.say_to(number, &Reply::Ports(places), &sockets);
            }
            Err(error) => {
                let error = WireError::new(ErrorKind::Internal, error.to_string());
                self.say_to(number, &Reply::Error(error), &[]);
            }
        }
    }

    fn obey(
        &mut self,
        from: Number,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Reply, WireError> {
        match request {
            Request::Hello { version: _ } => {
                return Ok(Reply::About(About {
                    version: VERSION,
                    build: self.build.clone(),
                    pid: rustix::process::getpid().as_raw_nonzero().get(),
                    ports: self.ports.len(),
                    connections: self.streams.len(),
                    flows: self.flows.len(),
                }));
            }
            // Answered with descriptors, by itself.
            Request::Ports { known: _ } => {}
            Request::Open(forwards) => self.open_ports(from, forwards, fds)?,
            Request::Close(places) => {
                for place in places {
                    if let Some(number) = self.places.get(&place).copied() {
                        self.close_port(number);
                    }
                }
            }
            Request::Settle => {
                let others: Vec<Number> = self.ports_where(|port| port.owner != from);
                for number in others {
                    self.close_port(number);
                }
            }
            Request::Retire => {
                for number in self.ports_where(|_| true) {
                    self.forget_port(number);
                }
            }
            Request::Leave => self.leaving = true,
        }
        Ok(Reply::Done)
    }

    fn ports_where(&self, fits: impl Fn(&super::Port) -> bool) -> Vec<Number> {
        let ports = self.ports.iter().filter(|(_, port)| fits(port));
        ports.map(|(number, _)| *number).collect()
    }

    /// Opens all or none.
    fn open_ports(
        &mut self,
        from: Number,
        forwards: Vec<Forward>,
        fds: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        if forwards.len() != fds.len() {
            return Err(WireError::new(
                ErrorKind::InvalidArgument,
                "every port comes with exactly one descriptor",
            ));
        }
        let places: Vec<_> = forwards.iter().map(|forward| forward.place).collect();
        for (at, (forward, socket)) in forwards.into_iter().zip(fds).enumerate() {
            if let Err(error) = self.open_port(forward, socket, from) {
                for place in &places[..at] {
                    if let Some(number) = self.places.get(place).copied() {
                        self.close_port(number);
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
