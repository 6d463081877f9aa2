//! What values flags take, and how a value is checked.

use std::net::IpAddr;
use std::time;

use engine::config::Floor;

use crate::listen::Host;
use Kind::{
    Address, Bool, Bytes, Choice, DriverOptions, Duration, Gateways, Int, List, Map, Pool, Servers,
    Space, Text, Ulimit,
};

/// What values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// Any text.
    Text,
    /// A size, `64m`.
    Bytes,
    /// Texts, one per flag.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A time in Go's form: `1h30m`.
    Duration,
    /// Space on a disk: a size, or a percentage.
    Space,
    /// `key=value`, one per flag.
    Map,
    /// `name=soft[:hard]`, one per flag.
    Ulimit,
    /// `base=…,size=…`, one per flag.
    Pool,
    /// An IP address.
    Address,
    /// Addresses of name servers, one or more per flag.
    Servers,
    /// Addresses of the host, one per flag.
    Gateways,
    /// `driver=key=value`, one per flag.
    DriverOptions,
    /// Addresses to listen at.
    Hosts,
    /// Labels of the daemon.
    Labels,
}

impl Kind {
    /// Whether each use adds a value.
    pub fn repeats(self) -> bool {
        matches!(
            self,
            List | Map
                | Ulimit
                | Pool
                | Servers
                | Gateways
                | DriverOptions
                | Self::Hosts
                | Self::Labels
        )
    }

    /// Word for the value in help.
    pub fn word(self) -> &'static str {
        match self {
            Bool => "",
            Int => "int",
            Text | Choice(_) => "string",
            Duration => "duration",
            Space => "size",
            Bytes => "bytes",
            Address => "ip",
            Servers => "ipSlice",
            List | Gateways | Self::Hosts | Self::Labels => "list",
            DriverOptions => "mapmap",
            Map => "map",
            Ulimit => "ulimit",
            Pool => "pool-options",
        }
    }

    /// Checks a value and brings it to one form.
    ///
    /// # Errors
    ///
    /// The value has the wrong form; the text is Go's.
    pub fn check(self, value: &str) -> Result<String, String> {
        let syntax = |what: &str, part: &str| {
            format!("strconv.Parse{what}: parsing {part:?}: invalid syntax")
        };
        match self {
            Bool => match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
                _ => Err(syntax("Bool", value)),
            },
            Int => value
                .parse::<i64>()
                .map(|n| n.to_string())
                .map_err(|_| syntax("Int", value)),
            Bytes => parse_bytes(value)
                .map(|n| n.to_string())
                .ok_or_else(|| format!("invalid size: '{value}'")),
            Self::Hosts => value
                .parse::<Host>()
                .map(|_| value.to_owned())
                .map_err(|e| e.to_string()),
            Self::Labels => match value.split_once('=') {
                Some((key, text)) if !key.is_empty() && !text.is_empty() => Ok(value.to_owned()),
                _ => Err(format!("bad attribute format: {value}")),
            },
            Ulimit => {
                let (_, limits) = value
                    .split_once('=')
                    .ok_or_else(|| format!("invalid ulimit argument: {value}"))?;
                for part in limits.splitn(2, ':') {
                    part.parse::<i64>().map_err(|_| syntax("Int", part))?;
                }
                Ok(value.to_owned())
            }
            Choice(words) if words.contains(&value) => Ok(value.to_owned()),
            Choice(words) => Err(format!("{value:?} is none of {}", words.join(", "))),
            Duration => match parse_duration(value) {
                Some(_) => Ok(value.to_owned()),
                None => Err(format!("time: invalid duration {value:?}")),
            },
            Space => match parse_floor(value) {
                Some(_) => Ok(value.to_owned()),
                None => Err(format!("{value:?} is neither a size nor a percentage")),
            },
            Pool => parse_pool(value).map(|(base, size)| format!("base={base},size={size}")),
            Address => address(value).ok_or_else(|| format!("failed to parse IP: {value:?}")),
            Gateways => {
                address(value).ok_or_else(|| format!("ParseAddr({value:?}): unable to parse IP"))
            }
            Servers => {
                let one = |text: &str| {
                    address(text).ok_or_else(|| {
                        format!("invalid string being converted to IP address: {text}")
                    })
                };
                let servers: Vec<String> = value.split(',').map(one).collect::<Result<_, _>>()?;
                Ok(servers.join(","))
            }
            DriverOptions => match value.splitn(3, '=').collect::<Vec<_>>().as_slice() {
                [driver, key, _] if !driver.is_empty() && !key.is_empty() => Ok(value.to_owned()),
                _ => Err(format!(
                    "invalid value {value:?} for map option, should be root-key=key=value"
                )),
            },
            Text | List | Map => Ok(value.to_owned()),
        }
    }
}

/// An address in its shortest form; an empty text stays empty.
fn address(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    let address: IpAddr = text.trim().parse().ok()?;
    Some(address.to_canonical().to_string())
}

