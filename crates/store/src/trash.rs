//! Deleting trees: out of sight at once by a rename, then bit by bit.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sys::root::{GuestPath, Root};

use crate::layout::Layout;
use crate::store::io;
use crate::{Error, Result};

/// Moves something out of sight; what is returned is to be given to [`delete`].
pub(crate) fn hide(layout: &Layout, path: &Path) -> Result<PathBuf> {
    let name = sys::fs::random_hex().map_err(|source| Error::Sys {
        action: "draw a name".to_owned(),
        source,
    })?;
    let target = layout.dir("trash").join(name);
    std::fs::rename(path, &target).map_err(io("move to the trash", path))?;
    Ok(target)
}

/// Moves something out of sight and deletes it.
pub(crate) fn discard(layout: &Layout, path: &Path) -> Result<()> {
    delete(&hide(layout, path)?)
}

/// Deletes a file or a tree of any depth, following no link; absent is fine.
pub(crate) fn delete(path: &Path) -> Result<()> {
    let failed = |source| Error::Sys {
        action: format!("delete `{}`", path.display()),
        source,
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    crate::drivers::drop_subvolumes(path).map_err(failed)?;
    let parent = Root::open(parent).map_err(failed)?;
    let dir = parent.open_dir(&GuestPath::root()).map_err(failed)?;
    dir.remove_all(name).map_err(failed)
}

/// Deletes one name in a directory; absent is fine, also of the directory.
pub(crate) fn delete_below(directory: &Path, name: &str) -> Result<()> {
    match std::fs::symlink_metadata(directory.join(name)) {
        Err(_) => Ok(()),
        Ok(_) => delete(&directory.join(name)),
    }
}

/// Deletes everything in a directory.
pub(crate) fn empty(directory: &Path) -> Result<()> {
    let failed = |source| Error::Sys {
        action: format!("empty `{}`", directory.display()),
        source,
    };
    let root = Root::open(directory).map_err(failed)?;
    let dir = root.open_dir(&GuestPath::root()).map_err(failed)?;
    for name in dir.names().map_err(failed)? {
        delete(&directory.join(name))?;
    }
    Ok(())
}

/// A directory under `ingest/` that is deleted when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn create(layout: &Layout) -> Result<Self> {
        let name = sys::fs::random_hex().map_err(|source| Error::Sys {
            action: "draw a name".to_owned(),
            source,
        })?;
        let path = layout.dir("ingest").join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(io("make", &path))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = delete(&self.path) {
            // The next open sweeps it.
            tracing::warn!(
                error = spec::error::chain(&error),
                "left a temporary directory"
            );
        }
    }
}
