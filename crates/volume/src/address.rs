//! Hosts in the options of network file systems: the kernel wants addresses.
//!
//! As Docker: `addr=HOST` in `o`, or for CIFS without one, the host of `//HOST/share`.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use crate::Backing;

/// Finds the address of a host. The C library's way: hosts file, name servers.
pub(crate) fn look_up(host: &str) -> Result<IpAddr, String> {
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        // Rust puts a prefix of its own before the library's words.
        let text = error.to_string();
        let why = text.rsplit(": ").next().unwrap_or(&text).to_lowercase();
        format!("lookup {host}: {why}")
    })?;
    let all: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    // As Go, which prefers the older kind.
    all.iter()
        .find(|address| address.is_ipv4())
        .or(all.first())
        .copied()
        .ok_or_else(|| format!("lookup {host}: no such host"))
}

impl Backing {
    /// Puts addresses in place of hosts.
    ///
    /// # Errors
    ///
    /// Those of `look_up`.
    pub(crate) fn located(
        mut self,
        look_up: &dyn Fn(&str) -> Result<IpAddr, String>,
    ) -> Result<Self, String> {
        let Self::FileSystem {
            kind, device, data, ..
        } = &mut self
        else {
            return Ok(self);
        };
        if !matches!(kind.as_str(), "nfs" | "cifs") {
            return Ok(self);
        }
        let given = data.iter_mut().find(|(key, _)| key == "addr");
        if let Some((_, Some(host))) = given
            && !host.is_empty()
        {
            if host.parse::<Ipv4Addr>().is_err() {
                *host = look_up(host.trim_matches(['[', ']']))?.to_string();
            }
        } else if kind == "cifs"
            && let Some((host, share)) = share_of(device)
            && host.trim_matches(['[', ']']).parse::<IpAddr>().is_err()
        {
            *device = format!("//{}{share}", look_up(host)?);
        }
        Ok(self)
    }
}

/// Tells whether mounting a file system of this type waits for another machine.
pub(crate) fn is_remote(kind: &str) -> bool {
    matches!(kind, "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p")
}

/// Splits `//host/share` into host and the rest with its slash.
fn share_of(device: &str) -> Option<(&str, &str)> {
    let rest = device.strip_prefix("//")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, share) = rest.split_at(end);
    (!host.is_empty()).then_some((host, share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn names(host: &str) -> Result<IpAddr, String> {
        match host {
            "server" => Ok(IpAddr::from([10, 0, 0, 7])),
            "six" => Ok("fd00::7".parse().unwrap()),
            "fd00::1" => Ok("fd00::1".parse().unwrap()),
            other => Err(format!("lookup {other}: no such host")),
        }
    }

    /// What mount(2) would get: device and data, flags left out.
    fn golden(kind: &str, device: &str, o: &str) -> String {
        let options = [("type", kind), ("device", device), ("o", o)];
        let options: BTreeMap<String, String> = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        match Backing::of(&options).unwrap().located(&names) {
            Ok(Backing::FileSystem { device, data, .. }) => {
                let word = |(key, value): &(String, Option<String>)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => key.clone(),
                };
                let words: Vec<_> = data.iter().map(word).collect();
                format!("{device} {}", words.join(","))
            }
            Ok(other) => format!("{other:?}"),
            Err(why) => why,
        }
    }

    #[test]
    fn hosts_become_addresses_as_docker_makes_them() {
        for (kind, device, o, want) in [
            ("nfs", ":/x", "addr=10.1.2.3,rw", ":/x addr=10.1.2.3"),
            (
                "nfs",
                ":/x",
                "addr=server,rw,nfsvers=4,soft",
                ":/x addr=10.0.0.7,nfsvers=4,soft",
            ),
            ("nfs", ":/x", "addr=six", ":/x addr=fd00::7"),
            ("nfs", ":/x", "addr=fd00::1", ":/x addr=fd00::1"),
            ("nfs", "server:/x", "nolock,ro", "server:/x nolock"),
            ("nfs", ":/x", "addr=nope", "lookup nope: no such host"),
            ("nfs4", ":/x", "addr=server", ":/x addr=server"),
            (
                "cifs",
                "//server/share/deep",
                "username=u,password=p,vers=3.0",
                "//10.0.0.7/share/deep username=u,password=p,vers=3.0",
            ),
            (
                "cifs",
                "//10.9.9.9/s",
                "username=u",
                "//10.9.9.9/s username=u",
            ),
            (
                "cifs",
                "//other/s",
                "addr=server",
                "//other/s addr=10.0.0.7",
            ),
            ("cifs", "//nope/s", "", "lookup nope: no such host"),
            // A password may have commas: doubled, as mount.cifs writes them.
            (
                "cifs",
                "//server/s",
                "password=a,,b,username=u",
                "//10.0.0.7/s password=a,b,username=u",
            ),
            ("ext4", "/dev/x", "addr=server", "/dev/x addr=server"),
        ] {
            assert_eq!(golden(kind, device, o), want, "{kind} {device} {o}");
        }
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(look_up("localhost").unwrap().is_loopback());
        let error = look_up("host.invalid").unwrap_err();
        assert!(error.starts_with("lookup host.invalid: "), "{error}");
    }
}
