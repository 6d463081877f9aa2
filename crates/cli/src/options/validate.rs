//! Checks of single values, with Docker's words.

use std::net::IpAddr;

/// A stream for `--attach`.
pub fn stream(text: &str) -> Result<(), String> {
    match text.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// A variable for `--env`.
pub fn env(text: &str) -> Result<(), String> {
    match text.split('=').next() {
        Some("") | None => Err(format!("invalid environment variable: {text}")),
        Some(_) => Ok(()),
    }
}

/// A label.
pub fn label(text: &str) -> Result<(), String> {
    let key = text
        .split('=')
        .next()
        .unwrap_or_default()
        .trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

/// An address, in its shortest form.
pub fn ip(text: &str) -> Result<String, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical().to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// The same, as a check.
pub fn is_ip(text: &str) -> Result<(), String> {
    ip(text).map(drop)
}

/// `host:address` or `host=address`, as the API wants it: with a colon and without brackets.
pub fn add_host(text: &str) -> Result<String, String> {
    let (host, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(host, _)| !host.is_empty() && !host.contains(':'))
        .ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    if address == "host-gateway" {
        return Ok(format!("{host}:{address}"));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .filter(|inner| !inner.is_empty())
        .unwrap_or(address);
    match ip(bare) {
        Ok(_) => Ok(format!("{host}:{bare}")),
        Err(_) => Err(format!("invalid IP address in add-host: {bare:?}")),
    }
}

/// The same, as a check.
pub fn is_add_host(text: &str) -> Result<(), String> {
    add_host(text).map(drop)
}

/// A search domain, without blanks around it and without a dot at its end.
pub fn domain(text: &str) -> Result<String, String> {
    let trimmed = text.trim_matches(' ');
    if trimmed == "." {
        return Ok(trimmed.to_owned());
    }
    let bare = trimmed.trim_end();
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let labels = bare.split('.');
    let good = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let has_letter = trimmed.chars().any(|c| c.is_ascii_alphabetic());
    if has_letter && bare.len() < 255 && labels.into_iter().all(good) {
        return Ok(bare.to_owned());
    }
    Err(format!("{trimmed} is not a valid domain"))
}

/// The same, as a check.
pub fn is_domain(text: &str) -> Result<(), String> {
    domain(text).map(drop)
}

/// `container[:alias]`.
pub fn link(text: &str) -> Result<(), String> {
    match text.split(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".to_owned()),
        1 | 2 => Ok(()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

/// A kernel parameter that belongs to a namespace.
pub fn sysctl(text: &str) -> Result<(), String> {
    const NAMES: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let allowed = |key: &str| {
        NAMES.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue.")
    };
    match text.split_once('=') {
        Some((key, _)) if allowed(key) => Ok(()),
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// `name=value` of a filter; an empty one is none.
pub fn filter(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains('=') {
        return Ok(());
    }
    Err("bad format of filter (expected name=value)".to_owned())
}

/// A hardware address.
pub fn mac(text: &str) -> bool {
    let bytes = |mark: char| -> bool {
        let parts: Vec<&str> = text.trim().split(mark).collect();
        matches!(parts.len(), 6 | 8 | 20)
            && parts
                .iter()
                .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let dotted: Vec<&str> = text.split('.').collect();
    let is_dotted = matches!(dotted.len(), 3 | 4 | 10)
        && dotted
            .iter()
            .all(|p| p.len() == 4 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    bytes(':') || bytes('-') || is_dotted
}

/// A rule of devices: `c 1:3 rwm`.
pub fn device_rule(text: &str) -> Result<(), String> {
    let mut words = text.split(' ');
    let number = |n: &str| n == "*" || (!n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let good = (|| {
        let (kind, numbers, mode) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let mode_ok = (1..=3).contains(&mode.len()) && mode.bytes().all(|b| b"rwm".contains(&b));
        let all = matches!(kind, "a" | "b" | "c") && number(major) && number(minor) && mode_ok;
        (all && words.next().is_none()).then_some(())
    })();
    good.ok_or_else(|| format!("invalid device cgroup format '{text}'"))
}

/// A size in bytes.
pub fn bytes(text: &str) -> Result<(), String> {
    crate::units::ram_in_bytes(text).map(drop)
}

/// A size in bytes, or -1.
pub fn swap(text: &str) -> Result<(), String> {
    if text == "-1" { Ok(()) } else { bytes(text) }
}

/// A number of CPUs.
pub fn cpus(text: &str) -> Result<(), String> {
    crate::units::nano_cpus(text).map(drop)
}

/// A duration.
pub fn duration(text: &str) -> Result<(), String> {
    crate::units::duration(text).map(drop)
}

/// A number from 0 to 65535.
pub fn uint16(text: &str) -> Result<(), String> {
    let why = match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        true => "value out of range",
        false => "invalid syntax",
    };
    match text.parse::<u16>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("strconv.ParseUint: parsing {text:?}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(add_host("h:1.2.3.4"), Ok("h:1.2.3.4".to_owned()));
        assert_eq!(add_host("h=[::1]"), Ok("h:::1".to_owned()));
        assert_eq!(add_host("h:host-gateway"), Ok("h:host-gateway".to_owned()));
        assert_eq!(
            add_host("nothing"),
            Err("bad format for add-host: \"nothing\"".to_owned())
        );
        assert_eq!(
            add_host("h:1.2"),
            Err("invalid IP address in add-host: \"1.2\"".to_owned())
        );
        assert_eq!(
            add_host("h:[]"),
            Err("invalid IP address in add-host: \"[]\"".to_owned())
        );
    }

    #[test]
    fn single_values() {
        assert!(
            domain("example.com").is_ok()
                && domain(".").is_ok()
                && domain("ex_ample").is_err()
                && domain("1.2").is_err()
        );
        assert!(
            sysctl("net.ipv4.ip_forward=1").is_ok()
                && sysctl("vm.swappiness=1").is_err()
                && sysctl("net.x").is_err()
        );
        assert!(
            device_rule("c *:3 rwm").is_ok()
                && device_rule("x 1:2 r").is_err()
                && device_rule("c 1:2 rwmr").is_err()
        );
        assert!(mac("92:d0:c6:0a:29:33") && !mac("92:d0:c6:0a:29"));
        assert!(mac("0242.ac11.0002") && !mac("0242.ac11") && !mac("0242.ac11.00"));
        assert_eq!(ip(" 2001:0db8::0001"), Ok("2001:db8::1".to_owned()));
        assert_eq!(domain(" example.com. "), Ok("example.com".to_owned()));
        assert!(domain("a..b").is_err() && domain("a..").is_err() && domain("").is_err());
        assert_eq!(
            label("=x"),
            Err("invalid label '=x': empty name".to_owned())
        );
        assert_eq!(link("a:b:c"), Err("bad format for links: a:b:c".to_owned()));
        assert_eq!(
            filter("name"),
            Err("bad format of filter (expected name=value)".to_owned())
        );
        assert_eq!(
            uint16("65536"),
            Err("strconv.ParseUint: parsing \"65536\": value out of range".to_owned())
        );
    }
}
