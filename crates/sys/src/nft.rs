//! nf_tables: a table as a value, applied in one atomic batch over nfnetlink.
//!
//! Owns the encoding of tables, base chains, chains and rules
//! ([nft(8)](https://www.netfilter.org/projects/nftables/manpage.html),
//! `linux/netfilter/nf_tables.h`). The expressions of a rule are in [`expression`]. A [`Ruleset`]
//! is compared and printed as a value; [`replace`] makes the kernel's table equal to it, all at
//! once or not at all, and touches no other table.

mod expression;

pub use expression::{Compare, ConntrackKey, Expression, Match, MetaKey, Verdict};

use rustix::io::Errno;

use crate::Result;
use crate::netlink::{Answer, Attribute, Messages, Protocol, Socket};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_NEWRULE: u16 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
/// Kind of a rule's user data that `nft` prints as its comment.
const UDATA_COMMENT: u8 = 0;
/// User data carries its length in one byte, the terminating zero included.
const COMMENT_BYTES: usize = 127;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    fn number(self) -> u8 {
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

/// A whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Family.
    pub family: Family,
    /// Name of the table.
    pub table: String,
    /// Chains; one that is jumped to comes before the jump.
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

const CREATE: u16 = crate::netlink::FLAG_CREATE;
const APPEND: u16 = crate::netlink::FLAG_APPEND;

fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

impl Ruleset {
    /// The batch that makes the kernel's table equal to this one.
    ///
    /// Adding the table before deleting it lets one batch serve whether or not it exists.
    pub fn replacement(&self) -> Messages {
        let mut batch = Messages::new();
        begin(&mut batch);
        self.table_message(&mut batch, NFT_MSG_NEWTABLE, CREATE);
        self.table_message(&mut batch, NFT_MSG_DELTABLE, 0);
        self.table_message(&mut batch, NFT_MSG_NEWTABLE, CREATE);
        for chain in &self.chains {
            self.chain_message(&mut batch, chain);
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                self.rule_message(&mut batch, &chain.name, rule);
            }
        }
        end(&mut batch);
        batch
    }

    fn table_message(&self, batch: &mut Messages, message: u16, flags: u16) {
        table_message(batch, (message, flags), self.family, &self.table);
    }

    fn chain_message(&self, batch: &mut Messages, chain: &Chain) {
        let label = format!("NFT_MSG_NEWCHAIN(`{}`, `{}`)", self.table, chain.name);
        let header = header(self.family.number(), 0);
        let kind = (kind(NFT_MSG_NEWCHAIN), CREATE);
        batch.push(label, kind, &header, |m| {
            m.text(NFTA_CHAIN_TABLE, &self.table);
            m.text(NFTA_CHAIN_NAME, &chain.name);
            let Some(hook) = chain.hook else { return };
            m.nest(NFTA_CHAIN_HOOK, |m| {
                m.be32(NFTA_HOOK_HOOKNUM, hook.point as u32);
                m.be32(NFTA_HOOK_PRIORITY, hook.priority.cast_unsigned());
            });
            m.be32(NFTA_CHAIN_POLICY, u32::from(hook.policy == Policy::Accept));
            let kind = match hook.kind {
                Kind::Filter => "filter",
                Kind::Nat => "nat",
            };
            m.text(NFTA_CHAIN_TYPE, kind);
        });
    }

    fn rule_message(&self, batch: &mut Messages, chain: &str, rule: &Rule) {
        let label = format!(
            "NFT_MSG_NEWRULE(`{}`, `{chain}`, `{}`)",
            self.table, rule.comment
        );
        let header = header(self.family.number(), 0);
        let kind = (kind(NFT_MSG_NEWRULE), CREATE | APPEND);
        batch.push(label, kind, &header, |m| {
            m.text(NFTA_RULE_TABLE, &self.table);
            m.text(NFTA_RULE_CHAIN, chain);
            m.nest(NFTA_RULE_EXPRESSIONS, |m| {
                for expression in &rule.expressions {
                    expression.encode(m);
                }
            });
            if let Some(data) = comment(&rule.comment) {
                m.put(NFTA_RULE_USERDATA, &data);
            }
        });
    }
}

/// Encodes a comment the way `nft` does, cut at a character's boundary.
fn comment(text: &str) -> Option<Vec<u8>> {
    let end = text.floor_char_boundary(COMMENT_BYTES - 1);
    let text = text.get(..end).filter(|text| !text.is_empty())?;
    let mut data = vec![UDATA_COMMENT, u8::try_from(text.len() + 1).ok()?];
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    Some(data)
}

fn begin(batch: &mut Messages) {
    let header = header(0, NFNL_SUBSYS_NFTABLES);
    batch.push(
        "nf_tables batch",
        (NFNL_MSG_BATCH_BEGIN, 0),
        &header,
        |_| {},
    );
}

fn end(batch: &mut Messages) {
    let header = header(0, NFNL_SUBSYS_NFTABLES);
    batch.push("nf_tables batch", (NFNL_MSG_BATCH_END, 0), &header, |_| {});
}

fn table_message(batch: &mut Messages, (message, flags): (u16, u16), family: Family, table: &str) {
    let verb = match message {
        NFT_MSG_NEWTABLE => "NEWTABLE",
        NFT_MSG_GETTABLE => "GETTABLE",
        _ => "DELTABLE",
    };
    let label = format!("NFT_MSG_{verb}(`{table}`)");
    let header = header(family.number(), 0);
    batch.push(label, (kind(message), flags), &header, |m| {
        m.text(NFTA_TABLE_NAME, table);
    });
}

/// Makes the kernel's table equal to the ruleset, in one step.
pub fn replace(ruleset: &Ruleset) -> Result<()> {
    Socket::open(Protocol::Netfilter)?.transact(ruleset.replacement())
}

/// Removes a table with all it holds; it is no error when there is none.
pub fn delete_table(family: Family, table: &str) -> Result<()> {
    let mut batch = Messages::new();
    begin(&mut batch);
    table_message(&mut batch, (NFT_MSG_DELTABLE, 0), family, table);
    end(&mut batch);
    match Socket::open(Protocol::Netfilter)?.transact(batch) {
        Err(e) if e.errno() == Errno::NOENT => Ok(()),
        other => other,
    }
}

/// Tells whether a table exists.
pub fn has_table(family: Family, table: &str) -> Result<bool> {
    let mut request = Messages::new();
    table_message(&mut request, (NFT_MSG_GETTABLE, 0), family, table);
    let answer = Socket::open(Protocol::Netfilter)?.get(request)?;
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
