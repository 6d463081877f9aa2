//! Mounts of a container: Docker's own, then the user's in place of those at the same path.

use spec::runtime::Mount;

use super::{Input, Source, process, tmpfs};
use crate::container::{self, HostConfig};
use crate::{Error, Result};

/// Bytes of /dev/shm where nobody says anything.
const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// Words of propagation.
const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];

/// A host path seen in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    /// Host path.
    pub(crate) source: String,
    /// Path in the container.
    pub(crate) target: String,
    /// Options as the user wrote them.
    pub(crate) mode: String,
    /// Cannot be written.
    pub(crate) read_only: bool,
    /// `rprivate` unless asked otherwise.
    pub(crate) propagation: String,
    /// Without what is mounted below.
    pub(crate) non_recursive: bool,
    /// Make the source as a directory if it is missing, as `-v` does.
    pub(crate) create_source: bool,
}

/// Reads `source:target[:options]` of `-v`.
///
/// # Errors
///
/// Malformed, or a named volume, which there is not yet.
pub(crate) fn parse_bind(text: &str) -> Result<Bind> {
    let bad = |why: &str| Error::invalid(format!("invalid volume specification: '{text}'{why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(bad("")),
    };
    if source.is_empty() || target.is_empty() {
        return Err(bad(""));
    }
    check_target(target)
        .map_err(|why| bad(&format!(": invalid mount config for type \"bind\": {why}")))?;
    if !source.starts_with('/') {
        return Err(Error::unsupported(format!(
            "named volumes are not yet supported: {source}"
        )));
    }
    let mut bind = Bind {
        source: clean(source),
        target: clean(target),
        mode: mode.to_owned(),
        read_only: false,
        propagation: "rprivate".to_owned(),
        non_recursive: false,
        create_source: true,
    };
    for word in mode.split(',').filter(|w| !w.is_empty()) {
        match word {
            "ro" => bind.read_only = true,
            "rw" | "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" => {}
            word if PROPAGATIONS.contains(&word) => word.clone_into(&mut bind.propagation),
            _ => return Err(Error::invalid(format!("invalid mode: {mode}"))),
        }
    }
    Ok(bind)
}

fn check_target(target: &str) -> std::result::Result<(), String> {
    if !target.starts_with('/') {
        return Err(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        ));
    }
    if clean(target) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(())
}

