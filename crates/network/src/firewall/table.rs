//! The tables as values: what networks, published ports and links become.
//!
//! One table per family; `ip` in mode `host` reads (a network on bridge `br`, a port 8080):
//!
//! ```text
//! table ip corten {
//!   set bridges { br }                        map leave { 172.17.0.0/16 : goto leave-br }
//!   map to { br : goto to-br }                map from { internal : goto from-internal }
//!   map ports { tcp . 8080 : 172.17.0.2 . 80 }          map ports-at { (address first) }
//!   set gate { tcp . 8080 }                   set gate-at { (address first) }
//!   set passed { source . port . destination . port, for two seconds }
//!   set open { 172.17.0.2 . tcp . 80 }        set links { source . destination . tcp . 80 }
//!
//!   chain raw         prerouting, raw:      127.0.0.0/8 comes by lo only
//!   chain prerouting  prerouting, dstnat:   from a bridge to the host, or passed → publish
//!   chain output      output, dstnat:       to the host → publish
//!   chain publish                           dnat by ports-at, dnat by ports
//!   chain input       input, after all:     new, in gate or gate-at → knock
//!   chain knock                             remember in passed, send a copy around, drop
//!   chain forward     forward, filter - 1:  answers; from, to
//!   chain to-br                             between containers; published; drop
//!   chain postrouting postrouting, srcnat:  127.0.0.0/8 to a bridge; leave
//!   chain leave-br                          masquerade
//! }
//! ```
//!
//! The first packet to a published port takes the way to the host itself, past every chain that the
//! host has at `input`. If it comes out at their end, `knock` remembers its addresses and sends a copy
//! round a veth pair; the copy arrives as a new packet, is found in `passed` and translated. From
//! then on connection tracking translates, as with any DNAT: see docs/adr/0010-firewall-gate.md.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sys::nft::expression::{address_bytes, load_key};
use sys::nft::{
    Chain, Element, Expression, Family, Field, Filling, Hook, Kind, Load, Match, Part, Point,
    Policy, Rule, Ruleset, Set, Values, Verdict,
};

use super::gate;
use super::{GatewayMode, Link, Mapping, NetworkRules};
use crate::FirewallMode;

/// Priorities of nft, by their names there.
const RAW: i32 = -300;
const DESTINATION_NAT: i32 = -100;
const BEFORE_FILTER: i32 = -1;
const SOURCE_NAT: i32 = 100;
/// After everything that decides about packets to the host; the kernel itself comes at 2^31 - 1.
const LAST: i32 = 2_000_000_000;
/// A lost copy is made up for by the sender's second try, which for TCP comes after a second.
const PASSED_FOR: Duration = Duration::from_secs(2);
/// Bounds what a flood can take: 30 MB. Beyond it new connections wait.
const PASSED_AT_MOST: u32 = 262_144;
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
const LOOPBACK_PREFIX: u8 = 8;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Names of the sets; those of chains are where they are made.
const BRIDGES: &str = "bridges";
const TO: &str = "to";
const FROM: &str = "from";
const LEAVE: &str = "leave";
const PORTS: &str = "ports";
const PORTS_AT: &str = "ports-at";
const GATE: &str = "gate";
const GATE_AT: &str = "gate-at";
const PASSED: &str = "passed";
const OPEN: &str = "open";
const LINKS: &str = "links";

/// An element and the set it belongs in.
pub(super) type Placed = (&'static str, Element);

/// What a table is made of, apart from networks and ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Name of the table.
    pub name: &'a str,
    /// Family.
    pub family: Family,
    /// Docker's way or the host's.
    pub mode: FirewallMode,
    /// The veth pair of the gate, if it can be used.
    pub gate: Option<&'a gate::Pair>,
}

