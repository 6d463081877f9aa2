//! The expressions of a rule: loads into a register, comparisons of it, look-ups, and actions.
//!
//! Registers are 16 slots of 4 bytes. A value takes as many slots as it needs; the key of a
//! concatenation lies in consecutive slots, each part at the beginning of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Family;
use crate::netlink::Attributes;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
pub(super) const NFTA_DATA_VERDICT: u16 = 2;
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
const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 1 << 1;
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
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_DYNSET_SET_NAME: u16 = 1;
const NFTA_DYNSET_OP: u16 = 3;
const NFTA_DYNSET_SREG_KEY: u16 = 4;
const NFT_DYNSET_OP_UPDATE: u32 = 1;
const NFTA_DUP_SREG_ADDR: u16 = 1;
const NFTA_DUP_SREG_DEV: u16 = 2;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFT_NAT_SNAT: u32 = 0;
const NFT_NAT_DNAT: u32 = 1;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
const NFT_REG_VERDICT: u32 = 0;
/// First of the four registers of 16 bytes; each is four slots.
const NFT_REG_1: u32 = 1;
/// First of the sixteen registers of 4 bytes: the slots.
const NFT_REG32_00: u32 = 8;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
/// Interface names are compared with all their bytes, padded with zeros.
pub(super) const NAME_BYTES: usize = 16;
/// Where an IPv4 header has the source and the destination address.
const SOURCE4: (u32, u32) = (12, 4);
const DESTINATION4: (u32, u32) = (16, 4);
/// Where an IPv6 header has them.
const SOURCE6: (u32, u32) = (8, 16);
const DESTINATION6: (u32, u32) = (24, 16);
/// Bits of `ct state`.
const STATE_ESTABLISHED: u32 = 2;
const STATE_RELATED: u32 = 4;
const STATE_NEW: u32 = 8;
/// Bit of `ct status`: the destination was translated.
const STATUS_DNAT: u32 = 1 << 5;
/// Address type of the routing table: the host's own.
const RTN_LOCAL: u32 = 2;

/// A register of four bytes, or the first of several for a longer value.
pub type Slot = u8;

/// A fact about a packet that is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// Name of the interface it came in by.
    InputName = 6,
    /// Name of the interface it goes out by.
    OutputName = 7,
    /// The transport protocol, one byte.
    Protocol = 16,
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
    /// Goes through another chain and does not come back to this one.
    Goto(String),
}

/// Something that can be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// A fact about the packet.
    Meta(MetaKey),
    /// A fact of connection tracking.
    Conntrack(ConntrackKey),
    /// Bytes of the network header: first and number.
    Network(u32, u32),
    /// Bytes of the transport header: first and number.
    Transport(u32, u32),
    /// Whether the destination is the host, another host, a broadcast address, …
    DestinationType,
}

impl Load {
    /// The source address.
    pub fn source(family: Family) -> Self {
        let (offset, length) = match family {
            Family::Ip6 => SOURCE6,
            _ => SOURCE4,
        };
        Self::Network(offset, length)
    }

    /// The destination address.
    pub fn destination(family: Family) -> Self {
        let (offset, length) = match family {
            Family::Ip6 => DESTINATION6,
            _ => DESTINATION4,
        };
        Self::Network(offset, length)
    }

    /// The source port of TCP, UDP and SCTP.
    pub const SOURCE_PORT: Self = Self::Transport(0, 2);
    /// The destination port of TCP, UDP and SCTP.
    pub const DESTINATION_PORT: Self = Self::Transport(2, 2);
    /// The transport protocol.
    pub const PROTOCOL: Self = Self::Meta(MetaKey::Protocol);
    /// The interface a packet came in by.
    pub const INPUT: Self = Self::Meta(MetaKey::InputName);
    /// The interface a packet goes out by.
    pub const OUTPUT: Self = Self::Meta(MetaKey::OutputName);

    /// How many slots the value takes.
    fn slots(self) -> u8 {
        match self {
            Self::Meta(MetaKey::InputName | MetaKey::OutputName) => 4,
            Self::Network(_, length) | Self::Transport(_, length) => {
                u8::try_from(length.div_ceil(4)).unwrap_or(u8::MAX)
            }
            _ => 1,
        }
    }
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Loads something.
    Load(Load, Slot),
    /// Loads a constant.
    Constant(Vec<u8>, Slot),
    /// Keeps the bits of the mask, from slot 0 on.
    Mask(Vec<u8>),
    /// Ends the rule for packets that do not compare so, from slot 0 on.
    Compare(Compare, Vec<u8>),
    /// Ends the rule for packets whose key (from slot 0 on) is not in the set.
    Member(String),
    /// Replaces the key (from slot 0 on) by what the map has for it; ends the rule without.
    Translate(String),
    /// Does what the map has for the key (from slot 0 on), if it has something.
    Decide(String),
    /// Adds the key (from slot 0 on) to the set, or begins its time anew.
    Update(String),
    /// Sends a copy to the address in the first slot by the interface whose index is in the other.
    Duplicate(Slot, Slot),
    /// Replaces the destination: address, port, or both.
    DestinationNat(Family, Option<Slot>, Option<Slot>),
    /// Replaces the source: address, port, or both.
    SourceNat(Family, Option<Slot>, Option<Slot>),
    /// Replaces the destination by the host itself, at the port in the slot.
    Redirect(Slot),
    /// Replaces the source address by the one of the outgoing interface.
    Masquerade,
    /// Keeps connection tracking away.
    Untracked,
    /// Counts.
    Counter,
    /// Decides.
    Verdict(Verdict),
}

