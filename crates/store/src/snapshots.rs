//! Snapshots: the writable layers of containers.
//!
//! What a container wrote is as durable as its own syncs; that the snapshot is there is durable when
//! [`Store::prepare`] returns, unless it is volatile. A snapshot's record is written last, so one
//! without a record is half-made. A volatile one carries a mark, made before its record: a power cut
//! may leave it with an empty record, and then it is known to be nobody's loss.

use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use spec::{ChainId, DiffId, Digest, ImageId, Rootfs, Timestamp};
use sys::fs::Durability;
use sys::root::{Dir, GuestPath, Kind, Root};

use crate::diff::Extent;
use crate::drivers::TREE;
use crate::gc::Piece;
use crate::images::no_such;
use crate::layout::VERSION;
use crate::record::{self, Moment, SnapshotRecord};
use crate::store::{State, io};
use crate::{Driver, Error, Lease, Result, Store, init, trash};

/// How a snapshot is made.
#[derive(Debug, Clone, Default)]
pub struct PrepareOptions {
    /// Sync nothing, now or on unmount: for containers that are removed when they end (`--rm`).
    pub volatile: bool,
    /// Most bytes that the writable layer may hold; with whole trees (vfs), that all of it may.
    pub size: Option<u64>,
    /// Keep the writable layer in memory: what it holds is gone when the container ends.
    pub memory: bool,
    /// Nothing will be written: only the image is looked at, without what containers need besides.
    pub view: bool,
}

/// A writable layer and what lies below it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The key it was prepared under: the container's id.
    pub key: String,
    /// The image below.
    pub image: ImageId,
    /// How it is mounted.
    pub rootfs: Rootfs,
    /// When it was prepared.
    pub created: Timestamp,
}

impl Store {
    /// Makes the writable layer of a container on top of an image and says how to mount it.
    ///
    /// Durable when it returns, unless it is volatile.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], [`Error::SnapshotExists`], [`Error::InvalidKey`],
    /// [`Error::Damaged`] when a layer is missing, or the disk failed.
    pub fn prepare(
        &self,
        _lease: &Lease,
        key: &str,
        image: ImageId,
        options: &PrepareOptions,
    ) -> Result<Rootfs> {
        check_key(key)?;
        let record = {
            let mut state = self.inner.state();
            let entry = state.images.get(&image).ok_or_else(|| no_such(image))?;
            let layers = entry.config.rootfs.diff_ids.clone();
            if let Some(missing) = layers.iter().find(|diff| !state.layers.contains_key(diff)) {
                let what = format!("layer {missing} is missing: load it again");
                return Err(Error::Damaged { id: image, what });
            }
            if state.snapshots.contains_key(key) {
                return Err(Error::SnapshotExists {
                    key: key.to_owned(),
                });
            }
            let record = SnapshotRecord {
                bound: None,
                driver: match state.driver {
                    // The layers' directories show what an image has, where overlayfs works.
                    Driver::Btrfs | Driver::Erofs if options.view => Driver::Overlay2,
                    driver => driver,
                },
                since: None,
                version: VERSION,
                key: key.to_owned(),
                image,
                init: init_name(&layers),
                layers,
                volatile: options.volatile,
                created: Timestamp::from(std::time::SystemTime::now()),
            };
            // From here on the layers are needed, whatever happens to the image.
            state.snapshots.insert(key.to_owned(), record.clone());
            record
        };
        let mut record = record;
        let made = self.make_snapshot(&mut record, options);
        if made.is_err() {
            self.inner.state().snapshots.remove(key);
            if let Some(bound) = &record.bound {
                drop(bound::remove(&self.bounded(key), bound));
            }
            // The first error is the one to tell; the next open sweeps what has no record.
            drop(trash::delete(&self.layout().snapshot(key)));
        }
        made?;
        if record.bound.is_some() || record.since.is_some() {
            let mut state = self.inner.state();
            state.snapshots.insert(key.to_owned(), record.clone());
        }
        self.rootfs(&record)
    }

