//! A DNS message is a question or refused, whatever it is; answers to it fit and are answers to it.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use resolver::lookup::{Decision, World};
use resolver::names::{Joined, Member, NetworkNames, SandboxNames, Upstreams};
use resolver::wire::{Question, Refusal, header_only, matches, same_question};

fn world() -> World {
    let member = |names: &[&str], last: u8| Member {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ipv4: Some([10, 0, 0, last].into()),
        ipv6: Some([0xfd00, 0, 0, 0, 0, 0, 0, last.into()].into()),
    };
    let mut world = World::default();
    world.set(NetworkNames {
        id: "n".to_owned(),
        name: "net".to_owned(),
        members: BTreeMap::from([
            ("a".to_owned(), member(&["a", "all"], 1)),
            ("b".to_owned(), member(&["b", "all"], 2)),
        ]),
    });
    world
}

fuzz_target!(|bytes: &[u8]| {
    let question = match Question::read(bytes) {
        Ok(question) => question,
        Err(Refusal::Ignore) => return,
        Err(Refusal::Answer(code)) => {
            assert_eq!(header_only(bytes, code).len(), 12);
            return;
        }
    };
    assert!(same_question(bytes, question.end, bytes));
    let sandbox = SandboxNames {
        id: "s".to_owned(),
        networks: vec![Joined {
            network: "n".to_owned(),
            links: BTreeMap::from([("link".to_owned(), "a".to_owned())]),
        }],
        upstreams: Upstreams::Host,
        ndots_set: true,
        forward: true,
    };
    let limit = question.udp_size;
    if let Decision::Answer(answer) = world().decide(&sandbox, bytes, &question, limit, 1) {
        assert!(answer.len() <= limit);
        assert!(matches(bytes, question.end, &answer));
    }
});
