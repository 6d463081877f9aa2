//! Who is found from where.

use super::*;
use crate::names::{Joined, Upstreams};
use crate::wire::HEADER;

fn member(names: &[&str], ipv4: &str, ipv6: Option<&str>) -> Member {
    Member {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ipv4: ipv4.parse().ok(),
        ipv6: ipv6.map(|text| text.parse().unwrap()),
    }
}

fn network(id: &str, name: &str, members: &[(&str, Member)]) -> NetworkNames {
    let members = members.iter().map(|(id, m)| ((*id).to_owned(), m.clone()));
    NetworkNames {
        id: id.to_owned(),
        name: name.to_owned(),
        members: members.collect(),
    }
}

fn world() -> World {
    let mut world = World::default();
    let web = member(&["web", "www", "0123456789ab"], "10.1.0.2", Some("fd00::2"));
    let two = member(&["two", "www"], "10.1.0.3", None);
    let dotted = member(&["my.app", "A-Case"], "10.1.0.4", None);
    world.set(network(
        "n1",
        "Front",
        &[("a", web), ("b", two), ("c", dotted)],
    ));
    let db = member(&["db", "web"], "10.2.0.2", None);
    world.set(network("n2", "back.end", &[("d", db)]));
    world
}

fn sandbox(networks: &[(&str, &[(&str, &str)])]) -> SandboxNames {
    let joined = |(id, links): &(&str, &[(&str, &str)])| Joined {
        network: (*id).to_owned(),
        links: links
            .iter()
            .map(|(alias, name)| ((*alias).to_owned(), (*name).to_owned()))
            .collect(),
    };
    SandboxNames {
        id: "s".to_owned(),
        networks: networks.iter().map(joined).collect(),
        upstreams: Upstreams::Host,
        ndots_set: false,
        forward: true,
    }
}

fn ipv4(world: &World, sandbox: &SandboxNames, name: &str) -> Option<Vec<String>> {
    let found = world.resolve(sandbox, name)?;
    Some(found.ipv4.iter().map(ToString::to_string).collect())
}

fn query(name: &str, kind: u16) -> (Vec<u8>, Question) {
    let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class::IN.to_be_bytes());
    let question = Question::read(&bytes).unwrap();
    (bytes, question)
}

#[test]
fn a_name_is_found_in_the_sandboxes_networks_only() {
    let (world, both) = (world(), sandbox(&[("n1", &[]), ("n2", &[])]));
    let found = |name: &str| ipv4(&world, &both, name);
    assert_eq!(found("two"), Some(vec!["10.1.0.3".to_owned()]));
    assert_eq!(found("www").unwrap().len(), 2, "an alias of two");
    assert_eq!(found("0123456789ab").unwrap(), ["10.1.0.2"]);
    assert_eq!(
        found("web").unwrap(),
        ["10.1.0.2"],
        "the first network wins"
    );
    assert_eq!(found("a-case").unwrap(), ["10.1.0.4"]);
    assert_eq!(found("nobody"), None);
    assert_eq!(found(""), None);
    let back = sandbox(&[("n2", &[])]);
    assert_eq!(ipv4(&world, &back, "two"), None);
    assert_eq!(ipv4(&world, &back, "web").unwrap(), ["10.2.0.2"]);
    assert_eq!(ipv4(&world, &sandbox(&[("unknown", &[])]), "web"), None);
}

#[test]
fn a_name_may_be_followed_by_its_network() {
    let (world, both) = (world(), sandbox(&[("n1", &[]), ("n2", &[])]));
    let found = |name: &str| ipv4(&world, &both, name);
    assert_eq!(found("web.front").unwrap(), ["10.1.0.2"]);
    assert_eq!(found("web.back.end").unwrap(), ["10.2.0.2"]);
    assert_eq!(found("my.app").unwrap(), ["10.1.0.4"]);
    assert_eq!(found("my.app.front").unwrap(), ["10.1.0.4"]);
    assert_eq!(found("web.end"), None);
    assert_eq!(found("web.example.org"), None);
    let back = sandbox(&[("n2", &[])]);
    assert_eq!(ipv4(&world, &back, "web.front"), None);
}

#[test]
fn links_are_the_sandboxes_own_and_hide_members() {
    let world = world();
    let linked = sandbox(&[("n1", &[("Store", "two"), ("web", "two")])]);
    let found = |name: &str| ipv4(&world, &linked, name);
    assert_eq!(found("store").unwrap(), ["10.1.0.3"]);
    assert_eq!(found("store.front").unwrap(), ["10.1.0.3"]);
    assert_eq!(found("web").unwrap(), ["10.1.0.3"]);
    let dangling = sandbox(&[("n1", &[("web", "gone")])]);
    assert_eq!(ipv4(&world, &dangling, "web"), None);
}

