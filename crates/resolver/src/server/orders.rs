//! What daemons say: it is done at once.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use helper::server::{Number, Serve};
use spec::{ErrorKind, WireError};
use sys::poll::{Poll, Ready};

use super::Server;
use super::slots::{Key, Kind};
use crate::names::{Member, NetworkNames};
use crate::protocol::{Load, Order, Part, Reply, Resolver};

/// What a daemon has said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// A network of which not all was told yet.
    staged: Option<NetworkNames>,
    /// Networks that this daemon has named.
    networks: HashSet<String>,
}

impl Serve for Server {
    type Helper = Resolver;
    const TICK: Duration = Duration::from_millis(100);

    fn poll(&self) -> &Poll {
        &self.poll
    }

    fn load(&self) -> Load {
        Load {
            sandboxes: self.sandboxes.len(),
        }
    }

    fn obey(
        &mut self,
        from: Number,
        order: Order,
        mut fds: Vec<OwnedFd>,
    ) -> Result<helper::Answer<Resolver>, WireError> {
        self.busy = true;
        match order {
            Order::Network {
                id,
                name,
                members,
                part,
            } => self.learn(from, (id, name), members, part),
            Order::DropNetwork { id } => self.world.remove(&id),
            Order::Sandbox(names) => {
                let Some(netns) = fds.pop().filter(|_| fds.is_empty()) else {
                    return Err(WireError::new(
                        ErrorKind::InvalidArgument,
                        "a sandbox comes with exactly one descriptor",
                    ));
                };
                self.set_sandbox(names, netns, from)?;
            }
            Order::DropSandbox { id } => {
                if let Some(key) = self.ids.get(&id) {
                    self.drop_sandbox(*key);
                }
            }
        }
        Ok((Reply::Done, Vec::new()))
    }

    fn settle(&mut self, from: Number) {
        self.busy = true;
        for key in self.sandboxes.keys(|sandbox| sandbox.owner != from) {
            self.drop_sandbox(key);
        }
        let said = self.said.entry(from).or_default();
        self.world.retain(|id| said.networks.contains(id));
    }

    fn hung_up(&mut self, daemon: Number) {
        self.said.remove(&daemon);
    }

    fn ready(&mut self, ready: Ready) {
        let Some((kind, key)) = Key::of(ready.token) else {
            return;
        };
        match kind {
            Kind::Datagrams => self.datagrams(key),
            Kind::Streams => self.accept_stream(key),
            Kind::Stream => self.stream_ready(key, ready),
            Kind::Forward => self.forward_ready(key),
        }
    }

    fn follow_up(&mut self) {
        self.ask_relieved();
        self.resume_streams();
    }

    fn tick(&mut self, now: Instant) {
        self.expire_forwards(now);
        self.expire_streams(now);
        let waits = self.expire_sandboxes(now);
        let was_busy = self.busy;
        self.busy = waits || !self.forwards.is_empty() || !self.streams.is_empty();
        if was_busy && !self.busy {
            sys::signal::trim_heap();
        }
    }

    fn sweep(&mut self) {
        self.sweep_namespaces();
    }

    fn needs_ticks(&self) -> bool {
        self.busy
    }

    fn is_idle(&self) -> bool {
        self.sandboxes.is_empty()
    }
}

impl Server {
    fn learn(
        &mut self,
        from: Number,
        (id, name): (String, String),
        members: BTreeMap<String, Option<Member>>,
        part: Option<Part>,
    ) {
        let said = self.said.entry(from).or_default();
        said.networks.insert(id.clone());
        let Some(part) = part else {
            self.world.update(&id, &name, members);
            return;
        };
        let mut whole = match said.staged.take() {
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
            said.staged = Some(whole);
        }
    }
}
