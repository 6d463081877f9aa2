//! The tables as values, without a kernel.

use std::fmt::Write as _;

use spec::id::{ContainerId, NetworkId};

use super::*;
use crate::Protocol;

fn pair() -> gate::Pair {
    gate::Pair {
        outer: "corten-out".to_owned(),
        inner: "corten-in".to_owned(),
        index: 7,
    }
}

fn frame(family: Family, mode: FirewallMode, gate: Option<&gate::Pair>) -> Frame<'_> {
    Frame {
        name: "corten",
        family,
        mode,
        gate,
    }
}

fn network(number: u8) -> NetworkRules {
    NetworkRules {
        id: NetworkId::from_bytes([number; 32]),
        bridge: format!("br{number}"),
        ipv4: Some(format!("172.{}.0.1/16", 17 + number).parse().unwrap()),
        ipv6: Some(format!("fd00:{number}::1/64").parse().unwrap()),
        masquerade: true,
        host_ipv4: None,
        host_ipv6: None,
        inter_container: true,
        internal: false,
        gateway_mode4: GatewayMode::Nat,
        gateway_mode6: GatewayMode::Nat,
        trusted: Vec::new(),
    }
}

fn mapping(host: &str, container: &str) -> Mapping {
    Mapping {
        network: NetworkId::from_bytes([0; 32]),
        protocol: Protocol::Tcp,
        host: host.parse().unwrap(),
        container: container.parse().unwrap(),
    }
}

fn print(ruleset: &Ruleset) -> String {
    let mut text = format!("table {:?} {}\n", ruleset.family, ruleset.table);
    for set in &ruleset.sets {
        let (key, values, filling) = (&set.key, &set.values, set.filling);
        writeln!(text, "set {}: {key:?} -> {values:?}, {filling:?}", set.name).unwrap();
        for element in &set.elements {
            writeln!(text, "  {element:?}").unwrap();
        }
    }
    for chain in &ruleset.chains {
        writeln!(text, "chain {}: {:?}", chain.name, chain.hook).unwrap();
        for rule in &chain.rules {
            writeln!(text, "  {}", rule.comment).unwrap();
            for expression in &rule.expressions {
                writeln!(text, "    {expression:?}").unwrap();
            }
        }
    }
    text
}

fn check(file: &str, ruleset: &Ruleset) {
    let path = format!("{}/testdata/firewall/{file}", env!("CARGO_MANIFEST_DIR"));
    let got = print(ruleset);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, got).unwrap();
    } else {
        assert_eq!(got, std::fs::read_to_string(path).unwrap());
    }
}

/// Two networks, a port everywhere, one at an address, one at loopback, and a link.
fn example(frame: &Frame<'_>) -> Ruleset {
    let mut second = network(1);
    second.inter_container = false;
    second.internal = true;
    let networks = [network(0), second];
    let mut placed = BTreeSet::new();
    for (host, container) in [
        ("0.0.0.0:8080", "172.17.0.2:80"),
        ("10.0.0.1:8081", "172.17.0.2:80"),
        ("127.0.0.1:8082", "172.17.0.2:80"),
        ("[::]:8080", "[fd00::2]:80"),
        ("[::1]:8082", "[fd00::2]:80"),
    ] {
        placed.extend(frame.mapping_elements(&mapping(host, container), &networks[0]));
    }
    let link = Link {
        from: (
            ContainerId::from_bytes([1; 32]),
            "172.18.0.2".parse().unwrap(),
        ),
        to: (
            ContainerId::from_bytes([2; 32]),
            "172.18.0.3".parse().unwrap(),
        ),
        protocol: Protocol::Tcp,
        port: 5432,
    };
    placed.extend(frame.link_elements(&link));
    frame.ruleset(networks.iter(), &placed)
}

#[test]
fn the_hosts_way() {
    let pair = pair();
    let mode = FirewallMode::Host;
    check(
        "host-ip.txt",
        &example(&frame(Family::Ip, mode, Some(&pair))),
    );
    check(
        "host-ip6.txt",
        &example(&frame(Family::Ip6, mode, Some(&pair))),
    );
}

#[test]
fn dockers_way_has_no_gate() {
    let ruleset = example(&frame(Family::Ip, FirewallMode::Docker, None));
    check("docker-ip.txt", &ruleset);
    for name in ["input", "knock"] {
        assert!(ruleset.chains.iter().all(|chain| chain.name != name));
    }
}

#[test]
fn what_a_change_adds_is_what_the_whole_table_has() {
    let pair = pair();
    for family in [Family::Ip, Family::Ip6] {
        let frame = frame(family, FirewallMode::Host, Some(&pair));
        let empty = frame.ruleset([].iter(), &BTreeSet::new());
        let one = frame.ruleset([network(0)].iter(), &BTreeSet::new());
        let added: Vec<_> = one.chains[empty.chains.len()..].to_vec();
        assert_eq!(added, frame.network_chains(&network(0)));
        let elements: usize = one.sets.iter().map(|set| set.elements.len()).sum();
        assert_eq!(elements, frame.network_elements(&network(0)).len());
    }
}

#[test]
fn every_chain_that_is_led_to_is_there_and_every_set() {
    let pair = pair();
    let ruleset = example(&frame(Family::Ip, FirewallMode::Host, Some(&pair)));
    let chain = |name: &str| ruleset.chains.iter().any(|chain| chain.name == name);
    let set = |name: &str| ruleset.sets.iter().any(|set| set.name == name);
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        for expression in &rule.expressions {
            match expression {
                Expression::Verdict(Verdict::Goto(name) | Verdict::Jump(name)) => {
                    assert!(chain(name), "{name}");
                }
                Expression::Member(name)
                | Expression::Translate(name)
                | Expression::Decide(name)
                | Expression::Update(name) => assert!(set(name), "{name}"),
                _ => {}
            }
        }
    }
}

#[test]
fn ports_of_the_other_family_and_of_internal_networks_are_nothing() {
    let pair = pair();
    let frame = frame(Family::Ip, FirewallMode::Host, Some(&pair));
    let six = mapping("[::]:80", "[fd00::2]:80");
    assert!(frame.mapping_elements(&six, &network(0)).is_empty());
    let four = mapping("0.0.0.0:80", "172.17.0.2:80");
    let mut internal = network(0);
    internal.internal = true;
    assert!(frame.mapping_elements(&four, &internal).is_empty());
    assert_eq!(frame.mapping_elements(&four, &network(0)).len(), 2);
    internal.internal = false;
    internal.gateway_mode4 = GatewayMode::Routed;
    let open: Vec<_> = frame
        .mapping_elements(&four, &internal)
        .into_iter()
        .collect();
    assert_eq!((open.len(), open[0].0), (1, OPEN));
}
