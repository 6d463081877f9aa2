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
    /// Owners are mapped, here or below too.
    pub map_ids: Option<Reach>,
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
        map_ids: None,
    };
    for option in &mount.options {
        plan.add(option)?;
    }
    plan.check_ids(mount)?;
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
            "idmap" => self.map_ids = Some(Reach::Single),
            "ridmap" => self.map_ids = Some(Reach::Tree),
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

    /// As runc: tables without an option mean `idmap`, and both kinds of ids have one.
    fn check_ids(&mut self, mount: &Mount) -> Result<(), String> {
        let tables = (&mount.uid_mappings, &mount.gid_mappings);
        match (tables.0.is_empty(), tables.1.is_empty(), self.map_ids) {
            (true, true, None) => return Ok(()),
            (true, true, Some(_)) => {
                // Without tables those of the container's user namespace are meant.
                return Err(
                    "mount option `idmap` without mappings needs a user namespace of the \
                            container, which is not supported"
                        .to_owned(),
                );
            }
            (false, false, _) => {}
            _ => return Err("uidMappings and gidMappings of a mount come together".to_owned()),
        }
        if !matches!(self.kind, Kind::Bind(_)) {
            return Err(format!("a mount of type `{}` cannot map ids", mount.kind));
        }
        self.map_ids.get_or_insert(Reach::Single);
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
    fn ids_are_mapped_by_both_tables_or_none() {
        let of = |kind: &str, options: &[&str], uids: usize, gids: usize| {
            let one = spec::runtime::IdMapping {
                container_id: 1000,
                host_id: 0,
                size: 1,
            };
            plan(&Mount {
                kind: kind.to_owned(),
                options: options.iter().map(|o| (*o).to_owned()).collect(),
                uid_mappings: vec![one; uids],
                gid_mappings: vec![one; gids],
                ..Mount::default()
            })
            .map(|plan| plan.map_ids)
        };
        assert_eq!(of("bind", &["rbind"], 0, 0), Ok(None));
        assert_eq!(of("bind", &["rbind"], 1, 1), Ok(Some(Reach::Single)));
        assert_eq!(
            of("bind", &["rbind", "ridmap"], 1, 1),
            Ok(Some(Reach::Tree))
        );
        assert!(of("bind", &["rbind", "idmap"], 0, 0).is_err());
        assert!(of("bind", &["rbind"], 1, 0).is_err());
        assert!(of("tmpfs", &[], 1, 1).is_err());
    }
}
