//! Changes that take effect together: all of them, or none.
//!
//! A table can belong to the connection that made it (`flags owner, persist`, Linux 6.9): then no
//! other program changes it, `nft flush ruleset` passes over it, and it stays when the connection
//! ends, free to be changed and to be taken over by the next one.

use rustix::io::Errno;

use super::expression::Expression;
use super::set::Element;
use super::{
    Chain, Kind, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE, NFTA_HOOK_HOOKNUM, NFTA_TABLE_NAME,
    Policy, Rule, Ruleset, Set, Table, header, kind,
};
use crate::Result;
use crate::netlink::{self, Messages, Protocol, Socket};

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_DELRULE: u16 = 8;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: u32 = 0x2;
const NFT_TABLE_F_PERSIST: u32 = 0x4;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_POSITION: u16 = 6;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
/// Kind of a rule's user data that `nft` prints as its comment.
const UDATA_COMMENT: u8 = 0;
/// User data carries its length in one byte, the terminating zero included.
const COMMENT_BYTES: usize = 127;
/// A list of elements is one attribute, whose length has 16 bits.
const LIST_BYTES: usize = 48 * 1024;
const CREATE: u16 = netlink::FLAG_CREATE;
const APPEND: u16 = netlink::FLAG_APPEND;

/// A connection to nf_tables; owns the tables that it made as its own.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
}

/// Changes in order.
#[derive(Debug, Clone)]
pub struct Batch {
    messages: Messages,
    sets: u32,
}

impl Connection {
    /// Connects to nf_tables of the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        let socket = Socket::open(Protocol::Netfilter)?;
        Ok(Self { socket })
    }

    /// The connection's number, which tells its changes from those of others.
    pub fn port(&self) -> Result<u32> {
        self.socket.port()
    }

    /// Makes the changes: all or none.
    pub fn commit(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let messages = batch.finish();
        self.socket.make_room(messages.bytes().len())?;
        self.socket.transact(messages)
    }

    /// Tells whether tables can belong to the connection.
    pub fn can_own(&mut self, probe: &Table) -> bool {
        let mut batch = Batch::new();
        batch.add_table(probe, true);
        batch.delete_table(probe);
        self.commit(batch).is_ok()
    }

    /// Tells whether packets of a family can be duplicated (`nft_dup_ipv4`, `nft_dup_ipv6`).
    pub fn can_duplicate(&mut self, probe: &Table) -> bool {
        let chain = Chain {
            name: "probe".to_owned(),
            hook: None,
            rules: Vec::new(),
        };
        let rule = Rule {
            expressions: vec![
                Expression::Constant(vec![0; 16], 0),
                Expression::Constant(vec![0; 4], 4),
                Expression::Duplicate(0, 4),
            ],
            comment: String::new(),
        };
        let mut batch = Batch::new();
        batch.add_table(probe, false);
        batch.add_chain(probe, &chain);
        batch.add_rule(probe, &chain.name, &rule);
        batch.delete_table(probe);
        self.commit(batch).is_ok()
    }

    /// Removes a table with all it holds; it is no error when there is none.
    pub fn delete_table(&mut self, table: &Table) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete_table(table);
        match self.commit(batch) {
            Err(e) if e.errno() == Errno::NOENT => Ok(()),
            other => other,
        }
    }
}

