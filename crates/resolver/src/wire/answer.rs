//! Writing: answers from memory, and answers that say why there is none.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Code, HEADER, MAX_LABEL, MAX_NAME, Question, class, kind};

/// For how many seconds an answer from memory may be kept, as Docker's.
const TTL: u32 = 600;
/// A pointer to the name of the question.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];

const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const OPCODE_AND_RECURSION_DESIRED: u8 = 0x79;
const RECURSION_AVAILABLE: u8 = 0x80;
const CHECKING_DISABLED: u8 = 0x10;

/// An answer under construction.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    limit: usize,
    records: u16,
    full: bool,
}

impl Answer {
    /// Begins the answer to a query, of at most `limit` bytes.
    pub fn new(query: &[u8], question: &Question, limit: usize) -> Self {
        let mut bytes = head(query, question.end, Code::NoError);
        bytes[3] |= RECURSION_AVAILABLE;
        Self {
            bytes,
            limit,
            records: 0,
            full: false,
        }
    }

    /// Adds an IPv4 address.
    pub fn ipv4(&mut self, address: Ipv4Addr) {
        self.record(kind::A, &address.octets());
    }

    /// Adds an IPv6 address.
    pub fn ipv6(&mut self, address: Ipv6Addr) {
        self.record(kind::AAAA, &address.octets());
    }

    /// Adds the name of an address; what is no name on the wire is left out.
    pub fn name(&mut self, name: &str) {
        if let Some(data) = encode(name) {
            self.record(kind::PTR, &data);
        }
    }

    fn record(&mut self, kind: u16, data: &[u8]) {
        let needed = QUESTION_NAME.len() + 10 + data.len();
        // A record that did not fit is not followed by a shorter one: the end is cut off.
        self.full |= self.bytes.len() + needed > self.limit;
        let Ok(length) = u16::try_from(data.len()) else {
            return;
        };
        if self.full {
            return;
        }
        self.bytes.extend_from_slice(&QUESTION_NAME);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&class::IN.to_be_bytes());
        self.bytes.extend_from_slice(&TTL.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(data);
        self.records += 1;
    }

    /// The message.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[6..8].copy_from_slice(&self.records.to_be_bytes());
        if self.full {
            self.bytes[2] |= TRUNCATED;
        }
        self.bytes
    }
}

/// The answer that there is none, with the question repeated.
pub fn failure(query: &[u8], question_end: usize, code: Code) -> Vec<u8> {
    head(query, question_end, code)
}

/// The answer to what was not understood: nothing of it is repeated but its identity.
pub fn header_only(query: &[u8], code: Code) -> Vec<u8> {
    let mut bytes = head(query, HEADER, code);
    bytes[4..6].copy_from_slice(&[0, 0]);
    bytes
}

/// Header and question, everything else zero. `query` has a header.
fn head(query: &[u8], question_end: usize, code: Code) -> Vec<u8> {
    let mut bytes = query[..question_end].to_vec();
    bytes[2] = RESPONSE | query[2] & OPCODE_AND_RECURSION_DESIRED;
    bytes[3] = query[3] & CHECKING_DISABLED | code as u8;
    bytes[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// A name as labels with their lengths; `None` if a label is empty or something is too long.
fn encode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.trim_end_matches('.').split('.') {
        if label.is_empty() || label.len() > MAX_LABEL {
            return None;
        }
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= MAX_NAME).then_some(bytes)
}
