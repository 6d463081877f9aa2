//! What a relay was told, in memory: which ports whose containers have, and their sockets.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use helper::client::{Link, Memory, Result};
use helper::protocol::Request;

use crate::protocol::{Answer, Forward, MAX_PLACES, MAX_SOCKETS, Order, Place, Relay, Reply};

/// What is said, with sockets.
type Message<'a> = helper::Message<'a, Relay>;

/// A port and the socket that holds it.
type Port = (Forward, Arc<OwnedFd>);

/// All ports.
#[derive(Debug, Default)]
pub(super) struct Model {
    owners: BTreeMap<String, Vec<Port>>,
    /// The owner that was told last comes last.
    last: Option<String>,
    /// Sockets of an earlier daemon that nobody has asked for yet.
    found: BTreeMap<Place, OwnedFd>,
}

/// What becomes of a port.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) opened: Vec<Port>,
    pub(super) closed: Vec<Place>,
}

impl Change {
    pub(super) fn messages(&self) -> Vec<Message<'_>> {
        let closed = self.closed.chunks(MAX_PLACES);
        let close = closed.map(|some| (Request::Own(Order::Close(some.to_vec())), Vec::new()));
        close.chain(open(&self.opened)).collect()
    }
}

/// Has ports served.
fn open(ports: &[Port]) -> impl Iterator<Item = Message<'_>> {
    ports.chunks(MAX_SOCKETS).map(|some| {
        let forwards = some.iter().map(|(forward, _)| forward.clone()).collect();
        let sockets = some.iter().map(|(_, socket)| socket.as_fd()).collect();
        (Request::Own(Order::Open(forwards)), sockets)
    })
}

impl Model {
    /// Remembers the ports of an owner; tells what changes, and what there was before.
    pub(super) fn set(&mut self, owner: &str, ports: Vec<Port>) -> (Change, Vec<Port>) {
        let former = self.owners.remove(owner).unwrap_or_default();
        let has = |list: &[Port], (forward, socket): &Port| {
            let same = |(other, held): &Port| other == forward && Arc::ptr_eq(held, socket);
            list.iter().any(same)
        };
        let serves =
            |list: &[Port], place: Place| list.iter().any(|(forward, _)| forward.place == place);
        let opened = ports.iter().filter(|port| !has(&former, port));
        let places = former.iter().map(|(forward, _)| forward.place);
        let change = Change {
            opened: opened.cloned().collect(),
            closed: places.filter(|place| !serves(&ports, *place)).collect(),
        };
        if !ports.is_empty() {
            self.owners.insert(owner.to_owned(), ports);
        }
        self.last = Some(owner.to_owned());
        (change, former)
    }

    /// Gives the socket of a port that an earlier daemon had.
    pub(super) fn take(&mut self, place: Place) -> Option<OwnedFd> {
        self.found.remove(&place)
    }

    /// Closes those that nobody has asked for.
    pub(super) fn forget_found(&mut self) {
        self.found.clear();
    }
}

impl Memory for Model {
    type Helper = Relay;

    fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    fn everything(&self) -> impl Iterator<Item = (&str, Vec<Message<'_>>)> {
        let is_last = |owner: &String| Some(owner) == self.last.as_ref();
        let others = self.owners.iter().filter(move |(owner, _)| !is_last(owner));
        let last = self.owners.iter().filter(move |(owner, _)| is_last(owner));
        others
            .chain(last)
            .map(|(owner, ports)| (owner.as_str(), open(ports).collect()))
    }

    fn adopt(&mut self, link: &mut Link<Relay>) -> Result<()> {
        let mut found = BTreeMap::new();
        loop {
            let known = found.len();
            match link.call(&Request::Own(Order::Ports { known }), &[])? {
                (Reply::Own(Answer::Ports(places)), sockets) if places.len() == sockets.len() => {
                    found.extend(places.into_iter().zip(sockets));
                }
                (other, _) => return Err(Link::<Relay>::unexpected(&other)),
            }
            if found.len() == known {
                self.found = found;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    fn port(listen: u16, target: u16, socket: &Arc<OwnedFd>) -> Port {
        let forward = Forward {
            place: Place {
                protocol: Protocol::Tcp,
                listen: ([0; 8], listen).into(),
            },
            target: ([172, 17, 0, 2], target).into(),
            interface: String::new(),
        };
        (forward, Arc::clone(socket))
    }

    #[test]
    fn only_differences_are_told() {
        let socket = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let mut model = Model::default();
        let both = || vec![port(1, 80, &socket), port(2, 80, &socket)];
        let (change, former) = model.set("a", both());
        assert_eq!((change.opened.len(), change.closed.len()), (2, 0));
        assert!(former.is_empty());
        assert!(model.set("a", both()).0.messages().is_empty());
        let (change, former) = model.set("a", vec![port(2, 81, &socket)]);
        assert_eq!((change.opened.len(), former.len()), (1, 2));
        assert_eq!(change.closed, [port(1, 80, &socket).0.place]);
        model.set("b", vec![port(3, 80, &socket)]);
        model.set("a", both());
        let owners: Vec<_> = model.everything().map(|(owner, _)| owner).collect();
        assert_eq!(owners, ["b", "a"], "whoever was told last comes last");
        let (change, _) = model.set("a", Vec::new());
        assert_eq!((change.opened.len(), change.closed.len()), (0, 2));
        model.set("b", Vec::new());
        assert!(model.is_empty());
    }

    #[test]
    fn a_message_has_as_many_sockets_as_it_can_carry() {
        let socket = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let many = || (1..20).map(|listen| port(listen, 80, &socket)).collect();
        let mut model = Model::default();
        let (change, _) = model.set("a", many());
        let messages = change.messages();
        let sockets: Vec<_> = messages.iter().map(|(_, fds)| fds.len()).collect();
        assert_eq!(sockets, [MAX_SOCKETS, MAX_SOCKETS, 19 - 2 * MAX_SOCKETS]);
        let (change, _) = model.set("a", vec![port(1, 81, &socket)]);
        let messages = change.messages();
        assert!(matches!(&messages[0].0, Request::Own(Order::Close(places)) if places.len() == 18));
        assert!(matches!(&messages[1].0, Request::Own(Order::Open(ports)) if ports.len() == 1));
    }
}
