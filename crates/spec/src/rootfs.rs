//! How a container's root file system is put together.
//!
//! The store describes it, the container's first process mounts it in its own mount namespace:
//! nothing appears in the host's mount table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A mountable root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Rootfs {
    /// A directory used as it is (an OCI bundle's `rootfs`).
    Directory {
        /// Host path.
        path: PathBuf,
    },
    /// An overlay of read-only layers and one writable one.
    Overlay {
        /// Host paths, topmost first; may be empty for an image without layers.
        lowers: Vec<PathBuf>,
        /// Host path of the writable layer.
        upper: PathBuf,
        /// Host path of overlay's work directory, on the same file system as `upper`.
        work: PathBuf,
        /// Skip syncing on unmount: for containers that are removed when they end.
        volatile: bool,
        /// Images that are mounted over directories of `lowers` first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<LayerImage>,
    },
}

/// A read-only layer in one file (EROFS), and the directory that it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerImage {
    /// Host path of the file.
    pub file: PathBuf,
    /// Host path of the directory that it is mounted over.
    pub place: PathBuf,
}