/// A condition as people write it; each is some expressions.
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
    /// `ip6 daddr address`
    Destination6(Ipv6Addr),
    /// `meta l4proto n`
    Protocol(u8),
    /// `th dport n`
    DestinationPort(u16),
    /// `th sport n`
    SourcePort(u16),
    /// `ct state established,related`
    Established,
    /// `ct state new`
    New,
    /// `ct status dnat`
    Translated,
    /// `fib daddr type local`
    ToHost,
    /// `a . b . c @set`: the parts of the key are loaded one after the other.
    In(Vec<Load>, String),
}

impl Match {
    /// The expressions that test the condition.
    pub fn expressions(&self) -> Vec<Expression> {
        match self {
            Self::Input(name) => interface(MetaKey::InputName, Compare::Equal, name),
            Self::NotInput(name) => interface(MetaKey::InputName, Compare::Unequal, name),
            Self::Output(name) => interface(MetaKey::OutputName, Compare::Equal, name),
            Self::NotOutput(name) => interface(MetaKey::OutputName, Compare::Unequal, name),
            Self::Source(net, prefix) => subnet(Load::source(Family::Ip), *net, *prefix),
            Self::Destination(net, prefix) => subnet(Load::destination(Family::Ip), *net, *prefix),
            Self::Destination6(address) => {
                equal(Load::destination(Family::Ip6), address.octets().to_vec())
            }
            Self::Protocol(number) => equal(Load::PROTOCOL, vec![*number]),
            Self::DestinationPort(port) => {
                equal(Load::DESTINATION_PORT, port.to_be_bytes().to_vec())
            }
            Self::SourcePort(port) => equal(Load::SOURCE_PORT, port.to_be_bytes().to_vec()),
            Self::Established => bits(ConntrackKey::State, STATE_ESTABLISHED | STATE_RELATED),
            Self::New => bits(ConntrackKey::State, STATE_NEW),
            Self::Translated => bits(ConntrackKey::Status, STATUS_DNAT),
            Self::ToHost => equal(Load::DestinationType, RTN_LOCAL.to_ne_bytes().to_vec()),
            Self::In(key, set) => {
                let mut expressions = load_key(key);
                expressions.push(Expression::Member(set.clone()));
                expressions
            }
        }
    }
}

/// Loads the parts of a key into consecutive slots, from 0 on.
pub fn load_key(key: &[Load]) -> Vec<Expression> {
    let mut slot = 0;
    let mut expressions = Vec::with_capacity(key.len() + 1);
    for load in key {
        expressions.push(Expression::Load(*load, slot));
        slot += load.slots();
    }
    expressions
}

/// The bytes of an address, as headers and sets have them.
pub fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An interface name as sets and comparisons have it.
pub fn name_bytes(name: &str) -> Vec<u8> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(NAME_BYTES, 0);
    padded
}

fn equal(load: Load, value: Vec<u8>) -> Vec<Expression> {
    vec![
        Expression::Load(load, 0),
        Expression::Compare(Compare::Equal, value),
    ]
}

fn bits(key: ConntrackKey, bits: u32) -> Vec<Expression> {
    vec![
        Expression::Load(Load::Conntrack(key), 0),
        Expression::Mask(bits.to_ne_bytes().to_vec()),
        Expression::Compare(Compare::Unequal, vec![0; 4]),
    ]
}

fn interface(key: MetaKey, compare: Compare, name: &str) -> Vec<Expression> {
    vec![
        Expression::Load(Load::Meta(key), 0),
        Expression::Compare(compare, name_bytes(name)),
    ]
}

fn subnet(load: Load, net: Ipv4Addr, prefix: u8) -> Vec<Expression> {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0);
    let first = u32::from(net) & mask;
    vec![
        Expression::Load(load, 0),
        Expression::Mask(mask.to_be_bytes().to_vec()),
        Expression::Compare(Compare::Equal, first.to_be_bytes().to_vec()),
    ]
}

/// The last address of an IPv6 network, and the first after it.
pub fn after6(net: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let hosts = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from((u128::from(net) | hosts).wrapping_add(1))
}

