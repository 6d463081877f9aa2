//! Where the directories of images and containers are, for people who look at them.

use std::path::PathBuf;

use spec::ImageId;

use crate::{Driver, Result, Store};

/// Directories that a file system is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories {
    /// The topmost: the last layer of an image, the writable layer of a container.
    pub upper: Option<PathBuf>,
    /// Those below, topmost first.
    pub lowers: Vec<PathBuf>,
    /// The work directory of a container's overlay.
    pub work: Option<PathBuf>,
    /// Images that directories of `lowers` are covered with, topmost first.
    pub images: Vec<PathBuf>,
}

impl Store {
    /// The directories of an image; none for an image without layers or none at all.
    pub fn image_directories(&self, id: ImageId) -> Directories {
        let state = self.inner.state();
        let Some(entry) = state.images.get(&id) else {
            return Directories::default();
        };
        let mut layers = self
            .lowers(&state, &entry.config.rootfs.diff_ids)
            .into_iter();
        Directories {
            upper: layers.next(),
            lowers: layers.collect(),
            ..Directories::default()
        }
    }

    /// The directories of a container. Unlike [`Store::snapshot`] it changes nothing.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NoSuchSnapshot`].
    pub fn snapshot_directories(&self, key: &str) -> Result<Directories> {
        let record = self.snapshot_record(key)?;
        let stack = self.stack_of(key)?;
        if stack.since.is_some() {
            // A whole tree is made of nothing that could be told.
            return Ok(Directories::default());
        }
        let images = match record.driver {
            Driver::Erofs => self.visible(&self.inner.state(), &record.layers),
            _ => Vec::new(),
        };
        let mut stack = stack.layers.into_iter();
        let upper = stack.next();
        Ok(Directories {
            work: upper.as_ref().map(|path| path.with_file_name("work")),
            upper,
            lowers: stack.collect(),
            images: images
                .into_iter()
                .map(|diff| self.layout().layer_image(diff))
                .collect(),
        })
    }
}
