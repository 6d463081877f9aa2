//! Kernel parameters of the container's own namespaces.

use std::collections::BTreeMap;

use sys::process::Namespaces;

use crate::step::{Stage, Step, invalid};

/// The namespace that a parameter belongs to; `None` for those of the whole machine.
fn namespace(key: &str) -> Option<Namespaces> {
    match key {
        "kernel.msgmax"
        | "kernel.msgmnb"
        | "kernel.msgmni"
        | "kernel.sem"
        | "kernel.shmall"
        | "kernel.shmmax"
        | "kernel.shmmni"
        | "kernel.shm_rmid_forced" => Some(Namespaces::IPC),
        "kernel.domainname" => Some(Namespaces::UTS),
        _ if key.starts_with("fs.mqueue.") => Some(Namespaces::IPC),
        _ if key.starts_with("net.") => Some(Namespaces::NETWORK),
        _ => None,
    }
}

/// The file of a parameter below /proc/sys: dots and slashes may be exchanged, as in sysctl(8).
fn file(key: &str) -> Option<String> {
    let path = match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'/' => key.to_owned(),
        _ => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            key.chars().map(swap).collect()
        }
    };
    let good = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    good.then_some(path)
}

/// Sets parameters; `own` are the namespaces that are not the host's.
///
/// To be called while the host's /proc, which no container can have touched, is still in place; the
/// kernel goes by the namespaces of the process that writes.
pub(crate) fn apply(sysctls: &BTreeMap<String, String>, own: Namespaces) -> Step<()> {
    for (key, value) in sysctls {
        let dotted = key.replace('/', ".");
        let path = file(key).ok_or_else(|| invalid(format!("invalid sysctl `{key}`")))?;
        if !namespace(&dotted).is_some_and(|kind| own.contains(kind)) {
            return Err(invalid(format!(
                "sysctl `{key}` is not in a separate kernel namespace"
            )));
        }
        std::fs::write(format!("/proc/sys/{path}"), value)
            .stage(|| format!("failed to set the sysctl `{key}` to `{value}`"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_own_namespaces() {
        for (key, kind) in [
            ("net.ipv4.ip_forward", Some(Namespaces::NETWORK)),
            ("kernel.shmmax", Some(Namespaces::IPC)),
            ("fs.mqueue.msg_max", Some(Namespaces::IPC)),
            ("kernel.core_pattern", None),
            ("kernel.hostname", None),
            ("vm.swappiness", None),
            ("network.x", None),
        ] {
            assert_eq!(namespace(key), kind, "{key}");
        }
        let one = BTreeMap::from([("kernel.core_pattern".to_owned(), "|/x".to_owned())]);
        let all = Namespaces::NETWORK
            .with(Namespaces::IPC)
            .with(Namespaces::UTS);
        assert!(apply(&one, all).is_err());
    }

    #[test]
    fn files() {
        assert_eq!(file("net.ipv4.ip_forward").unwrap(), "net/ipv4/ip_forward");
        assert_eq!(
            file("net/ipv4/conf/eth0.1/x").unwrap(),
            "net/ipv4/conf/eth0.1/x"
        );
        assert_eq!(
            file("net.ipv4.conf.eth0/1.x").unwrap(),
            "net/ipv4/conf/eth0.1/x"
        );
        for bad in ["", "net/../kernel/core_pattern", "net..x", "/net"] {
            assert!(file(bad).is_none(), "{bad}");
        }
    }
}
