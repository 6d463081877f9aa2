//! Forwarding where the host's own chains drop it: accepting rules beside the foreign ones.
//!
//! nf_tables asks every base chain of a hook, and one `drop` is enough: what our table accepts, a
//! `FORWARD` chain with policy `drop` (`ufw`, Docker, `iptables -P FORWARD DROP`) still throws away.
//! So a rule per bridge and direction goes to the end of such a chain, or before its last,
//! unconditional `drop` or `reject`: after every rule that decides something, and instead of the
//! default alone. The rules have the form that `iptables` writes and shows. Nothing is opened by
//! them that our own chain, which comes first, does not let pass. No foreign rule is changed.
//!
//! The legacy `iptables` is not part of nf_tables. Where somebody uses it and it drops by policy, its
//! own program (`iptables-legacy`) is executed to add the rules to the end of `FORWARD`.

use std::collections::{BTreeMap, BTreeSet};

use sys::nft::foreign::{ExistingRule, forward_chains, rules};
use sys::nft::{Batch, Connection, ExistingChain, Expression, Family, Match, Rule, Table, Verdict};

use crate::{Error, Result};

/// The programs of the legacy `iptables`.
const LEGACY: [(Family, &str); 2] = [
    (Family::Ip, "iptables-legacy"),
    (Family::Ip6, "ip6tables-legacy"),
];

/// Which chains could not be added to, and why.
#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: BTreeMap<String, String>,
    /// Whether rules of ours are, or may be, somewhere.
    used: bool,
}

/// A chain and what is to be done about it.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Handles of our rules that are to go.
    remove: Vec<u64>,
    /// Comments of those that are to come.
    add: Vec<String>,
    /// The rule to put them before; none means the end.
    before: Option<u64>,
}

impl Memory {
    /// Makes foreign chains let the bridges' packets pass; the same again changes nothing.
    pub(super) fn settle(&mut self, table: &str, bridges: &[&str]) -> Result<()> {
        self.refused.clear();
        let step = || Error::kernel("list the host's firewall rules");
        let own = |chain: &ExistingChain| chain.table == table;
        for chain in forward_chains().map_err(step())? {
            if own(&chain) {
                continue;
            }
            let id = Table::new(chain.family, chain.table.clone());
            let existing = rules(&id, &chain.name).map_err(step())?;
            let plan = plan(table, bridges, chain.drops, &existing);
            if plan.remove.is_empty() && plan.add.is_empty() {
                continue;
            }
            if let Err(error) = carry_out(&plan, &id, &chain.name) {
                let reason = spec::error::chain(&error);
                self.refused.insert(format!("{id} {}", chain.name), reason);
            }
        }
        self.used = true;
        self.settle_legacy(table, bridges)
    }

    /// Does the same in the legacy `iptables`, where somebody uses it.
    pub(super) fn settle_legacy(&mut self, table: &str, bridges: &[&str]) -> Result<()> {
        for (family, program) in LEGACY {
            let step = Error::kernel("read the rules of the legacy iptables");
            let filter = sys::iptables::filter_table(family).map_err(step)?;
            let Some(filter) = filter else { continue };
            let mut wanted = BTreeSet::new();
            if filter.forward_drops {
                wanted.extend(bridges.iter().flat_map(|bridge| comments(table, bridge)));
            }
            let mut change = |verb: &str, comment: &str| {
                if let Err(reason) = execute(program, verb, comment) {
                    self.refused.insert(format!("{program} FORWARD"), reason);
                }
            };
            for prefix in prefixes(table) {
                for comment in filter.comments(&prefix) {
                    // One that is wanted stays; a second of the same kind goes.
                    if !wanted.remove(&comment) {
                        change("-D", &comment);
                    }
                }
            }
            for comment in &wanted {
                change("-A", comment);
            }
            if !filter.forward_drops {
                self.refused.remove(&format!("{program} FORWARD"));
            }
        }
        Ok(())
    }

    /// Removes our rules from all chains.
    pub(super) fn remove_all(&mut self, table: &str) {
        if !self.used {
            return;
        }
        if let Err(error) = self.settle(table, &[]) {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "could not remove rules beside foreign ones");
        }
    }

    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.refused.iter().map(|(chain, reason)| {
            format!(
                "WARNING: firewall chain `{chain}` drops forwarded packets by default: {reason}"
            )
        })
    }
}

/// The comments of the rules for a bridge, by which they are known again.
fn comments(table: &str, bridge: &str) -> [String; 2] {
    [
        format!("{table}: from {bridge}"),
        format!("{table}: to {bridge}"),
    ]
}

