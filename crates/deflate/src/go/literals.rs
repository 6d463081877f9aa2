//! Level 0: stored blocks only.

use super::block::{Blocks, MAX_STORED};
use crate::encoder::Deflate;

/// Collects the largest blocks that can be stored.
#[derive(Debug)]
pub(super) struct Stored {
    blocks: Blocks,
    plain: Vec<u8>,
}

impl Default for Stored {
    fn default() -> Self {
        Self {
            blocks: Blocks::new(),
            plain: Vec::with_capacity(MAX_STORED),
        }
    }
}

impl Deflate for Stored {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.plain.len() == MAX_STORED {
                self.blocks.stored(out, &self.plain);
                self.plain.clear();
            }
            let (now, later) = plain.split_at(plain.len().min(MAX_STORED - self.plain.len()));
            self.plain.extend_from_slice(now);
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.plain.is_empty() {
            self.blocks.stored(out, &self.plain);
        }
        self.blocks.finish(out);
    }
}
