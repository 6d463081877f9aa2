//! Go's `compress/flate` as it was from Go 1.7 to Go 1.26.
//!
//! Every level ends with an empty stored block that is marked as the last one.

mod block;
mod chain;
mod literals;
mod quick;

use crate::encoder::Deflate;

/// Makes the encoder of a level from 0 to 9.
pub(crate) fn encoder(level: u8) -> Box<dyn Deflate> {
    match level {
        0 => Box::new(literals::Stored::default()),
        1 => Box::new(quick::Quick::new()),
        _ => Box::new(chain::Chain::new(level)),
    }
}
