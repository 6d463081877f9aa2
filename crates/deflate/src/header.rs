//! How long a gzip header is, and what it says of who wrote it (RFC 1952, 2.3).

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;

/// Returns the length of the gzip header that `bytes` begin with, if it is whole.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let fixed = bytes.get(..10)?;
    if fixed[..3] != [0x1f, 0x8b, 8] || fixed[3] & !0x1f != 0 {
        return None;
    }
    let flags = fixed[3];
    let mut at = 10;
    if flags & FEXTRA != 0 {
        let size = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([size[0], size[1]]));
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            at += bytes.get(at..)?.iter().position(|&b| b == 0)? + 1;
        }
    }
    if flags & FHCRC != 0 {
        at += 2;
    }
    (at <= bytes.len()).then_some(at)
}
