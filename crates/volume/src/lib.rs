//! Volumes: directories with names that outlive containers.
//!
//! Exists because several crates consume it (C) and tests run it on a temporary directory (F).
//! Synchronous. Knows names, records, the local driver, plugins and how trees are copied; nothing of
//! containers: who uses a volume is told by the caller at the moment it matters, so that no count
//! on disk can ever be wrong. See docs/on-disk.md for the files.
//!
//! ```text
//! Volumes ──► name.rs      what a volume may be called
//!         ──► record.rs    volume.json, read with suspicion
//!         ──► options.rs   type, device, o: what is mounted at the volume, decided without doing it
//!         ──► backing.rs   mounts and unmounts it
//!         ──► plugins      who they are, what is said to them
//! tree    ──► copies a tree into an empty volume, exactly
//! ```
#![forbid(unsafe_code)]

mod address;
mod backing;
mod error;
mod name;
mod options;
mod plugins;
mod record;
pub mod tree;
mod volumes;

pub use error::{Error, Result};
pub use name::{InvalidName, VolumeName};
pub use options::{Backing, InvalidOptions, size_in_bytes};
pub use plugin::{PluginFailure, PluginSettings};
pub use volumes::{Created, Hold, NewVolume, Problem, Volume, Volumes};

/// Label of volumes that nobody named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// Name of the built-in driver.
pub const LOCAL: &str = "local";
