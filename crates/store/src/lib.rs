//! Content, layers, images and snapshots on one disk.
//!
//! Exists because several crates consume it (C) and tests run it on a temporary directory (F).
//! Synchronous. Knows nothing of registries, containers or HTTP: callers hand in streams and keys,
//! and get ids, sizes and [`spec::Rootfs`] values back.
//!
//! Three rules hold everywhere. What is acknowledged survives power loss. Nothing is reachable by
//! digest before it is verified and synced. Everything that creates takes a [`Lease`], and what
//! neither an image, a snapshot nor a lease refers to is garbage that [`Store::gc`] removes.
#![forbid(unsafe_code)]

pub mod changes;
mod error;
mod fsck;
mod gc;
mod images;
mod import;
mod init;
mod layout;
mod lease;
mod load;
mod merged;
mod publish;
mod record;
mod recover;
mod snapshots;
mod store;
mod stream;
mod tar;
mod trash;
mod unpack;
mod usage;

pub use error::{Error, Result};
pub use gc::Swept;
pub use images::{HistoryEntry, Image, Removed};
pub use import::ImportOptions;
pub use lease::Lease;
pub use load::{LoadOptions, Loaded, LoadedImage, Progress};
pub use snapshots::{PrepareOptions, Snapshot};
pub use store::{Problem, Store};
pub use unpack::Limits;
pub use usage::{DiskUsage, ImageUsage};
