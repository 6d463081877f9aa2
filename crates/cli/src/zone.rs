//! The local time zone, from the system's TZif files.
//!
//! See [RFC 8536](https://www.rfc-editor.org/rfc/rfc8536). `$TZ` names a zone or a file, else
//! `/etc/localtime` counts, else UTC. Beyond the last listed change the rule at the file's end
//! holds.

use std::env;
use std::path::{Path, PathBuf};

use crate::clock::{Civil, days};

/// A file larger than this is no time zone.
const MAX_FILE: usize = 1 << 20;

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone {
    // From this second on, this kind.
    changes: Vec<(i64, Kind)>,
    first: Kind,
    rule: Option<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Kind {
    offset: i64,
    name: String,
}

#[derive(Debug, Clone)]
struct Rule {
    standard: Kind,
    summer: Option<(Kind, Day, Day)>,
}

/// A day of a year in a rule, with seconds from midnight.
#[derive(Debug, Clone, Copy)]
enum Day {
    Julian(i64, i64),
    Zero(i64, i64),
    Month {
        month: i64,
        week: i64,
        weekday: i64,
        time: i64,
    },
}

impl Zone {
    /// Universal time.
    pub fn utc() -> Self {
        Self {
            changes: Vec::new(),
            first: Kind {
                offset: 0,
                name: "UTC".to_owned(),
            },
            rule: None,
        }
    }

    /// The zone of this process; universal time where none can be read.
    pub fn local() -> Self {
        let file = match env::var("TZ") {
            Ok(name) if name.is_empty() => return Self::utc(),
            Ok(name) => match name.strip_prefix(':').unwrap_or(&name) {
                path if path.starts_with('/') => PathBuf::from(path),
                name => Path::new("/usr/share/zoneinfo").join(name),
            },
            Err(_) => PathBuf::from("/etc/localtime"),
        };
        let bytes = std::fs::read(file).unwrap_or_default();
        Self::parse(&bytes).unwrap_or_else(Self::utc)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_FILE || bytes.get(..4)? != b"TZif" {
            return None;
        }
        let counts = |at: usize| -> Option<[usize; 6]> {
            let mut out = [0; 6];
            for (i, slot) in out.iter_mut().enumerate() {
                let field = bytes.get(at + 20 + i * 4..at + 24 + i * 4)?;
                *slot = usize::try_from(u32::from_be_bytes(field.try_into().ok()?)).ok()?;
            }
            Some(out)
        };
        // Version 1 holds times of 32 bits; what follows holds the same with 64.
        let [utc, std, leap, times, types, chars] = counts(0)?;
        let (start, width) = match bytes.get(4)? {
            0 => (0, 4),
            _ => (44 + times * 5 + types * 6 + chars + leap * 8 + std + utc, 8),
        };
        let [utc, std, leap, times, types, chars] = counts(start)?;
        let at_times = start + 44;
        let at_index = at_times + times * width;
        let at_types = at_index + times;
        let at_chars = at_types + types * 6;
        let end = at_chars + chars + leap * (width + 4) + std + utc;
        let kind = |i: usize| -> Option<Kind> {
            let entry = bytes.get(at_types + i * 6..at_types + i * 6 + 6)?;
            let offset = i32::from_be_bytes(entry[..4].try_into().ok()?);
            let name = bytes.get(at_chars + usize::from(entry[5])..at_chars + chars)?;
            let name = name.split(|b| *b == 0).next()?;
            Some(Kind {
                offset: offset.into(),
                name: String::from_utf8_lossy(name).into_owned(),
            })
        };
        let mut changes = Vec::with_capacity(times.min(MAX_FILE));
        for i in 0..times {
            let field = bytes.get(at_times + i * width..at_times + (i + 1) * width)?;
            let at = match width {
                4 => i64::from(i32::from_be_bytes(field.try_into().ok()?)),
                _ => i64::from_be_bytes(field.try_into().ok()?),
            };
            changes.push((at, kind(usize::from(*bytes.get(at_index + i)?))?));
        }
        let footer = bytes.get(end..).unwrap_or_default();
        let rule = std::str::from_utf8(footer)
            .ok()
            .and_then(|text| parse_rule(text.trim_matches('\n')));
        Some(Self {
            changes,
            first: kind(0)?,
            rule,
        })
    }

    /// The offset in seconds and the name in force at a moment.
    pub fn at(&self, seconds: i64) -> (i64, &str) {
        let after = self.changes.partition_point(|(at, _)| *at <= seconds);
        let kind = match (after, &self.rule) {
            (n, Some(rule)) if n == self.changes.len() => rule.at(seconds),
            (0, _) => &self.first,
            (n, _) => &self.changes[n - 1].1,
        };
        (kind.offset, &kind.name)
    }

    /// The offset in force at a local time.
    pub fn at_local(&self, local: i64) -> i64 {
        let guess = self.at(local).0;
        self.at(local - guess).0
    }
}

impl Rule {
    fn at(&self, seconds: i64) -> &Kind {
        let Some((summer, start, end)) = &self.summer else {
            return &self.standard;
        };
        let year = Civil::of(seconds + self.standard.offset).year();
        let start = start.seconds(year) - self.standard.offset;
        let end = end.seconds(year) - summer.offset;
        let inside = match start < end {
            true => (start..end).contains(&seconds),
            false => !(end..start).contains(&seconds),
        };
        if inside { summer } else { &self.standard }
    }
}

impl Day {
    fn seconds(self, year: i64) -> i64 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let january = days(year, 1, 1);
        let (day, time) = match self {
            Self::Julian(n, time) => (january + n - 1 + i64::from(leap && n >= 60), time),
            Self::Zero(n, time) => (january + n, time),
            Self::Month {
                month,
                week,
                weekday,
                time,
            } => {
                let first = days(year, month, 1);
                // The epoch was a Thursday.
                let first_weekday = (first + 4).rem_euclid(7);
                let mut day = first + (weekday - first_weekday).rem_euclid(7) + (week - 1) * 7;
                let next = if month == 12 {
                    days(year + 1, 1, 1)
                } else {
                    days(year, month + 1, 1)
                };
                while day >= next {
                    day -= 7;
                }
                (day, time)
            }
        };
        day * 86_400 + time
    }
}

