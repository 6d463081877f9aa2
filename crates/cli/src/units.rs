//! Sizes and durations for people, as go-units writes and reads them.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Four digits, powers of 1000: `4.429MB`.
pub fn human_size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 4)
}

/// Three digits, powers of 1000: `4.43MB`.
pub fn human_size3(bytes: f64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// Four digits, powers of 1024: `7.652GiB`.
pub fn bytes_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(mut size: f64, base: f64, names: &[&str], precision: usize) -> String {
    let mut at = 0;
    while size >= base && at < names.len() - 1 {
        size /= base;
        at += 1;
    }
    format!("{}{}", general(size, precision), names[at])
}

/// C's `%.{precision}g`.
pub fn general(value: f64, precision: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let precision = precision.max(1);
    let text = format!("{value:.*e}", precision - 1);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(digits), exponent.abs());
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    trim(&format!("{value:.decimals$}"))
}

/// How long, roughly: `About a minute`, `3 weeks`.
pub fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800).div_euclid(3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Reads a size in powers of 1024: `512m`, `1.5GiB`, `1024`.
pub fn ram_in_bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(invalid)?;
    let (number, suffix) = (text[..=last].trim_end_matches(' '), &text[last + 1..]);
    let number = if text[last..].starts_with(' ') {
        &text[..last]
    } else {
        number
    };
    let size: f64 = number
        .parse()
        .map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if size < 0.0 {
        return Err(invalid());
    }
    let lower = suffix.to_lowercase();
    let bad = || format!("invalid suffix: '{lower}'");
    let (unit, tail) = match lower.chars().next() {
        None => return Ok(truncate(size)),
        Some(first) => (first, &lower[first.len_utf8()..]),
    };
    let power = match unit {
        'b' if tail.is_empty() => 0,
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        'p' => 5,
        _ => return Err(bad()),
    };
    if !matches!(tail, "" | "b" | "ib") {
        return Err(bad());
    }
    Ok(truncate(size * 1024_f64.powi(power)))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, which is what is wanted"
)]
fn truncate(size: f64) -> i64 {
    size as i64
}

/// Reads Go's durations, such as `1h2m3.5s` and `-1.5m`, into nanoseconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_len = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = &rest[..unit_len];
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * scale;
        rest = &rest[unit_len..];
    }
    Ok(truncate(sign * total))
}

/// Reads a number of CPUs into billionths: `1.5` is 1 500 000 000.
pub fn nano_cpus(text: &str) -> Result<i64, String> {
    let syntax = || format!("failed to parse {text} as a rational number");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    if !digits(unsigned) || !digits(part) || (unsigned.is_empty() && part.is_empty()) {
        return Err(syntax());
    }
    if part.trim_end_matches('0').len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let part = format!("{part:0<9}");
    let number: i64 = if unsigned.is_empty() {
        0
    } else {
        unsigned.parse().map_err(|_| syntax())?
    };
    let nanos: i64 = part[..9].parse().map_err(|_| syntax())?;
    let total = number
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(nanos))
        .ok_or_else(syntax)?;
    Ok(if whole.starts_with('-') {
        -total
    } else {
        total
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, four, three, binary) in [
            (0.0, "0B", "0B", "0B"),
            (999.0, "999B", "999B", "999B"),
            (1000.0, "1kB", "1kB", "1000B"),
            (4_429_123.0, "4.429MB", "4.43MB", "4.224MiB"),
            (7_797_760.0, "7.798MB", "7.8MB", "7.437MiB"),
            (999_999.0, "1000kB", "1e+03kB", "976.6KiB"),
            (8_216_000_000.0, "8.216GB", "8.22GB", "7.652GiB"),
        ] {
            assert_eq!(human_size(bytes), four);
            assert_eq!(human_size3(bytes), three);
            assert_eq!(bytes_size(bytes), binary);
        }
    }

    #[test]
    fn durations_for_people() {
        let day = 86_400;
        for (seconds, want) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (day, "24 hours"),
            (2 * day, "2 days"),
            (13 * day, "13 days"),
            (14 * day, "2 weeks"),
            (60 * day, "2 months"),
            (729 * day, "24 months"),
            (731 * day, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn sizes_read() {
        for (text, want) in [
            ("1024", 1024),
            ("512m", 512 << 20),
            ("1.5G", 3 << 29),
            ("1 kb", 1024),
            ("2KiB", 2048),
            ("10b", 10),
            ("0", 0),
        ] {
            assert_eq!(ram_in_bytes(text), Ok(want), "{text}");
        }
        assert_eq!(ram_in_bytes("x"), Err("invalid size: 'x'".to_owned()));
        assert_eq!(ram_in_bytes("-1m"), Err("invalid size: '-1m'".to_owned()));
        assert_eq!(ram_in_bytes("1zb"), Err("invalid suffix: 'zb'".to_owned()));
        assert_eq!(ram_in_bytes("1mi"), Err("invalid suffix: 'mi'".to_owned()));
    }

    #[test]
    fn durations_read() {
        assert_eq!(duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(duration("-10ms"), Ok(-10_000_000));
        assert_eq!(duration("0"), Ok(0));
        assert_eq!(
            duration("5"),
            Err("time: missing unit in duration \"5\"".to_owned())
        );
        assert_eq!(
            duration("5x"),
            Err("time: unknown unit \"x\" in duration \"5x\"".to_owned())
        );
        assert_eq!(duration(""), Err("time: invalid duration \"\"".to_owned()));
    }

    #[test]
    fn cpus() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(
            nano_cpus("1.0000000001"),
            Err("value is too precise".to_owned())
        );
        assert_eq!(
            nano_cpus("a"),
            Err("failed to parse a as a rational number".to_owned())
        );
    }
}
