//! What a relay was told, in memory: which ports whose containers have, and their sockets.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::protocol::{Forward, Place};

/// A port and the socket that holds it.
type Port = (Forward, Arc<OwnedFd>);

/// All ports.
#[derive(Debug, Default)]
pub(super) struct Model {
    owners: BTreeMap<String, Vec<Port>>,
    /// The owner that was told last comes last.
    last: Option<String>,
}

/// What becomes of a port.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) opened: Vec<Port>,
    pub(super) closed: Vec<Place>,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.closed.is_empty()
    }
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

    /// Everybody's ports.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&str, &[Port])> {
        let last = self.last.as_deref();
        let is_last = move |owner: &str| last == Some(owner);
        let all = self.owners.iter();
        let others = all.clone().filter(move |(owner, _)| !is_last(owner));
        others
            .chain(all.filter(move |(owner, _)| is_last(owner)))
            .map(|(owner, ports)| (owner.as_str(), ports.as_slice()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
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
        assert!(model.set("a", both()).0.is_empty());
        let (change, former) = model.set("a", vec![port(2, 81, &socket)]);
        assert_eq!((change.opened.len(), former.len()), (1, 2));
        assert_eq!(change.closed, [port(1, 80, &socket).0.place]);
        model.set("b", vec![port(3, 80, &socket)]);
        model.set("a", both());
        let owners: Vec<_> = model.owners().map(|(owner, _)| owner).collect();
        assert_eq!(owners, ["b", "a"], "whoever was told last comes last");
        let (change, _) = model.set("a", Vec::new());
        assert_eq!((change.opened.len(), change.closed.len()), (0, 2));
        model.set("b", Vec::new());
        assert!(model.is_empty());
    }
}
