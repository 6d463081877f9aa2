//! Reading: the question of a message, and how long its answer may be.

use super::{Code, HEADER, MAX_LABEL, MAX_NAME, PLAIN_UDP, kind, u16_at};

const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const POINTER: u8 = 0xc0;

/// The smallest answer that a sender of EDNS must take, whatever it says.
pub const EDNS: usize = PLAIN_UDP;

/// A question that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name in lower case without its last dot; `None` if a label has a dot or is no text.
    pub name: Option<String>,
    /// The type that is asked for.
    pub kind: u16,
    /// The class.
    pub class: u16,
    /// Where the question ends.
    pub end: usize,
    /// How long a UDP answer may be.
    pub udp_size: usize,
}

/// A message that has no answer of the usual kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not worth an answer: too short, or an answer itself.
    Ignore,
    /// It is answered by a header with this code.
    Answer(Code),
}

impl Question {
    /// Reads the first and only question of a message.
    ///
    /// # Errors
    ///
    /// What is to be answered instead.
    pub fn read(message: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Answer(Code::FormatError);
        if message.len() < HEADER || message[2] & RESPONSE != 0 {
            return Err(Refusal::Ignore);
        }
        if message[2] & OPCODE != 0 {
            return Err(Refusal::Answer(Code::NotImplemented));
        }
        let count = |index: usize| u16_at(message, 4 + 2 * index).unwrap_or(0);
        // As Docker's: one question, at most one answer and one authority, two additional records.
        if count(0) != 1 || count(1) > 1 || count(2) > 1 || count(3) > 2 {
            return Err(malformed);
        }
        let (name, after) = read_name(message, HEADER).ok_or(malformed)?;
        let kind = u16_at(message, after).ok_or(malformed)?;
        let class = u16_at(message, after + 2).ok_or(malformed)?;
        let end = after + 4;
        let records = count(1) + count(2) + count(3);
        let udp_size = udp_size(message, end, records).ok_or(malformed)?;
        Ok(Self {
            name,
            kind,
            class,
            end,
            udp_size,
        })
    }
}

/// Reads a name without pointers; returns it with what comes after.
fn read_name(message: &[u8], start: usize) -> Option<(Option<String>, usize)> {
    let mut text = Some(String::new());
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > MAX_LABEL || at + length - start >= MAX_NAME {
            return None;
        }
        let label = message.get(at..at + length)?;
        at += length;
        if label.iter().all(|b| b.is_ascii_graphic() && *b != b'.') {
            if let Some(text) = &mut text {
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
            }
        } else {
            text = None;
        }
    }
    Some((text, at))
}

/// Steps over a name, which may end in a pointer.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = *message.get(at)?;
        match length & POINTER {
            POINTER => return (at + 2 <= message.len()).then_some(at + 2),
            0 if length == 0 => return Some(at + 1),
            0 => at += 1 + usize::from(length),
            _ => return None,
        }
        if at - start > MAX_NAME {
            return None;
        }
    }
}

/// Steps over the records and finds what the one of type OPT says.
fn udp_size(message: &[u8], mut at: usize, records: u16) -> Option<usize> {
    let mut size = PLAIN_UDP;
    for _ in 0..records {
        let fixed = skip_name(message, at)?;
        let record = message.get(fixed..fixed.checked_add(10)?)?;
        let length = usize::from(u16::from_be_bytes([record[8], record[9]]));
        if u16::from_be_bytes([record[0], record[1]]) == kind::OPT {
            size = usize::from(u16::from_be_bytes([record[2], record[3]])).max(EDNS);
        }
        at = fixed + 10 + length;
        if at > message.len() {
            return None;
        }
    }
    Some(size)
}

/// Whether a message is an answer to a query: same identity, and its question, if it has one.
///
/// `end` is where the question of the query ends.
pub fn matches(query: &[u8], end: usize, answer: &[u8]) -> bool {
    if answer.len() < HEADER || answer[2] & RESPONSE == 0 || answer[..2] != query[..2] {
        return false;
    }
    match u16_at(answer, 4) {
        // Who did not understand a question need not repeat it.
        Some(0) => true,
        Some(1) => answer
            .get(HEADER..end)
            .zip(query.get(HEADER..end))
            .is_some_and(|(a, q)| a.eq_ignore_ascii_case(q)),
        _ => false,
    }
}

/// Whether two queries ask the same in the same way, but for their identity and letters' case.
///
/// `end` is where the question of the first ends.
pub fn same_question(one: &[u8], end: usize, other: &[u8]) -> bool {
    one.len() == other.len()
        && one[2..HEADER] == other[2..HEADER]
        && one[HEADER..end].eq_ignore_ascii_case(&other[HEADER..end])
        && one[end..] == other[end..]
}