impl Frame<'_> {
    fn address(&self) -> Field {
        match self.family {
            Family::Ip6 => Field::Ipv6,
            _ => Field::Ipv4,
        }
    }

    /// Whether the table is for the address.
    fn covers(&self, address: IpAddr) -> bool {
        address.is_ipv6() == (self.family == Family::Ip6)
    }

    /// The subnet and the mode of a network in this family.
    fn network(&self, rules: &NetworkRules) -> Option<(IpAddr, u8, GatewayMode)> {
        match self.family {
            Family::Ip6 => {
                let net = rules.ipv6?;
                Some((net.first().into(), net.prefix(), rules.gateway_mode6))
            }
            _ => {
                let net = rules.ipv4?;
                Some((net.first().into(), net.prefix(), rules.gateway_mode4))
            }
        }
    }

    /// The whole table.
    pub(super) fn ruleset<'n>(
        &self,
        networks: impl Iterator<Item = &'n NetworkRules>,
        placed: &BTreeSet<Placed>,
    ) -> Ruleset {
        let mut sets = self.sets();
        let mut chains = self.chains();
        let mut all = placed.clone();
        for network in networks {
            chains.extend(self.network_chains(network));
            all.extend(self.network_elements(network));
        }
        for (name, element) in all {
            if let Some(set) = sets.iter_mut().find(|set| set.name == name) {
                set.elements.push(element);
            }
        }
        Ruleset {
            family: self.family,
            table: self.name.to_owned(),
            sets,
            chains,
        }
    }

    fn sets(&self) -> Vec<Set> {
        let address = self.address();
        let set = |name: &str, key: &[Field], values| Set {
            name: name.to_owned(),
            key: key.to_vec(),
            values,
            filling: Filling::Single,
            elements: Vec::new(),
        };
        let port = [Field::Protocol, Field::Port];
        let port_at = [address, Field::Protocol, Field::Port];
        let target = || Values::Data(vec![address, Field::Port]);
        let mut leave = set(LEAVE, &[address], Values::Verdicts);
        leave.filling = Filling::Ranges;
        let mut sets = vec![
            set(BRIDGES, &[Field::Interface], Values::None),
            set(TO, &[Field::Interface], Values::Verdicts),
            set(FROM, &[Field::Interface], Values::Verdicts),
            leave,
            set(PORTS, &port, target()),
            set(PORTS_AT, &port_at, target()),
            set(OPEN, &port_at, Values::None),
            set(
                LINKS,
                &[address, address, Field::Protocol, Field::Port],
                Values::None,
            ),
        ];
        if self.gate.is_some() {
            sets.push(set(GATE, &port, Values::None));
            sets.push(set(GATE_AT, &port_at, Values::None));
            let key = [address, Field::Protocol, Field::Port, address, Field::Port];
            let mut passed = set(PASSED, &key, Values::None);
            passed.filling = Filling::Packets(PASSED_FOR, PASSED_AT_MOST);
            sets.push(passed);
        }
        sets
    }

    /// The chains that are always there; those without a hook come before those that lead to them.
    fn chains(&self) -> Vec<Chain> {
        let mut chains = vec![self.publish()];
        if let Some(pair) = self.gate {
            chains.push(self.knock(pair));
            chains.push(self.input());
        }
        if self.family == Family::Ip {
            chains.push(raw());
        }
        chains.push(self.prerouting());
        chains.push(output(self.family));
        chains.push(forward());
        chains.push(self.postrouting());
        chains
    }

    fn publish(&self) -> Chain {
        let translate = |comment: &str, key: &[Load], map: &str, port_slot| {
            let mut expressions = load_key(key);
            expressions.push(Expression::Translate(map.to_owned()));
            expressions.push(Expression::DestinationNat(
                self.family,
                Some(0),
                Some(port_slot),
            ));
            Rule {
                expressions,
                comment: comment.to_owned(),
            }
        };
        let port_slot = self.address_slots();
        let destination = Load::destination(self.family);
        let rules = vec![
            translate(
                "published at one address",
                &[destination, Load::PROTOCOL, Load::DESTINATION_PORT],
                PORTS_AT,
                port_slot,
            ),
            translate(
                "published",
                &[Load::PROTOCOL, Load::DESTINATION_PORT],
                PORTS,
                port_slot,
            ),
        ];
        plain("publish", rules)
    }

    fn address_slots(&self) -> u8 {
        match self.family {
            Family::Ip6 => 4,
            _ => 1,
        }
    }

    fn passed_key(&self) -> Vec<Load> {
        vec![
            Load::source(self.family),
            Load::PROTOCOL,
            Load::SOURCE_PORT,
            Load::destination(self.family),
            Load::DESTINATION_PORT,
        ]
    }

    fn knock(&self, pair: &gate::Pair) -> Chain {
        let mut around = load_key(&self.passed_key());
        let next_hop = gate::next_hop(self.family);
        let device_slot = self.address_slots();
        around.extend([
            Expression::Update(PASSED.to_owned()),
            Expression::Constant(address_bytes(next_hop), 0),
            Expression::Constant(pair.index.to_ne_bytes().to_vec(), device_slot),
            Expression::Duplicate(0, device_slot),
            drop(),
        ]);
        let around = Rule {
            expressions: around,
            comment: "accepted by the host: once more, as a new packet".to_owned(),
        };
        let from_itself = Match::Input("lo".to_owned());
        let astray = Match::Input(pair.inner.clone());
        let rules = vec![
            Rule::new(
                "from the host itself",
                &[from_itself],
                verdict(Verdict::Return),
            ),
            Rule::new("never twice", &[astray], drop()),
            around,
            Rule::new("too many at once", &[], drop()),
        ];
        plain("knock", rules)
    }

    fn input(&self) -> Chain {
        let destination = Load::destination(self.family);
        let port = || vec![Load::PROTOCOL, Load::DESTINATION_PORT];
        let mut port_at = vec![destination];
        port_at.extend(port());
        let knock = || verdict(Verdict::Goto("knock".to_owned()));
        let gate_at = Match::In(port_at, GATE_AT.to_owned());
        let gate = Match::In(port(), GATE.to_owned());
        let rules = vec![
            Rule::new(
                "published at one address",
                &[Match::New, gate_at, Match::ToHost],
                knock(),
            ),
            Rule::new("published", &[Match::New, gate, Match::ToHost], knock()),
        ];
        base("input", (Kind::Filter, Point::Input, LAST), rules)
    }

    fn prerouting(&self) -> Chain {
        let publish = || verdict(Verdict::Goto("publish".to_owned()));
        let rules = if self.mode == FirewallMode::Docker {
            vec![Rule::new("to the host", &[Match::ToHost], publish())]
        } else {
            let from = Match::In(vec![Load::INPUT], BRIDGES.to_owned());
            let mut rules = vec![Rule::new(
                "from containers",
                &[from, Match::ToHost],
                publish(),
            )];
            if self.gate.is_some() {
                let passed = Match::In(self.passed_key(), PASSED.to_owned());
                rules.push(Rule::new("accepted by the host", &[passed], publish()));
            }
            rules
        };
        base(
            "prerouting",
            (Kind::Nat, Point::Prerouting, DESTINATION_NAT),
            rules,
        )
    }

    fn postrouting(&self) -> Chain {
        let mut rules = Vec::new();
        if self.family == Family::Ip {
            let from = Match::Source(LOOPBACK, LOOPBACK_PREFIX);
            let to = Match::In(vec![Load::OUTPUT], BRIDGES.to_owned());
            let action = Expression::Masquerade;
            rules.push(Rule::new("from the host's 127.0.0.1", &[from, to], action));
        }
        let mut leave = load_key(&[Load::source(self.family)]);
        leave.push(Expression::Decide(LEAVE.to_owned()));
        rules.push(Rule {
            expressions: leave,
            comment: "from containers".to_owned(),
        });
        base(
            "postrouting",
            (Kind::Nat, Point::Postrouting, SOURCE_NAT),
            rules,
        )
    }

    /// The chains of a network; none if it has no addresses of this family.
    pub(super) fn network_chains(&self, rules: &NetworkRules) -> Vec<Chain> {
        let Some((_, _, mode)) = self.network(rules) else {
            return Vec::new();
        };
        let bridge = || rules.bridge.clone();
        let closed = rules.internal || mode == GatewayMode::Isolated;
        let mut chains = vec![self.toward(rules, mode)];
        if closed {
            let out = Match::NotOutput(bridge());
            let stay = Rule::new("internal", &[out], drop());
            chains.push(plain(&format!("from-{}", rules.bridge), vec![stay]));
        } else if mode != GatewayMode::Routed {
            let hairpin = [Match::Output(bridge()), Match::Translated];
            let back = Rule::new(
                "to a published port nearby",
                &hairpin,
                Expression::Masquerade,
            );
            let mut leave = vec![back];
            if rules.masquerade {
                leave.push(self.source_nat(rules));
            }
            chains.push(plain(&format!("leave-{}", rules.bridge), leave));
        }
        chains
    }

    fn source_nat(&self, rules: &NetworkRules) -> Rule {
        let out = Match::NotOutput(rules.bridge.clone());
        let fixed: Option<IpAddr> = match self.family {
            Family::Ip6 => rules.host_ipv6.map(IpAddr::from),
            _ => rules.host_ipv4.map(IpAddr::from),
        };
        let Some(address) = fixed else {
            return Rule::new("containers leave", &[out], Expression::Masquerade);
        };
        let mut expressions = out.expressions();
        expressions.push(Expression::Constant(address_bytes(address), 0));
        expressions.push(Expression::SourceNat(self.family, Some(0), None));
        Rule {
            expressions,
            comment: "containers leave".to_owned(),
        }
    }

    fn toward(&self, rules: &NetworkRules, mode: GatewayMode) -> Chain {
        let within = || Match::Input(rules.bridge.clone());
        let destination = Load::destination(self.family);
        let port = [Load::PROTOCOL, Load::DESTINATION_PORT];
        let mut to = Vec::new();
        if rules.inter_container {
            to.push(Rule::new("between containers", &[within()], accept()));
        } else {
            let mut key = vec![Load::source(self.family), destination];
            key.extend(port);
            let linked = Match::In(key, LINKS.to_owned());
            to.push(Rule::new(
                "linked containers",
                &[within(), linked],
                accept(),
            ));
        }
        let open = || Match::In([&[destination], &port[..]].concat(), OPEN.to_owned());
        if !rules.internal && mode != GatewayMode::Isolated {
            to.push(Rule::new("published", &[Match::Translated], accept()));
            if mode == GatewayMode::Routed {
                let protocol = if self.family == Family::Ip6 {
                    ICMP6
                } else {
                    ICMP
                };
                to.push(Rule::new("ping", &[Match::Protocol(protocol)], accept()));
                to.push(Rule::new("published, by route", &[open()], accept()));
            }
            for interface in &rules.trusted {
                let by = Match::Input(interface.clone());
                to.push(Rule::new(
                    "published, from a trusted interface",
                    &[by, open()],
                    accept(),
                ));
            }
        }
        if mode == GatewayMode::NatUnprotected && !rules.internal {
            let by = Match::NotInput(rules.bridge.clone());
            to.push(Rule::new("unprotected", &[by], accept()));
        }
        to.push(Rule::new("not published", &[], drop()));
        plain(&format!("to-{}", rules.bridge), to)
    }

    /// What a network has in the sets.
    pub(super) fn network_elements(&self, rules: &NetworkRules) -> BTreeSet<Placed> {
        let Some((net, prefix, mode)) = self.network(rules) else {
            return BTreeSet::new();
        };
        let bridge = [Part::Interface(&rules.bridge)];
        let mut placed = BTreeSet::from([
            (BRIDGES, Element::key(&bridge)),
            (TO, Element::goto(&bridge, &format!("to-{}", rules.bridge))),
        ]);
        if rules.internal || mode == GatewayMode::Isolated {
            let chain = format!("from-{}", rules.bridge);
            placed.insert((FROM, Element::goto(&bridge, &chain)));
        } else if mode != GatewayMode::Routed {
            let chain = format!("leave-{}", rules.bridge);
            let bounds = Element::network_goto(net, prefix, &chain);
            placed.extend(bounds.map(|bound| (LEAVE, bound)));
        }
        placed
    }

    /// What a published port has in the sets.
    pub(super) fn mapping_elements(
        &self,
        mapping: &Mapping,
        rules: &NetworkRules,
    ) -> BTreeSet<Placed> {
        let mut placed = BTreeSet::new();
        if !self.covers(mapping.container.ip()) || !self.covers(mapping.host.ip()) {
            return placed;
        }
        let Some((_, _, mode)) = self.network(rules) else {
            return placed;
        };
        if rules.internal || mode == GatewayMode::Isolated {
            return placed;
        }
        let protocol = Part::Protocol(mapping.protocol.number());
        let target = [
            Part::Address(mapping.container.ip()),
            Part::Port(mapping.container.port()),
        ];
        if mode == GatewayMode::Routed || !rules.trusted.is_empty() {
            let key = [target[0], protocol, target[1]];
            placed.insert((OPEN, Element::key(&key)));
        }
        if mode == GatewayMode::Routed {
            return placed;
        }
        let port = Part::Port(mapping.host.port());
        let address = mapping.host.ip();
        let gated = self.gate.is_some();
        if address.is_unspecified() {
            placed.insert((PORTS, Element::data(&[protocol, port], &target)));
            if gated {
                placed.insert((GATE, Element::key(&[protocol, port])));
            }
        } else {
            let key = [Part::Address(address), protocol, port];
            placed.insert((PORTS_AT, Element::data(&key, &target)));
            if gated && !address.is_loopback() {
                placed.insert((GATE_AT, Element::key(&key)));
            }
        }
        placed
    }

    /// What a link has in the sets.
    pub(super) fn link_elements(&self, link: &Link) -> BTreeSet<Placed> {
        let (from, to) = (link.from.1, link.to.1);
        if !self.covers(from) || !self.covers(to) {
            return BTreeSet::new();
        }
        let key = [
            Part::Address(from),
            Part::Address(to),
            Part::Protocol(link.protocol.number()),
            Part::Port(link.port),
        ];
        BTreeSet::from([(LINKS, Element::key(&key))])
    }
}

