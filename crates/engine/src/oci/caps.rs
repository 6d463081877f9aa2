//! Capabilities: Docker's default set, and what is added and dropped.

use crate::{Error, Result};

/// What Docker leaves to containers.
pub(crate) const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All capabilities by number, see capabilities(7).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities of a mask as `/proc/<pid>/status` prints it.
pub(crate) fn all(mask: u64) -> Vec<String> {
    NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| mask >> bit & 1 == 1)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// The capabilities of a container: all of `available` if privileged, else the default set with
/// additions and removals.
///
/// # Errors
///
/// A capability that does not exist, in Docker's words.
pub(crate) fn select(
    add: &[String],
    drop: &[String],
    privileged: bool,
    available: &[String],
) -> Result<Vec<String>> {
    let add = normalize(add).map_err(|c| unknown("CapAdd", &c))?;
    let drop = normalize(drop).map_err(|c| unknown("CapDrop", &c))?;
    if privileged {
        return Ok(available.to_vec());
    }
    let everything = |list: &[String]| list.iter().any(|c| c == "ALL");
    let has = |list: &[String], name: &str| list.iter().any(|c| c == name);
    let mut chosen: Vec<String> = if everything(&add) {
        available
            .iter()
            .filter(|c| !has(&drop, c))
            .cloned()
            .collect()
    } else if everything(&drop) {
        Vec::new()
    } else {
        DEFAULT
            .iter()
            .filter(|c| !has(&drop, c))
            .map(|c| (*c).to_owned())
            .collect()
    };
    for name in add {
        if name != "ALL" && !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

fn unknown(field: &str, name: &str) -> Error {
    Error::invalid(format!("invalid {field}: unknown capability: \"{name}\""))
}

/// Names in upper case with `CAP_`; `ALL` stays. The error is the unknown name.
fn normalize(names: &[String]) -> std::result::Result<Vec<String>, String> {
    names
        .iter()
        .map(|name| {
            let upper = name.trim().to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let full = if upper.starts_with("CAP_") {
                upper
            } else {
                format!("CAP_{upper}")
            };
            if NAMES.contains(&full.as_str()) {
                Ok(full)
            } else {
                Err(full)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn additions_and_removals() {
        let available = all(u64::MAX);
        let select = |add: &[&str], drop: &[&str]| {
            super::select(&list(add), &list(drop), false, &available).unwrap()
        };
        assert_eq!(select(&[], &[]), list(&DEFAULT));
        assert_eq!(select(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(select(&["ALL"], &["CAP_SYS_ADMIN"]).len(), 40);
        assert!(!select(&[], &["chown"]).contains(&"CAP_CHOWN".to_owned()));
        let error = super::select(&list(&["nothing"]), &[], false, &available).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid CapAdd: unknown capability: \"CAP_NOTHING\""
        );
    }
}
