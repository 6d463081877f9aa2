//! The bytes that matches may refer to, and their places.

use crate::window::{match_length, u32_at};

/// The largest block.
pub(super) const BLOCK: usize = 65535;
/// Distances are below this.
pub(super) const MAX_DISTANCE: usize = 1 << 15;
/// The last bytes of a block are not searched.
pub(super) const MARGIN: usize = 11;
/// So much is kept before the last bytes are moved to the front.
const CAPACITY: usize = BLOCK * 5;
/// Places are lowered together before they do not fit any more.
const HIGHEST: u32 = 1 << 30;

/// Old and current bytes; a place is an index plus `base`.
#[derive(Debug)]
pub(super) struct History {
    pub(super) bytes: Vec<u8>,
    base: u32,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(CAPACITY),
            base: BLOCK as u32,
        }
    }

    /// Appends a block and returns where it begins.
    pub(super) fn push(&mut self, block: &[u8]) -> usize {
        if self.bytes.len() + block.len() > CAPACITY {
            let gone = self.bytes.len() - MAX_DISTANCE;
            self.bytes.drain(..gone);
            self.base += gone as u32;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(block);
        start
    }

    /// Forgets all bytes, so that no place is near any more.
    pub(super) fn reset(&mut self) {
        self.base += (MAX_DISTANCE + self.bytes.len()) as u32;
        self.bytes.clear();
    }

    /// Returns by how much all places must be lowered now, if at all.
    pub(super) fn lower(&mut self) -> Option<u32> {
        let lowered = (self.base >= HIGHEST).then(|| self.base - BLOCK as u32)?;
        self.base -= lowered;
        Some(lowered)
    }

    /// Returns the place of an index.
    #[inline(always)]
    pub(super) fn place(&self, index: usize) -> u32 {
        (index as u32).wrapping_add(self.base)
    }

    /// Returns the index of a place when it is less than the largest distance before `index`.
    #[inline(always)]
    pub(super) fn near(&self, index: usize, place: u32) -> Option<usize> {
        self.within(index, place, MAX_DISTANCE - 1)
    }

    /// The same with another largest distance.
    #[inline(always)]
    pub(super) fn within(&self, index: usize, place: u32, farthest: usize) -> Option<usize> {
        let distance = self.place(index).wrapping_sub(place) as usize;
        if distance <= farthest {
            index.checked_sub(distance)
        } else {
            None
        }
    }

    /// The same, when the four bytes there are these.
    #[inline(always)]
    pub(super) fn found(&self, index: usize, place: u32, bytes: u32) -> Option<usize> {
        self.near(index, place)
            .filter(|from| u32_at(&self.bytes, *from) == bytes)
    }

    /// Returns by how much a match of four bytes goes on, within the longest one.
    #[inline(always)]
    pub(super) fn limited(&self, index: usize, from: usize) -> usize {
        let max = (self.bytes.len() - index).min(258 - 4);
        match_length(&self.bytes, from, index, max)
    }

    /// Returns how many bytes agree, without a limit.
    #[inline(always)]
    pub(super) fn unlimited(&self, index: usize, from: usize) -> usize {
        match_length(&self.bytes, from, index, self.bytes.len() - index)
    }
}
