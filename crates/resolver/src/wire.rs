//! Messages of the domain name system, as bytes ([RFC 1035], [RFC 6891]).
//!
//! Reads what is needed of a question and writes answers to it; messages that are only passed on are
//! never taken apart further than to compare their question. Nothing here follows a compression
//! pointer: the name of a first question has nothing before it that a pointer could mean, and the
//! names of other records are only stepped over.
//!
//! [RFC 1035]: https://www.rfc-editor.org/rfc/rfc1035
//! [RFC 6891]: https://www.rfc-editor.org/rfc/rfc6891

mod answer;
mod question;

pub use answer::{Answer, failure, header_only};
pub use question::{EDNS, Question, Refusal, matches, same_question};

/// Bytes before the first question.
pub const HEADER: usize = 12;
/// Longest name on the wire, its closing zero included.
pub const MAX_NAME: usize = 255;
/// Longest label.
pub const MAX_LABEL: usize = 63;
/// Longest UDP message to who has not said that more is welcome.
pub const PLAIN_UDP: usize = 512;
/// Longest message at all.
pub const MAX_MESSAGE: usize = 65_535;

/// Where a record or a question has its type; the numbers are IANA's.
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// The name of an address.
    pub const PTR: u16 = 12;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// What the sender of a message can do.
    pub const OPT: u16 = 41;
    /// Everything there is.
    pub const ANY: u16 = 255;
}

/// The class of the Internet, and the one that stands for all.
pub mod class {
    /// The Internet.
    pub const IN: u16 = 1;
    /// All.
    pub const ANY: u16 = 255;
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It was answered, perhaps with nothing.
    NoError = 0,
    /// It was not understood.
    FormatError = 1,
    /// It could not be answered.
    ServerFailure = 2,
    /// Such things are not done here.
    NotImplemented = 4,
    /// It is not answered now.
    Refused = 5,
}

/// The code of an answer of somebody else.
pub fn code_of(message: &[u8]) -> Option<u8> {
    message.get(3).map(|flags| flags & 0x0f)
}

/// The two bytes that tie an answer to its question.
pub fn id_of(message: &[u8]) -> Option<[u8; 2]> {
    message.get(..2)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests;
