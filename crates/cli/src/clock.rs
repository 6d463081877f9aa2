//! The time of day, local time, and the moments users write in `--since` and `--until`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::units;
use crate::zone::Zone;

/// Nanoseconds since the Unix epoch.
pub fn now_nanos() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Seconds since the Unix epoch.
pub fn now() -> i64 {
    now_nanos().div_euclid(1_000_000_000)
}

/// How long ago that second was, in words.
pub fn ago(seconds: i64) -> String {
    format!("{} ago", units::human_duration(now() - seconds))
}

/// A moment's date and time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// The date and time of a number of seconds since the epoch, offset already added.
    pub fn of(seconds: i64) -> Self {
        // Howard Hinnant's `civil_from_days`: eras of 400 years that start in March.
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let doe = shifted.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        Self {
            year: yoe + era * 400 + i64::from(month <= 2),
            month,
            day: doy - (153 * mp + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// Seconds since the epoch, if this is a time at offset zero.
    pub fn seconds(self) -> i64 {
        days(self.year, self.month, self.day) * 86_400
            + self.hour * 3600
            + self.minute * 60
            + self.second
    }

    /// The year.
    pub fn year(self) -> i64 {
        self.year
    }

    fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    fn time(self) -> String {
        format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

/// Days from the epoch to a date.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn offset_text(offset: i64, colon: &str) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    format!(
        "{sign}{:02}{colon}{:02}",
        offset.abs() / 3600,
        offset.abs() / 60 % 60
    )
}

/// Go's `Time.String` in local time: `2006-01-02 15:04:05 +0000 UTC`.
pub fn go_string(seconds: i64, zone: &Zone) -> String {
    let (offset, name) = zone.at(seconds);
    let civil = Civil::of(seconds + offset);
    format!(
        "{} {} {} {name}",
        civil.date(),
        civil.time(),
        offset_text(offset, "")
    )
}

/// RFC 3339 in local time, without a fraction.
pub fn rfc3339(seconds: i64, zone: &Zone) -> String {
    rfc3339_fraction(seconds, "", zone)
}

/// RFC 3339 in local time with nine digits of fraction.
pub fn rfc3339_nanos(nanos: i64, zone: &Zone) -> String {
    let fraction = format!(".{:09}", nanos.rem_euclid(1_000_000_000));
    rfc3339_fraction(nanos.div_euclid(1_000_000_000), &fraction, zone)
}

fn rfc3339_fraction(seconds: i64, fraction: &str, zone: &Zone) -> String {
    let (offset, _) = zone.at(seconds);
    let civil = Civil::of(seconds + offset);
    let place = if offset == 0 {
        "Z".to_owned()
    } else {
        offset_text(offset, ":")
    };
    format!("{}T{}{fraction}{place}", civil.date(), civil.time())
}

/// The day and time of `version` and `info`: `Mon Jan  2 15:04:05 2006`.
pub fn ansi(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let civil = Civil::of(seconds);
    let day = usize::try_from(seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let month = usize::try_from(civil.month - 1).unwrap_or(0);
    format!(
        "{} {} {:2} {} {}",
        DAYS[day],
        MONTHS[month],
        civil.day,
        civil.time(),
        civil.year
    )
}

/// Reads RFC 3339 into seconds and nanoseconds.
pub fn parse_rfc3339(text: &str) -> Option<(i64, i64)> {
    let moment = parse_moment(text, None)?;
    Some(moment)
}

// A date, with what may follow: time, fraction, offset. Without an offset, local time.
fn parse_moment(text: &str, zone: Option<&Zone>) -> Option<(i64, i64)> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let mark = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    if !(mark(4, b'-') && mark(7, b'-')) {
        return None;
    }
    let mut civil = Civil {
        year: number(0, 4)?,
        month: number(5, 7)?,
        day: number(8, 10)?,
        hour: 0,
        minute: 0,
        second: 0,
    };
    let mut at = 10;
    let mut nanos = 0;
    if mark(10, b'T') {
        civil.hour = number(11, 13)?;
        at = 13;
        if mark(13, b':') {
            civil.minute = number(14, 16)?;
            at = 16;
            if mark(16, b':') {
                civil.second = number(17, 19)?;
                at = 19;
            }
        }
        if mark(at, b'.') {
            let rest = &text[at + 1..];
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len())
                .min(9);
            nanos = format!("{:0<9}", &rest[..digits]).parse().ok()?;
            at += 1 + digits;
        }
    }
    let plausible = (1..=12).contains(&civil.month)
        && (1..=31).contains(&civil.day)
        && civil.hour < 24
        && civil.minute < 60
        && civil.second < 60;
    if !plausible {
        return None;
    }
    let seconds = civil.seconds();
    match &text[at..] {
        "Z" => Some((seconds, nanos)),
        "" => Some((seconds - zone?.at_local(seconds), nanos)),
        offset => {
            let sign = match offset.as_bytes() {
                [b'+', ..] => 1,
                [b'-', ..] => -1,
                _ => return None,
            };
            let digits = offset[1..].replace(':', "");
            let value: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
            Some((
                seconds - sign * (value / 100 * 3600 + value % 100 * 60),
                nanos,
            ))
        }
    }
}

/// What the API wants for a user's `--since`: durations count back from now, dates become seconds.
///
/// # Errors
///
/// Docker's text for a date that is none.
pub fn timestamp(value: &str, zone: &Zone) -> Result<String, String> {
    if let Ok(span) = units::duration(value) {
        let at = now_nanos().saturating_sub(span);
        return Ok(format!("{}", at.div_euclid(1_000_000_000)));
    }
    if value.contains(['-', 'T', ':', 'Z']) && !value.starts_with('-') {
        return match parse_moment(value, Some(zone)) {
            Some((seconds, nanos)) => Ok(format!("{seconds}.{nanos:09}")),
            None => Err(format!(
                "failed to parse value as time or duration: {value:?}"
            )),
        };
    }
    let (seconds, nanos) = value.split_once('.').unwrap_or((value, "0"));
    if seconds.parse::<i64>().is_err() || nanos.parse::<i64>().is_err() {
        return Err(format!(
            "failed to parse value as time or duration: {value:?}"
        ));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let utc = Zone::utc();
        assert_eq!(
            go_string(1_700_000_000, &utc),
            "2023-11-14 22:13:20 +0000 UTC"
        );
        assert_eq!(rfc3339(0, &utc), "1970-01-01T00:00:00Z");
        assert_eq!(
            rfc3339_nanos(1_700_000_000_000_000_005, &utc),
            "2023-11-14T22:13:20.000000005Z"
        );
        assert_eq!(ansi(1_748_606_834), "Fri May 30 12:07:14 2025");
    }

    #[test]
    fn moments() {
        let utc = Zone::utc();
        for (text, want) in [
            ("2013-01-02T13:23:37Z", "1357133017.000000000"),
            ("2013-01-02T13:23:37.5+01:00", "1357129417.500000000"),
            ("2013-01-02T13:23", "1357132980.000000000"),
            ("2013-01-02", "1357084800.000000000"),
            ("1357133017", "1357133017"),
            ("1357133017.25", "1357133017.25"),
        ] {
            assert_eq!(timestamp(text, &utc), Ok(want.to_owned()), "{text}");
        }
        assert!(timestamp("2013-13-02", &utc).is_err());
        assert!(timestamp("yesterday", &utc).is_err());
        let back: i64 = timestamp("1h", &utc).unwrap().parse().unwrap();
        assert!((now() - 3600 - back).abs() <= 1);
    }
}
