//! Everything the daemon has said, and what is new in what it says: pure.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use helper::client::Memory;
use helper::protocol::{MAX_MESSAGE, Request};

use crate::names::{Member, NetworkNames, SandboxNames};
use crate::protocol::{Order, Part, Resolver};

/// What is said, with a namespace or nothing.
type Message<'a> = helper::Message<'a, Resolver>;

/// Bytes of members in one message; names, identities and JSON around them have the rest.
const CHUNK: usize = MAX_MESSAGE / 2;
/// Bytes that a member has in JSON beside its names, at most.
const MEMBER: usize = 256;

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Model {
    networks: BTreeMap<String, NetworkNames>,
    sandboxes: BTreeMap<String, (SandboxNames, OwnedFd)>,
    /// The sandbox that was set last.
    last: Option<String>,
}

impl Model {
    /// Remembers a network and returns what is new.
    pub(super) fn set_network(&mut self, names: NetworkNames) -> Vec<Message<'static>> {
        let id = names.id.clone();
        let messages = match self.networks.get(&id) {
            None => whole(&names),
            Some(old) => difference(old, &names),
        };
        self.networks.insert(id, names);
        messages
    }

    /// Forgets a network; tells whether there was one.
    pub(super) fn drop_network(&mut self, id: &str) -> bool {
        self.networks.remove(id).is_some()
    }

    /// Remembers a sandbox and returns what was in its place.
    pub(super) fn set_sandbox(
        &mut self,
        names: SandboxNames,
        netns: OwnedFd,
    ) -> Option<(SandboxNames, OwnedFd)> {
        let id = names.id.clone();
        self.last = Some(id.clone());
        self.sandboxes.insert(id, (names, netns))
    }

    /// Undoes [`Self::set_sandbox`].
    pub(super) fn restore_sandbox(&mut self, id: &str, former: Option<(SandboxNames, OwnedFd)>) {
        match former {
            Some(former) => drop(self.sandboxes.insert(id.to_owned(), former)),
            None => drop(self.sandboxes.remove(id)),
        }
    }

    pub(super) fn drop_sandbox(&mut self, id: &str) {
        self.sandboxes.remove(id);
    }
}

impl Memory for Model {
    type Helper = Resolver;

    /// Names are needed where there is a sandbox.
    fn is_empty(&self) -> bool {
        self.sandboxes.is_empty()
    }

    fn everything(&self) -> impl Iterator<Item = (&str, Vec<Message<'_>>)> {
        let networks = self.networks.iter();
        let networks = networks.map(|(id, names)| (id.as_str(), whole(names)));
        let is_last = |id: &String| Some(id) == self.last.as_ref();
        let others = self.sandboxes.iter().filter(move |(id, _)| !is_last(id));
        let last = self.sandboxes.iter().filter(move |(id, _)| is_last(id));
        let sandboxes = others.chain(last).map(|(id, (names, netns))| {
            let order = Order::Sandbox(names.clone());
            let message = (Request::Own(order), vec![netns.as_fd()]);
            (id.as_str(), vec![message])
        });
        networks.chain(sandboxes)
    }
}

/// A network in as many messages as it takes.
fn whole(names: &NetworkNames) -> Vec<Message<'static>> {
    let members = names.members.iter();
    let members = members.map(|(id, member)| (id.clone(), Some(member.clone())));
    let chunks = chunks(members);
    let count = chunks.len();
    let message = |(index, members)| {
        let part = Part {
            first: index == 0,
            last: index + 1 == count,
        };
        message(names, members, Some(part))
    };
    chunks.into_iter().enumerate().map(message).collect()
}

/// What has changed from one to the other.
fn difference(old: &NetworkNames, new: &NetworkNames) -> Vec<Message<'static>> {
    let gone = old.members.keys();
    let gone = gone.filter(|id| !new.members.contains_key(*id));
    let changed = new.members.iter();
    let changed = changed.filter(|(id, member)| old.members.get(*id) != Some(member));
    let changes: Vec<_> = gone
        .map(|id| (id.clone(), None))
        .chain(changed.map(|(id, member)| (id.clone(), Some(member.clone()))))
        .collect();
    if changes.is_empty() && old.name == new.name {
        return Vec::new();
    }
    let chunks = chunks(changes).into_iter();
    chunks.map(|members| message(new, members, None)).collect()
}

