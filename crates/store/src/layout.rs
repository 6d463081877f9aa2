//! Where everything is; described in docs/on-disk.md.
//!
//! ```text
//! store/
//! ├── lock                      held by the one process that owns the store
//! ├── version                   format of the store: `1`
//! ├── blobs/sha256/<hex>        verified bytes: configs, manifests, indexes, layers' blobs
//! ├── layers/<hex of diff id>/
//! │   ├── diff/                 the unpacked layer, with overlayfs's whiteouts
//! │   ├── tar-map               what its archive has beside the files' content
//! │   ├── kept/                 files that the archive itself replaces later
//! │   ├── layer.erofs           an image of diff/, where a container of driver erofs has needed it
//! │   └── meta.json             LayerRecord
//! ├── images/<hex of id>.json   ImageRecord
//! ├── names/<hex>.json          NameRecord; named by the digest of the reference
//! ├── init/<hex of chain id>/   mount points that an image lacks, as one more layer
//! ├── btrfs/<hex of chain id>/  subvolume: an image with its init layer, for driver btrfs
//! ├── snapshots/<key>/
//! │   ├── upper/ work/          the container's writable layer
//! │   ├── rootfs/               or all that it sees (drivers vfs and btrfs)
//! │   └── meta.json             SnapshotRecord, written last
//! ├── partial/<hex>             blobs of layers that are on their way; kept for the next attempt
//! ├── ingest/                   being written; swept when the store is opened
//! ├── trash/                    being deleted; swept when the store is opened
//! └── quarantine/               damaged records, for a person to look at
//! ```

use std::path::{Path, PathBuf};

use spec::{DiffId, Digest, ImageId, Reference};

/// Format that this build reads and writes.
pub(crate) const VERSION: u32 = 1;

/// Directories that the store consists of.
pub(crate) const DIRECTORIES: &[&str] = &[
    "blobs",
    "blobs/sha256",
    "layers",
    "images",
    "names",
    "init",
    "btrfs",
    "snapshots",
    "partial",
    "ingest",
    "trash",
    "quarantine",
];

/// Paths under the store's root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Where the blob of a layer is gathered.
    pub(crate) fn partial(&self, digest: Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    pub(crate) fn layer(&self, diff: DiffId) -> PathBuf {
        self.root.join("layers").join(diff.digest().hex())
    }

    pub(crate) fn layer_diff(&self, diff: DiffId) -> PathBuf {
        self.layer(diff).join("diff")
    }

    /// The EROFS image of an unpacked layer.
    pub(crate) fn layer_image(&self, diff: DiffId) -> PathBuf {
        self.layer(diff).join("layer.erofs")
    }

    pub(crate) fn image(&self, id: ImageId) -> PathBuf {
        self.root
            .join("images")
            .join(format!("{}.json", id.digest().hex()))
    }

    pub(crate) fn name(&self, reference: &Reference) -> PathBuf {
        // A reference can be longer than a file name.
        let hex = Digest::of(reference.to_string().as_bytes()).hex();
        self.root.join("names").join(format!("{hex}.json"))
    }

    pub(crate) fn init(&self, name: &str) -> PathBuf {
        self.root.join("init").join(name)
    }

    /// The subvolume of an image.
    pub(crate) fn base(&self, name: &str) -> PathBuf {
        self.root.join("btrfs").join(name)
    }

    pub(crate) fn snapshot(&self, key: &str) -> PathBuf {
        self.root.join("snapshots").join(key)
    }
}
