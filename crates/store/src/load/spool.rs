//! Spools: files of their own that one thread writes while another reads them from the front.
//!
//! The archive arrives at its own pace and order; layers are unpacked while they arrive, several at
//! once, and none of it needs memory.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::growing::{Follower, Growing, grow};
use crate::store::io as io_failed;
use crate::{Error, Result};

/// Whether a spool's file is there to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It has a name, which the directory's owner removes.
    Named,
    /// It has none and vanishes with the spool's ends.
    Unlinked,
}

/// Makes a spool in a directory; gives the file's path where it has one.
pub(crate) fn spool(
    directory: &Path,
    keeping: Keeping,
) -> Result<(Growing, Follower, Option<PathBuf>)> {
    let name = sys::fs::random_hex().map_err(|source| Error::Sys {
        action: "draw a name".to_owned(),
        source,
    })?;
    let path = directory.join(format!("spool-{name}"));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(io_failed("make", &path))?;
    let path = match keeping {
        Keeping::Named => Some(path),
        Keeping::Unlinked => {
            std::fs::remove_file(&path).map_err(io_failed("unlink", &path))?;
            None
        }
    };
    let (writer, reader) = grow(file, 0);
    Ok((writer, reader, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spools_have_names_or_vanish() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, _reader, path) = spool(dir.path(), Keeping::Unlinked).unwrap();
        assert_eq!(path, None);
        let (mut writer, _reader, path) = spool(dir.path(), Keeping::Named).unwrap();
        writer.write(b"half").unwrap();
        assert_eq!(std::fs::read(path.unwrap()).unwrap(), b"half");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
