//! From a question to an answer, from memory alone: pure.
//!
//! A name is looked for as Docker does it: as it is in every network of the sandbox, then as
//! `name.network`, where both may have dots: of `a.b.c`, `a.b` in network `c` comes before `a` in
//! network `b.c`. A link of the sandbox hides a member of the same name. Case does not matter.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::{Member, NetworkNames, SandboxNames};
use crate::wire::{Answer, Code, Question, class, failure, kind};

/// All networks.
#[derive(Debug, Default)]
pub struct World {
    networks: HashMap<String, Network>,
}

/// A network, indexed.
#[derive(Debug, Default)]
struct Network {
    name: String,
    members: BTreeMap<String, Member>,
    by_name: HashMap<String, BTreeSet<String>>,
    by_address: HashMap<IpAddr, BTreeSet<String>>,
}

/// What a name stands for; a name may exist and have no address of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// IPv4 addresses.
    pub ipv4: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
}

/// What to do with a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send this.
    Answer(Vec<u8>),
    /// Ask somebody else.
    Forward,
}

impl World {
    /// Puts a whole network in the place of what was known of it.
    pub fn set(&mut self, names: NetworkNames) {
        let mut network = Network {
            name: names.name,
            ..Network::default()
        };
        for (id, member) in names.members {
            network.put(id, member);
        }
        self.networks.insert(names.id, network);
    }

    /// Changes members of a network, which is made if it is new; `None` takes a member out.
    pub fn update(
        &mut self,
        id: &str,
        name: &str,
        members: impl IntoIterator<Item = (String, Option<Member>)>,
    ) {
        let network = self.networks.entry(id.to_owned()).or_default();
        name.clone_into(&mut network.name);
        for (id, member) in members {
            network.take(&id);
            if let Some(member) = member {
                network.put(id, member);
            }
        }
    }

    /// Forgets a network.
    pub fn remove(&mut self, id: &str) {
        self.networks.remove(id);
    }

    /// Forgets all networks but these.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.networks.retain(|id, _| keep(id));
    }

    /// What a name (in lower case, without its last dot) stands for in a sandbox.
    pub fn resolve(&self, sandbox: &SandboxNames, name: &str) -> Option<Found> {
        if name.is_empty() {
            return None;
        }
        let whole = std::iter::once((name, None));
        let parts = name.rmatch_indices('.');
        let parts = parts.map(|(dot, _)| (&name[..dot], Some(&name[dot + 1..])));
        whole
            .chain(parts)
            .find_map(|(name, network)| self.resolve_in(sandbox, name, network))
    }

    fn resolve_in(
        &self,
        sandbox: &SandboxNames,
        name: &str,
        network: Option<&str>,
    ) -> Option<Found> {
        let link = |links: &BTreeMap<String, String>| {
            let mut links = links.iter();
            let found = links.find(|(alias, _)| alias.eq_ignore_ascii_case(name));
            found.map(|(_, target)| target.to_lowercase())
        };
        let joined = || {
            sandbox.networks.iter().filter_map(|joined| {
                let known = self.networks.get(&joined.network)?;
                let meant = network.is_none_or(|wanted| known.name.eq_ignore_ascii_case(wanted));
                meant.then(|| (known, link(&joined.links)))
            })
        };
        let linked = || joined().filter_map(|(known, link)| known.find(&link?));
        let plain = || {
            joined()
                .filter(|(_, link)| link.is_none())
                .filter_map(|(known, _)| known.find(name))
        };
        linked().next().or_else(|| plain().next())
    }

    /// The name of an address in a sandbox's networks, with the network's name.
    pub fn reverse(&self, sandbox: &SandboxNames, address: IpAddr) -> Option<String> {
        sandbox.networks.iter().find_map(|joined| {
            let network = self.networks.get(&joined.network)?;
            let id = network.by_address.get(&address)?.first()?;
            let name = network.members.get(id)?.names.first()?;
            Some(format!("{name}.{}", network.name))
        })
    }

    /// Answers a question, or says that somebody else is to be asked.
    ///
    /// `limit` is how long the answer may be, `random` a number that decides the order of addresses.
    pub fn decide(
        &self,
        sandbox: &SandboxNames,
        query: &[u8],
        question: &Question,
        limit: usize,
        random: u64,
    ) -> Decision {
        let Some(name) = question.name.as_deref() else {
            return Decision::Forward;
        };
        if question.class != class::IN && question.class != class::ANY {
            return Decision::Forward;
        }
        let mut answer = Answer::new(query, question, limit);
        if question.kind == kind::PTR {
            let found = reversed(name).and_then(|address| self.reverse(sandbox, address));
            let Some(found) = found else {
                return Decision::Forward;
            };
            answer.name(&found);
            return Decision::Answer(answer.finish());
        }
        let of_addresses = matches!(question.kind, kind::A | kind::AAAA);
        let Some(mut found) = self.resolve(sandbox, name) else {
            // Such a name is to be tried again with a search domain.
            let alone = of_addresses && sandbox.ndots_set && !name.contains('.');
            return if alone {
                Decision::Answer(answer.finish())
            } else {
                Decision::Forward
            };
        };
        // COMPAT: Docker forwards other types (but MX) of its own names; nobody else knows them.
        if matches!(question.kind, kind::A | kind::ANY) {
            shuffle(&mut found.ipv4, random);
            found.ipv4.iter().for_each(|address| answer.ipv4(*address));
        }
        if matches!(question.kind, kind::AAAA | kind::ANY) {
            shuffle(&mut found.ipv6, random);
            found.ipv6.iter().for_each(|address| answer.ipv6(*address));
        }
        Decision::Answer(answer.finish())
    }
}

