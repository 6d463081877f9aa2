//! zlib's deflate and what is made of it or shares its ancestry: pigz, GNU gzip, busybox.

mod heap;
mod matcher;
mod pigz;
mod trees;

use crate::encoder::Deflate;
use matcher::{BigBusybox, Gnu, Matcher, SmallBusybox, Zlib};

/// Makes the encoder of zlib for a level from 1 to 9.
pub(crate) fn encoder(level: u8) -> Box<dyn Deflate> {
    Box::new(Matcher::<Zlib>::new(level))
}

/// Makes the encoder of GNU gzip for a level from 1 to 9.
pub(crate) fn gnu(level: u8) -> Box<dyn Deflate> {
    Box::new(Matcher::<Gnu>::new(level))
}

/// Makes the encoder of busybox in its small and usual form for a level from 4 to 9.
pub(crate) fn busybox(level: u8) -> Box<dyn Deflate> {
    Box::new(Matcher::<SmallBusybox>::new(level))
}

/// Makes the encoder of busybox in its fast form for a level from 4 to 9.
pub(crate) fn big_busybox(level: u8) -> Box<dyn Deflate> {
    Box::new(Matcher::<BigBusybox>::new(level))
}

/// Makes the encoder of pigz with more than one thread for a level from 1 to 9.
pub(crate) fn pigz(level: u8) -> Box<dyn Deflate> {
    Box::new(pigz::Pigz::new(level, pigz::History::Dictionary))
}

/// Makes the encoder of pigz with one thread for a level from 1 to 9.
pub(crate) fn pigz_single(level: u8) -> Box<dyn Deflate> {
    Box::new(pigz::Pigz::new(level, pigz::History::Kept))
}
