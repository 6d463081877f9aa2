//! Device nodes and who may use them.

use spec::runtime::{Device, DeviceRule};

use super::Input;

/// A device node of the host that the container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostDevice {
    /// Path in the container.
    pub(crate) path: String,
    /// `c` or `b`.
    pub(crate) kind: &'static str,
    /// Major number.
    pub(crate) major: i64,
    /// Minor number.
    pub(crate) minor: i64,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Letters of `rwm`.
    pub(crate) access: String,
}

/// Character devices of every container: null, zero, full, random, urandom, tty, console, ptmx, and
/// the pseudo-terminals.
const BASIC: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Nodes to be made beside the basic ones.
pub(super) fn nodes(input: &Input<'_>) -> Vec<Device> {
    input
        .facts
        .devices
        .iter()
        .map(|device| Device {
            path: device.path.clone(),
            kind: device.kind.to_owned(),
            major: device.major,
            minor: device.minor,
            file_mode: Some(device.mode),
            uid: Some(device.uid),
            gid: Some(device.gid),
        })
        .collect()
}

/// Rules in order: nothing, then what is allowed.
pub(super) fn rules(input: &Input<'_>) -> Vec<DeviceRule> {
    if input.host.privileged {
        return vec![rule(true, "a", None, None, "rwm")];
    }
    let mut rules = vec![rule(false, "a", None, None, "rwm")];
    // Making any node is allowed, as in Docker: using it is what is not.
    rules.push(rule(true, "c", None, None, "m"));
    rules.push(rule(true, "b", None, None, "m"));
    for (major, minor) in BASIC {
        rules.push(rule(true, "c", Some(major), minor, "rwm"));
    }
    for device in &input.facts.devices {
        let (major, minor) = (Some(device.major), Some(device.minor));
        rules.push(rule(true, device.kind, major, minor, &device.access));
    }
    rules.extend(
        input
            .host
            .resources
            .device_cgroup_rules
            .iter()
            .filter_map(|text| parse_rule(text)),
    );
    rules
}

fn rule(
    allow: bool,
    kind: &str,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> DeviceRule {
    DeviceRule {
        allow,
        kind: kind.to_owned(),
        major,
        minor,
        access: access.to_owned(),
    }
}

/// Reads `c 1:3 rwm` with `*` for any number; `None` if it is not of this form.
pub(crate) fn parse_rule(text: &str) -> Option<DeviceRule> {
    let mut parts = text.split_ascii_whitespace();
    let kind = parts.next().filter(|k| matches!(*k, "a" | "b" | "c"))?;
    let (major, minor) = parts.next()?.split_once(':')?;
    let access = parts.next()?;
    let good = !access.is_empty() && access.bytes().all(|c| b"rwm".contains(&c));
    if !good || parts.next().is_some() {
        return None;
    }
    let number = |text: &str| match text {
        "*" => Some(None),
        digits => digits.parse::<u32>().ok().map(|n| Some(i64::from(n))),
    };
    Some(rule(true, kind, number(major)?, number(minor)?, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_strictly() {
        let parsed = parse_rule("c 10:* rw").unwrap();
        assert_eq!(
            (parsed.major, parsed.minor, parsed.access.as_str()),
            (Some(10), None, "rw")
        );
        for bad in [
            "",
            "c",
            "c 1:3",
            "c 1 rwm",
            "x 1:3 rwm",
            "c 1:3 rwx",
            "c 1:-3 r",
            "c 1:3 r w",
        ] {
            assert!(parse_rule(bad).is_none(), "{bad}");
        }
    }
}