    fn make_snapshot(&self, record: &mut SnapshotRecord, options: &PrepareOptions) -> Result<()> {
        let path = self.layout().snapshot(&record.key);
        if options.memory && record.driver.has_whole_trees() {
            let what = format!(
                "a writable layer in memory (tmpfs) needs storage driver overlay2 or erofs: \
                 {} has none",
                record.driver
            );
            return Err(Error::InvalidOption { what });
        }
        self.ensure_init(record)?;
        let lowers = self.shown(record, options.view);
        match record.driver {
            Driver::Btrfs => self.ensure_base(record, &lowers)?,
            Driver::Erofs => drop(self.ensure_images(&record.layers)?),
            Driver::Overlay2 | Driver::Vfs => {}
        }
        match std::fs::DirBuilder::new().mode(0o710).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::SnapshotExists {
                    key: record.key.clone(),
                });
            }
            done => done.map_err(io("make", &path))?,
        }
        if record.driver != Driver::Btrfs {
            self.bind(record, options)?;
        }
        let writable = self.writable(record);
        match record.driver.has_whole_trees() {
            true => self.make_tree(record, &writable, options.size, &lowers)?,
            false => self.make_layer(record)?,
        }
        let record = &*record;
        let meta = path.join("meta.json");
        if record.volatile {
            let mark = path.join(VOLATILE);
            std::fs::File::create(&mark).map_err(io("make", &mark))?;
            return std::fs::write(&meta, record::encode(record)).map_err(io("write", &meta));
        }
        if record.driver == Driver::Vfs {
            // A record that outlives a power cut must not stand for half of a copy.
            sys::fs::sync_file_system(&writable).map_err(|source| Error::Sys {
                action: format!("sync `{}`", writable.display()),
                source,
            })?;
        }
        record::write(&meta, record, Durability::Synced)?;
        self.sync_dir("snapshots")
    }

    /// Bounds the writable layer, where that is asked for.
    fn bind(&self, record: &mut SnapshotRecord, options: &PrepareOptions) -> Result<()> {
        let bounded = self.bounded(&record.key);
        let purpose = match record.volatile {
            true => bound::Purpose::Discard,
            false => bound::Purpose::Keep,
        };
        record.bound = match options.size {
            None if !options.memory => return Ok(()),
            size => {
                make_dir(&bounded)?;
                Some(match size {
                    Some(bytes) if !options.memory => bound::set(&bounded, bytes, purpose)?,
                    bytes => bound::in_memory(&bounded, bytes)?,
                })
            }
        };
        Ok(())
    }

    /// Makes an empty writable layer.
    fn make_layer(&self, record: &SnapshotRecord) -> Result<()> {
        let writable = self.writable(record);
        let upper = writable.join("upper");
        make_dir(&upper)?;
        make_dir(&writable.join("work"))?;
        self.dress_root(&record.layers, &upper)
    }

    /// What a container shows before it wrote anything, topmost first.
    fn shown(&self, record: &SnapshotRecord, view: bool) -> Vec<PathBuf> {
        let layers = self.lowers(&self.inner.state(), &record.layers);
        match view && !layers.is_empty() {
            true => layers,
            false => std::iter::once(self.layout().init(&record.init))
                .chain(layers)
                .collect(),
        }
    }

    /// Throws away what a container wrote into memory: to be called when it has ended. What is on
    /// a disk stays.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`], or the kernel failed.
    pub fn forget_memory(&self, key: &str) -> Result<()> {
        let record = self.snapshot_record(key)?;
        let Some(bound @ bound::Bound::Memory { .. }) = &record.bound else {
            return Ok(());
        };
        let place = self.bounded(key);
        bound::remove(&place, bound)?;
        bound::resume(&place, bound)?;
        self.make_layer(&record)
    }

    /// Makes writable layers in memory anew that went with the host.
    pub(crate) fn refresh_memory(&self) {
        let records: Vec<SnapshotRecord> = {
            let state = self.inner.state();
            state.snapshots.values().cloned().collect()
        };
        for record in records {
            let is_memory = matches!(record.bound, Some(bound::Bound::Memory { .. }));
            let lost = is_memory && !self.writable(&record).join("upper").is_dir();
            if lost && let Err(error) = self.make_layer(&record) {
                let error = spec::error::chain(&error);
                tracing::warn!(key = record.key, error, "a writable layer cannot be made");
            }
        }
    }

    /// The directory of a snapshot that is bounded.
    fn bounded(&self, key: &str) -> PathBuf {
        self.layout().snapshot(key).join(BOUNDED)
    }

    /// Where a snapshot's writable layer is.
    pub(crate) fn writable(&self, record: &SnapshotRecord) -> PathBuf {
        match record.bound {
            Some(_) => self.bounded(&record.key),
            None => self.layout().snapshot(&record.key),
        }
    }

    /// Whether nothing is lost with this snapshot: it is volatile, or there is none.
    pub fn is_expendable(&self, key: &str) -> bool {
        let path = self.layout().snapshot(key);
        check_key(key).is_err() || !path.exists() || is_volatile(&path)
    }

    /// Gives the writable layer's root the attributes of the image's: overlayfs shows the topmost.
    pub(crate) fn dress_root(&self, layers: &[DiffId], upper: &Path) -> Result<()> {
        let (uid, gid, mode) = self.root_attributes(layers);
        let failed = |source| Error::Sys {
            action: "set up the writable layer".into(),
            source,
        };
        let dir = Root::open(upper)
            .and_then(|root| root.open_dir(&GuestPath::root()))
            .map_err(failed)?;
        dir.set_own(uid, gid, Mode::from_raw_mode(mode), None)
            .map_err(failed)
    }

    /// Owner, group and mode that a stack of layers gives to the root directory.
    pub(crate) fn root_attributes(&self, layers: &[DiffId]) -> (u32, u32, u32) {
        let state = self.inner.state();
        let mut topmost_first = layers.iter().rev();
        let root =
            topmost_first.find_map(|diff| state.layers.get(diff).and_then(|layer| layer.root));
        root.map_or((0, 0, 0o755), |root| (root.uid, root.gid, root.mode))
    }

    fn ensure_init(&self, record: &SnapshotRecord) -> Result<()> {
        if self.inner.state().inits.contains(&record.init) {
            return Ok(());
        }
        let _writer = self.inner.writer();
        let (known, lowers) = {
            let state = self.inner.state();
            (
                state.inits.contains(&record.init),
                self.lowers(&state, &record.layers),
            )
        };
        if !known {
            init::make(self.layout(), &record.init, &lowers)?;
            self.inner.state().inits.insert(record.init.clone());
        }
        Ok(())
    }

    /// Directories of layers, topmost first, without those that cannot be seen.
    pub(crate) fn lowers(&self, state: &State, layers: &[DiffId]) -> Vec<PathBuf> {
        self.visible(state, layers)
            .into_iter()
            .map(|diff| self.layout().layer_diff(diff))
            .collect()
    }

    /// Layers, topmost first, without those that cannot be seen.
    pub(crate) fn visible(&self, state: &State, layers: &[DiffId]) -> Vec<DiffId> {
        let mut seen: Vec<DiffId> = Vec::new();
        for diff in layers.iter().rev() {
            // The kernel refuses a directory given twice; the upper one hides the lower anyway.
            if !seen.contains(diff) {
                seen.push(*diff);
            }
            // It honours the opaque mark on every directory but the root.
            if state
                .layers
                .get(diff)
                .is_some_and(|layer| layer.opaque_root)
            {
                break;
            }
        }
        seen
    }

    fn rootfs(&self, record: &SnapshotRecord) -> Result<Rootfs> {
        let path = self.writable(record);
        if record.driver.has_whole_trees() {
            return Ok(Rootfs::Directory {
                path: path.join(TREE),
            });
        }
        Ok(Rootfs::Overlay {
            lowers: self.shown(record, false),
            upper: path.join("upper"),
            work: path.join("work"),
            volatile: record.volatile,
            images: match record.driver {
                Driver::Erofs => self.ensure_images(&record.layers)?,
                _ => Vec::new(),
            },
        })
    }

    /// Directories that a container's root file system consists of.
    pub(crate) fn stack_of(&self, key: &str) -> Result<Stack> {
        let record = self.snapshot_record(key)?;
        let below = self.shown(&record, false);
        let path = self.writable(&record);
        if record.driver.has_whole_trees() {
            return Ok(Stack {
                layers: vec![path.join(TREE)],
                below,
                since: Some(record.since.unwrap_or_default()),
            });
        }
        let upper = std::iter::once(path.join("upper"));
        Ok(Stack {
            layers: upper.chain(below.iter().cloned()).collect(),
            below,
            since: None,
        })
    }

    /// Directories of the image below a snapshot, topmost first, without what containers need
    /// besides; that alone for an image without layers.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`].
    pub fn image_layers(&self, key: &str) -> Result<Vec<PathBuf>> {
        let record = self.snapshot_record(key)?;
        if record.driver.has_whole_trees() {
            return Ok(vec![self.writable(&record).join(TREE)]);
        }
        let layers = self.lowers(&self.inner.state(), &record.layers);
        Ok(match layers.is_empty() {
            true => vec![self.layout().init(&record.init)],
            false => layers,
        })
    }

    /// Says how to mount a snapshot, again before every start of its container.
    ///
    /// Removes the mark that a volatile overlay leaves in its work directory, which the kernel
    /// would otherwise refuse to mount again: do not call it while it is mounted.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`], or the disk failed.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot> {
        let record = self.snapshot_record(key)?;
        if record.volatile && !record.driver.has_whole_trees() {
            trash::delete_below(&self.writable(&record).join("work/work"), "incompat")?;
        }
        Ok(Snapshot {
            rootfs: self.rootfs(&record)?,
            key: record.key,
            image: record.image,
            created: record.created,
        })
    }

    pub(crate) fn snapshot_record(&self, key: &str) -> Result<SnapshotRecord> {
        let state = self.inner.state();
        let record = state.snapshots.get(key);
        record.cloned().ok_or_else(|| Error::NoSuchSnapshot {
            key: key.to_owned(),
        })
    }

    /// Keys of all snapshots, sorted: compared with the containers when the engine starts.
    pub fn snapshots(&self) -> Vec<String> {
        self.inner.state().snapshots.keys().cloned().collect()
    }

    /// Removes a snapshot, which must not be mounted; absent is fine.
    ///
    /// It is gone at once; its files are deleted before this returns, and so are layers that only
    /// it needed any more because its image was removed by force.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn remove_snapshot(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let path = self.layout().snapshot(key);
        let bound = self
            .snapshot_record(key)
            .ok()
            .and_then(|record| record.bound);
        if let Some(bound) = &bound {
            bound::remove(&self.bounded(key), bound)?;
        }
        let hidden = match trash::hide(self.layout(), &path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            done => Some(done?),
        };
        let orphaned = {
            let mut state = self.inner.state();
            let record = state.snapshots.remove(key);
            record.filter(|record| !state.images.contains_key(&record.image))
        };
        if let Some(hidden) = hidden {
            trash::delete(&hidden)?;
        }
        match orphaned {
            Some(record) => self.remove_orphans(&record),
            None => Ok(()),
        }
    }

    /// Removes layers of a snapshot that is gone, where nothing else refers to them.
    fn remove_orphans(&self, record: &SnapshotRecord) -> Result<()> {
        let garbage = {
            let _writer = self.inner.writer();
            let mut blobs: Vec<Digest> = vec![record.image.digest()];
            {
                let state = self.inner.state();
                let layers = record
                    .layers
                    .iter()
                    .filter_map(|diff| state.layers.get(diff));
                blobs.extend(layers.flat_map(|layer| layer.kept_blobs()));
            }
            self.hide_garbage_if(|piece| match piece {
                Piece::Layer(diff) => record.layers.contains(diff),
                Piece::Blob(digest) => blobs.contains(digest),
                Piece::Init(name) | Piece::Base(name) => *name == record.init,
            })
        };
        garbage.delete().map(drop)
    }

    /// Bytes that a container has written: the files of its writable layer (`SizeRw`).
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`], or the disk failed.
    pub fn usage(&self, key: &str) -> Result<u64> {
        let record = self.snapshot_record(key)?;
        if record.driver.has_whole_trees() {
            return self.written(&record).map(|written| written.bytes);
        }
        let upper = self.writable(&record).join("upper");
        tree_size(&upper)
            .map(|size| size.bytes)
            .map_err(|source| Error::Sys {
                action: format!("measure `{}`", upper.display()),
                source,
            })
    }
}

/// What a container sees, and what of it is not its own.
#[derive(Debug)]
pub(crate) struct Stack {
    /// All of it, topmost first; the first one is the container's.
    pub(crate) layers: Vec<PathBuf>,
    /// What its image shows, topmost first.
    pub(crate) below: Vec<PathBuf>,
    /// When the container's own tree was made, where that is a whole one.
    pub(crate) since: Option<Moment>,
}

impl Stack {
    pub(crate) fn extent(&self) -> Extent {
        match self.since {
            Some(_) => Extent::Whole,
            None => Extent::Upper,
        }
    }
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(io("make", path))
}

/// Name of the init layer of a stack of layers.
pub(crate) fn init_name(layers: &[DiffId]) -> String {
    ChainId::of(layers).map_or_else(|| "scratch".to_owned(), |chain| chain.digest().hex())
}

/// Directory of a snapshot whose writable layer is bounded; what bounds it may be mounted there.
pub(crate) const BOUNDED: &str = "disk";
/// Empty file in a snapshot that is volatile.
const VOLATILE: &str = "volatile";

/// Whether a snapshot is marked as volatile.
pub(crate) fn is_volatile(path: &Path) -> bool {
    path.join(VOLATILE).exists()
}

fn check_key(key: &str) -> Result<()> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if (1..=128).contains(&key.len()) && key.bytes().all(good) {
        return Ok(());
    }
    Err(Error::InvalidKey {
        key: key.chars().take(140).collect(),
    })
}

/// What a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TreeSize {
    /// Of everything but directories.
    pub(crate) bytes: u64,
    /// Without the tree's root.
    pub(crate) objects: u64,
    /// What the disk has of all of it, the root too.
    pub(crate) allocated: u64,
}

/// Adds up a tree, hard links once; what vanishes meanwhile does not count.
pub(crate) fn tree_size(path: &Path) -> sys::Result<TreeSize> {
    let mut size = TreeSize::default();
    let mut linked = std::collections::HashSet::new();
    let root = Root::open(path)?;
    let mut todo: Vec<(Dir, Vec<std::ffi::OsString>)> = Vec::new();
    let top = root.open_dir(&GuestPath::root())?;
    size.allocated = top.metadata()?.allocated;
    let names = top.names()?;
    todo.push((top, names));
    while let Some((dir, names)) = todo.last_mut() {
        let Some(name) = names.pop() else {
            todo.pop();
            continue;
        };
        let name: &OsStr = &name;
        let Some(found) = dir.find(name)? else {
            continue;
        };
        size.objects += 1;
        if found.kind == Kind::Directory {
            size.allocated += found.allocated;
            // Each open directory is a descriptor: what a container nests deeper than this is
            // not worth failing for.
            if todo.len() < MAX_DEPTH
                && let Some((dir, _)) = todo.last()
                && let Ok(below) = dir.open_dir(name)
            {
                let names = below.names()?;
                todo.push((below, names));
            }
        } else if found.links < 2 || linked.insert((found.device, found.inode)) {
            size.bytes += found.size;
            size.allocated += found.allocated;
        }
    }
    Ok(size)
}

const MAX_DEPTH: usize = 512;
