//! A container's root file system as one flat archive.

use std::io::Write;

use crate::diff::{Packer, Way, Xattrs, pack};
use crate::merged::MergedDir;
use crate::{Error, Result, Store};

impl Store {
    /// Writes what a container sees as a tar archive, whether it runs or not.
    ///
    /// What is mounted into the container is not in it, as in Docker. The layers are merged while
    /// they are read; nothing is mounted.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NoSuchSnapshot`], [`Error::Cancelled`] where the reader is gone, or the disk
    /// failed.
    pub fn export(&self, key: &str, out: &mut dyn Write) -> Result<()> {
        let stack = self.stack_of(key)?;
        let root = MergedDir::root(&stack.layers).map_err(|source| Error::Sys {
            action: format!("open the layers of `{key}`"),
            source,
        })?;
        let mut packer = Packer::new(out, Xattrs::Capability);
        pack(&mut packer, root, Way::Merged)?;
        packer.finish().map(drop)
    }
}
