//! The store as a whole: its state in memory, opening it.
//!
//! All records are read once, when the store is opened; after that memory is the truth for readers
//! and disk follows. Two locks: `writer` serialises whoever changes records, for as long as the disk
//! takes; `state` guards the tables and is never held across a sync. Order: `writer`, then `state`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};

use spec::image::ImageConfig;
use spec::manifest::Index;
use spec::{DiffId, Digest, ImageId, Reference, Timestamp};

use crate::layout::{DIRECTORIES, Layout, VERSION};
use crate::lease::{Bell, Held, LeftOver};
use crate::record::{LayerRecord, ManifestRecord, SnapshotRecord};
use crate::{Error, Lease, Result};

/// Content, layers, images and snapshots under one directory; cheap to clone, shared by threads.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// Something wrong that `open` or `fsck` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: PathBuf,
    /// What is wrong, and what was done about it.
    pub what: String,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    writer: Mutex<()>,
    state: Mutex<State>,
    settling: Mutex<()>,
    making: Mutex<()>,
    /// How often receiving a layer failed for want of space.
    pub(crate) full: AtomicU64,
    problems: Vec<Problem>,
    /// Rung when a lease ended that left something.
    pub(crate) bell: Bell,
    /// What layers take on the disk.
    pub(crate) measured: crate::usage::Measured,
    /// Held for as long as the store is open; the kernel releases it with the process.
    _lock: std::fs::File,
}

/// The tables.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) images: BTreeMap<ImageId, ImageEntry>,
    pub(crate) names: BTreeMap<Reference, NameEntry>,
    pub(crate) layers: BTreeMap<DiffId, LayerRecord>,
    pub(crate) blobs: BTreeMap<Digest, u64>,
    pub(crate) snapshots: BTreeMap<String, SnapshotRecord>,
    pub(crate) inits: BTreeSet<String>,
    /// Subvolumes of images.
    pub(crate) bases: BTreeSet<String>,
    /// What new snapshots have.
    pub(crate) driver: crate::Driver,
    pub(crate) leases: BTreeMap<u64, Held>,
    /// What ended leases left.
    pub(crate) left_over: LeftOver,
    /// Blobs that are being received: their partial files belong to somebody.
    pub(crate) receiving: BTreeSet<Digest>,
    /// Indexes that names stand for.
    pub(crate) indexes: BTreeMap<Digest, Arc<Index>>,
    next_lease: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct ImageEntry {
    pub(crate) config: Arc<ImageConfig>,
    pub(crate) manifest: Option<ManifestRecord>,
    /// Other manifests with the same config.
    pub(crate) manifests: Vec<ManifestRecord>,
    /// The image of the container that it was made of, which may be gone.
    pub(crate) parent: Option<ImageId>,
}

#[derive(Debug, Clone)]
pub(crate) struct NameEntry {
    pub(crate) image: ImageId,
    pub(crate) tagged: Timestamp,
    /// The manifest or index that it was pulled as.
    pub(crate) target: Option<ManifestRecord>,
}

impl ImageEntry {
    /// All manifests that it came with, the first one first.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &ManifestRecord> {
        self.manifest.iter().chain(&self.manifests)
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no panics while the tables are held")
    }

    /// Held by the one who settles; taken before `writer`.
    pub(crate) fn settling(&self) -> MutexGuard<'_, ()> {
        self.settling
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Held by the one who makes what containers of an image share: images and subvolumes, which
    /// take long and are best made once. No other lock is taken before it.
    pub(crate) fn making(&self) -> MutexGuard<'_, ()> {
        self.making
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, ()> {
        // The guarded value is nothing: a panic of another writer leaves whole files behind.
        self.writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Store {
    /// Opens or creates a store in a directory (`<data-root>/store`), which one process may own.
    ///
    /// Sweeps what a crash left. Damaged records are moved to `quarantine/` and reported by
    /// [`Store::problems`]; they never stop the open.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, locked or read.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(io("find", root))?;
        let layout = Layout::new(root);
        for name in std::iter::once("").chain(DIRECTORIES.iter().copied()) {
            make_dir(&layout.dir(name))?;
        }
        let lock = lock(&layout.dir("lock"))?;
        check_version(&layout)?;
        let (state, problems) = crate::recover::recover(&layout)?;
        let clean = problems.is_empty();
        let inner = Arc::new(Inner {
            layout,
            writer: Mutex::new(()),
            state: Mutex::new(state),
            settling: Mutex::new(()),
            making: Mutex::new(()),
            full: AtomicU64::new(0),
            problems,
            bell: Bell::default(),
            measured: crate::usage::Measured::default(),
            _lock: lock,
        });
        let store = Self { inner };
        store.refresh_memory();
        // A damaged image may still need what looks like garbage now.
        if clean {
            store.gc()?;
        }
        Ok(store)
    }

    /// What was found damaged when the store was opened.
    pub fn problems(&self) -> Vec<Problem> {
        self.inner.problems.clone()
    }

    /// Begins a lease; `purpose` appears in logs.
    pub fn lease(&self, purpose: &str) -> Lease {
        let mut state = self.inner.state();
        let number = state.next_lease;
        state.next_lease += 1;
        state.leases.insert(
            number,
            Held {
                purpose: purpose.to_owned(),
                ..Held::default()
            },
        );
        Lease {
            inner: Arc::clone(&self.inner),
            number,
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }
}

fn make_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io("make", path))
}

fn lock(path: &Path) -> Result<std::fs::File> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(io("lock", path)(error)),
    }
}

fn check_version(layout: &Layout) -> Result<()> {
    let path = layout.dir("version");
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return write_version(&path),
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => String::new(),
        Err(error) => return Err(io("read", &path)(error)),
    };
    match text.parse::<u64>() {
        Ok(found) if found == u64::from(VERSION) => Ok(()),
        Ok(found) => Err(Error::Unsupported {
            what: format!("the store has format `{found}`, this build reads {VERSION}"),
        }),
        // Damaged. Every record tells its version too, so no other format is taken for ours.
        Err(_) => {
            let aside = sys::fs::put_aside(&path).map_err(|source| Error::Sys {
                action: "put the store's damaged version aside".into(),
                source,
            })?;
            let (path_text, aside) = (path.display(), aside.display());
            tracing::error!(path = %path_text, %aside, "the store's version is damaged: made anew");
            write_version(&path)
        }
    }
}

fn write_version(path: &Path) -> Result<()> {
    let text = format!("{VERSION}\n");
    sys::fs::replace(path, text.as_bytes(), 0o600, sys::fs::Durability::Synced).map_err(|source| {
        Error::Sys {
            action: "write the store's version".into(),
            source,
        }
    })
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
