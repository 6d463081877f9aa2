//! Labels of SELinux for what containers see: `z` and `Z` of a mount.
//!
//! `z` labels the source for all containers, `Z` for one alone, by a pair of categories that follows
//! from its id. Where SELinux is off, both mean nothing, as with Docker.

use std::ffi::OsStr;
use std::path::Path;

use rustix::io::Errno;
use spec::ContainerId;
use sys::root::{Dir, GuestPath, Kind as Object, Root};

use crate::container::HostConfig;
use crate::mounts::Point;
use crate::{Error, Result};

/// Where the kernel shows SELinux when it is on.
const SELINUX: &str = "/sys/fs/selinux/enforce";
/// The attribute that is the label.
const ATTRIBUTE: &str = "security.selinux";
/// Categories that a policy has.
const CATEGORIES: u32 = 1024;
/// Deepest tree that is labelled: each level holds a descriptor.
const MAX_DEPTH: usize = 2000;

/// Places that the host needs labelled as they are.
const NEVER: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// For whom a source is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// All containers.
    All,
    /// One container.
    One,
}

/// Labels what a mount point shows, where it asks for that and SELinux is on.
///
/// # Errors
///
/// A place that must not be labelled, in Docker's words, or the kernel refused.
pub(super) fn apply(id: ContainerId, host: &HostConfig, point: &Point, source: &str) -> Result<()> {
    let Some(share) = share(&point.mode) else {
        return Ok(());
    };
    if !Path::new(SELINUX).exists() {
        return Ok(());
    }
    let Some(label) = label(id, &host.security_opt, share) else {
        return Ok(());
    };
    relabel(source, ATTRIBUTE, &label)
}

fn share(mode: &str) -> Option<Share> {
    mode.split(',').find_map(|word| match word {
        "z" => Some(Share::All),
        "Z" => Some(Share::One),
        _ => None,
    })
}

/// The label; `None` where the container wants none.
fn label(id: ContainerId, options: &[String], share: Share) -> Option<String> {
    let mut level = level_of(id);
    for option in options {
        let text = option
            .strip_prefix("label=")
            .or_else(|| option.strip_prefix("label:"));
        match text.and_then(|text| text.split_once([':', '=']).or(Some((text, "")))) {
            Some(("disable", _)) => return None,
            Some(("level", own)) => own.clone_into(&mut level),
            _ => {}
        }
    }
    if share == Share::All {
        "s0".clone_into(&mut level);
    }
    Some(format!("system_u:object_r:container_file_t:{level}"))
}

/// Two different categories that nearly no other container has.
fn level_of(id: ContainerId) -> String {
    let text = id.to_string();
    let number = |at: usize| u32::from_str_radix(&text[at..at + 8], 16).unwrap_or(0);
    let first = number(0) % CATEGORIES;
    let second = (first + 1 + number(8) % (CATEGORIES - 1)) % CATEGORIES;
    let (low, high) = (first.min(second), first.max(second));
    format!("s0:c{low},c{high}")
}

/// Gives everything at and below a path an attribute; links are labelled, never followed.
fn relabel(source: &str, attribute: &str, label: &str) -> Result<()> {
    let home = std::env::var("HOME").unwrap_or_default();
    let clean = crate::mounts::clean(source);
    // The real place counts: a link to /etc is /etc.
    let real = std::path::Path::new(source)
        .canonicalize()
        .map_err(|e| setting(source, Errno::from_io_error(&e)))?;
    let forbidden = |path: &str| NEVER.contains(&path) || path == home;
    if forbidden(&clean) || forbidden(&real.to_string_lossy()) {
        return Err(Error::invalid(format!(
            "error setting label on mount source '{source}': SELinux relabeling of {source} is not allowed"
        )));
    }
    match label_tree(&real, OsStr::new(attribute), label.as_bytes()) {
        // A file system without labels, such as NFS.
        Err(error) if error.errno() == Errno::NOTSUP => Ok(()),
        done => done.map_err(|error| setting(source, Some(error.errno()))),
    }
}

fn setting(source: &str, errno: Option<Errno>) -> Error {
    let why = errno.unwrap_or(Errno::IO);
    Error::refused(
        spec::ErrorKind::Internal,
        format!("error setting label on mount source '{source}': {why}"),
    )
}

