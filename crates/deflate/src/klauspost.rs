//! The encoder of `github.com/klauspost/compress/flate`, which Go 1.27 took over, and `pgzip`.
//!
//! Levels 1 to 6 search the same way in all versions from 1.15.11 on (but level 4, which changed
//! with 1.18.0); 5 is the library's default and 6 is Go's. With 1.18.2 it changed how the header
//! of a block is written.

mod fast;
mod hash;
mod history;
mod lazy;
mod pgzip;
mod quick;
mod stream;
mod tokens;
mod writer;

use crate::encoder::Deflate;

/// Which versions of the library write alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Edition {
    /// 1.15.11 to 1.18.1: blocks that are not flushed describe the whole alphabets.
    Full,
    /// 1.18.2 and later, and Go 1.27: only the symbols up to the last one that is used.
    Trimmed,
}

/// Makes an encoder of one stream; levels 7 to 9 are those of the trimmed edition.
pub(crate) fn encoder(edition: Edition, level: u8) -> Box<dyn Deflate> {
    match level {
        7..=9 => Box::new(lazy::Lazy::new(level)),
        _ => Box::new(stream::Stream::new(edition, level)),
    }
}

/// Makes the encoder of `pgzip` with its default blocks of 1 MiB.
pub(crate) fn pgzip(edition: Edition, level: u8) -> Box<dyn Deflate> {
    Box::new(pgzip::Pgzip::new(edition, level))
}
