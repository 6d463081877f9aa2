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
mod collector;
mod commit;
mod content;
pub mod copy;
mod diff;
mod drivers;
mod error;
mod export;
mod forms;
mod fsck;
mod gc;
mod graph;
mod growing;
mod images;
mod import;
mod ingest;
mod init;
mod layout;
mod lease;
mod load;
mod merged;
mod partial;
mod policy;
mod publish;
mod record;
mod recover;
mod save;
mod settle;
mod snapshots;
mod store;
mod stream;
mod tar;
mod tarmap;
mod tarwrite;
mod trash;
mod unpack;
mod usage;

pub use collector::{Collected, Collector};
pub use commit::{CommitOptions, Committed};
pub use content::{FormReader, LayerArchive};
pub use diff::{Change, ChangeKind};
pub use drivers::{Choice, Driver, UnknownDriver};
pub use error::{Error, Result};
pub use forms::{Form, How};
pub use gc::{Prunable, PruneRequest, Swept};
pub use graph::Directories;
pub use images::{HistoryEntry, Image, PlatformImage, Removed};
pub use import::{ImportOptions, docker_config};
pub use ingest::{Ingest, LayerSource};
pub use lease::Lease;
pub use load::{LoadOptions, Loaded, LoadedImage, Progress};
pub use policy::{Floor, Policy};
pub use publish::{NewImage, Published, StagedLayer};
pub use save::{SaveOptions, SavePlan};
pub use settle::{BlobPolicy, Settled};
pub use snapshots::{PrepareOptions, Snapshot};
pub use store::{Problem, Store};
pub use unpack::Limits;
pub use usage::{Allocated, DiskUsage, ImageUsage};
