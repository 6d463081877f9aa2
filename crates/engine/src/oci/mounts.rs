//! Mounts of a container: Docker's own, then the user's in place of those at the same path.

use spec::runtime::Mount;

use super::{Input, Security, Seen, Source, process, tmpfs};
use crate::Result;
use crate::container;
use crate::mounts::{self, Kind, clean};

/// Bytes of /dev/shm where nobody says anything.
const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// Propagation of the root, which must let through what the binds ask for.
pub(super) fn root_propagation(input: &Input<'_>) -> String {
    let any = |words: [&str; 2]| {
        input
            .seen
            .iter()
            .any(|seen| words.contains(&seen.point.propagation.as_str()))
    };
    if any(["shared", "rshared"]) {
        "shared".to_owned()
    } else if any(["slave", "rslave"]) {
        "rslave".to_owned()
    } else {
        String::new()
    }
}

/// All mounts in the order in which they are made.
pub(super) fn all(input: &Input<'_>, security: &Security) -> Result<Vec<Mount>> {
    let mut own = user(input)?;
    let taken = |path: &str| own.iter().any(|m: &Mount| m.destination == path);
    let below_dev = taken("/dev");
    let mut mounts: Vec<Mount> = basic(input, security)
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

fn basic(input: &Input<'_>, security: &Security) -> Vec<Mount> {
    let access = if input.host.privileged { "rw" } else { "ro" };
    let groups = match security.writable_cgroups {
        true => "rw",
        false => access,
    };
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
            &["nosuid", "noexec", "nodev", groups],
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
    let mut mounts: Vec<Mount> = input.seen.iter().map(point).collect();
    for (target, text) in &input.host.tmpfs {
        mounts.push(in_memory(target, tmpfs::options(text)?));
    }
    Ok(mounts)
}

fn point(seen: &Seen) -> Mount {
    let point = &seen.point;
    if point.kind == Kind::Tmpfs {
        let mut options = point.options.clone();
        if !point.writable {
            options.push("ro".to_owned());
        }
        return in_memory(&point.target, options);
    }
    let recursion = if point.non_recursive { "bind" } else { "rbind" };
    let access = match (point.writable, point.shallow_read_only) {
        (true, _) => "rw",
        (false, true) => "ro",
        // With everything that is mounted below it, or it would not be read-only.
        (false, false) => "rro",
    };
    let propagation = match point.propagation.as_str() {
        "" => "rprivate",
        own => own,
    };
    let mut options = vec![recursion, propagation, access];
    let ids = seen.ids.as_ref();
    if ids.is_some() {
        options.push(match point.non_recursive {
            true => "idmap",
            false => "ridmap",
        });
    }
    Mount {
        subpath: point.subpath.clone(),
        layers: seen.layers.clone(),
        uid_mappings: ids.map_or_else(Vec::new, |ids| ids.uids.clone()),
        gid_mappings: ids.map_or_else(Vec::new, |ids| ids.gids.clone()),
        ..bind(&point.target, &seen.source, &options)
    }
}

/// Options of a tmpfs in the long form.
///
/// # Errors
///
/// An option that makes no sense.
pub(crate) fn tmpfs_of(long: &container::Mount) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for option in &long.tmpfs_options {
        match option.as_slice() {
            [word] if matches!(word.as_str(), "exec" | "noexec") => words.push(word.as_str()),
            [name] | [name, _] => {
                return Err(crate::Error::invalid(format!("invalid option: {name}")));
            }
            _ => return Err(crate::Error::invalid("invalid option array length")),
        }
    }
    let mut options = tmpfs::options(&words.join(","))?;
    if long.tmpfs_size > 0 {
        options.push(format!("size={}", long.tmpfs_size));
    }
    if long.tmpfs_mode > 0 {
        options.push(format!("mode={:o}", long.tmpfs_mode));
    }
    Ok(options)
}

/// Refuses what `--tmpfs` cannot be given.
///
/// # Errors
///
/// A target that is relative or the root, or an unknown option.
pub(crate) fn check_tmpfs(host: &container::HostConfig) -> Result<()> {
    for (target, text) in &host.tmpfs {
        mounts::check_target(target).map_err(crate::Error::invalid)?;
        tmpfs::options(text)?;
    }
    Ok(())
}

fn in_memory(target: &str, options: Vec<String>) -> Mount {
    Mount {
        destination: clean(target),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
        ..Mount::default()
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
        ..Mount::default()
    }
}