fn label_tree(path: &Path, attribute: &OsStr, label: &[u8]) -> sys::Result<()> {
    let place = Root::open(Path::new("/"))?;
    let guest = GuestPath::new(path)
        .map_err(|_| sys::Error::new(format!("open `{}`", path.display()), Errno::INVAL))?;
    let Some((above, name)) = guest.split() else {
        return Err(sys::Error::new("label `/`", Errno::PERM));
    };
    let above = place.open_dir(&above)?;
    set(&above, name, attribute, label)?;
    let own = above.stat(name)?;
    if own.kind != Object::Directory {
        return Ok(());
    }
    let open = |dir: &Dir, name: &OsStr| -> sys::Result<(Dir, Vec<_>)> {
        let below = dir.open_dir(name)?;
        let names = below.names()?;
        Ok((below, names))
    };
    let mut stack = vec![open(&above, name)?];
    while let Some((dir, names)) = stack.last_mut() {
        let Some(name) = names.pop() else {
            stack.pop();
            continue;
        };
        let Some(metadata) = dir.find(&name)? else {
            continue;
        };
        set(dir, &name, attribute, label)?;
        if metadata.kind == Object::Directory {
            if stack.len() >= MAX_DEPTH {
                let what = format!("deeper than {MAX_DEPTH} directories");
                return Err(sys::Error::new(what, Errno::NAMETOOLONG));
            }
            let (dir, _) = stack.last().expect("the loop has a top");
            let below = open(dir, &name)?;
            stack.push(below);
        }
    }
    Ok(())
}

fn set(dir: &Dir, name: &OsStr, attribute: &OsStr, label: &[u8]) -> sys::Result<()> {
    // Labels end with a zero byte where the kernel gives them out. Most are right already.
    let there = sys::xattr::get_at(dir, name, attribute);
    let same = |value: &[u8]| value.strip_suffix(b"\0").unwrap_or(value) == label;
    if matches!(&there, Ok(Some(value)) if same(value)) {
        return Ok(());
    }
    match sys::xattr::set_at(dir, name, attribute, label) {
        // Removed meanwhile by whoever uses the tree.
        Err(error) if error.errno() == Errno::NOENT => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_for_all_or_for_one() {
        let id = ContainerId::from_bytes([0xab; 32]);
        let of = |options: &[&str], share| {
            let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
            label(id, &options, share)
        };
        let all = "system_u:object_r:container_file_t:s0";
        assert_eq!(of(&[], Share::All).as_deref(), Some(all));
        let one = of(&[], Share::One).unwrap();
        assert!(one.starts_with(&format!("{all}:c")), "{one}");
        assert_ne!(level_of(id), level_of(ContainerId::from_bytes([0xac; 32])));
        assert_eq!(
            of(&["label=level:s0:c1,c2"], Share::One).unwrap(),
            format!("{all}:c1,c2")
        );
        assert_eq!(of(&["label=disable"], Share::One), None);
        assert_eq!(of(&["label:disable"], Share::All), None);
        for (mode, want) in [
            ("ro,Z", Some(Share::One)),
            ("z", Some(Share::All)),
            ("", None),
            ("rw", None),
        ] {
            assert_eq!(share(mode), want, "{mode}");
        }
    }

    #[test]
    fn categories_are_two_different_ones() {
        for byte in 0..=255u8 {
            let level = level_of(ContainerId::from_bytes([byte; 32]));
            let numbers: Vec<u32> = level
                .trim_start_matches("s0:c")
                .split(",c")
                .map(|n| n.parse().unwrap())
                .collect();
            assert!(
                numbers[0] < numbers[1] && numbers[1] < CATEGORIES,
                "{level}"
            );
        }
    }

    #[test]
    fn a_whole_tree_is_labelled_and_nothing_behind_links() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/f"), "").unwrap();
        std::fs::write(&outside, "").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        relabel(tree.to_str().unwrap(), "trusted.label", "mine").unwrap();
        let get = |path: &Path| {
            let file = sys::mount::open_path(path.parent().unwrap()).unwrap();
            sys::xattr::get_at(
                &Dir::from_fd(file),
                path.file_name().unwrap(),
                OsStr::new("trusted.label"),
            )
            .unwrap()
        };
        for path in ["", "a", "a/b", "a/b/f", "link"] {
            let path = match path {
                "" => tree.clone(),
                path => tree.join(path),
            };
            assert_eq!(get(&path).as_deref(), Some(&b"mine"[..]), "{path:?}");
        }
        assert_eq!(get(&outside), None);
    }

    #[test]
    fn places_of_the_host_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("etc");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        for path in ["/", "/usr", "/etc/", "/usr/../etc", link.to_str().unwrap()] {
            let error = relabel(path, "trusted.label", "mine")
                .unwrap_err()
                .to_string();
            assert_eq!(
                error,
                format!(
                    "error setting label on mount source '{path}': SELinux relabeling of {path} is not allowed"
                )
            );
        }
    }
}