/// The question for a table.
pub(super) fn get_table(table: &Table) -> Messages {
    let mut request = Messages::new();
    table_message(&mut request, ("GETTABLE", NFT_MSG_GETTABLE, 0), table, None);
    request
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Makes an empty batch.
    pub fn new() -> Self {
        let mut messages = Messages::new();
        let header = header(0, NFNL_SUBSYS_NFTABLES);
        let kind = (NFNL_MSG_BATCH_BEGIN, 0);
        messages.push("nf_tables batch", kind, &header, |_| {});
        Self { messages, sets: 0 }
    }

    /// Tells whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.messages.len() <= 1
    }

    pub(super) fn finish(mut self) -> Messages {
        let header = header(0, NFNL_SUBSYS_NFTABLES);
        let kind = (NFNL_MSG_BATCH_END, 0);
        self.messages.push("nf_tables batch", kind, &header, |_| {});
        self.messages
    }

    /// Makes the kernel's table equal to the ruleset, whatever it was; as our own if `owned`.
    pub fn replace(&mut self, ruleset: &Ruleset, owned: bool) {
        let table = ruleset.id();
        self.add_table(&table, false);
        self.delete_table(&table);
        self.add_table(&table, owned);
        for set in &ruleset.sets {
            self.add_set(&table, set);
        }
        for chain in &ruleset.chains {
            self.add_chain(&table, chain);
        }
        for chain in &ruleset.chains {
            for rule in &chain.rules {
                self.add_rule(&table, &chain.name, rule);
            }
        }
        // Verdicts in elements name chains, which must exist by then.
        for set in &ruleset.sets {
            self.add_elements(&table, &set.name, &set.elements);
        }
    }

    /// Adds a table, or finds it there; as our own if `owned`.
    pub fn add_table(&mut self, table: &Table, owned: bool) {
        let flags = owned.then_some(NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST);
        let kind = ("NEWTABLE", NFT_MSG_NEWTABLE, CREATE);
        table_message(&mut self.messages, kind, table, flags);
    }

    /// Removes a table with all it holds.
    pub fn delete_table(&mut self, table: &Table) {
        let kind = ("DELTABLE", NFT_MSG_DELTABLE, 0);
        table_message(&mut self.messages, kind, table, None);
    }

    /// Adds a set, without its elements.
    pub fn add_set(&mut self, table: &Table, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        let label = format!("NFT_MSG_NEWSET(`{}`, `{}`)", table, set.name);
        self.push(label, (NFT_MSG_NEWSET, CREATE), table, |m| {
            m.text(NFTA_SET_TABLE, &table.name);
            m.text(NFTA_SET_NAME, &set.name);
            m.be32(NFTA_SET_ID, id);
            set.encode(m);
        });
    }

    /// Adds elements to a set; those that are there already stay.
    pub fn add_elements(&mut self, table: &Table, set: &str, elements: &[Element]) {
        let kind = ("NEWSETELEM", NFT_MSG_NEWSETELEM, CREATE);
        self.elements(kind, table, set, elements);
    }

    /// Removes elements from a set; each must be there.
    pub fn delete_elements(&mut self, table: &Table, set: &str, elements: &[Element]) {
        let kind = ("DELSETELEM", NFT_MSG_DELSETELEM, 0);
        self.elements(kind, table, set, elements);
    }

    fn elements(
        &mut self,
        (verb, message, flags): (&str, u16, u16),
        table: &Table,
        set: &str,
        elements: &[Element],
    ) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |element: &&Element| {
                bytes += element.message_bytes();
                bytes <= LIST_BYTES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            let label = format!("NFT_MSG_{verb}(`{table}`, `{set}`)");
            self.push(label, (message, flags), table, |m| {
                m.text(NFTA_SET_ELEM_LIST_TABLE, &table.name);
                m.text(NFTA_SET_ELEM_LIST_SET, set);
                m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                    for element in now {
                        element.encode(m);
                    }
                });
            });
            rest = later;
        }
    }

    /// Adds a chain, without its rules.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) {
        let label = format!("NFT_MSG_NEWCHAIN(`{}`, `{}`)", table, chain.name);
        self.push(label, (NFT_MSG_NEWCHAIN, CREATE), table, |m| {
            m.text(NFTA_CHAIN_TABLE, &table.name);
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

    /// Removes the rules of a chain.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) {
        let label = format!("NFT_MSG_DELRULE(`{table}`, `{chain}`)");
        self.push(label, (NFT_MSG_DELRULE, 0), table, |m| {
            m.text(NFTA_RULE_TABLE, &table.name);
            m.text(NFTA_RULE_CHAIN, chain);
        });
    }

    /// Removes a chain that has no rules and that nothing leads to.
    pub fn delete_chain(&mut self, table: &Table, chain: &str) {
        let label = format!("NFT_MSG_DELCHAIN(`{table}`, `{chain}`)");
        self.push(label, (NFT_MSG_DELCHAIN, 0), table, |m| {
            m.text(NFTA_CHAIN_TABLE, &table.name);
            m.text(NFTA_CHAIN_NAME, chain);
        });
    }

    /// Adds a rule to the end of a chain.
    pub fn add_rule(&mut self, table: &Table, chain: &str, rule: &Rule) {
        self.rule(CREATE | APPEND, (table, chain), rule, None);
    }

    /// Adds a rule before the one with this handle.
    pub fn insert_rule(&mut self, table: &Table, chain: &str, rule: &Rule, before: u64) {
        self.rule(CREATE, (table, chain), rule, Some(before));
    }

    /// Removes the rule with this handle.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) {
        let label = format!("NFT_MSG_DELRULE(`{table}`, `{chain}`, {handle})");
        self.push(label, (NFT_MSG_DELRULE, 0), table, |m| {
            m.text(NFTA_RULE_TABLE, &table.name);
            m.text(NFTA_RULE_CHAIN, chain);
            m.put(NFTA_RULE_HANDLE, &handle.to_be_bytes());
        });
    }

    fn rule(
        &mut self,
        flags: u16,
        (table, chain): (&Table, &str),
        rule: &Rule,
        before: Option<u64>,
    ) {
        let label = format!("NFT_MSG_NEWRULE(`{table}`, `{chain}`, `{}`)", rule.comment);
        self.push(label, (NFT_MSG_NEWRULE, flags), table, |m| {
            m.text(NFTA_RULE_TABLE, &table.name);
            m.text(NFTA_RULE_CHAIN, chain);
            if let Some(handle) = before {
                m.put(NFTA_RULE_POSITION, &handle.to_be_bytes());
            }
            m.nest(NFTA_RULE_EXPRESSIONS, |m| {
                for expression in &rule.expressions {
                    Expression::encode(expression, m);
                }
            });
            if let Some(data) = comment(&rule.comment) {
                m.put(NFTA_RULE_USERDATA, &data);
            }
        });
    }

    fn push(
        &mut self,
        label: String,
        (message, flags): (u16, u16),
        table: &Table,
        fill: impl FnOnce(&mut netlink::Attributes<'_>),
    ) {
        let header = header(table.family.number(), 0);
        self.messages
            .push(label, (kind(message), flags), &header, fill);
    }
}

