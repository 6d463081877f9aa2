//! Daemons: what they say is done at once and answered.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use spec::{ErrorKind, WireError};
use sys::poll::Interest;

use super::Server;
use super::slots::{Key, Kind};
use crate::names::{Member, NetworkNames};
use crate::protocol::{self, About, Part, Reply, Request, VERSION};

/// A connected daemon.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
    /// A network of which not all was told yet.
    staged: Option<NetworkNames>,
    /// Networks that this daemon has named.
    networks: HashSet<String>,
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
        let key = self.controls.insert(|_| Control {
            socket,
            staged: None,
            networks: HashSet::new(),
        });
        let Some(control) = self.controls.get(key) else {
            return;
        };
        let socket = control.socket.as_fd();
        let watched = self
            .poll
            .add(socket, key.token(Kind::Control), Interest::READ);
        if let Err(error) = watched {
            (self.say)(&spec::error::chain(&error));
            self.controls.remove(key);
        }
    }

    /// Reads and answers one request.
    pub(super) fn hear(&mut self, key: Key) {
        let Some(control) = self.controls.get(key) else {
            return;
        };
        let (request, fds) = match protocol::receive::<Request>(control.socket.as_fd()) {
            Ok(Some(heard)) => heard,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let error = WireError::new(ErrorKind::InvalidArgument, error.to_string());
                return self.say_to(key, &Reply::Error(error));
            }
            Ok(None) | Err(_) => return self.hang_up(key),
        };
        self.busy = true;
        let reply = self.obey(key, request, fds).unwrap_or_else(Reply::Error);
        self.say_to(key, &reply);
    }

    fn say_to(&mut self, key: Key, reply: &Reply) {
        let Some(control) = self.controls.get(key) else {
            return;
        };
        // A daemon waits for each answer, so there is always room for one.
        if protocol::send(control.socket.as_fd(), reply, &[]).is_err() {
            self.hang_up(key);
        }
    }

    fn hang_up(&mut self, key: Key) {
        if let Some(control) = self.controls.remove(key) {
            let _ = self.poll.remove(control.socket.as_fd());
        }
        // Whoever was spoken to once need not be waited for again.
        let now = Instant::now();
        self.expected_until = now;
        self.swept = now;
    }

    fn obey(
        &mut self,
        from: Key,
        request: Request,
        mut fds: Vec<OwnedFd>,
    ) -> Result<Reply, WireError> {
        match request {
            Request::Hello { version: _ } => {
                return Ok(Reply::About(About {
                    version: VERSION,
                    build: self.build.clone(),
                    pid: rustix::process::getpid().as_raw_nonzero().get(),
                    sandboxes: self.sandboxes.len(),
                }));
            }
            Request::Network {
                id,
                name,
                members,
                part,
            } => self.learn(from, (id, name), members, part),
            Request::DropNetwork { id } => self.world.remove(&id),
            Request::Sandbox(names) => {
                let Some(netns) = fds.pop().filter(|_| fds.is_empty()) else {
                    return Err(WireError::new(
                        ErrorKind::InvalidArgument,
                        "a sandbox comes with exactly one descriptor",
                    ));
                };
                self.set_sandbox(names, netns, from)?;
            }
            Request::DropSandbox { id } => {
                if let Some(key) = self.ids.get(&id) {
                    self.drop_sandbox(*key);
                }
            }
            Request::Settle => self.settle(from),
            Request::Leave => self.leaving = true,
        }
        Ok(Reply::Done)
    }

    fn learn(
        &mut self,
        from: Key,
        (id, name): (String, String),
        members: BTreeMap<String, Option<Member>>,
        part: Option<Part>,
    ) {
        let Some(control) = self.controls.get_mut(from) else {
            return;
        };
        control.networks.insert(id.clone());
        let Some(part) = part else {
            self.world.update(&id, &name, members);
            return;
        };
        let mut whole = match control.staged.take() {
            Some(staged) if !part.first && staged.id == id => staged,
            _ => NetworkNames {
                id,
                name,
                members: BTreeMap::new(),
            },
        };
        let members = members.into_iter();
        whole
            .members
            .extend(members.filter_map(|(id, member)| Some((id, member?))));
        if part.last {
            self.world.set(whole);
        } else {
            control.staged = Some(whole);
        }
    }

    /// Forgets what only an earlier daemon has named.
    fn settle(&mut self, from: Key) {
        for key in self.sandboxes.keys(|sandbox| sandbox.owner != from) {
            self.drop_sandbox(key);
        }
        if let Some(control) = self.controls.get(from) {
            self.world.retain(|id| control.networks.contains(id));
        }
    }
}
