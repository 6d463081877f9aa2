//! What writing an image can fail with.

use std::path::PathBuf;

/// Result of writing an image.
pub type Result<T> = std::result::Result<T, Error>;

/// An image that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tree could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Path in the tree.
        path: PathBuf,
        /// The cause.
        source: sys::Error,
    },
    /// The image could not be written.
    #[error("failed to write the image")]
    Write {
        /// The cause.
        source: std::io::Error,
    },
    /// Data could not be copied into the image.
    #[error("failed to copy `{}` into the image", path.display())]
    Copy {
        /// Path in the tree.
        path: PathBuf,
        /// The cause.
        source: sys::Error,
    },
    /// The tree has something that the format cannot hold.
    #[error("`{}` {what}", path.display())]
    TooMuch {
        /// Path in the tree.
        path: PathBuf,
        /// What the format cannot hold.
        what: &'static str,
    },
    /// The tree was changed while it was read.
    #[error("`{}` was changed meanwhile", path.display())]
    Changed {
        /// Path in the tree.
        path: PathBuf,
    },
}
