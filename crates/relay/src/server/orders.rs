//! What daemons say: it is done at once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use helper::server::{Number, Serve};
use spec::{ErrorKind, WireError};
use sys::poll::{Poll, Ready};

use super::{Kind, Server};
use crate::protocol::{Answer, Forward, Load, MAX_SOCKETS, Order, Relay, Reply};

impl Serve for Server {
    type Helper = Relay;
    const TICK: Duration = Duration::from_secs(1);

    fn poll(&self) -> &Poll {
        &self.poll
    }

    fn load(&self) -> Load {
        Load {
            ports: self.ports.len(),
            connections: self.streams.len(),
            flows: self.flows.len(),
        }
    }

    fn obey(
        &mut self,
        from: Number,
        order: Order,
        fds: Vec<OwnedFd>,
    ) -> Result<helper::Answer<Relay>, WireError> {
        self.busy = true;
        match order {
            Order::Open(forwards) => self.open_ports(from, forwards, fds)?,
            Order::Close(places) => {
                for place in places {
                    if let Some(number) = self.places.get(&place).copied() {
                        self.close_port(number);
                    }
                }
            }
            Order::Ports { known } => return self.hand_out(known),
            Order::Retire => {
                for number in self.ports_where(|_| true) {
                    self.forget_port(number);
                }
            }
        }
        Ok((Reply::Done, Vec::new()))
    }

    fn settle(&mut self, from: Number) {
        for number in self.ports_where(|port| port.owner != from) {
            self.close_port(number);
        }
    }

    fn ready(&mut self, ready: Ready) {
        match Kind::of(ready.token) {
            Some((Kind::Port, number)) => self.port_ready(number),
            Some((side @ (Kind::Client | Kind::Container), number)) => {
                self.stream_ready(number, side, ready);
            }
            Some((Kind::Flow, number)) => self.flow_ready(number),
            None => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        self.expire_flows(now);
        self.wake_ports();
        if self.busy && self.is_quiet() {
            self.busy = false;
            self.pipes.clear();
            self.buffer = Vec::new();
            self.streams.shrink_to_fit();
            self.flows.shrink_to_fit();
            sys::signal::trim_heap();
        }
    }

    fn sweep(&mut self) {
        self.sweep_ports();
    }

    fn needs_ticks(&self) -> bool {
        self.busy && self.is_quiet() || !self.flows.is_empty() || !self.resting.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.ports.is_empty() && self.streams.is_empty()
    }
}

impl Server {
    /// Hands out sockets, for a daemon that has just started or for the next relay.
    fn hand_out(&self, known: usize) -> Result<helper::Answer<Relay>, WireError> {
        let some = self.places.iter().skip(known).take(MAX_SOCKETS);
        let ports = some.filter_map(|(place, port)| {
            let socket = self.ports.get(port)?.socket.try_clone();
            Some(socket.map(|socket| (*place, socket)))
        });
        let ports: io::Result<Vec<_>> = ports.collect();
        let ports = ports.map_err(|e| WireError::new(ErrorKind::Internal, e.to_string()))?;
        let (places, sockets) = ports.into_iter().unzip();
        Ok((Reply::Own(Answer::Ports(places)), sockets))
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
