//! Rules of other programs: read, so that ours can be put beside them; never changed.

use super::batch::read_comment;
use super::{
    Attribute, ExistingChain, Family, NFT_MSG_GETCHAIN, Table, dump, header, kind, parse_chain,
};
use crate::Result;
use crate::netlink::{Answer, Messages, Protocol, Socket};

const NFT_MSG_GETRULE: u16 = 7;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_TARGET_NAME: u16 = 1;
const NF_DROP: u32 = 0;

/// A rule that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingRule {
    /// Its handle.
    pub handle: u64,
    /// Its comment, if it has one.
    pub comment: Option<String>,
    /// It ends every packet that reaches it: `drop` or `reject` without a condition.
    pub ends_all: bool,
}

/// Lists the chains at the forward hook of one or of both IP families.
pub fn forward_chains() -> Result<Vec<ExistingChain>> {
    const FORWARD: u32 = 2;
    let answers = dump("NFT_MSG_GETCHAIN", NFT_MSG_GETCHAIN)?;
    let ip = |chain: &ExistingChain| {
        matches!(chain.family, Family::Ip | Family::Ip6 | Family::Inet)
            && chain.hook == Some(FORWARD)
    };
    Ok(answers.iter().filter_map(parse_chain).filter(ip).collect())
}

/// Lists the rules of a chain in order.
pub fn rules(table: &Table, chain: &str) -> Result<Vec<ExistingRule>> {
    let mut request = Messages::new();
    let label = format!("NFT_MSG_GETRULE(`{table}`, `{chain}`)");
    let header = header(table.family.number(), 0);
    request.push(label, (kind(NFT_MSG_GETRULE), 0), &header, |m| {
        m.text(NFTA_RULE_TABLE, &table.name);
        m.text(NFTA_RULE_CHAIN, chain);
    });
    let answers = Socket::open(Protocol::Netfilter)?.dump(&request)?;
    let of_chain = |answer: &&Answer| {
        let region = answer.body.get(4..).unwrap_or_default();
        let text = |kind| {
            let value = Attribute::all(region).find(|a| a.kind == kind)?;
            value.as_text()
        };
        text(NFTA_RULE_TABLE).as_ref() == Some(&table.name)
            && text(NFTA_RULE_CHAIN).as_deref() == Some(chain)
    };
    Ok(answers
        .iter()
        .filter(of_chain)
        .filter_map(parse_rule)
        .collect())
}

fn parse_rule(answer: &Answer) -> Option<ExistingRule> {
    let region = answer.body.get(4..)?;
    let handle = Attribute::find(region, NFTA_RULE_HANDLE)?;
    let expressions = Attribute::find(region, NFTA_RULE_EXPRESSIONS).unwrap_or_default();
    Some(ExistingRule {
        handle: u64::from_be_bytes(handle.try_into().ok()?),
        comment: Attribute::find(region, NFTA_RULE_USERDATA).and_then(read_comment),
        ends_all: ends_all(expressions),
    })
}

/// Tells whether a rule is a `drop` or a `reject` with nothing but a counter or a log before it.
fn ends_all(expressions: &[u8]) -> bool {
    for element in Attribute::all(expressions) {
        let data = Attribute::find(element.value, NFTA_EXPR_DATA).unwrap_or_default();
        let name = Attribute::all(element.value)
            .find(|a| a.kind == NFTA_EXPR_NAME)
            .and_then(|a| a.as_text());
        match name.as_deref() {
            Some("counter" | "log") => {}
            Some("reject") => return true,
            Some("immediate") => return drops(data),
            // The form that the `iptables` of nf_tables gives to `-j REJECT` and `-j DROP`.
            Some("target") => {
                let target = Attribute::all(data).find(|a| a.kind == NFTA_TARGET_NAME);
                let target = target.and_then(|a| a.as_text());
                return matches!(target.as_deref(), Some("REJECT" | "DROP"));
            }
            _ => return false,
        }
    }
    false
}

fn drops(data: &[u8]) -> bool {
    let code = Attribute::find(data, NFTA_IMMEDIATE_DATA)
        .and_then(|data| Attribute::find(data, NFTA_DATA_VERDICT))
        .and_then(|verdict| Attribute::find(verdict, NFTA_VERDICT_CODE))
        .and_then(|code| Some(u32::from_be_bytes(code.try_into().ok()?)));
    code == Some(NF_DROP)
}