fn table_message(
    messages: &mut Messages,
    (verb, message, flags): (&str, u16, u16),
    table: &Table,
    table_flags: Option<u32>,
) {
    let label = format!("NFT_MSG_{verb}(`{table}`)");
    let header = header(table.family.number(), 0);
    messages.push(label, (kind(message), flags), &header, |m| {
        m.text(NFTA_TABLE_NAME, &table.name);
        if let Some(flags) = table_flags {
            m.be32(NFTA_TABLE_FLAGS, flags);
        }
    });
}

/// Encodes a comment the way `nft` does, cut at a character's boundary.
pub(super) fn comment(text: &str) -> Option<Vec<u8>> {
    let end = text.floor_char_boundary(COMMENT_BYTES - 1);
    let text = text.get(..end).filter(|text| !text.is_empty())?;
    let mut data = vec![UDATA_COMMENT, u8::try_from(text.len() + 1).ok()?];
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    Some(data)
}

/// Reads a comment back.
pub(super) fn read_comment(data: &[u8]) -> Option<String> {
    let (&[UDATA_COMMENT, length], text) = data.split_at_checked(2)? else {
        return None;
    };
    let text = text.get(..usize::from(length).checked_sub(1)?)?;
    String::from_utf8(text.to_vec()).ok()
}
