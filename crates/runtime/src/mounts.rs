//! From the mounts of a specification to what has to be done: pure.

use spec::runtime::Mount;
use sys::mount::{Attributes, FsOption, Propagation, Reach};

/// What kind of mount is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A host directory or file, with what is mounted below it or without.
    Bind(Reach),
    /// A new instance of a file system.
    New,
    /// The control group hierarchies.
    Cgroup,
}

/// A mount, its options understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub kind: Kind,
    /// Attributes of this mount.
    pub set: Attributes,
    pub clear: Attributes,
    /// Attributes of this mount and all below it.
    pub set_tree: Attributes,
    pub clear_tree: Attributes,
    pub propagation: Vec<(Propagation, Reach)>,
    /// Options for the file system.
    pub data: Vec<FsOption>,
    /// Begin with a copy of what the mount hides.
    pub copy_up: bool,
}

/// Understands the options of a mount.
///
/// # Errors
/// Names an option that this build cannot honour; it is never dropped in silence.
pub(crate) fn plan(mount: &Mount) -> Result<Plan, String> {
    let mut plan = Plan {
        kind: match mount.kind.as_str() {
            "bind" => Kind::Bind(Reach::Single),
            "cgroup" | "cgroup2" => Kind::Cgroup,
            _ => Kind::New,
        },
        set: Attributes::empty(),
        clear: Attributes::empty(),
        set_tree: Attributes::empty(),
        clear_tree: Attributes::empty(),
        propagation: Vec::new(),
        data: Vec::new(),
        copy_up: false,
    };
    for option in &mount.options {
        plan.add(option)?;
    }
    // A fresh mount has no old attributes to clear, and the kernel wants an access time mode named
    // together with its mask.
    if plan.kind == Kind::New {
        plan.set |= plan.set_tree;
    }
    Ok(plan)
}

impl Plan {
    fn add(&mut self, option: &str) -> Result<(), String> {
        let (name, recursive) = match option.strip_prefix('r') {
            Some(rest) if attribute(rest).is_some() && attribute(option).is_none() => (rest, true),
            _ => (option, false),
        };
        if let Some((bits, on)) = attribute(name) {
            let (set, clear) = if recursive {
                (&mut self.set_tree, &mut self.clear_tree)
            } else {
                (&mut self.set, &mut self.clear)
            };
            if on {
                set.insert(bits);
                clear.remove(bits);
            } else {
                set.remove(bits);
                clear.insert(bits);
            }
            return Ok(());
        }
        if let Some(entry) = propagation(option) {
            self.propagation.push(entry);
            return Ok(());
        }
        match option {
            "bind" => self.kind = Kind::Bind(Reach::Single),
            "rbind" => self.kind = Kind::Bind(Reach::Tree),
            "defaults" | "" | "remount" => {}
            "tmpcopyup" => self.copy_up = true,
            "idmap" | "ridmap" => return Err(format!("mount option `{option}` is not supported")),
            other => {
                let (key, value) = match other.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (other.to_owned(), None),
                };
                self.data.push((key, value));
            }
        }
        Ok(())
    }
}

/// The attribute that an option sets or clears.
fn attribute(option: &str) -> Option<(Attributes, bool)> {
    let (bits, on) = match option {
        "ro" => (Attributes::MOUNT_ATTR_RDONLY, true),
        "rw" => (Attributes::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (Attributes::MOUNT_ATTR_NOSUID, true),
        "suid" => (Attributes::MOUNT_ATTR_NOSUID, false),
        "nodev" => (Attributes::MOUNT_ATTR_NODEV, true),
        "dev" => (Attributes::MOUNT_ATTR_NODEV, false),
        "noexec" => (Attributes::MOUNT_ATTR_NOEXEC, true),
        "exec" => (Attributes::MOUNT_ATTR_NOEXEC, false),
        "nodiratime" => (Attributes::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (Attributes::MOUNT_ATTR_NODIRATIME, false),
        "noatime" => (Attributes::MOUNT_ATTR_NOATIME, true),
        "strictatime" => (Attributes::MOUNT_ATTR_STRICTATIME, true),
        // The kernel's default; the bits are zero.
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (Attributes::empty(), true),
        "nosymfollow" => (Attributes::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (Attributes::MOUNT_ATTR_NOSYMFOLLOW, false),
        _ => return None,
    };
    Some((bits, on))
}

/// Reads a propagation, with `r` for the whole tree.
pub(crate) fn propagation(option: &str) -> Option<(Propagation, Reach)> {
    let (name, reach) = match option.strip_prefix('r') {
        Some(rest) => (rest, Reach::Tree),
        None => (option, Reach::Single),
    };
    let propagation = match name {
        "private" => Propagation::Private,
        "slave" => Propagation::Slave,
        "shared" => Propagation::Shared,
        "unbindable" => Propagation::Unbindable,
        _ => return None,
    };
    Some((propagation, reach))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, options: &[&str]) -> Plan {
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        plan(&Mount {
            kind: kind.to_owned(),
            options,
            ..Mount::default()
        })
        .unwrap()
    }

    #[test]
    fn dockers_bind_mount() {
        let plan = of("bind", &["rbind", "rprivate", "rro", "nosuid"]);
        assert_eq!(plan.kind, Kind::Bind(Reach::Tree));
        assert_eq!(plan.propagation, [(Propagation::Private, Reach::Tree)]);
        assert_eq!(plan.set_tree, Attributes::MOUNT_ATTR_RDONLY);
        assert_eq!(plan.set, Attributes::MOUNT_ATTR_NOSUID);
    }

    #[test]
    fn later_options_win_and_the_rest_is_the_file_systems() {
        let plan = of(
            "tmpfs",
            &["ro", "rw", "noexec", "size=64k", "mode=755", "noswap"],
        );
        assert_eq!(plan.set, Attributes::MOUNT_ATTR_NOEXEC);
        assert_eq!(plan.clear, Attributes::MOUNT_ATTR_RDONLY);
        assert_eq!(
            plan.data,
            [
                ("size".to_owned(), Some("64k".to_owned())),
                ("mode".to_owned(), Some("755".to_owned())),
                ("noswap".to_owned(), None),
            ]
        );
    }

    #[test]
    fn relatime_is_not_a_recursive_elatime() {
        assert!(of("tmpfs", &["relatime"]).data.is_empty());
        assert!(
            of("tmpfs", &["rnoatime"])
                .set
                .contains(Attributes::MOUNT_ATTR_NOATIME)
        );
    }

    #[test]
    fn id_mapped_mounts_are_refused() {
        let options = vec!["idmap".to_owned()];
        assert!(
            plan(&Mount {
                options,
                ..Mount::default()
            })
            .is_err()
        );
    }
}
