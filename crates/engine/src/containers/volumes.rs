//! Paths that the image or the user declares to be volumes.
//!
//! Volumes proper come later. Until then a path that the image has stays in the container's own
//! layer, with its content; one that the image does not have becomes a directory beside the
//! container's record, which goes with the container.

use std::path::{Component, Path, PathBuf};

use spec::Rootfs;

use super::record::Record;
use crate::{Error, Result, oci};

/// Makes the directories; returns each with the path at which it is seen.
pub(super) fn make(
    data_dir: &Path,
    record: &Record,
    rootfs: &Rootfs,
) -> Result<Vec<(String, String)>> {
    let Rootfs::Overlay { lowers, .. } = rootfs else {
        return Ok(Vec::new());
    };
    let bound = oci::binds(&record.host)?;
    let mut made = Vec::new();
    for (index, target) in record.config.volumes.iter().enumerate() {
        let taken =
            bound.iter().any(|b| &b.target == target) || record.host.tmpfs.contains_key(target);
        let plain = Path::new(target)
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if taken || !plain || !target.starts_with('/') || in_image(lowers, Path::new(target)) {
            continue;
        }
        let source = data_dir.join("volumes").join(index.to_string());
        std::fs::create_dir_all(&source)
            .map_err(|e| Error::io(format!("failed to make `{}`", source.display()), e))?;
        made.push((source.to_string_lossy().into_owned(), target.clone()));
    }
    Ok(made)
}

/// Whether any layer has something at a path, or a link or file on the way to it, in which case
/// only the kernel can tell.
fn in_image(lowers: &[PathBuf], target: &Path) -> bool {
    let parts: Vec<_> = target.components().skip(1).collect();
    lowers.iter().any(|lower| {
        let mut path = lower.clone();
        for (index, part) in parts.iter().enumerate() {
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Err(_) => return false,
                Ok(metadata) if !metadata.is_dir() => return true,
                Ok(_) if index + 1 == parts.len() => return true,
                Ok(_) => {}
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_has_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("layer");
        std::fs::create_dir_all(layer.join("var/lib")).unwrap();
        std::os::unix::fs::symlink("/var", layer.join("link")).unwrap();
        let lowers = [layer];
        for (path, want) in [
            ("/var/lib", true),
            ("/var/lib/data", false),
            ("/new", false),
            ("/link/data", true),
        ] {
            assert_eq!(in_image(&lowers, Path::new(path)), want, "{path}");
        }
    }
}
