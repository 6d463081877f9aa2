//! The vocabulary of Corten: ids, digests, references, error kinds, and the OCI data types.
//!
//! Exists because every other crate consumes it (C). No I/O, no async, no clock.
#![forbid(unsafe_code)]

pub mod digest;
pub mod error;
pub mod id;
pub mod image;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod rootfs;
pub mod runtime;
pub mod seccomp;
pub mod signal;
pub mod time;

pub use digest::{ChainId, DiffId, Digest, ImageId};
pub use error::{Classify, ErrorKind, WireError};
pub use id::{ContainerId, ContainerName, ExecId, NetworkId, Resolution};
pub use manifest::{Descriptor, Document, Index, Manifest};
pub use platform::Platform;
pub use reference::Reference;
pub use rootfs::{LayerImage, Rootfs};
pub use signal::Signal;
pub use time::Timestamp;
