//! pigz: blocks of 128 KiB that end on a byte, each able to refer to the 32 KiB before it.

use super::matcher::{Matcher, Zlib};
use super::trees::Place;
use crate::encoder::Deflate;

const BLOCK: usize = 128 << 10;

/// What a block knows of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    /// The last 32 KiB: every block has a stream of its own (several threads).
    Dictionary,
    /// All the tables of the one stream (one thread).
    Kept,
}

/// The encoder of one level.
#[derive(Debug)]
pub(super) struct Pigz {
    matcher: Matcher<Zlib>,
    history: History,
    taken: usize,
}

impl Pigz {
    pub(super) fn new(level: u8, history: History) -> Self {
        Self {
            matcher: Matcher::new(level),
            history,
            taken: 0,
        }
    }

    fn next_block(&mut self, out: &mut Vec<u8>) {
        self.matcher.flush(Place::Inner, out);
        self.matcher.align(out);
        if self.history == History::Dictionary {
            self.matcher.restart();
        }
        self.taken = 0;
    }
}

impl Deflate for Pigz {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.taken == BLOCK {
                self.next_block(out);
            }
            let (mut now, later) = plain.split_at(plain.len().min(BLOCK - self.taken));
            self.taken += now.len();
            while !now.is_empty() {
                self.matcher.fill(&mut now, out);
            }
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.matcher.flush(Place::Last, out);
    }
}
