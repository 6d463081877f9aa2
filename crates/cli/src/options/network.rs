//! `--network name` and `--network name=x,alias=y,ip=…`, with the older flags beside it.

use serde_json::{Map, Value, json};

use super::{csv, validate};
use crate::flags::Parsed;

/// One network to be attached to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Attachment {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    ip: String,
    ip6: String,
    mac: String,
    link_local: Vec<String>,
    driver_options: Vec<String>,
    priority: i64,
}

/// Whether the text names a network.
pub fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<Attachment, String> {
    let mut out = Attachment::default();
    if !is_long(text) {
        text.clone_into(&mut out.target);
        return Ok(out);
    }
    for field in csv(text)? {
        let lower = field.to_lowercase();
        let pair = lower.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| format!("invalid field {field}"))?;
        let (key, value) = (key.trim(), value.trim().to_owned());
        match key {
            "name" => out.target = value,
            "alias" => out.aliases.push(value),
            "ip" => out.ip = value,
            "ip6" => out.ip6 = value,
            "mac-address" => out.mac = value,
            "link-local-ip" => out.link_local.push(value),
            "driver-opt" => match value.split_once('=') {
                Some((key, _)) if !key.is_empty() => out.driver_options.push(value),
                _ => return Err("invalid key value pair format in driver options".to_owned()),
            },
            "gw-priority" => {
                out.priority = priority(&value)?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if out.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(out)
}

// Go's `Atoi`, whose words tell a number that is too long from none.
fn priority(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let why = if is_number {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| format!("invalid gw-priority ({text}): {why}"))
}

// A letter or digit on each side of an equals sign.
fn is_long(text: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices('=')
        .any(|(at, _)| word(text[..at].chars().next_back()) && word(text[at + 1..].chars().next()))
}

fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none" | "nat")
        && !name.starts_with("container:")
}

/// The network mode, and the endpoints of the request.
pub fn endpoints(flags: &Parsed) -> Result<(String, Map<String, Value>), String> {
    let mut wanted = Vec::new();
    for text in merged(flags, "network", "net") {
        wanted.push(parse(&text)?);
    }
    let mut out = Map::new();
    let Some(first) = wanted.first_mut() else {
        let mut attachment = Attachment {
            target: "default".to_owned(),
            ..Attachment::default()
        };
        with_older_flags(&mut attachment, flags)?;
        out.insert("default".to_owned(), endpoint(&attachment)?);
        return Ok(("default".to_owned(), out));
    };
    with_older_flags(first, flags)?;
    let mode = first.target.clone();
    let count = wanted.len();
    let (mut own, mut built_in) = (false, false);
    for attachment in &wanted {
        let target = &attachment.target;
        *(if is_user_defined(target) {
            &mut own
        } else {
            &mut built_in
        }) = true;
        let body = endpoint(attachment)?;
        if out.contains_key(target) {
            return Err(format!("network {target:?} is specified multiple times"));
        }
        // A network without wishes goes by the mode alone.
        if count == 1 && body == plain() {
            continue;
        }
        out.insert(target.clone(), body);
    }
    if own && built_in {
        return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".to_owned());
    }
    Ok((mode, out))
}

/// The values of a flag and of its older spelling.
pub fn merged(flags: &Parsed, name: &str, older: &str) -> Vec<String> {
    let mut all = flags.list(name);
    all.extend(flags.list(older));
    all
}

fn with_older_flags(attachment: &mut Attachment, flags: &Parsed) -> Result<(), String> {
    let aliases = merged(flags, "network-alias", "net-alias");
    let (links, link_local) = (flags.list("link"), flags.list("link-local-ip"));
    let (ip, ip6, mac) = (flags.str("ip"), flags.str("ip6"), flags.str("mac-address"));
    let both = |flag: &str, what: &str| {
        Err(format!(
            "conflicting options: cannot specify both --{flag} and per-network {what}"
        ))
    };
    let a = attachment;
    match () {
        () if !a.aliases.is_empty() && !aliases.is_empty() => {
            return both("network-alias", "alias");
        }
        () if !a.ip.is_empty() && !ip.is_empty() => return both("ip", "IPv4 address"),
        () if !a.ip6.is_empty() && !ip6.is_empty() => return both("ip6", "IPv6 address"),
        () if !a.mac.is_empty() && !mac.is_empty() => return both("mac-address", "MAC address"),
        () if !a.link_local.is_empty() && !link_local.is_empty() => {
            return both("link-local-ip", "link-local IP addresses");
        }
        () => {}
    }
    let replace = |slot: &mut Vec<String>, value: Vec<String>| {
        if !value.is_empty() {
            *slot = value;
        }
    };
    replace(&mut a.aliases, aliases);
    replace(&mut a.link_local, link_local);
    // On the default bridge a link is a thing of its own.
    if is_user_defined(&a.target) {
        replace(&mut a.links, links);
    }
    for (slot, value) in [(&mut a.ip, ip), (&mut a.ip6, ip6), (&mut a.mac, mac)] {
        if !value.is_empty() {
            value.clone_into(slot);
        }
    }
    Ok(())
}

fn plain() -> Value {
    json!({"IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null, "GwPriority": 0})
}

fn endpoint(attachment: &Attachment) -> Result<Value, String> {
    let a = attachment;
    if a.target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(&a.target) {
        if !a.aliases.is_empty() {
            return Err(
                "network-scoped aliases are only supported for user-defined networks".to_owned(),
            );
        }
        if !a.links.is_empty() {
            return Err("links are only supported for user-defined networks".to_owned());
        }
    }
    let mut out = plain();
    if !a.aliases.is_empty() {
        out["Aliases"] = json!(a.aliases);
    }
    if !a.links.is_empty() {
        out["Links"] = json!(a.links);
    }
    if !a.driver_options.is_empty() {
        out["DriverOpts"] = Value::Object(super::kv::object(&a.driver_options));
    }
    if !a.ip.is_empty() || !a.ip6.is_empty() || !a.link_local.is_empty() {
        out["IPAMConfig"] =
            json!({"IPv4Address": a.ip, "IPv6Address": a.ip6, "LinkLocalIPs": a.link_local});
    }
    if !a.mac.is_empty() {
        if !validate::mac(&a.mac) {
            return Err(format!("{} is not a valid mac address", a.mac));
        }
        out["MacAddress"] = json!(a.mac);
    }
    if a.priority != 0 {
        out["GwPriority"] = json!(a.priority);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Mixing, parse as parse_flags};

    fn read(args: &str) -> Result<(String, Map<String, Value>), String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        endpoints(&parse_flags(crate::options::flags::RUN, Mixing::Before, &args).unwrap())
    }

    #[test]
    fn modes() {
        assert_eq!(read("").unwrap().0, "default");
        assert_eq!(
            read("--network host").unwrap(),
            ("host".to_owned(), Map::new())
        );
        assert_eq!(read("--net none").unwrap().0, "none");
        let (mode, endpoints) = read("--network name=mine,alias=a,alias=b,ip=10.0.0.2").unwrap();
        assert_eq!(mode, "mine");
        assert_eq!(endpoints["mine"]["Aliases"], json!(["a", "b"]));
        assert_eq!(endpoints["mine"]["IPAMConfig"]["IPv4Address"], "10.0.0.2");
    }

    #[test]
    fn refusals() {
        for (args, want) in [
            (
                "--network mine --network bridge",
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                "--network mine --network mine",
                "network \"mine\" is specified multiple times",
            ),
            (
                "--network-alias x",
                "network-scoped aliases are only supported for user-defined networks",
            ),
            (
                "--network name=mine,ip=10.0.0.2 --ip 10.0.0.3",
                "conflicting options: cannot specify both --ip and per-network IPv4 address",
            ),
            (
                "--network mine --mac-address zz",
                "zz is not a valid mac address",
            ),
        ] {
            assert_eq!(read(args).unwrap_err(), want, "{args}");
        }
        assert_eq!(check("foo=bar"), Err("invalid field key foo".to_owned()));
        assert_eq!(
            check("name=n,gw-priority=99999999999999999999"),
            Err("invalid gw-priority (99999999999999999999): value out of range".to_owned())
        );
        assert_eq!(
            check("name=n,gw-priority=1.5"),
            Err("invalid gw-priority (1.5): invalid syntax".to_owned())
        );
    }
}
