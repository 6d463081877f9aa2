//! zlib's deflate, and the two programs that share its ancestry: GNU gzip and pigz.

mod heap;
mod matcher;
mod pigz;
mod trees;

use crate::encoder::Deflate;
use matcher::{Gnu, Matcher, Zlib};

/// Makes the encoder of zlib for a level from 1 to 9.
pub(crate) fn encoder(level: u8) -> Box<dyn Deflate> {
    Box::new(Matcher::<Zlib>::new(level))
}

/// Makes the encoder of GNU gzip for a level from 1 to 9.
pub(crate) fn gnu(level: u8) -> Box<dyn Deflate> {
    Box::new(Matcher::<Gnu>::new(level))
}

/// Makes the encoder of pigz with more than one thread for a level from 1 to 9.
pub(crate) fn pigz(level: u8) -> Box<dyn Deflate> {
    Box::new(pigz::Pigz::new(level, pigz::History::Dictionary))
}

/// Makes the encoder of pigz with one thread for a level from 1 to 9.
pub(crate) fn pigz_single(level: u8) -> Box<dyn Deflate> {
    Box::new(pigz::Pigz::new(level, pigz::History::Kept))
}