/// The number of a register; whole registers of 16 bytes are called by their old numbers.
fn register(slot: Slot) -> u32 {
    let slot = u32::from(slot);
    if slot % 4 == 0 {
        NFT_REG_1 + slot / 4
    } else {
        NFT_REG32_00 + slot
    }
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Self::Load(Load::Meta(_), _) => "meta",
            Self::Load(Load::Conntrack(_), _) => "ct",
            Self::Load(Load::Network(..) | Load::Transport(..), _) => "payload",
            Self::Load(Load::DestinationType, _) => "fib",
            Self::Mask(_) => "bitwise",
            Self::Compare(..) => "cmp",
            Self::Member(_) | Self::Translate(_) | Self::Decide(_) => "lookup",
            Self::Update(_) => "dynset",
            Self::Duplicate(..) => "dup",
            Self::DestinationNat(..) | Self::SourceNat(..) => "nat",
            Self::Redirect(_) => "redir",
            Self::Masquerade => "masq",
            Self::Untracked => "notrack",
            Self::Counter => "counter",
            Self::Constant(..) | Self::Verdict(_) => "immediate",
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
            Self::Load(load, slot) => encode_load(*load, register(*slot), m),
            Self::Constant(value, slot) => {
                m.be32(NFTA_IMMEDIATE_DREG, register(*slot));
                m.nest(NFTA_IMMEDIATE_DATA, |m| m.put(NFTA_DATA_VALUE, value));
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
            Self::Member(set) => encode_lookup(set, None, m),
            Self::Translate(set) => encode_lookup(set, Some(NFT_REG_1), m),
            Self::Decide(set) => encode_lookup(set, Some(NFT_REG_VERDICT), m),
            Self::Update(set) => {
                m.text(NFTA_DYNSET_SET_NAME, set);
                m.be32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
                m.be32(NFTA_DYNSET_SREG_KEY, NFT_REG_1);
            }
            Self::Duplicate(address, device) => {
                m.be32(NFTA_DUP_SREG_ADDR, register(*address));
                m.be32(NFTA_DUP_SREG_DEV, register(*device));
            }
            Self::DestinationNat(family, address, port) => {
                encode_nat((NFT_NAT_DNAT, *family), *address, *port, m);
            }
            Self::SourceNat(family, address, port) => {
                encode_nat((NFT_NAT_SNAT, *family), *address, *port, m);
            }
            Self::Redirect(port) => m.be32(NFTA_REDIR_REG_PROTO_MIN, register(*port)),
            Self::Counter => {
                m.put(NFTA_COUNTER_BYTES, &[0; 8]);
                m.put(NFTA_COUNTER_PACKETS, &[0; 8]);
            }
            Self::Masquerade | Self::Untracked => {}
            Self::Verdict(verdict) => {
                m.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
                m.nest(NFTA_IMMEDIATE_DATA, |m| verdict.encode(m));
            }
        }
    }
}

fn encode_load(load: Load, register: u32, m: &mut Attributes<'_>) {
    let payload = |m: &mut Attributes<'_>, base, offset, length| {
        m.be32(NFTA_PAYLOAD_DREG, register);
        m.be32(NFTA_PAYLOAD_BASE, base);
        m.be32(NFTA_PAYLOAD_OFFSET, offset);
        m.be32(NFTA_PAYLOAD_LEN, length);
    };
    match load {
        Load::Meta(key) => {
            m.be32(NFTA_META_KEY, key as u32);
            m.be32(NFTA_META_DREG, register);
        }
        Load::Conntrack(key) => {
            m.be32(NFTA_CT_KEY, key as u32);
            m.be32(NFTA_CT_DREG, register);
        }
        Load::Network(offset, length) => payload(m, NFT_PAYLOAD_NETWORK_HEADER, offset, length),
        Load::Transport(offset, length) => {
            payload(m, NFT_PAYLOAD_TRANSPORT_HEADER, offset, length);
        }
        Load::DestinationType => {
            m.be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
            m.be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
            m.be32(NFTA_FIB_DREG, register);
        }
    }
}

fn encode_lookup(set: &str, into: Option<u32>, m: &mut Attributes<'_>) {
    m.text(NFTA_LOOKUP_SET, set);
    m.be32(NFTA_LOOKUP_SREG, NFT_REG_1);
    if let Some(into) = into {
        m.be32(NFTA_LOOKUP_DREG, into);
    }
}

fn encode_nat(
    (kind, family): (u32, Family),
    address: Option<Slot>,
    port: Option<Slot>,
    m: &mut Attributes<'_>,
) {
    m.be32(NFTA_NAT_TYPE, kind);
    m.be32(NFTA_NAT_FAMILY, u32::from(family.number()));
    if let Some(address) = address {
        m.be32(NFTA_NAT_REG_ADDR_MIN, register(address));
    }
    if let Some(port) = port {
        m.be32(NFTA_NAT_REG_PROTO_MIN, register(port));
    }
}

impl Verdict {
    /// Writes the verdict as the data of an element or an expression.
    pub(super) fn encode(&self, m: &mut Attributes<'_>) {
        let (code, chain): (i32, Option<&str>) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5, None),
        };
        m.nest(NFTA_DATA_VERDICT, |m| {
            m.be32(NFTA_VERDICT_CODE, code.cast_unsigned());
            if let Some(chain) = chain {
                m.text(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}
