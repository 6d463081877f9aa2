//! Writes a directory tree as a read-only EROFS image.
//!
//! Exists because the format is a matter of its own, with two independent readers to test it
//! against (F): the kernel and `fsck.erofs`. Only the part of the format that an unpacked layer
//! needs: no compression, extended inodes, data in whole blocks with the rest of a file behind its
//! inode, extended attributes behind the inode. Everything of a layer is kept: owners, modes, times
//! to the nanosecond, hard links, devices (so overlayfs's whiteouts), attributes (so its opaque
//! directories and capabilities), holes.
//!
//! See [Documentation/filesystems/erofs.rst](https://docs.kernel.org/filesystems/erofs.html) and
//! `fs/erofs/erofs_fs.h` of Linux. The image of a tree is always the same bytes.
//!
//! ```text
//! 0        1024         1152                                          blocks
//! ├ unused ┼ superblock ┼ inode, attributes, inline rest ┼ inode … ┼ data │ data │ …
//! ```
#![forbid(unsafe_code)]

mod error;
mod format;
mod plan;
mod write;

pub use error::{Error, Result};
pub use write::{Written, write};