/// The answer when nobody could be asked.
pub fn unanswered(query: &[u8], question_end: usize) -> Vec<u8> {
    failure(query, question_end, Code::ServerFailure)
}

impl Network {
    fn put(&mut self, id: String, member: Member) {
        for name in &member.names {
            let ids = self.by_name.entry(name.to_lowercase()).or_default();
            ids.insert(id.clone());
        }
        for address in addresses(&member) {
            self.by_address
                .entry(address)
                .or_default()
                .insert(id.clone());
        }
        self.members.insert(id, member);
    }

    fn take(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        for name in &member.names {
            let name = name.to_lowercase();
            if let Some(ids) = self.by_name.get_mut(&name) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        for address in addresses(&member) {
            if let Some(ids) = self.by_address.get_mut(&address) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
    }

    fn find(&self, name: &str) -> Option<Found> {
        let ids = self.by_name.get(name)?;
        let mut found = Found::default();
        for member in ids.iter().filter_map(|id| self.members.get(id)) {
            found.ipv4.extend(member.ipv4);
            found.ipv6.extend(member.ipv6);
        }
        found.ipv4.sort_unstable();
        found.ipv4.dedup();
        found.ipv6.sort_unstable();
        found.ipv6.dedup();
        // Who has no address at all is not there.
        (!found.ipv4.is_empty() || !found.ipv6.is_empty()).then_some(found)
    }
}

fn addresses(member: &Member) -> impl Iterator<Item = IpAddr> {
    let ipv4 = member.ipv4.map(IpAddr::V4);
    ipv4.into_iter().chain(member.ipv6.map(IpAddr::V6))
}

/// Any order is as likely as another.
fn shuffle<T>(items: &mut [T], mut random: u64) {
    for last in (1..items.len()).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bound = u64::try_from(last).unwrap_or(u64::MAX - 1) + 1;
        let chosen = usize::try_from((random >> 33) % bound).unwrap_or(last);
        items.swap(last, chosen);
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(parts) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut parts = parts.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then(|| octets.into());
    }
    let parts = name.strip_suffix(".ip6.arpa")?;
    let mut octets = [0_u8; 16];
    let mut parts = parts.split('.');
    for octet in octets.iter_mut().rev() {
        for shift in [0, 4] {
            let digit = parts.next().filter(|digit| digit.len() == 1)?;
            *octet |= u8::from_str_radix(digit, 16).ok()? << shift;
        }
    }
    parts.next().is_none().then(|| octets.into())
}

#[cfg(test)]
mod tests;
