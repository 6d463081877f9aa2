//! Sets and maps: named tables of keys, with values or without, that rules look things up in.

use std::net::IpAddr;
use std::time::Duration;

use super::expression::{NFTA_DATA_VALUE, Verdict, address_bytes, after6, name_bytes};
use crate::netlink::Attributes;

const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_TIMEOUT: u16 = 11;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_DESC_SIZE: u16 = 1;
/// User data by which `nft` knows that keys are in the machine's byte order: kind, length, value.
const UDATA_KEY_BYTEORDER: [u8; 2] = [0, 4];
const HOST_ENDIAN: u32 = 1;
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_EVAL: u32 = 0x20;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
const NFTA_LIST_ELEM: u16 = 1;
/// Parts of a concatenation begin at multiples of this.
const SLOT_BYTES: usize = 4;
/// `nft` gives each part of a concatenation so many bits of the key's type.
const TYPE_BITS: u32 = 6;

/// A part of a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// The name of an interface.
    Interface,
}

impl Field {
    /// The number that `nft` knows the type by.
    fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Interface => 41,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 | Self::Interface => 16,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }
}

/// What a set has for its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Nothing: it is a set.
    None,
    /// Verdicts.
    Verdicts,
    /// Data.
    Data(Vec<Field>),
}

/// How a set is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// By us, with single keys.
    Single,
    /// By us, with ranges.
    Ranges,
    /// By packets; a key goes after this time, and there are at most so many.
    Packets(Duration, u32),
}

/// A set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Name.
    pub name: String,
    /// The parts of the key.
    pub key: Vec<Field>,
    /// What it has for its keys.
    pub values: Values,
    /// How it is filled.
    pub filling: Filling,
    /// What is in it; nothing if packets fill it.
    pub elements: Vec<Element>,
}

/// One key of a set, or the bounds of a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    key: Vec<u8>,
    /// It is no end of a range. In the order of elements the end of one range comes before the
    /// beginning of the next at the same key: the kernel refuses what looks like an overlap.
    begins: bool,
    value: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Verdict(String),
    Data(Vec<u8>),
}

/// A part of a key or a value, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// An address.
    Address(IpAddr),
    /// A transport protocol.
    Protocol(u8),
    /// A port.
    Port(u16),
    /// The name of an interface.
    Interface(&'a str),
}

/// Puts the parts after each other, each at a slot's beginning.
fn concatenate(parts: &[Part<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::Address(address) => bytes.extend(address_bytes(*address)),
            Part::Protocol(number) => bytes.push(*number),
            Part::Port(port) => bytes.extend(port.to_be_bytes()),
            Part::Interface(name) => bytes.extend(name_bytes(name)),
        }
        if parts.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(SLOT_BYTES), 0);
        }
    }
    bytes
}

impl Element {
    /// A key of a set.
    pub fn key(parts: &[Part<'_>]) -> Self {
        Self {
            key: concatenate(parts),
            begins: true,
            value: None,
        }
    }

    /// A key of a map of data.
    pub fn data(key: &[Part<'_>], value: &[Part<'_>]) -> Self {
        Self {
            value: Some(Value::Data(concatenate(value))),
            ..Self::key(key)
        }
    }

    /// A key of a map of verdicts: packets go on in that chain.
    pub fn goto(key: &[Part<'_>], chain: &str) -> Self {
        Self {
            value: Some(Value::Verdict(chain.to_owned())),
            ..Self::key(key)
        }
    }

    /// The bounds of a network, in a map of verdicts.
    pub fn network_goto(net: IpAddr, prefix: u8, chain: &str) -> [Self; 2] {
        let after = match net {
            IpAddr::V4(v4) => {
                let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(v4) | hosts).wrapping_add(1).into())
            }
            IpAddr::V6(v6) => IpAddr::V6(after6(v6, prefix)),
        };
        let end = Self {
            begins: false,
            ..Self::key(&[Part::Address(after)])
        };
        [Self::goto(&[Part::Address(net)], chain), end]
    }

    /// How many bytes of a message it takes at most.
    pub(super) fn message_bytes(&self) -> usize {
        let value = match &self.value {
            Some(Value::Verdict(chain)) => chain.len(),
            Some(Value::Data(data)) => data.len(),
            None => 0,
        };
        self.key.len() + value + 64
    }

    pub(super) fn encode(&self, m: &mut Attributes<'_>) {
        m.nest(NFTA_LIST_ELEM, |m| {
            m.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, &self.key));
            match &self.value {
                Some(Value::Verdict(chain)) => {
                    let verdict = Verdict::Goto(chain.clone());
                    m.nest(NFTA_SET_ELEM_DATA, |m| verdict.encode(m));
                }
                Some(Value::Data(data)) => {
                    m.nest(NFTA_SET_ELEM_DATA, |m| m.put(NFTA_DATA_VALUE, data));
                }
                None => {}
            }
            if !self.begins {
                m.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            }
        });
    }
}

/// The number of a type, and how many bytes its values have.
fn shape(fields: &[Field]) -> (u32, u32) {
    let number = fields
        .iter()
        .fold(0, |number, field| number << TYPE_BITS | field.number());
    let bytes: usize = match fields {
        [field] => field.bytes(),
        fields => fields
            .iter()
            .map(|field| field.bytes().next_multiple_of(SLOT_BYTES))
            .sum(),
    };
    (number, u32::try_from(bytes).unwrap_or(u32::MAX))
}

impl Set {
    /// Writes what makes the set, apart from its name.
    pub(super) fn encode(&self, m: &mut Attributes<'_>) {
        let mut flags = match self.filling {
            Filling::Single => 0,
            Filling::Ranges => NFT_SET_INTERVAL,
            Filling::Packets(..) => NFT_SET_TIMEOUT | NFT_SET_EVAL,
        };
        if self.values != Values::None {
            flags |= NFT_SET_MAP;
        }
        m.be32(NFTA_SET_FLAGS, flags);
        let (number, bytes) = shape(&self.key);
        m.be32(NFTA_SET_KEY_TYPE, number);
        m.be32(NFTA_SET_KEY_LEN, bytes);
        match &self.values {
            Values::None => {}
            Values::Verdicts => m.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
            Values::Data(fields) => {
                let (number, bytes) = shape(fields);
                m.be32(NFTA_SET_DATA_TYPE, number);
                m.be32(NFTA_SET_DATA_LEN, bytes);
            }
        }
        if self.key.contains(&Field::Interface) {
            let order = [&UDATA_KEY_BYTEORDER[..], &HOST_ENDIAN.to_ne_bytes()].concat();
            m.put(NFTA_SET_USERDATA, &order);
        }
        if let Filling::Packets(time, most) = self.filling {
            m.nest(NFTA_SET_DESC, |m| m.be32(NFTA_SET_DESC_SIZE, most));
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            m.put(NFTA_SET_TIMEOUT, &ms.to_be_bytes());
        }
    }
}