// `CET-1CEST,M3.5.0,M10.5.0/3`
fn parse_rule(text: &str) -> Option<Rule> {
    let mut rest = text;
    let name = take_name(&mut rest)?;
    let offset = -take_time(&mut rest)?;
    let standard = Kind { offset, name };
    if rest.is_empty() {
        return Some(Rule {
            standard,
            summer: None,
        });
    }
    let name = take_name(&mut rest)?;
    let summer_offset = match rest.starts_with(',') {
        true => offset + 3600,
        false => -take_time(&mut rest)?,
    };
    let (start, end) = rest.strip_prefix(',')?.split_once(',')?;
    let summer = Kind {
        offset: summer_offset,
        name,
    };
    Some(Rule {
        standard,
        summer: Some((summer, parse_day(start)?, parse_day(end)?)),
    })
}

fn take_name(rest: &mut &str) -> Option<String> {
    let (name, after) = match rest.strip_prefix('<') {
        Some(inner) => inner.split_once('>')?,
        None => rest.split_at(
            rest.find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(rest.len()),
        ),
    };
    *rest = after;
    (!name.is_empty()).then(|| name.to_owned())
}

fn take_time(rest: &mut &str) -> Option<i64> {
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || "+-:".contains(c)))
        .unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    *rest = after;
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut total = 0;
    for (part, scale) in text.split(':').zip([3600, 60, 1]) {
        total += part.parse::<i64>().ok()? * scale;
    }
    Some(sign * total)
}

fn parse_day(text: &str) -> Option<Day> {
    let (day, time) = text.split_once('/').unwrap_or((text, "2"));
    let time = take_time(&mut &*time)?;
    if let Some(day) = day.strip_prefix('J') {
        return Some(Day::Julian(day.parse().ok()?, time));
    }
    let Some(day) = day.strip_prefix('M') else {
        return Some(Day::Zero(day.parse().ok()?, time));
    };
    let parts: Vec<i64> = day
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    match parts.as_slice() {
        [month @ 1..=12, week @ 1..=5, weekday @ 0..=6] => Some(Day::Month {
            month: *month,
            week: *week,
            weekday: *weekday,
            time,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let rule = parse_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let zone = Zone {
            changes: Vec::new(),
            first: rule.standard.clone(),
            rule: Some(rule),
        };
        // 2025-01-15, 2025-07-15, and the second around the change of 2025-03-30 01:00 UTC.
        assert_eq!(zone.at(1_736_899_200), (3600, "CET"));
        assert_eq!(zone.at(1_752_537_600), (7200, "CEST"));
        assert_eq!(zone.at(1_743_296_399), (3600, "CET"));
        assert_eq!(zone.at(1_743_296_400), (7200, "CEST"));
        // Where it is summer at new year.
        let rule = parse_rule("<-03>3<-02>,M10.1.0,M2.3.0").unwrap();
        let zone = Zone {
            changes: Vec::new(),
            first: rule.standard.clone(),
            rule: Some(rule),
        };
        assert_eq!(zone.at(1_736_899_200), (-7200, "-02"));
        assert_eq!(zone.at(1_752_537_600), (-10_800, "-03"));
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        assert!(Zone::parse(b"").is_none());
        assert!(Zone::parse(b"TZif2").is_none());
        assert!(parse_rule("").is_none());
        assert!(parse_rule("X1Y,M13.1.1,M1.1.1").is_none());
    }
}