fn message(
    names: &NetworkNames,
    members: BTreeMap<String, Option<Member>>,
    part: Option<Part>,
) -> Message<'static> {
    let order = Order::Network {
        id: names.id.clone(),
        name: names.name.clone(),
        members,
        part,
    };
    (Request::Own(order), Vec::new())
}

/// Members in portions of one message; at least one portion.
fn chunks(
    members: impl IntoIterator<Item = (String, Option<Member>)>,
) -> Vec<BTreeMap<String, Option<Member>>> {
    let mut chunks = vec![BTreeMap::new()];
    let mut bytes = 0;
    for (id, member) in members {
        let names = member.as_ref().map_or(&[][..], |member| &member.names[..]);
        let size = MEMBER + id.len() + names.iter().map(|name| name.len() + 3).sum::<usize>();
        if bytes > 0 && bytes + size > CHUNK {
            chunks.push(BTreeMap::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(chunk) = chunks.last_mut() {
            chunk.insert(id, member);
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Upstreams;

    fn member(name: &str) -> Member {
        Member {
            names: vec![name.to_owned()],
            ipv4: Some([10, 0, 0, 1].into()),
            ipv6: None,
        }
    }

    fn network(members: &[&str]) -> NetworkNames {
        NetworkNames {
            id: "n".to_owned(),
            name: "net".to_owned(),
            members: members
                .iter()
                .map(|name| ((*name).to_owned(), member(name)))
                .collect(),
        }
    }

    fn members<'a>(message: &'a Message<'_>) -> (Vec<(&'a str, bool)>, Option<Part>) {
        let (Request::Own(Order::Network { members, part, .. }), _) = message else {
            panic!("{message:?}");
        };
        let members = members.iter();
        let members = members.map(|(id, member)| (id.as_str(), member.is_some()));
        (members.collect(), *part)
    }

    #[test]
    fn only_what_is_new_is_said_again() {
        let mut model = Model::default();
        let first = model.set_network(network(&["a", "b"]));
        let part = Some(Part {
            first: true,
            last: true,
        });
        assert_eq!(members(&first[0]), (vec![("a", true), ("b", true)], part));
        assert!(model.set_network(network(&["a", "b"])).is_empty());
        let next = model.set_network(network(&["b", "c"]));
        assert_eq!(members(&next[0]), (vec![("a", false), ("c", true)], None));
        let mut renamed = network(&["b", "c"]);
        renamed.name = "other".to_owned();
        assert_eq!(model.set_network(renamed).len(), 1);
        assert_eq!(model.everything().count(), 1);
        assert!(model.drop_network("n") && !model.drop_network("n"));
    }

    #[test]
    fn networks_are_said_before_sandboxes_and_the_last_one_comes_last() {
        let sandbox = |id: &str| SandboxNames {
            id: id.to_owned(),
            networks: Vec::new(),
            upstreams: Upstreams::Host,
            ndots_set: false,
            forward: true,
        };
        let netns = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let mut model = Model::default();
        model.set_network(network(&["a"]));
        assert!(model.is_empty(), "nobody asks");
        for id in ["x", "y", "x"] {
            model.set_sandbox(sandbox(id), netns());
        }
        let all: Vec<_> = model.everything().collect();
        let said = all.iter().map(|(of, messages)| (*of, messages[0].1.len()));
        assert_eq!(said.collect::<Vec<_>>(), [("n", 0), ("y", 1), ("x", 1)]);
        model.restore_sandbox("x", None);
        model.drop_sandbox("y");
        assert!(model.is_empty());
    }

    #[test]
    fn a_large_network_is_said_in_parts_that_fit() {
        let names: Vec<_> = (0..2000).map(|n| format!("{n:064}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let messages = whole(&network(&names));
        assert!(messages.len() > 2);
        let parts: Vec<_> = messages.iter().map(|m| members(m).1.unwrap()).collect();
        assert!(parts[0].first && !parts[0].last && !parts[1].first);
        assert_eq!(parts.iter().filter(|part| part.last).count(), 1);
        assert!(parts.last().unwrap().last);
        let mut total = 0;
        for message in &messages {
            assert!(serde_json::to_vec(&message.0).unwrap().len() <= MAX_MESSAGE);
            total += members(message).0.len();
        }
        assert_eq!(total, 2000);
        assert_eq!(whole(&network(&[])).len(), 1);
    }
}
