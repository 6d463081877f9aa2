//! Level 1: one table of four byte values, blocks of 65535 bytes, the block before remembered.

use super::block::{Blocks, MAX_STORED};
use crate::encoder::Deflate;
use crate::symbols::{MAX_MATCH, Token};
use crate::window::{match_length, u32_at, u64_at};

const TABLE_BITS: u32 = 14;
const MAX_DISTANCE: i64 = 1 << 15;
/// The last bytes of a block are not searched.
const MARGIN: usize = 15;

/// The four bytes at a place, and the place counted over all blocks.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    value: u32,
    place: u32,
}

/// The encoder of level 1.
#[derive(Debug)]
pub(super) struct Quick {
    blocks: Blocks,
    /// The block before (or nothing), then the current one.
    window: Vec<u8>,
    /// Where the current block begins in `window`.
    start: usize,
    table: Vec<Entry>,
    /// The place of the first byte of the current block.
    base: u32,
    tokens: Vec<Token>,
}

impl Quick {
    pub(super) fn new() -> Self {
        Self {
            blocks: Blocks::new(),
            window: Vec::with_capacity(2 * MAX_STORED),
            start: 0,
            table: vec![Entry::default(); 1 << TABLE_BITS],
            base: MAX_STORED as u32,
            tokens: Vec::with_capacity(MAX_STORED),
        }
    }

    fn block(&mut self, out: &mut Vec<u8>) {
        self.keep_places_small();
        self.tokens.clear();
        self.tokenize();
        let plain = &self.window[self.start..];
        if self.tokens.len() > plain.len() - (plain.len() >> 4) {
            self.blocks.literals_only(out, plain);
        } else {
            self.blocks.dynamic(out, &self.tokens, plain);
        }
        self.base += plain.len() as u32;
        self.window.drain(..self.start);
        self.start = self.window.len();
    }

    /// Only distances count, so all places may be lowered together.
    fn keep_places_small(&mut self) {
        if self.base < 1 << 30 {
            return;
        }
        let lowered = self.base - MAX_STORED as u32;
        for entry in &mut self.table {
            entry.place = entry.place.saturating_sub(lowered);
        }
        self.base -= lowered;
    }

    fn literals(&mut self, from: usize, to: usize) {
        let bytes = &self.window[from..to];
        self.tokens
            .extend(bytes.iter().map(|byte| Token::literal(*byte)));
    }

    /// Remembers `value` at `at` and returns where it was before, if that is near enough.
    #[inline(always)]
    fn exchange(&mut self, value: u32, at: usize) -> Option<usize> {
        let place = (at - self.start) as u32 + self.base;
        let slot = value.wrapping_mul(0x1e35_a7bd) >> (32 - TABLE_BITS);
        let old = std::mem::replace(&mut self.table[slot as usize], Entry { value, place });
        let distance = i64::from(place) - i64::from(old.place);
        (distance <= MAX_DISTANCE && old.value == value).then(|| at.wrapping_sub(distance as usize))
    }

    fn tokenize(&mut self) {
        let end = self.window.len();
        let mut emitted = self.start;
        if end - self.start > MARGIN + 1 {
            let limit = end - MARGIN;
            let mut at = self.start;
            while let Some((mut found, mut from)) = self.next_match(at, limit) {
                self.literals(emitted, found);
                loop {
                    let max = (MAX_MATCH - 4).min(end - found - 4);
                    let length = 4 + match_length(&self.window, from + 4, found + 4, max);
                    self.tokens.push(Token::matched(length, found - from));
                    found += length;
                    emitted = found;
                    if found >= limit {
                        break;
                    }
                    let bytes = u64_at(&self.window, found - 1);
                    self.exchange(bytes as u32, found - 1);
                    match self.exchange((bytes >> 8) as u32, found) {
                        Some(next) => from = next,
                        None => break,
                    }
                }
                if found >= limit {
                    break;
                }
                at = found + 1;
            }
        }
        self.literals(emitted, end);
    }

    /// Looks from `at` on, the further apart the longer nothing is found.
    #[inline(always)]
    fn next_match(&mut self, at: usize, limit: usize) -> Option<(usize, usize)> {
        let mut skip = 32;
        let mut next = at;
        loop {
            let current = next;
            next = current + (skip >> 5);
            skip += skip >> 5;
            if next > limit {
                return None;
            }
            if let Some(from) = self.exchange(u32_at(&self.window, current), current) {
                return Some((current, from));
            }
        }
    }
}

impl Deflate for Quick {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.window.len() - self.start == MAX_STORED {
                self.block(out);
            }
            let room = MAX_STORED - (self.window.len() - self.start);
            let (now, later) = plain.split_at(plain.len().min(room));
            self.window.extend_from_slice(now);
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.window.len() - self.start {
            0 => {}
            1..=16 => self.blocks.stored(out, &self.window[self.start..]),
            17..128 => self.blocks.literals_only(out, &self.window[self.start..]),
            _ => self.block(out),
        }
        self.blocks.finish(out);
    }
}