/// A path without doubled slashes, dots and a slash at the end; `..` goes up, never above the root.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// All binds that the settings ask for, short and long forms; refuses what there is not yet.
///
/// # Errors
///
/// Malformed, doubled or not yet supported mounts, in Docker's words.
pub(crate) fn binds(host: &HostConfig) -> Result<Vec<Bind>> {
    let mut binds = host
        .binds
        .iter()
        .map(|b| parse_bind(b))
        .collect::<Result<Vec<_>>>()?;
    for mount in &host.mounts {
        binds.extend(long_form(mount)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    let tmpfs = host.tmpfs.keys().map(|t| clean(t));
    let long_tmpfs = host
        .mounts
        .iter()
        .filter(|m| m.kind == "tmpfs")
        .map(|m| clean(&m.target));
    for target in binds
        .iter()
        .map(|b| b.target.clone())
        .chain(tmpfs)
        .chain(long_tmpfs)
    {
        if !seen.insert(target.clone()) {
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
    }
    for (target, text) in &host.tmpfs {
        check_target(target).map_err(Error::invalid)?;
        tmpfs::options(text)?;
    }
    Ok(binds)
}

/// A bind of the long form; `None` for a tmpfs, which is checked too.
fn long_form(mount: &container::Mount) -> Result<Option<Bind>> {
    let kind = mount.kind.as_str();
    let bad =
        |why: &str| Error::invalid(format!("invalid mount config for type \"{kind}\": {why}"));
    match kind {
        "bind" | "tmpfs" => {}
        "volume" | "image" | "cluster" => {
            return Err(Error::unsupported(format!(
                "mounts of type {kind} are not yet supported"
            )));
        }
        _ => return Err(bad("mount type unknown")),
    }
    if mount.target.is_empty() {
        return Err(bad("field Target must not be empty"));
    }
    check_target(&mount.target).map_err(|why| bad(&why))?;
    if kind == "tmpfs" {
        if !mount.source.is_empty() {
            return Err(bad("field Source must not be specified"));
        }
        return Ok(None);
    }
    if mount.source.is_empty() {
        return Err(bad("field Source must not be empty"));
    }
    if !mount.source.starts_with('/') {
        let path = &mount.source;
        return Err(bad(&format!(
            "invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let propagation = match mount.propagation.as_str() {
        "" => "rprivate",
        word if PROPAGATIONS.contains(&word) => word,
        word => return Err(bad(&format!("invalid propagation mode: {word}"))),
    };
    Ok(Some(Bind {
        source: clean(&mount.source),
        target: clean(&mount.target),
        mode: String::new(),
        read_only: mount.read_only,
        propagation: propagation.to_owned(),
        non_recursive: mount.non_recursive,
        create_source: mount.create_mountpoint,
    }))
}

/// Propagation of the root, which must let through what the binds ask for.
pub(super) fn root_propagation(input: &Input<'_>) -> Result<String> {
    let binds = binds(input.host)?;
    let any = |words: [&str; 2]| {
        binds
            .iter()
            .any(|b| words.contains(&b.propagation.as_str()))
    };
    Ok(if any(["shared", "rshared"]) {
        "shared".to_owned()
    } else if any(["slave", "rslave"]) {
        "rslave".to_owned()
    } else {
        String::new()
    })
}

/// All mounts in the order in which they are made.
pub(super) fn all(input: &Input<'_>) -> Result<Vec<Mount>> {
    let mut own = user(input)?;
    let taken = |path: &str| own.iter().any(|m: &Mount| m.destination == path);
    let below_dev = taken("/dev");
    let mut mounts: Vec<Mount> = basic(input)
        .into_iter()
        .filter(|m| {
            let hidden = below_dev && m.destination.starts_with("/dev/");
            !taken(&m.destination) && !hidden
        })
        .collect();
    mounts.extend(etc(input).into_iter().filter(|m| !taken(&m.destination)));
    if process::has_init(input) {
        let source = input.defaults.init_path.to_string_lossy().into_owned();
        mounts.push(bind(process::INIT, &source, &["rbind", "rprivate", "ro"]));
    }
    // A parent is mounted before what lies in it.
    own.sort_by_key(|m| m.destination.matches('/').count());
    mounts.extend(own);
    Ok(mounts)
}

fn basic(input: &Input<'_>) -> Vec<Mount> {
    let access = if input.host.privileged { "rw" } else { "ro" };
    let shm = match (input.host.shm_size, input.defaults.shm_size) {
        (0, 0) => SHM_SIZE,
        (0, default) => default,
        (own, _) => own,
    };
    let shm = if input.joined.ipc == Source::Host {
        bind("/dev/shm", "/dev/shm", &["rbind", "rprivate"])
    } else {
        let size = format!("size={shm}");
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &size],
        )
    };
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", access],
        ),
    ];
    // Shows the queues of the namespace it is mounted in, the host's too.
    list.push(mount(
        "/dev/mqueue",
        "mqueue",
        "mqueue",
        &["nosuid", "noexec", "nodev"],
    ));
    if input.host.ipc_mode != "none" {
        list.push(shm);
    }
    list
}

fn etc(input: &Input<'_>) -> Vec<Mount> {
    let access = if input.host.readonly_rootfs {
        "ro"
    } else {
        "rw"
    };
    let files = [
        ("/etc/resolv.conf", &input.files.resolv_conf),
        ("/etc/hostname", &input.files.hostname),
        ("/etc/hosts", &input.files.hosts),
    ];
    files
        .into_iter()
        .map(|(target, path)| {
            bind(
                target,
                &path.to_string_lossy(),
                &["rbind", "rprivate", access],
            )
        })
        .collect()
}

fn user(input: &Input<'_>) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for wanted in binds(input.host)? {
        let recursion = if wanted.non_recursive {
            "bind"
        } else {
            "rbind"
        };
        let access = if wanted.read_only { "ro" } else { "rw" };
        let options = [recursion, wanted.propagation.as_str(), access];
        mounts.push(bind(&wanted.target, &wanted.source, &options));
    }
    for (source, target) in input.volumes {
        mounts.push(bind(target, source, &["rbind", "rprivate", "rw"]));
    }
    for (target, text) in &input.host.tmpfs {
        mounts.push(in_memory(target, tmpfs::options(text)?));
    }
    for long in input.host.mounts.iter().filter(|m| m.kind == "tmpfs") {
        let mut options = tmpfs::options("")?;
        if long.tmpfs_size > 0 {
            options.push(format!("size={}", long.tmpfs_size));
        }
        if long.tmpfs_mode > 0 {
            options.push(format!("mode={:o}", long.tmpfs_mode));
        }
        if long.read_only {
            options.push("ro".to_owned());
        }
        mounts.push(in_memory(&long.target, options));
    }
    Ok(mounts)
}

fn in_memory(target: &str, options: Vec<String>) -> Mount {
    Mount {
        destination: clean(target),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
    }
}

fn bind(destination: &str, source: &str, options: &[&str]) -> Mount {
    mount(destination, "bind", source, options)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_binds_are_read_and_volumes_refused() {
        let bind = parse_bind("/srv//data/:/mnt/../data:ro,rslave").unwrap();
        assert_eq!(
            (bind.source.as_str(), bind.target.as_str()),
            ("/srv/data", "/data")
        );
        assert!(bind.read_only);
        assert_eq!(bind.propagation, "rslave");
        assert!(
            parse_bind("name:/data")
                .unwrap_err()
                .to_string()
                .contains("not yet")
        );
        for bad in [
            "/a",
            "/a:b",
            "/a:/",
            "/a:/..",
            ":/b",
            "/a:",
            "/a:/b:xx",
            "/a:/b:ro:rw",
        ] {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn doubled_targets_are_refused() {
        let host = HostConfig {
            binds: vec!["/a:/data".to_owned()],
            tmpfs: [("/data/".to_owned(), String::new())].into(),
            ..HostConfig::default()
        };
        assert_eq!(
            binds(&host).unwrap_err().to_string(),
            "Duplicate mount point: /data"
        );
    }
}
