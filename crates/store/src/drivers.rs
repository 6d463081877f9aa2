//! Storage drivers: how a container's root file system is put together of layers.
//!
//! Whatever the driver, a layer is unpacked under its diff id, and that directory is the truth that
//! images are made of, saved and pushed from. A driver only says what a container's first process
//! mounts:
//!
//! ```text
//! overlay2   overlay: upper on init layer on the layers' directories
//! erofs      the same, but each layer's directory covered by a read-only image of it
//! vfs        a directory: a copy of all of the image, for this container alone
//! btrfs      a directory: a snapshot of a subvolume that holds all of the image
//! ```
//!
//! Each snapshot records its driver, so those of several drivers lie side by side, and a container
//! keeps its own when another driver is chosen for new ones.

mod branch;
mod choose;
mod images;
mod tree;
pub(crate) mod whole;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use branch::{TREE, drop_subvolumes};
pub use choose::Choice;
pub(crate) use tree::copy;

/// A storage driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// Overlayfs over the layers' directories.
    #[default]
    Overlay2,
    /// Snapshots of a subvolume per image.
    Btrfs,
    /// A copy of the image per container.
    Vfs,
    /// Overlayfs over an EROFS image per layer.
    Erofs,
}

/// A name that is no storage driver of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("storage driver {name} is not supported: {why}")]
pub struct UnknownDriver {
    /// The name.
    pub name: String,
    /// Why it is not there, and what to use instead.
    pub why: &'static str,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Overlay2, Self::Btrfs, Self::Vfs, Self::Erofs];

    /// The name that users and records have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay2 => "overlay2",
            Self::Btrfs => "btrfs",
            Self::Vfs => "vfs",
            Self::Erofs => "erofs",
        }
    }

    /// Whether every container has a whole tree, rather than a writable layer over shared ones.
    pub fn has_whole_trees(self) -> bool {
        matches!(self, Self::Btrfs | Self::Vfs)
    }

    /// What old records have, which say nothing of a driver.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(crate) fn is_first(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        // The name of Docker's image store for the same thing.
        if text == "overlayfs" {
            return Ok(Self::Overlay2);
        }
        if let Some(driver) = Self::ALL.into_iter().find(|driver| driver.as_str() == text) {
            return Ok(driver);
        }
        let why = match text {
            "aufs" => {
                "AUFS never became part of Linux, and today's kernels come without it; \
                 use overlay2"
            }
            "devicemapper" => {
                "device-mapper thin pools lost data with loop devices and were removed from \
                 Docker 25; use overlay2, or btrfs on a btrfs"
            }
            "overlay" => "it was replaced by overlay2, which mounts the same file system; use that",
            "fuse-overlayfs" => "overlayfs needs no FUSE on today's kernels; use overlay2",
            "zfs" => "use overlay2, which works on ZFS 2.2 and later",
            _ => "use overlay2, btrfs, erofs or vfs",
        };
        Err(UnknownDriver {
            name: text.chars().take(80).collect(),
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_read_by_their_names_and_others_are_told_what_to_use() {
        for driver in Driver::ALL {
            assert_eq!(driver.to_string().parse(), Ok(driver));
            let json = serde_json::to_string(&driver).unwrap();
            assert_eq!(json, format!("\"{driver}\""));
        }
        assert_eq!("overlayfs".parse(), Ok(Driver::Overlay2));
        for (name, hint) in [
            ("aufs", "AUFS never became part of Linux"),
            ("devicemapper", "removed from Docker 25; use overlay2"),
            ("overlay", "replaced by overlay2"),
            ("zfs", "use overlay2"),
            ("nope", "use overlay2, btrfs, erofs or vfs"),
        ] {
            let error = name.parse::<Driver>().unwrap_err().to_string();
            let begin = format!("storage driver {name} is not supported: ");
            assert!(error.starts_with(&begin) && error.contains(hint), "{error}");
        }
    }
}
