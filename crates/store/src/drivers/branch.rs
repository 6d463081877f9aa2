//! Whole trees: copies of an image (vfs) and snapshots of its subvolume (btrfs).
//!
//! ```text
//! btrfs/<hex of chain id>/     subvolume: the image with its init layer, made once
//! snapshots/<key>/rootfs/      a snapshot of it, or with vfs a copy of the layers
//! ```
//!
//! What a container changed is known by the kernel's own note of when: everything was last changed
//! before the moment that the record holds, or by the container.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Driver;
use crate::merged::MergedDir;
use crate::record::{Moment, SnapshotRecord};
use crate::store::io;
use crate::trash::Scratch;
use crate::{Error, Result, Store};

/// Name of a whole tree in its snapshot.
pub(crate) const TREE: &str = "rootfs";
/// How long the clock of a file system may take for a step: one with whole seconds has the longest.
const STEP: Duration = Duration::from_secs(5);

impl Store {
    /// Makes the whole tree of a snapshot, and notes the moment.
    pub(crate) fn make_tree(
        &self,
        record: &mut SnapshotRecord,
        place: &Path,
        size: Option<u64>,
        lowers: &[PathBuf],
    ) -> Result<()> {
        match record.driver {
            Driver::Btrfs => self.branch(record, place, size)?,
            _ => {
                let tree = place.join(TREE);
                std::fs::create_dir(&tree).map_err(io("make", &tree))?;
                super::copy(lowers, &tree)?;
                self.dress_root(&record.layers, &tree)?;
            }
        }
        record.since = Some(next_moment(place)?);
        Ok(())
    }

    fn branch(&self, record: &SnapshotRecord, place: &Path, size: Option<u64>) -> Result<()> {
        let base = self.layout().base(&record.init);
        let failed = |action: &'static str| {
            let path = place.join(TREE);
            move |source| Error::Sys {
                action: format!("{action} `{}`", path.display()),
                source,
            }
        };
        sys::btrfs::snapshot(&base, place, OsStr::new(TREE)).map_err(failed("branch off"))?;
        let Some(bytes) = size else {
            return Ok(());
        };
        match sys::btrfs::limit(&place.join(TREE), bytes) {
            Err(error) if sys::btrfs::keeps_no_quotas(&error) => Err(Error::Unsupported {
                what: format!(
                    "a size with storage driver btrfs needs the file system's quotas: \
                     run `btrfs quota enable --simple {}` once (or without --simple before Linux 6.7)",
                    self.layout().root().display()
                ),
            }),
            done => done.map_err(failed("bound")),
        }
    }

    /// Makes the subvolume of a stack of layers unless it is there.
    pub(crate) fn ensure_base(&self, record: &SnapshotRecord, lowers: &[PathBuf]) -> Result<()> {
        let name = &record.init;
        let known = || self.inner.state().bases.contains(name);
        if known() {
            return Ok(());
        }
        let _making = self.inner.making();
        if known() {
            return Ok(());
        }
        let begun = Instant::now();
        let scratch = Scratch::create(self.layout())?;
        let failed = |action: &str| {
            let action = format!("{action} the subvolume of an image");
            move |source| Error::Sys { action, source }
        };
        sys::btrfs::create(scratch.path(), OsStr::new("base")).map_err(failed("make"))?;
        let path = scratch.path().join("base");
        super::copy(lowers, &path)?;
        self.dress_root(&record.layers, &path)?;
        // Its name must not outlive a power cut that its files did not.
        sys::fs::sync_file_system(&path).map_err(failed("sync"))?;
        let target = self.layout().base(name);
        std::fs::rename(&path, &target).map_err(io("publish", &target))?;
        self.inner.state().bases.insert(name.clone());
        let elapsed_ms = begun.elapsed().as_millis();
        tracing::info!(name, elapsed_ms, "made the subvolume of an image");
        Ok(())
    }

    /// What a container wrote into its whole tree.
    pub(crate) fn written(&self, record: &SnapshotRecord) -> Result<super::whole::Written> {
        let tree = self.writable(record).join(TREE);
        let since = record.since.unwrap_or_default();
        super::whole::written(&tree, since).map_err(|source| Error::Sys {
            action: format!("measure `{}`", tree.display()),
            source,
        })
    }
}

/// A moment of the file system's clock after everything that was done up to now.
fn next_moment(place: &Path) -> Result<Moment> {
    let path = place.join(".moment");
    let failed = |source| Error::Sys {
        action: format!("read the clock of `{}`", place.display()),
        source,
    };
    let file = std::fs::File::create(&path).map_err(io("make", &path))?;
    let read = || {
        sys::root::metadata(file.as_fd())
            .map(|found| Moment::from(found.changed))
            .map_err(failed)
    };
    let begin = read()?;
    let deadline = Instant::now() + STEP;
    let mut now = begin;
    while now <= begin && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(200));
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .map_err(io("touch", &path))?;
        now = read()?;
    }
    std::fs::remove_file(&path).map_err(io("remove", &path))?;
    Ok(now)
}

/// Deletes a directory where it is a subvolume, and those directly in it; others are left alone.
pub(crate) fn drop_subvolumes(path: &Path) -> sys::Result<()> {
    if !sys::btrfs::is_btrfs(path) {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    if sys::btrfs::is_subvolume(path) {
        return sys::btrfs::destroy(parent, name);
    }
    for name in ["base", TREE] {
        if sys::btrfs::is_subvolume(&path.join(name)) {
            sys::btrfs::destroy(path, OsStr::new(name))?;
        }
    }
    Ok(())
}

/// Opens a whole tree as a stack of one layer.
pub(crate) fn open_tree(tree: &Path) -> sys::Result<MergedDir> {
    MergedDir::root(&[tree.to_owned()])
}
