//! nf_tables: tables as values, changed in atomic batches over nfnetlink.
//!
//! Owns the encoding of tables, sets, base chains, chains and rules
//! ([nft(8)](https://www.netfilter.org/projects/nftables/manpage.html),
//! `linux/netfilter/nf_tables.h`). The expressions of a rule are in [`expression`], sets and maps in
//! [`set`], the rules of other programs in [`foreign`], news of changes in [`monitor`]. A [`Ruleset`]
//! is compared and printed as a value; a [`Batch`] takes effect all at once or not at all.

pub mod batch;
pub mod expression;
pub mod foreign;
pub mod monitor;
pub mod redirect;
pub mod set;

pub use batch::{Batch, Connection};
pub use expression::{Compare, ConntrackKey, Expression, Load, Match, MetaKey, Verdict};
pub use set::{Element, Field, Filling, Part, Set, Values};

use std::fmt;

use crate::Result;
use crate::netlink::{Answer, Attribute, Messages, Protocol, Socket};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// Any other, by its number (answers only).
    Other(u8),
}

impl Family {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
            Self::Other(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ip,
            10 => Self::Ip6,
            number => Self::Other(number),
        }
    }
}

/// Where in a packet's way a base chain sits; the numbers are those of the IP families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// On arrival, before routing.
    Prerouting = 0,
    /// To the host itself.
    Input = 1,
    /// Through the host.
    Forward = 2,
    /// From the host itself.
    Output = 3,
    /// On departure, after routing.
    Postrouting = 4,
}

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Accepting and dropping.
    Filter,
    /// Translating addresses; sees the first packet of a connection.
    Nat,
}

/// What happens to a packet that reaches the end of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It ends here.
    Drop,
}

/// The attachment of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Purpose.
    pub kind: Kind,
    /// Place.
    pub point: Point,
    /// Order among the chains at the same place; 0 is `filter`, 100 `srcnat`, -100 `dstnat`.
    pub priority: i32,
    /// Fate of the undecided.
    pub policy: Policy,
}

/// A rule: expressions from left to right, and a comment for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What is matched and done.
    pub expressions: Vec<Expression>,
    /// Shown by `nft list`; cut to 127 bytes.
    pub comment: String,
}

impl Rule {
    /// Makes a rule of matches and a final action.
    pub fn new(comment: &str, matches: &[Match], action: Expression) -> Self {
        let mut expressions: Vec<_> = matches.iter().flat_map(Match::expressions).collect();
        expressions.push(action);
        Self {
            expressions,
            comment: comment.to_owned(),
        }
    }
}

/// A chain and its rules; without a hook it is reached by jumps only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// Attachment, if it is a base chain.
    pub hook: Option<Hook>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// The family and name of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// Family.
    pub family: Family,
    /// Name.
    pub name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Inet => "inet",
            Family::Other(number) => return write!(f, "{number} {}", self.name),
        };
        write!(f, "{family} {}", self.name)
    }
}

impl Table {
    /// Names a table.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { family, name }
    }
}

/// A whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Family.
    pub family: Family,
    /// Name of the table.
    pub table: String,
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains.
    pub chains: Vec<Chain>,
}

/// A chain that exists, as far as an outsider needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingChain {
    /// Family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Number of its hook, if it is a base chain.
    pub hook: Option<u32>,
    /// Whether undecided packets are dropped.
    pub drops: bool,
}

/// The header of nfnetlink messages.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

impl Ruleset {
    /// The table's family and name.
    pub fn id(&self) -> Table {
        Table::new(self.family, self.table.clone())
    }

    /// The batch that makes the kernel's table equal to this one.
    ///
    /// Adding the table before deleting it lets one batch serve whether or not it exists.
    pub fn replacement(&self) -> Batch {
        let mut batch = Batch::new();
        batch.replace(self, false);
        batch
    }
}

/// Makes the kernel's table equal to the ruleset, in one step.
pub fn replace(ruleset: &Ruleset) -> Result<()> {
    Connection::open()?.commit(ruleset.replacement())
}

/// Removes a table with all it holds; it is no error when there is none.
pub fn delete_table(family: Family, table: &str) -> Result<()> {
    Connection::open()?.delete_table(&Table::new(family, table))
}

/// Tells whether a table exists.
pub fn has_table(family: Family, table: &str) -> Result<bool> {
    let table = Table::new(family, table);
    let answer = Socket::open(Protocol::Netfilter)?.get(batch::get_table(&table))?;
    Ok(answer.is_some())
}

/// Lists all tables of the network namespace.
pub fn tables() -> Result<Vec<(Family, String)>> {
    let answers = dump("NFT_MSG_GETTABLE", NFT_MSG_GETTABLE)?;
    let parse = |answer: &Answer| {
        let family = Family::of(*answer.body.first()?);
        let name = Attribute::all(answer.body.get(4..)?).find(|a| a.kind == NFTA_TABLE_NAME)?;
        Some((family, name.as_text()?))
    };
    Ok(answers.iter().filter_map(parse).collect())
}

/// Lists all chains of the network namespace.
pub fn chains() -> Result<Vec<ExistingChain>> {
    let answers = dump("NFT_MSG_GETCHAIN", NFT_MSG_GETCHAIN)?;
    Ok(answers.iter().filter_map(parse_chain).collect())
}

fn dump(label: &str, message: u16) -> Result<Vec<Answer>> {
    let mut request = Messages::new();
    request.push(label, (kind(message), 0), &header(0, 0), |_| {});
    Socket::open(Protocol::Netfilter)?.dump(&request)
}

fn parse_chain(answer: &Answer) -> Option<ExistingChain> {
    let region = answer.body.get(4..)?;
    let text = |kind| Attribute::all(region).find(|a| a.kind == kind)?.as_text();
    let number = |region, kind| {
        let value = Attribute::find(region, kind)?;
        Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
    };
    Some(ExistingChain {
        family: Family::of(*answer.body.first()?),
        table: text(NFTA_CHAIN_TABLE)?,
        name: text(NFTA_CHAIN_NAME)?,
        hook: Attribute::find(region, NFTA_CHAIN_HOOK)
            .and_then(|hook| number(hook, NFTA_HOOK_HOOKNUM)),
        drops: number(region, NFTA_CHAIN_POLICY) == Some(0),
    })
}

#[cfg(test)]
mod tests;
