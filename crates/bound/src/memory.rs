//! A file system in memory, mounted at a directory.

use std::os::fd::AsFd;
use std::path::Path;

use sys::mount::Attributes;

use crate::{Error, Result, image};

/// Mounts an empty tmpfs at a directory, if nothing is mounted there.
pub(crate) fn mount(place: &Path, bytes: Option<u64>) -> Result<()> {
    if image::is_mounted(place) {
        return Ok(());
    }
    let failed = |action| {
        let path = place.to_owned();
        move |source| Error::Sys {
            action,
            path,
            source,
        }
    };
    let mut options = vec![
        ("source".to_owned(), Some("tmpfs".to_owned())),
        ("mode".to_owned(), Some("755".to_owned())),
    ];
    options.extend(bytes.map(|bytes| ("size".to_owned(), Some(bytes.to_string()))));
    let mounted = sys::mount::create("tmpfs", &options, Attributes::empty())
        .map_err(failed("mount a file system in memory at"))?;
    let target = sys::mount::open_path(place).map_err(failed("open"))?;
    sys::mount::attach(mounted.as_fd(), target.as_fd()).map_err(failed("mount at"))
}