/// Has the legacy program change the rule that a comment stands for; the error is for people.
fn execute(program: &str, verb: &str, comment: &str) -> std::result::Result<(), String> {
    let direction = if comment.contains(": from ") {
        "-i"
    } else {
        "-o"
    };
    let mut command = std::process::Command::new(program);
    // Another program may hold the tables for a moment.
    command.args(["-w", "5", verb, "FORWARD", direction, bridge_of(comment)]);
    command.args(["-m", "comment", "--comment", comment, "-j", "ACCEPT"]);
    let output = command
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().next().unwrap_or("it failed").to_owned())
}

/// What the comments of all our rules begin with.
fn prefixes(table: &str) -> [String; 2] {
    comments(table, "")
}

/// The bridge that a comment names.
fn bridge_of(comment: &str) -> &str {
    comment.rsplit(' ').next().unwrap_or_default()
}

/// Decides what is to be done about a chain.
fn plan(table: &str, bridges: &[&str], drops: bool, existing: &[ExistingRule]) -> Plan {
    let prefixes = prefixes(table);
    let comment = |rule: &&ExistingRule| rule.comment.clone().unwrap_or_default();
    let is_ours = |rule: &&ExistingRule| {
        let comment = comment(rule);
        prefixes.iter().any(|prefix| comment.starts_with(prefix))
    };
    let end = existing.iter().position(|rule| rule.ends_all);
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    if drops || end.is_some() {
        wanted.extend(bridges.iter().flat_map(|bridge| comments(table, bridge)));
    }
    let mut plan = Plan {
        remove: Vec::new(),
        add: Vec::new(),
        before: end.map(|index| existing[index].handle),
    };
    for (index, rule) in existing.iter().enumerate() {
        if !is_ours(&rule) {
            continue;
        }
        let reached = end.is_none_or(|end| index < end);
        // One that is wanted and reached stays; a second of the same kind goes.
        if !reached || !wanted.remove(&comment(&rule)) {
            plan.remove.push(rule.handle);
        }
    }
    plan.add.extend(wanted);
    plan
}

fn carry_out(plan: &Plan, table: &Table, chain: &str) -> Result<()> {
    let mut batch = Batch::new();
    for handle in &plan.remove {
        batch.delete_rule(table, chain, *handle);
    }
    for comment in &plan.add {
        let rule = rule(comment);
        match plan.before {
            Some(handle) => batch.insert_rule(table, chain, &rule, handle),
            None => batch.add_rule(table, chain, &rule),
        }
    }
    let step = || Error::kernel(format!("add to the firewall chain `{table} {chain}`"));
    let mut connection = Connection::open().map_err(step())?;
    connection.commit(batch).map_err(step())
}

/// The rule that a comment stands for.
fn rule(comment: &str) -> Rule {
    let bridge = bridge_of(comment).to_owned();
    let matched = if comment.contains(": from ") {
        Match::Input(bridge)
    } else {
        Match::Output(bridge)
    };
    let mut expressions = matched.expressions();
    expressions.push(Expression::Counter);
    expressions.push(Expression::Verdict(Verdict::Accept));
    Rule {
        expressions,
        comment: comment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(rules: &[(u64, &str, bool)]) -> Vec<ExistingRule> {
        let rule = |&(handle, comment, ends_all): &(u64, &str, bool)| ExistingRule {
            handle,
            comment: Some(comment.to_owned()),
            ends_all,
        };
        rules.iter().map(rule).collect()
    }

    fn both(bridge: &str) -> Vec<String> {
        comments("corten", bridge).to_vec()
    }

    #[test]
    fn a_chain_that_lets_pass_gets_nothing_and_loses_what_it_had() {
        let rules = existing(&[(4, "corten: to br0", false), (5, "theirs", false)]);
        let plan = plan("corten", &["br0"], false, &rules);
        assert_eq!((plan.remove, plan.add), (vec![4], vec![]));
    }

    #[test]
    fn rules_go_to_the_end_or_before_what_ends_all() {
        let rules = existing(&[(4, "theirs", false), (5, "theirs", true)]);
        let before = plan("corten", &["br0"], false, &rules);
        assert_eq!((before.add, before.before), (both("br0"), Some(5)));
        let end = plan("corten", &["br0"], true, &rules[..1]);
        assert_eq!((end.add, end.before), (both("br0"), None));
    }

    #[test]
    fn what_is_there_stays_unless_it_is_double_or_out_of_reach() {
        let rules = existing(&[
            (4, "corten: from br0", false),
            (5, "corten: from br0", false),
            (6, "corten-1: to br9", false),
            (7, "theirs", true),
            (8, "corten: to br0", false),
            (9, "corten: to gone", false),
        ]);
        let plan = plan("corten", &["br0"], true, &rules);
        assert_eq!(plan.remove, [5, 8, 9]);
        assert_eq!(plan.add, ["corten: to br0"]);
        assert_eq!(plan.before, Some(7));
    }
}
