//! The one nf_tables table of a daemon, as a value.
//!
//! ```text
//! table ip corten {
//!   chain postrouting { type nat hook postrouting priority srcnat; policy accept;
//!     oifname != "corten0" ip saddr 172.17.0.0/16 masquerade
//!   }
//!   chain forward { type filter hook forward priority filter; policy accept;
//!     oifname "corten0" ct state established,related accept
//!     iifname "corten0" oifname "corten0" accept        (drop without --icc)
//!     iifname "corten0" accept
//!     oifname "corten0" drop
//!   }
//! }
//! ```
//!
//! The last rule keeps other hosts, and other bridges of this one, away from ports that were not
//! published. What this table accepts can still be dropped by another table: nf_tables asks every
//! base chain at the same place. A host whose own forward chain drops by default (an `iptables -P
//! FORWARD DROP`, `ufw`) must accept the bridge there; [`blockers`] finds such chains, so that the
//! daemon can say so. Foreign tables are never changed.

use sys::nft::{
    Chain, Expression, Family, Hook, Kind, Match, Point, Policy, Rule, Ruleset, Verdict,
};

use crate::{Error, Ipv4Net, Result};

const FAMILY: Family = Family::Ip;
/// Priority `srcnat` of nft.
const SOURCE_NAT: i32 = 100;
/// Priority `filter` of nft.
const FILTER: i32 = 0;

/// What the table has to know.
#[derive(Debug, Clone)]
pub(crate) struct Firewall {
    pub table: String,
    pub bridge: String,
    pub subnet: Ipv4Net,
    pub masquerade: bool,
    pub inter_container: bool,
}

impl Firewall {
    /// The table as it should be.
    pub(crate) fn ruleset(&self) -> Ruleset {
        Ruleset {
            family: FAMILY,
            table: self.table.clone(),
            sets: Vec::new(),
            chains: vec![self.postrouting(), self.forward()],
        }
    }

    fn postrouting(&self) -> Chain {
        let matches = [
            Match::NotOutput(self.bridge.clone()),
            Match::Source(self.subnet.first(), self.subnet.prefix()),
        ];
        let rule = Rule::new("containers leave", &matches, Expression::Masquerade);
        let hook = Hook {
            kind: Kind::Nat,
            point: Point::Postrouting,
            priority: SOURCE_NAT,
            policy: Policy::Accept,
        };
        Chain {
            name: "postrouting".to_owned(),
            hook: Some(hook),
            rules: self.masquerade.then_some(rule).into_iter().collect(),
        }
    }

    fn forward(&self) -> Chain {
        let to = || Match::Output(self.bridge.clone());
        let from = || Match::Input(self.bridge.clone());
        let accept = || Expression::Verdict(Verdict::Accept);
        let drop = || Expression::Verdict(Verdict::Drop);
        let between = if self.inter_container {
            accept()
        } else {
            drop()
        };
        let rules = vec![
            Rule::new("answers", &[to(), Match::Established], accept()),
            Rule::new("between containers", &[from(), to()], between),
            Rule::new("out", &[from()], accept()),
            Rule::new("not published", &[to()], drop()),
        ];
        let hook = Hook {
            kind: Kind::Filter,
            point: Point::Forward,
            priority: FILTER,
            policy: Policy::Accept,
        };
        Chain {
            name: "forward".to_owned(),
            hook: Some(hook),
            rules,
        }
    }

    /// Makes the kernel's table so, whatever it was before.
    pub(crate) fn apply(&self) -> Result<()> {
        sys::nft::replace(&self.ruleset()).map_err(Error::kernel("write the firewall table"))
    }

    /// Tells whether the table is there.
    pub(crate) fn exists(&self) -> Result<bool> {
        sys::nft::has_table(FAMILY, &self.table)
            .map_err(Error::kernel("look for the firewall table"))
    }

    /// Removes the table, if it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        sys::nft::delete_table(FAMILY, &self.table)
            .map_err(Error::kernel("remove the firewall table"))
    }
}

/// Names foreign chains (`table chain`) that drop forwarded packets unless told otherwise.
///
/// Chains made with the legacy `iptables` are not among nf_tables' and cannot be seen here.
pub(crate) fn blockers() -> Result<Vec<String>> {
    let chains = sys::nft::chains().map_err(Error::kernel("list the host's firewall chains"))?;
    let forward = Point::Forward as u32;
    Ok(chains
        .into_iter()
        .filter(|chain| matches!(chain.family, Family::Ip | Family::Inet))
        .filter(|chain| chain.hook == Some(forward) && chain.drops)
        .map(|chain| format!("{} {}", chain.table, chain.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firewall() -> Firewall {
        Firewall {
            table: "corten".to_owned(),
            bridge: "corten0".to_owned(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            masquerade: true,
            inter_container: true,
        }
    }

    #[test]
    fn answers_are_accepted_first_and_the_unpublished_dropped_last() {
        let ruleset = firewall().ruleset();
        let comments: Vec<_> = ruleset.chains[1]
            .rules
            .iter()
            .map(|rule| (rule.comment.as_str(), rule.expressions.last().unwrap()))
            .collect();
        let accept = Expression::Verdict(Verdict::Accept);
        let drop = Expression::Verdict(Verdict::Drop);
        assert_eq!(
            comments,
            [
                ("answers", &accept),
                ("between containers", &accept),
                ("out", &accept),
                ("not published", &drop),
            ]
        );
    }

    #[test]
    fn settings_change_single_rules() {
        let base = firewall().ruleset();
        let off = Firewall {
            masquerade: false,
            inter_container: false,
            ..firewall()
        };
        let ruleset = off.ruleset();
        assert!(ruleset.chains[0].rules.is_empty());
        let drop = Expression::Verdict(Verdict::Drop);
        assert_eq!(ruleset.chains[1].rules[1].expressions.last(), Some(&drop));
        assert_eq!(ruleset.chains[1].rules[2], base.chains[1].rules[2]);
    }
}
