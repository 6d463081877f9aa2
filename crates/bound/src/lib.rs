//! Bounds on what a directory may hold, on any file system.
//!
//! Exists because store and volumes both bound directories (C). Where the file system keeps project
//! quotas (xfs and ext4 mounted with `prjquota`), it keeps the bound itself. Elsewhere the directory
//! becomes the root of a file system of its own, in a sparse file beside it: it has a size, so it
//! cannot be exceeded, and the host loses no more than what is really written. Or it is in memory,
//! where that was asked for.
//!
//! ```text
//! <place>/            bounded: project quota, or mount point of
//! <place>.ext4        the sparse file
//! ```
#![forbid(unsafe_code)]

mod image;
mod memory;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::{Classify, ErrorKind};

/// Smallest bound: less holds no file system.
pub const LEAST: u64 = 4 << 20;
/// Tries for a project number that nobody has.
const TRIES: usize = 32;

/// How a directory is bounded; kept by whoever owns the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Bound {
    /// By its file system, under a project number.
    Project {
        /// The number.
        id: u32,
        /// Bytes.
        bytes: u64,
    },
    /// By a file system of its own.
    Image {
        /// Bytes.
        bytes: u64,
    },
    /// By a tmpfs: what it holds is gone when that is unmounted.
    Memory {
        /// Bytes; without a number the kernel's own bound, half of the memory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
}

/// What a bounded directory's file system must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Data that outlives a power cut.
    Keep,
    /// Data that is thrown away with its owner.
    Discard,
}

/// A bound that could not be set or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too small to hold anything.
    #[error("size {bytes} is too small: at least {LEAST} bytes are needed")]
    TooSmall {
        /// What was asked for.
        bytes: u64,
    },
    /// The program that makes file systems is not there.
    #[error(
        "a size limit needs project quotas or mkfs.ext4, and neither is here: \
         install e2fsprogs, or mount `{}` with prjquota", path.display()
    )]
    NoTool {
        /// The directory.
        path: PathBuf,
    },
    /// It failed.
    #[error("mkfs.ext4 failed: {said}")]
    Tool {
        /// Its last line.
        said: String,
    },
    /// Reading or writing failed.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The kernel refused a call.
    #[error("failed to {action} `{}`", path.display())]
    Sys {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: sys::Error,
    },
}

/// Result of setting a bound.
pub type Result<T> = std::result::Result<T, Error>;

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooSmall { .. } => ErrorKind::InvalidArgument,
            Self::NoTool { .. } => ErrorKind::Unsupported,
            Self::Tool { .. } | Self::Io { .. } | Self::Sys { .. } => ErrorKind::Internal,
        }
    }
}

impl Bound {
    /// Bytes that the directory may hold.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Project { bytes, .. } | Self::Image { bytes } => *bytes,
            Self::Memory { bytes } => bytes.unwrap_or(u64::MAX),
        }
    }
}

/// Bounds an empty directory.
///
/// # Errors
///
/// [`Error::TooSmall`], [`Error::NoTool`], or the disk failed; nothing is left behind then.
pub fn set(place: &Path, bytes: u64, purpose: Purpose) -> Result<Bound> {
    if bytes < LEAST {
        return Err(Error::TooSmall { bytes });
    }
    match project(place, bytes)? {
        Some(bound) => Ok(bound),
        None => {
            image::make(place, bytes, purpose)?;
            Ok(Bound::Image { bytes })
        }
    }
}

/// Puts a directory into memory, bounded by a number of bytes or by the kernel.
///
/// # Errors
///
/// The kernel has no tmpfs.
pub fn in_memory(place: &Path, bytes: Option<u64>) -> Result<Bound> {
    memory::mount(place, bytes)?;
    Ok(Bound::Memory { bytes })
}

/// Bounds by the file system itself; `None` where it cannot.
fn project(place: &Path, bytes: u64) -> Result<Option<Bound>> {
    let failed = |source| Error::Sys {
        action: "bound",
        path: place.to_owned(),
        source,
    };
    for _ in 0..TRIES {
        let random = sys::fs::random_hex().map_err(failed)?;
        // Numbers of projects that people make themselves are small.
        let id = u32::from_str_radix(&random[..7], 16).unwrap_or(0) | 1 << 28;
        match sys::quota::usage(place, id) {
            Ok((0, 0)) => {}
            Ok(_) => continue,
            // xfs does not know a project before it has a limit.
            Err(error) if error.errno() == rustix::io::Errno::NOENT => {}
            Err(error) if sys::quota::is_unavailable(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        return match sys::quota::limit(place, id, bytes) {
            Ok(()) => Ok(Some(Bound::Project { id, bytes })),
            Err(error) if sys::quota::is_unavailable(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        };
    }
    Ok(None)
}

/// Makes a bounded directory usable again after a restart of the host.
///
/// # Errors
///
/// The file system in the file cannot be mounted.
pub fn resume(place: &Path, bound: &Bound) -> Result<()> {
    match bound {
        Bound::Project { .. } => Ok(()),
        Bound::Image { .. } => image::mount(place),
        Bound::Memory { bytes } => memory::mount(place, *bytes),
    }
}

/// Takes a bound away with everything in the directory; what is not there is fine.
///
/// # Errors
///
/// The kernel refused, or the disk failed.
pub fn remove(place: &Path, bound: &Bound) -> Result<()> {
    match bound {
        Bound::Image { .. } => image::remove(place),
        Bound::Memory { .. } => image::unmount(place),
        Bound::Project { id, .. } => {
            let above = place.parent().unwrap_or(place);
            match sys::quota::release(above, *id) {
                Err(error) if sys::quota::is_unavailable(&error) => Ok(()),
                done => done.map_err(|source| Error::Sys {
                    action: "release",
                    path: place.to_owned(),
                    source,
                }),
            }
        }
    }
}

/// Bytes on the host's disk that a bounded directory's file takes; `None` where it is no file.
pub fn allocated(place: &Path, bound: &Bound) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    match bound {
        Bound::Project { .. } | Bound::Memory { .. } => None,
        Bound::Image { .. } => std::fs::metadata(image::file(place))
            .ok()
            .map(|metadata| metadata.blocks() * 512),
    }
}
