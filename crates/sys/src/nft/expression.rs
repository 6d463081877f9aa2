//! The expressions of a rule: loads into a register, comparisons of it, and actions.
//!
//! One register is enough for rules that test one thing after the other.

use std::net::Ipv4Addr;

use crate::netlink::Attributes;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFT_REG_VERDICT: u32 = 0;
const NFT_REG_1: u32 = 1;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
/// Interface names are compared with all their bytes, padded with zeros.
const NAME_BYTES: usize = 16;
/// Where an IPv4 header has the source and the destination address.
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
/// Bits of `ct state`.
const STATE_ESTABLISHED: u32 = 2;
const STATE_RELATED: u32 = 4;

/// A fact about a packet that is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// Name of the interface it came in by.
    InputName = 6,
    /// Name of the interface it goes out by.
    OutputName = 7,
}

/// A fact that connection tracking knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConntrackKey {
    /// State of the packet in its connection.
    State = 0,
    /// What happened to the connection (translated, …).
    Status = 2,
}

/// How a register is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// It has that value.
    Equal = 0,
    /// It has another value.
    Unequal = 1,
}

/// The end of a packet's way through a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on with the next base chain.
    Accept,
    /// Is thrown away.
    Drop,
    /// Goes back to the calling chain.
    Return,
    /// Goes through another chain and comes back.
    Jump(String),
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Loads a fact about the packet.
    Meta(MetaKey),
    /// Loads a fact of connection tracking.
    Conntrack(ConntrackKey),
    /// Loads bytes of the network header.
    NetworkHeader {
        /// First byte.
        offset: u32,
        /// How many.
        length: u32,
    },
    /// Keeps the bits of the mask.
    Mask(Vec<u8>),
    /// Ends the rule for packets that do not compare so.
    Compare(Compare, Vec<u8>),
    /// Replaces the source address by the one of the outgoing interface.
    Masquerade,
    /// Decides.
    Verdict(Verdict),
}

/// A condition as people write it; each is two or three expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `iifname "x"`
    Input(String),
    /// `iifname != "x"`
    NotInput(String),
    /// `oifname "x"`
    Output(String),
    /// `oifname != "x"`
    NotOutput(String),
    /// `ip saddr net/prefix`
    Source(Ipv4Addr, u8),
    /// `ip daddr net/prefix`
    Destination(Ipv4Addr, u8),
    /// `ct state established,related`
    Established,
}

impl Match {
    /// The expressions that test the condition.
    pub fn expressions(&self) -> Vec<Expression> {
        match self {
            Self::Input(name) => interface(MetaKey::InputName, Compare::Equal, name),
            Self::NotInput(name) => interface(MetaKey::InputName, Compare::Unequal, name),
            Self::Output(name) => interface(MetaKey::OutputName, Compare::Equal, name),
            Self::NotOutput(name) => interface(MetaKey::OutputName, Compare::Unequal, name),
            Self::Source(net, prefix) => subnet(SOURCE_OFFSET, *net, *prefix),
            Self::Destination(net, prefix) => subnet(DESTINATION_OFFSET, *net, *prefix),
            Self::Established => {
                let states = STATE_ESTABLISHED | STATE_RELATED;
                vec![
                    Expression::Conntrack(ConntrackKey::State),
                    Expression::Mask(states.to_ne_bytes().to_vec()),
                    Expression::Compare(Compare::Unequal, vec![0; 4]),
                ]
            }
        }
    }
}

fn interface(key: MetaKey, compare: Compare, name: &str) -> Vec<Expression> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(NAME_BYTES, 0);
    vec![Expression::Meta(key), Expression::Compare(compare, padded)]
}

fn subnet(offset: u32, net: Ipv4Addr, prefix: u8) -> Vec<Expression> {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0);
    let first = u32::from(net) & mask;
    vec![
        Expression::NetworkHeader { offset, length: 4 },
        Expression::Mask(mask.to_be_bytes().to_vec()),
        Expression::Compare(Compare::Equal, first.to_be_bytes().to_vec()),
    ]
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Self::Meta(_) => "meta",
            Self::Conntrack(_) => "ct",
            Self::NetworkHeader { .. } => "payload",
            Self::Mask(_) => "bitwise",
            Self::Compare(..) => "cmp",
            Self::Masquerade => "masq",
            Self::Verdict(_) => "immediate",
        }
    }

    /// Writes the expression as one element of a rule's list.
    pub(crate) fn encode(&self, m: &mut Attributes<'_>) {
        m.nest(NFTA_LIST_ELEM, |m| {
            m.text(NFTA_EXPR_NAME, self.name());
            m.nest(NFTA_EXPR_DATA, |m| self.encode_data(m));
        });
    }

    fn encode_data(&self, m: &mut Attributes<'_>) {
        match self {
            Self::Meta(key) => {
                m.be32(NFTA_META_KEY, *key as u32);
                m.be32(NFTA_META_DREG, NFT_REG_1);
            }
            Self::Conntrack(key) => {
                m.be32(NFTA_CT_KEY, *key as u32);
                m.be32(NFTA_CT_DREG, NFT_REG_1);
            }
            Self::NetworkHeader { offset, length } => {
                m.be32(NFTA_PAYLOAD_DREG, NFT_REG_1);
                m.be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
                m.be32(NFTA_PAYLOAD_OFFSET, *offset);
                m.be32(NFTA_PAYLOAD_LEN, *length);
            }
            Self::Mask(mask) => {
                let length = u32::try_from(mask.len()).expect("a mask has at most 16 bytes");
                m.be32(NFTA_BITWISE_SREG, NFT_REG_1);
                m.be32(NFTA_BITWISE_DREG, NFT_REG_1);
                m.be32(NFTA_BITWISE_LEN, length);
                m.nest(NFTA_BITWISE_MASK, |m| m.put(NFTA_DATA_VALUE, mask));
                let zeros = vec![0; mask.len()];
                m.nest(NFTA_BITWISE_XOR, |m| m.put(NFTA_DATA_VALUE, &zeros));
            }
            Self::Compare(how, value) => {
                m.be32(NFTA_CMP_SREG, NFT_REG_1);
                m.be32(NFTA_CMP_OP, *how as u32);
                m.nest(NFTA_CMP_DATA, |m| m.put(NFTA_DATA_VALUE, value));
            }
            Self::Masquerade => {}
            Self::Verdict(verdict) => {
                m.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
                m.nest(NFTA_IMMEDIATE_DATA, |m| {
                    m.nest(NFTA_DATA_VERDICT, |m| encode_verdict(verdict, m));
                });
            }
        }
    }
}

fn encode_verdict(verdict: &Verdict, m: &mut Attributes<'_>) {
    let (code, chain): (i32, Option<&str>) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Return => (-5, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
    };
    m.be32(NFTA_VERDICT_CODE, code.cast_unsigned());
    if let Some(chain) = chain {
        m.text(NFTA_VERDICT_CHAIN, chain);
    }
}
