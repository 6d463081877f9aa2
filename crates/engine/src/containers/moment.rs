//! Moments as filters name them: `until` of the prunes and lists.
//!
//! ```text
//! 2020-01-01T10:00:00.5+02:00   2020-01-01T10:00   2020-01-01   1h30m (before now)   1577836800.5
//! ```
//!
//! A moment without a zone is one in UTC.

use spec::Timestamp;

use crate::filters::Filters;
use crate::{Error, Result, clock};

/// Reads the filter `until`.
///
/// # Errors
///
/// No moment, or several.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    let Some(values) = filters.get("until") else {
        return Ok(None);
    };
    let bad = |text: &str| {
        Error::invalid(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    };
    let mut values = values.iter();
    match (values.next(), values.next()) {
        (Some(text), None) => moment(text, clock::now())
            .map(Some)
            .ok_or_else(|| bad(text)),
        _ => Err(Error::invalid("more than one until filter specified")),
    }
}

fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    // A bare 0 is the epoch, not a length of time.
    if let Some(nanos) = duration(text).filter(|_| text != "0") {
        return before(now, nanos);
    }
    calendar(text).or_else(|| unix(text))
}

/// RFC 3339 of which time, minutes, seconds and zone may be missing.
fn calendar(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    if !(time.is_empty() || time.starts_with('T')) {
        return None;
    }
    let zone = if zone.is_empty() { "Z" } else { zone };
    let missing = match (time, time.matches(':').count()) {
        ("", _) => "T00:00:00",
        (_, 0) => ":00:00",
        (_, 1) => ":00",
        _ => "",
    };
    format!("{date}{time}{missing}{zone}").parse().ok()
}

/// `seconds[.nanos]` since the epoch.
fn unix(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if text.contains('-') || !fraction.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    Some(Timestamp::from_unix(
        whole.parse().ok()?,
        digits.parse().ok()?,
    ))
}

fn before(now: Timestamp, nanos: i64) -> Option<Timestamp> {
    let then = now.unix_nanos().checked_sub(nanos)?;
    let rest = u32::try_from(then.rem_euclid(1_000_000_000)).ok()?;
    Some(Timestamp::from_unix(then.div_euclid(1_000_000_000), rest))
}

/// Nanoseconds of Go's `1h30m`, `10s`, `-1.5h`.
fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let digits = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(is_number).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    // Rounding a length of time to the nanosecond is all the cast does.
    (total < i64::MAX as f64).then_some(sign * total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_every_spelling() {
        let now = Timestamp::from_unix(1_000_000, 0);
        let read = |text: &str| moment(text, now).map(|t| t.unix_seconds());
        for (text, seconds) in [
            ("1970-01-01T00:00:10Z", 10),
            ("1970-01-01T00:00:10.5Z", 10),
            ("1970-01-01T02:00:10+02:00", 10),
            ("1970-01-01T00:00:10", 10),
            ("1970-01-01T00:00:10.25", 10),
            ("1970-01-01T00:01", 60),
            ("1970-01-01T00:01Z", 60),
            ("1970-01-01T01", 3600),
            ("1970-01-02", 86_400),
            ("1970-01-02Z", 86_400),
            ("1970-01-02-01:00", 90_000),
            ("0", 0),
            ("10", 10),
            ("10.5", 10),
            ("1h30m", 1_000_000 - 5400),
            ("1.5s", 999_998),
            ("+1m", 1_000_000 - 60),
            ("-1m", 1_000_000 + 60),
            ("0s", 1_000_000),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for bad in [
            "",
            "x",
            "1x",
            "h",
            "-",
            "+",
            ".",
            "-10",
            "1970-01",
            "1970-13-01",
            "1970-01-01 10:00",
            "1970-01-01T",
            "9999999999h",
            "äääääääääää",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