/// Reads a pool of addresses: `base=10.0.0.0/8,size=24`.
pub fn parse_pool(value: &str) -> Result<(String, u8), String> {
    let (mut base, mut size) = (None, None);
    for part in value.split(',') {
        match part.trim().split_once('=') {
            Some(("base", text)) => match text.split_once('/') {
                None => {
                    return Err(format!(
                        "invalid base prefix {text:?}: netip.ParsePrefix({text:?}): no '/'"
                    ));
                }
                Some((ip, len))
                    if ip.parse::<std::net::IpAddr>().is_ok()
                        && len.parse::<u8>().is_ok_and(|n| n <= 128) =>
                {
                    base = Some(text.to_owned());
                }
                Some(_) => return Err(format!("invalid base prefix {text:?}")),
            },
            Some(("size", text)) => {
                size = Some(
                    text.parse::<u8>()
                        .map_err(|_| format!("invalid size value: {text}"))?,
                );
            }
            Some((key, _)) => return Err(format!("unexpected key '{key}' in '{value}'")),
            None => return Err(format!("invalid field '{part}' must be a key=value pair")),
        }
    }
    match (base, size) {
        (Some(base), Some(size)) => Ok((base, size)),
        _ => Err(format!("'{value}' needs base and size")),
    }
}

/// Reads a size with an optional unit of 1024: `64m`, `1gb`, `512KiB`.
pub fn parse_bytes(text: &str) -> Option<i64> {
    let lower = text.trim().to_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(lower.len());
    let number: i64 = lower[..digits].parse().ok()?;
    let shift = match lower[digits..].trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Reads a time in Go's form, `1h30m`, `90s`, `1.5h`; none below zero.
pub fn parse_duration(text: &str) -> Option<time::Duration> {
    if text == "0" {
        return Some(time::Duration::ZERO);
    }
    let mut sum = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |n| digits + n);
        let seconds = match &rest[digits..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += number * seconds;
        rest = &rest[unit..];
    }
    if text.is_empty() {
        return None;
    }
    time::Duration::try_from_secs_f64(sum).ok()
}

/// Reads space to keep free: `10GB`, `5%`, or `0` for none.
pub fn parse_floor(text: &str) -> Option<Floor> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u8 = percent.trim().parse().ok()?;
        return (percent < 100).then_some(match percent {
            0 => Floor::None,
            _ => Floor::Percent(percent),
        });
    }
    match u64::try_from(parse_bytes(text)?).ok()? {
        0 => Some(Floor::None),
        bytes => Some(Floor::Bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_pools() {
        assert_eq!(parse_bytes("64m"), Some(64 << 20));
        assert_eq!(parse_bytes("1GiB"), Some(1 << 30));
        assert_eq!(parse_bytes("x"), None);
        assert_eq!(parse_bytes("9999999999t"), None);
        assert_eq!(
            parse_pool("base=10.0.0.0/8,size=24"),
            Ok(("10.0.0.0/8".to_owned(), 24))
        );
        assert_eq!(
            parse_pool("base=foo").unwrap_err(),
            "invalid base prefix \"foo\": netip.ParsePrefix(\"foo\"): no '/'"
        );
    }

    #[test]
    fn addresses_and_options() {
        assert_eq!(Address.check("::FFFF:1.2.3.4"), Ok("1.2.3.4".to_owned()));
        assert_eq!(Address.check(""), Ok(String::new()));
        assert_eq!(Address.check("x").unwrap_err(), "failed to parse IP: \"x\"");
        assert_eq!(Servers.check("1.1.1.1,::1"), Ok("1.1.1.1,::1".to_owned()));
        assert_eq!(
            Servers.check("1.1.1.1,x").unwrap_err(),
            "invalid string being converted to IP address: x"
        );
        assert_eq!(
            Gateways.check("x").unwrap_err(),
            "ParseAddr(\"x\"): unable to parse IP"
        );
        assert!(DriverOptions.check("bridge=a=b=c").is_ok());
        for bad in ["bridge", "bridge=x", "=a=b", "bridge==b"] {
            assert_eq!(
                DriverOptions.check(bad).unwrap_err(),
                format!("invalid value {bad:?} for map option, should be root-key=key=value")
            );
        }
    }

    #[test]
    fn times_and_floors() {
        let seconds = |text| parse_duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1.5s"), Some(1.5));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds("0"), Some(0.0));
        for bad in ["", "5", "h", "-1h", "1d", "1h 2m", "1..5s"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(parse_floor("5%"), Some(Floor::Percent(5)));
        assert_eq!(parse_floor("10GB"), Some(Floor::Bytes(10 << 30)));
        assert_eq!(parse_floor("0"), Some(Floor::None));
        for bad in ["", "100%", "x", "-1%"] {
            assert_eq!(parse_floor(bad), None, "{bad}");
        }
    }
}