#[test]
fn members_come_and_go() {
    let mut world = world();
    let front = sandbox(&[("n1", &[])]);
    let moved = member(&["two"], "10.1.0.9", None);
    world.update(
        "n1",
        "Front",
        [("b".to_owned(), Some(moved)), ("c".to_owned(), None)],
    );
    assert_eq!(ipv4(&world, &front, "two").unwrap(), ["10.1.0.9"]);
    assert_eq!(ipv4(&world, &front, "www").unwrap(), ["10.1.0.2"]);
    assert_eq!(ipv4(&world, &front, "my.app"), None);
    let reverse = |world: &World, text: &str| world.reverse(&front, text.parse().unwrap());
    assert_eq!(reverse(&world, "10.1.0.3"), None);
    assert_eq!(reverse(&world, "10.1.0.9").unwrap(), "two.Front");
    world.retain(|id| id != "n1");
    assert_eq!(reverse(&world, "10.1.0.9"), None);
    world.remove("n2");
    assert!(world.networks.is_empty());
}

#[test]
fn a_known_name_without_an_address_of_the_kind_has_no_data() {
    let (world, front) = (world(), sandbox(&[("n1", &[])]));
    let answers = |name: &str, kind: u16| {
        let (bytes, question) = query(name, kind);
        match world.decide(&front, &bytes, &question, 512, 1) {
            Decision::Answer(message) => Some((message[3] & 15, message[7])),
            Decision::Forward => None,
        }
    };
    assert_eq!(answers("web", kind::A), Some((0, 1)));
    assert_eq!(answers("web", kind::AAAA), Some((0, 1)));
    assert_eq!(answers("two", kind::AAAA), Some((0, 0)));
    assert_eq!(answers("web", kind::ANY), Some((0, 2)));
    assert_eq!(answers("web", 15), Some((0, 0)), "MX");
    assert_eq!(answers("nobody", kind::A), None);
    assert_eq!(answers("example.org", 16), None);
    assert_eq!(answers("2.0.1.10.in-addr.arpa", kind::PTR), Some((0, 1)));
    assert_eq!(answers("2.0.2.10.in-addr.arpa", kind::PTR), None);
    assert_eq!(answers("web", kind::PTR), None);
}

#[test]
fn names_without_a_dot_stay_when_ndots_is_set() {
    let (world, mut front) = (world(), sandbox(&[("n1", &[])]));
    front.ndots_set = true;
    let decide = |name: &str, kind: u16| {
        let (bytes, question) = query(name, kind);
        world.decide(&front, &bytes, &question, 512, 1)
    };
    let Decision::Answer(message) = decide("nobody", kind::A) else {
        panic!("it was forwarded");
    };
    assert_eq!((message[3] & 15, message[7]), (0, 0));
    assert_eq!(decide("nobody.org", kind::A), Decision::Forward);
    assert_eq!(decide("nobody", 16), Decision::Forward);
}

#[test]
fn an_alias_of_many_is_answered_in_every_order() {
    let (world, front) = (world(), sandbox(&[("n1", &[])]));
    let (bytes, question) = query("www", kind::A);
    let first = |random: u64| match world.decide(&front, &bytes, &question, 512, random) {
        Decision::Answer(message) => message[question.end + HEADER..][..4].to_vec(),
        Decision::Forward => panic!("it was forwarded"),
    };
    let mut seen = BTreeSet::new();
    for random in 0..64 {
        seen.insert(first(random * 0x9e37_79b9));
    }
    assert_eq!(seen, BTreeSet::from([vec![10, 1, 0, 2], vec![10, 1, 0, 3]]));
}

#[test]
fn reverse_names_are_addresses() {
    let text = |name: &str| reversed(name).map(|address| address.to_string());
    assert_eq!(text("4.3.2.1.in-addr.arpa").unwrap(), "1.2.3.4");
    assert_eq!(text("3.2.1.in-addr.arpa"), None);
    assert_eq!(text("5.4.3.2.1.in-addr.arpa"), None);
    assert_eq!(text("x.3.2.1.in-addr.arpa"), None);
    let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.d.f.ip6.arpa";
    assert_eq!(text(six).unwrap(), "fda0::2");
    assert_eq!(text(&six[2..]), None);
    assert_eq!(text("example.org"), None);
}
