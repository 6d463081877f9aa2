//! Questions and answers of the domain name system (RFC 1035), as far as addresses need them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an answer over UDP that we take, told with EDNS; fits into one packet everywhere.
pub(super) const UDP_ROOM: u16 = 1232;
const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_OPT: u16 = 41;
const MAX_RECORDS: usize = 256;
/// Pointers of one compressed name that are followed.
const MAX_POINTERS: usize = 32;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Addresses, perhaps none.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// It does not fit; to be asked over TCP.
    Truncated,
    /// The server cannot or will not.
    Refused,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// Writes a question; `None` for what is no name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question, one additional record (EDNS).
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    if name.is_empty() || name.len() > 253 {
        return None;
    }
    for label in name.split('.') {
        let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(good) {
            return None;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&TYPE_OPT.to_be_bytes());
    out.extend_from_slice(&UDP_ROOM.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    Some(out)
}

/// Reads an answer; `None` where it is not the answer to this question.
pub(super) fn reply(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Reply> {
    let mut at = Cursor { bytes, at: 0 };
    let (got, flags) = (at.u16()?, at.u16()?);
    let (questions, answers) = (at.u16()?, at.u16()?);
    at.at += 4;
    if got != id || flags & 0x8000 == 0 || questions != 1 {
        return None;
    }
    let asked = at.name()?;
    if asked != name || at.u16()? != kind.number() || at.u16()? != CLASS_IN {
        return None;
    }
    match flags & 0x000f {
        0 => {}
        3 => return Some(Reply::NoSuchName),
        _ => return Some(Reply::Refused),
    }
    if flags & 0x0200 != 0 {
        return Some(Reply::Truncated);
    }
    let mut names = vec![asked];
    let mut found = Vec::new();
    for _ in 0..usize::from(answers).min(MAX_RECORDS) {
        let owner = at.name()?;
        let (of, class) = (at.u16()?, at.u16()?);
        at.at += 4;
        let length = usize::from(at.u16()?);
        let end = at
            .at
            .checked_add(length)
            .filter(|end| *end <= bytes.len())?;
        let data = &bytes[at.at..end];
        // Only what the question leads to; a server may add anything.
        if class == CLASS_IN && names.contains(&owner) {
            if of == TYPE_CNAME {
                names.push(Cursor { bytes, at: at.at }.name()?);
            } else if of == kind.number() {
                found.extend(address(data));
            }
        }
        at.at = end;
    }
    Some(Reply::Addresses(found))
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Cursor<'_> {
    fn u16(&mut self) -> Option<u16> {
        let two = self.bytes.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([two[0], two[1]]))
    }

    /// A name in lower case, with its pointers followed.
    fn name(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut at = self.at;
        let mut after = None;
        for _ in 0..MAX_POINTERS + 128 {
            let length = *self.bytes.get(at)?;
            match length {
                0 => {
                    self.at = after.unwrap_or(at + 1);
                    return Some(text);
                }
                1..=63 => {
                    let label = self.bytes.get(at + 1..at + 1 + usize::from(length))?;
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.extend(
                        label
                            .iter()
                            .map(|byte| char::from(byte.to_ascii_lowercase())),
                    );
                    if text.len() > 512 {
                        return None;
                    }
                    at += 1 + usize::from(length);
                }
                0xc0.. => {
                    let low = *self.bytes.get(at + 1)?;
                    after.get_or_insert(at + 2);
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    // Backwards only, so that it ends.
                    if target >= at {
                        return None;
                    }
                    at = target;
                }
                _ => return None,
            }
        }
        None
    }
}
