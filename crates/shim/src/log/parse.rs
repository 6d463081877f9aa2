//! Records back to bytes of output.
//!
//! The fast path knows the order in which the writer puts the members; any other JSON object with
//! `log`, `stream` and `time` goes through the general parser.

use std::borrow::Cow;
use std::ops::Range;

use spec::Timestamp;

use super::Stream;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it came from.
    pub stream: Stream,
    /// The output: a line with its newline, or a piece of a line without.
    pub log: &'a [u8],
    /// When, as it is written in the file (RFC 3339).
    pub time_text: &'a [u8],
    /// The attributes as a JSON object.
    pub attrs: Option<&'a [u8]>,
}

impl Entry<'_> {
    /// When; Go's zero time if the text is damaged.
    pub fn time(&self) -> Timestamp {
        let slow = || std::str::from_utf8(self.time_text).ok()?.parse().ok();
        time(self.time_text)
            .or_else(slow)
            .unwrap_or(Timestamp::ZERO)
    }

    /// Appends the time with exactly nine fractional digits, as `docker logs -t` prints it.
    pub fn push_fixed_time(&self, out: &mut Vec<u8>) {
        match self.time_text.strip_suffix(b"Z") {
            Some(body) if body.len() == 19 || (21..=29).contains(&body.len()) => {
                out.extend_from_slice(body);
                if body.len() == 19 {
                    out.push(b'.');
                }
                out.extend_from_slice(&b"000000000"[..29 - body.len().max(20)]);
                out.push(b'Z');
            }
            _ => out.extend_from_slice(self.time().fixed_nanos().as_bytes()),
        }
    }
}

/// Where the parts of a record lie, in the line or in the scratch buffer.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub stream: Stream,
    log: Place,
    time: Place,
    attrs: Option<Place>,
}

#[derive(Debug, Clone)]
enum Place {
    Line(Range<usize>),
    Scratch(Range<usize>),
}

impl Shape {
    /// The record, given the line and the scratch buffer it was read with.
    pub fn entry<'a>(&self, line: &'a [u8], scratch: &'a [u8]) -> Entry<'a> {
        let at = |place: &Place| match place {
            Place::Line(range) => &line[range.clone()],
            Place::Scratch(range) => &scratch[range.clone()],
        };
        Entry {
            stream: self.stream,
            log: at(&self.log),
            time_text: at(&self.time),
            attrs: self.attrs.as_ref().map(at),
        }
    }
}

/// Reads one line of the file, without its newline; `None` if it is no record.
pub(super) fn parse(line: &[u8], scratch: &mut Vec<u8>) -> Option<Shape> {
    scratch.clear();
    fast(line, scratch).or_else(|| general(line, scratch))
}

const PREFIX: &[u8] = b"{\"log\":\"";

fn fast(line: &[u8], scratch: &mut Vec<u8>) -> Option<Shape> {
    let text = line.strip_prefix(PREFIX)?;
    let (log, rest) = string(text, scratch)?;
    let rest = rest.strip_prefix(b",\"stream\":\"std")?;
    let (stream, rest) = if let Some(rest) = rest.strip_prefix(b"out\"") {
        (Stream::Stdout, rest)
    } else {
        (Stream::Stderr, rest.strip_prefix(b"err\"")?)
    };
    // With attributes between, the general parser is fast enough.
    let rest = rest.strip_prefix(b",\"time\":\"")?;
    let time = rest.strip_suffix(b"\"}")?;
    if memchr::memchr2(b'"', b'\\', time).is_some() {
        return None;
    }
    let start = line.len() - rest.len();
    let time = Place::Line(start..start + time.len());
    Some(Shape {
        stream,
        log,
        time,
        attrs: None,
    })
}

/// Reads the first string up to its closing quote; returns it and what follows the quote.
fn string<'a>(mut text: &'a [u8], scratch: &mut Vec<u8>) -> Option<(Place, &'a [u8])> {
    let mut at = memchr::memchr2(b'"', b'\\', text)?;
    if text[at] == b'"' {
        return Some((
            Place::Line(PREFIX.len()..PREFIX.len() + at),
            &text[at + 1..],
        ));
    }
    loop {
        scratch.extend_from_slice(&text[..at]);
        if text[at] == b'"' {
            return Some((Place::Scratch(0..scratch.len()), &text[at + 1..]));
        }
        text = unescape(&text[at + 1..], scratch)?;
        at = memchr::memchr2(b'"', b'\\', text)?;
    }
}

/// Reads what follows a backslash.
fn unescape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&kind, rest) = text.split_first()?;
    let byte = match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\\' | b'/' => kind,
        b'u' => {
            let (unit, mut rest) = hex4(rest)?;
            let mut code = u32::from(unit);
            if (0xd800..0xdc00).contains(&unit)
                && let Some(low) = rest.strip_prefix(b"\\u")
                && let Some((low, after)) = hex4(low)
                && (0xdc00..0xe000).contains(&low)
            {
                code = 0x10000 + ((code - 0xd800) << 10) + u32::from(low - 0xdc00);
                rest = after;
            }
            let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

fn hex4(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let mut value = 0;
    for &digit in digits {
        value = value << 4 | char::from(digit).to_digit(16)?;
    }
    Some((u16::try_from(value).ok()?, rest))
}

#[derive(serde::Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    attrs: Option<&'a serde_json::value::RawValue>,
}

fn general(line: &[u8], scratch: &mut Vec<u8>) -> Option<Shape> {
    let record: Record<'_> = serde_json::from_slice(line).ok()?;
    let stream = match &*record.stream {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    scratch.clear();
    let mut keep = |bytes: &[u8]| {
        let start = scratch.len();
        scratch.extend_from_slice(bytes);
        Place::Scratch(start..scratch.len())
    };
    let log = keep(record.log.as_bytes());
    let time = keep(record.time.as_bytes());
    let attrs = record.attrs.map(|raw| keep(raw.get().as_bytes()));
    Some(Shape {
        stream,
        log,
        time,
        attrs,
    })
}

/// Reads `2006-01-02T15:04:05[.9…]Z` without allocating; `None` for every other form.
fn time(text: &[u8]) -> Option<Timestamp> {
    let body = text.strip_suffix(b"Z")?;
    let number = |from: usize, to: usize| {
        body.get(from..to)?.iter().try_fold(0i64, |value, digit| {
            digit
                .is_ascii_digit()
                .then(|| value * 10 + i64::from(digit - b'0'))
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, c)| body.get(at) != Some(&c)) {
        return None;
    }
    let nanos = match body.get(19..)? {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let scale = 10i64.pow(9 - u32::try_from(digits.len()).ok()?);
            number(20, body.len())? * scale
        }
        _ => return None,
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since the epoch by Hinnant's algorithm: years begin in March, eras have 400 years.
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    let seconds = days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(Timestamp::from_unix(seconds, u32::try_from(nanos).ok()?))
}
