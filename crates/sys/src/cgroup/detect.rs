//! Which control group hierarchies are mounted, and where.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::{Error, Result};

/// Kind of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller or set of controllers.
    V1,
    /// The single hierarchy.
    V2,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Its kind.
    pub version: Version,
    /// Its v1 controllers, with `name=systemd` for a named one; empty for v2.
    pub controllers: Vec<String>,
}

/// The mounted hierarchies.
#[derive(Debug, Clone)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Reads the caller's mount table.
    ///
    /// # Errors
    /// `ENOENT` when no hierarchy is mounted.
    pub fn detect() -> Result<Self> {
        let path = "/proc/self/mountinfo";
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::new(
                format!("read(`{path}`)"),
                Errno::from_io_error(&e).unwrap_or(Errno::IO),
            )
        })?;
        let found = Self::from_mountinfo(&text);
        if found.hierarchies.is_empty() {
            return Err(Error::new(
                "find a mounted cgroup file system",
                Errno::NOENT,
            ));
        }
        Ok(found)
    }

    /// Finds the hierarchies in a mount table; of a hierarchy mounted twice, the first place counts.
    pub fn from_mountinfo(text: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in text.lines() {
            let Some(new) = parse_line(line) else {
                continue;
            };
            let same =
                |old: &Hierarchy| old.version == new.version && old.controllers == new.controllers;
            if !hierarchies.iter().any(same) {
                hierarchies.push(new);
            }
        }
        Self { hierarchies }
    }

    /// All of them, in the order of the mount table.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// V2 when it is the only hierarchy; V1 also for the hybrid layout.
    pub fn version(&self) -> Version {
        match self.hierarchies.as_slice() {
            [only] => only.version,
            _ => Version::V1,
        }
    }
}

fn parse_line(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mountpoint = unescape(left.split(' ').nth(4)?);
    let mut fields = right.split(' ');
    let (version, options) = match fields.next()? {
        "cgroup" => (Version::V1, fields.nth(1)?),
        "cgroup2" => (Version::V2, ""),
        _ => return None,
    };
    let is_controller = |o: &&str| {
        let flag = matches!(
            *o,
            "rw" | "ro" | "xattr" | "clone_children" | "noprefix" | "" | "none"
        );
        !flag && !o.starts_with("release_agent=")
    };
    let controllers = options
        .split(',')
        .filter(is_controller)
        .map(str::to_owned)
        .collect();
    Some(Hierarchy {
        mountpoint: PathBuf::from(mountpoint),
        version,
        controllers,
    })
}

/// Undoes the octal escapes of a mount table.
fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (escape, plain) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        if out.contains(escape) {
            out = out.replace(escape, plain);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
50 31 0:29 / /mnt/again rw,relatime - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn hybrid_layout() {
        let found = Cgroups::from_mountinfo(HYBRID);
        let names: Vec<_> = found
            .hierarchies()
            .iter()
            .map(|h| h.controllers.join("+"))
            .collect();
        assert_eq!(names, ["cpu+cpuacct", "name=systemd", ""]);
        assert_eq!(found.version(), Version::V1);
        let group = found.group("/corten/x").unwrap();
        assert_eq!(
            group.controller("cpuacct").unwrap().to_str(),
            Some("/sys/fs/cgroup/cpu,cpuacct/corten/x")
        );
        assert!(group.v2().is_none());
    }

    #[test]
    fn pure_v2_layout() {
        let line = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Cgroups::from_mountinfo(line);
        assert_eq!(found.version(), Version::V2);
        assert!(found.group("/a").unwrap().v2().is_some());
    }

    #[test]
    fn paths_that_could_leave_the_hierarchy_are_refused() {
        let found = Cgroups::from_mountinfo(HYBRID);
        for bad in ["", "/", "a", "/a/../b", "/a//b", "/.", "/a/", "/a\0"] {
            assert!(found.group(bad).is_err(), "{bad:?}");
        }
    }
}
