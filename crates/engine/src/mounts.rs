//! What a container sees besides its own layer: binds, volumes, tmpfs, images.
//!
//! Pure: texts and requests become [`Point`]s, with Docker's precedence and in Docker's words. What
//! makes volumes, copies into them and mounts is `containers`.
//!
//! ```text
//! -v text ─► raw   ┐
//! --mount ─► long  ├─► Wanted ─► plan ─► Point, kept in the container's record
//! --volumes-from ──┤                      └─► oci::mounts at each start
//! image's VOLUME ──┘
//! ```

mod long;
mod owners;
mod plan;
mod propagation;
mod raw;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use owners::{IdMap, Owners};
pub(crate) use plan::{Sources, parse_volumes_from, plan};
pub(crate) use propagation::{check as check_propagation, follow_data, follows_data, needs_check};

use crate::{Error, Result};

/// Words of propagation.
pub(crate) const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];

/// Mode of volumes that are given none: how they are labelled where labels are on.
pub(crate) const DEFAULT_MODE: &str = "z";

/// What a mount point shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A host path.
    Bind,
    /// A volume.
    Volume,
    /// A file system in memory.
    Tmpfs,
    /// The root file system of an image, read-only.
    Image,
}

impl Kind {
    /// Its name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

/// A path in the container and what is seen there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// What is seen.
    pub(crate) kind: Kind,
    /// Absolute and clean path in the container.
    pub(crate) target: String,
    /// Host path of a bind; of a volume and an image it follows from the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    /// The volume's or image's name; empty until an anonymous volume has got one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// A volume's driver.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) driver: String,
    /// Options as inspect shows them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) mode: String,
    /// Whether it can be written.
    pub(crate) writable: bool,
    /// How mounts travel; empty where it means nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) propagation: String,
    /// Nobody named the volume: it goes with the container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) anonymous: bool,
    /// Leave an empty volume empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_copy: bool,
    /// Directory or file of the volume or image that is seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) subpath: String,
    /// Without what is mounted below the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) non_recursive: bool,
    /// Read-only itself, but not what is mounted below the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shallow_read_only: bool,
    /// Make a missing source, as `-v` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) create_source: bool,
    /// Its volume is on another machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) remote: bool,
    /// Options of a tmpfs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) options: Vec<String>,
    /// As whom the owners of a bind's files are seen, if not as themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owners: Option<Owners>,
}

impl Point {
    /// A point with nothing special about it.
    pub(crate) fn new(kind: Kind, target: &str) -> Self {
        Self {
            kind,
            target: clean(target),
            source: String::new(),
            name: String::new(),
            driver: String::new(),
            mode: String::new(),
            writable: true,
            propagation: String::new(),
            anonymous: false,
            no_copy: false,
            subpath: String::new(),
            non_recursive: false,
            shallow_read_only: false,
            create_source: false,
            remote: false,
            options: Vec::new(),
            owners: None,
        }
    }
}

/// A point that is asked for, and the volume that has to be there for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The point.
    pub(crate) point: Point,
    /// What a volume is made with if it is not there.
    pub(crate) volume: VolumeSettings,
}

impl From<Point> for Wanted {
    fn from(point: Point) -> Self {
        Self {
            point,
            volume: VolumeSettings::default(),
        }
    }
}

/// Settings of a volume that a mount makes on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeSettings {
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The driver's options; `None` where none were given.
    pub(crate) options: Option<BTreeMap<String, String>>,
}

/// A path without doubled slashes, dots and a slash at the end; `..` goes up, never above the root.
pub(crate) fn clean(path: &str) -> String {
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

/// Refuses a target that is relative or the root, in Docker's words without the prefix.
pub(crate) fn check_target(target: &str) -> std::result::Result<(), String> {
    if target.is_empty() {
        return Err("field Target must not be empty".to_owned());
    }
    if target.contains('\0') {
        return Err("invalid mount path: it contains a NUL byte".to_owned());
    }
    if clean(target) == "/" && target.starts_with('/') {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    absolute(target)
}

fn absolute(path: &str) -> std::result::Result<(), String> {
    if path.starts_with('/') {
        Ok(())
    } else {
        Err(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        ))
    }
}

/// Docker's refusal of a mount of some type.
fn bad_config(kind: &str, why: &str) -> String {
    format!("invalid mount config for type \"{kind}\": {why}")
}

/// Refuses two things at one path.
pub(crate) fn duplicate(target: &str) -> Error {
    Error::invalid(format!("Duplicate mount point: {target}"))
}

/// Words of `-v`'s and `--volumes-from`'s mode, understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mode {
    read_only: bool,
    propagation: Option<String>,
    no_copy: bool,
    owners: Option<Owners>,
}

impl Mode {
    /// Reads a mode, each kind of word at most once.
    ///
    /// # Errors
    ///
    /// `invalid mode: …`.
    fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("invalid mode: {text}"));
        let mut mode = Self::default();
        // Access, label, propagation, copying, consistency, owners.
        let mut seen = [false; 6];
        let mut once = |kind: usize| {
            if std::mem::replace(&mut seen[kind], true) {
                Err(bad())
            } else {
                Ok(())
            }
        };
        for word in text.split(',') {
            match word {
                "" if text.is_empty() => {}
                "ro" | "rw" => {
                    once(0)?;
                    mode.read_only = word == "ro";
                }
                "z" | "Z" => once(1)?,
                "nocopy" => {
                    once(3)?;
                    mode.no_copy = true;
                }
                "consistent" | "cached" | "delegated" => once(4)?,
                word if PROPAGATIONS.contains(&word) => {
                    once(2)?;
                    mode.propagation = Some(word.to_owned());
                }
                "matchuser" => {
                    once(5)?;
                    mode.owners = Some(Owners::Match);
                }
                word => {
                    let map = word.strip_prefix("idmap=").ok_or_else(bad)?;
                    once(5)?;
                    mode.owners = Some(Owners::Map(IdMap::parse(map).map_err(Error::invalid)?));
                }
            }
        }
        Ok(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_a_process_sees_them() {
        for (text, want) in [
            ("/x/../y/", "/y"),
            ("//a//b/./c", "/a/b/c"),
            ("/..", "/"),
            ("/a/../../b", "/b"),
        ] {
            assert_eq!(clean(text), want, "{text}");
        }
    }

    #[test]
    fn each_kind_of_word_may_come_once() {
        for good in [
            "",
            "ro",
            "rw,z",
            "ro,Z,rslave",
            "nocopy,ro",
            "cached",
            "rw,z,rshared,nocopy",
            "ro,matchuser",
            "idmap=1000-0-1,z",
            "idmap=uids=0-1-1#1-0-1;gids=0-0-2",
        ] {
            assert!(Mode::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "foo",
            "ro,rw",
            "z,Z",
            "shared,slave",
            "ro,",
            ",",
            "ro,x",
            "volume-opt",
            "RO",
            "default",
            "idmap",
            "matchuser,matchuser",
            "matchuser,idmap=0-0-1",
        ] {
            let error = Mode::parse(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid mode: {bad}"));
        }
    }
}