fn raw() -> Chain {
    let to = Match::Destination(LOOPBACK, LOOPBACK_PREFIX);
    let from = Match::Source(LOOPBACK, LOOPBACK_PREFIX);
    let elsewhere = Match::NotInput("lo".to_owned());
    let container = Match::In(vec![Load::INPUT], BRIDGES.to_owned());
    let rules = vec![
        Rule::new("not for others", &[elsewhere, to], drop()),
        Rule::new("not from containers", &[container, from], drop()),
    ];
    base("raw", (Kind::Filter, Point::Prerouting, RAW), rules)
}

fn output(family: Family) -> Chain {
    let mut rules = Vec::new();
    if family == Family::Ip6 {
        // No packet leaves the host with `::1` in it, translated or not: the relay answers there.
        let loopback = Match::Destination6(Ipv6Addr::LOCALHOST);
        let stay = verdict(Verdict::Return);
        rules.push(Rule::new("to the relay", &[loopback], stay));
    }
    let publish = verdict(Verdict::Goto("publish".to_owned()));
    rules.push(Rule::new(
        "from the host to itself",
        &[Match::ToHost],
        publish,
    ));
    base("output", (Kind::Nat, Point::Output, DESTINATION_NAT), rules)
}

fn forward() -> Chain {
    let decide = |comment: &str, load, map: &str| {
        let mut expressions = load_key(&[load]);
        expressions.push(Expression::Decide(map.to_owned()));
        Rule {
            expressions,
            comment: comment.to_owned(),
        }
    };
    let rules = vec![
        Rule::new("answers", &[Match::Established], accept()),
        decide("from internal networks", Load::INPUT, FROM),
        decide("to containers", Load::OUTPUT, TO),
    ];
    let place = (Kind::Filter, Point::Forward, BEFORE_FILTER);
    base("forward", place, rules)
}

fn base(name: &str, (kind, point, priority): (Kind, Point, i32), rules: Vec<Rule>) -> Chain {
    let policy = Policy::Accept;
    Chain {
        name: name.to_owned(),
        hook: Some(Hook {
            kind,
            point,
            priority,
            policy,
        }),
        rules,
    }
}

fn plain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.to_owned(),
        hook: None,
        rules,
    }
}

fn verdict(verdict: Verdict) -> Expression {
    Expression::Verdict(verdict)
}

fn accept() -> Expression {
    verdict(Verdict::Accept)
}

fn drop() -> Expression {
    verdict(Verdict::Drop)
}

#[cfg(test)]
mod tests;
