//! Levels 7 to 9: hash chains with lazy matching, as in klauspost's 1.18.2 and in Go 1.27.
//!
//! The window of 64 KiB moves by half and is always full before it is looked at. Positions are
//! kept as index plus one, so that zero says "none". Level 9 weighs a match against what its bytes
//! would take as literals.

use super::Edition;
use super::hash::four_bytes;
use super::tokens::Tokens;
use super::writer::{Flush, Writer};
use crate::encoder::Deflate;
use crate::package_merge::PackageMerge;
use crate::symbols::{DISTANCE_EXTRA, LENGTH_EXTRA, MAX_MATCH, distance_symbol, length_symbol};
use crate::window::{SPAN, Window, agreement, match_length, u32_at, zeroed};

const WINDOW: usize = 1 << 15;
const HASH_BITS: u32 = 17;
const MIN_MATCH: usize = 4;
const LOOKAHEAD: usize = MIN_MATCH + MAX_MATCH;
const BLOCK_TOKENS: usize = 1 << 15;
/// A better match at the end of one may begin so many bytes later.
const SKIPPED: usize = 2;

/// What distinguishes the levels.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    lazy: usize,
    nice: usize,
    tries: usize,
}

const TUNINGS: [Tuning; 3] = [
    tuning(12, 16, 24),
    tuning(30, 40, 64),
    tuning(258, 258, 1024),
];

const fn tuning(lazy: usize, nice: usize, tries: usize) -> Tuning {
    Tuning { lazy, nice, tries }
}

/// The encoder of one level.
#[derive(Debug)]
pub(super) struct Lazy {
    tuning: Tuning,
    writer: Writer,
    merge: PackageMerge,
    window: Box<Window>,
    end: usize,
    index: usize,
    /// Where the plain bytes of the block begin, if they are still in the window.
    block_start: Option<usize>,
    heads: Box<[u16; 1 << HASH_BITS]>,
    links: Box<[u16; WINDOW]>,
    /// The last place with the hash of the place remembered last, plus one.
    chain: usize,
    /// Level 9: bits that a byte takes as a literal.
    costs: [u8; 256],
    tokens: Tokens,
    previous: (usize, usize),
    byte_waits: bool,
    /// Literals since the last match; wraps around.
    unmatched: u16,
}

impl Lazy {
    pub(super) fn new(level: u8) -> Self {
        Self {
            tuning: TUNINGS[usize::from(level.clamp(7, 9)) - 7],
            writer: Writer::new(Edition::Trimmed, 8),
            merge: PackageMerge::default(),
            window: zeroed(),
            end: 0,
            index: 0,
            block_start: Some(0),
            heads: zeroed(),
            links: zeroed(),
            chain: 0,
            costs: [0; 256],
            tokens: Tokens::with_capacity(BLOCK_TOKENS),
            previous: (MIN_MATCH - 1, 0),
            byte_waits: false,
            unmatched: 0,
        }
    }

    fn weighs(&self) -> bool {
        self.tuning.tries >= 100
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW..SPAN, 0);
        self.index -= WINDOW;
        self.end -= WINDOW;
        self.block_start = self.block_start.and_then(|start| start.checked_sub(WINDOW));
        self.chain = self.chain.saturating_sub(WINDOW);
        let places = self.heads.iter_mut().chain(self.links.iter_mut());
        places.for_each(|place| *place = place.saturating_sub(WINDOW as u16));
    }

    /// The first place that has no four bytes any more.
    fn insert_end(&self) -> usize {
        (self.end + 1).saturating_sub(MIN_MATCH)
    }

    #[inline(always)]
    fn hash(&self, index: usize) -> usize {
        four_bytes(u64::from(u32_at(&*self.window, index % SPAN)), HASH_BITS)
    }

    #[inline(always)]
    fn insert(&mut self, index: usize) -> usize {
        let slot = self.hash(index);
        let last = self.heads[slot];
        self.links[index % WINDOW] = last;
        self.heads[slot] = (index + 1) as u16;
        usize::from(last)
    }

    /// Remembers the current place, if it has four bytes.
    #[inline(always)]
    fn enter(&mut self) {
        if self.index < self.insert_end() {
            self.chain = self.insert(self.index);
        }
    }

    /// Finds what literals cost in the bytes that come now.
    fn learn_costs(&mut self) {
        let bytes = &self.window[self.index..self.end];
        if bytes.is_empty() {
            return;
        }
        let mut counts = [0; 256];
        for &byte in &bytes[..bytes.len().min(BLOCK_TOKENS)] {
            counts[usize::from(byte)] += 1;
        }
        self.merge.lengths(&counts, 15, &mut self.costs);
    }

    /// Returns what a match saves, in bits.
    fn gain(&self, index: usize, length: usize, distance: usize) -> i32 {
        let bytes = &self.window[index..index + length];
        let literals: i32 = bytes
            .iter()
            .map(|b| i32::from(self.costs[usize::from(*b)]))
            .sum();
        // The library takes the distance as if it were less 1; the longest one wraps around.
        let distance = match distance {
            WINDOW => 6,
            _ => DISTANCE_EXTRA[distance_symbol(distance as u16)],
        };
        let length = LENGTH_EXTRA[length_symbol((length - 3) as u8)];
        literals - i32::from(distance) - 3 - i32::from(length)
    }

    #[inline(always)]
    fn longest(&self, mut candidate: usize, max: usize) -> (usize, usize) {
        let (window, index) = (&*self.window, self.index);
        let nice = self.tuning.nice.min(max);
        let lowest = index.saturating_sub(WINDOW);
        let (mut length, mut distance) = (MIN_MATCH - 1, 0);
        let mut best = 4;
        for _ in 0..self.tuning.tries {
            // A candidate that differs where a longer match would end cannot be longer.
            if window[(candidate + length) % SPAN] == window[(index + length) % SPAN] {
                let found = agreement(window, candidate, index, max);
                if found > length {
                    let gain = match self.weighs() {
                        true => self.gain(index, found, index - candidate),
                        false => i32::MAX,
                    };
                    if gain > best {
                        if self.weighs() {
                            best = gain;
                        }
                        (length, distance) = (found, index - candidate);
                        if found >= nice {
                            break;
                        }
                    }
                }
            }
            if candidate <= lowest {
                break;
            }
            candidate = usize::from(self.links[candidate % WINDOW]).wrapping_sub(1);
            if candidate < lowest || candidate >= index {
                break;
            }
        }
        (length, distance)
    }

    #[inline(always)]
    fn search(&mut self, previous: usize, lookahead: usize) -> (usize, usize) {
        let reachable = self.chain > self.index.saturating_sub(WINDOW) && self.chain <= self.index;
        if reachable && lookahead > previous && previous < self.tuning.lazy {
            self.longest(self.chain - 1, lookahead.min(MAX_MATCH))
        } else {
            (MIN_MATCH - 1, 0)
        }
    }

    fn run(&mut self, flush: Flush, out: &mut Vec<u8>) {
        if self.weighs() {
            self.learn_costs();
        }
        loop {
            let lookahead = self.end - self.index;
            if lookahead < LOOKAHEAD && (flush == Flush::Open || lookahead == 0) {
                return;
            }
            self.enter();
            let previous = self.previous;
            self.previous = self.search(previous.0, lookahead);
            if previous.0 >= MIN_MATCH && self.previous.0 <= previous.0 {
                self.take(previous, lookahead, flush, out);
                continue;
            }
            if self.previous.0 >= MIN_MATCH {
                self.unmatched = 0;
            }
            if self.byte_waits {
                self.unmatched = self.unmatched.wrapping_add(1);
                self.literal(self.index - 1, flush, out);
                self.index += 1;
                self.skip(flush, out);
            } else {
                self.index += 1;
                self.byte_waits = true;
            }
        }
    }

    /// Writes the match at the byte before, or a better one that its end leads to.
    #[inline(always)]
    fn take(
        &mut self,
        previous: (usize, usize),
        lookahead: usize,
        flush: Flush,
        out: &mut Vec<u8>,
    ) {
        let (length, distance) = self.better_at_end(previous, lookahead, flush, out);
        self.tokens.matched(length, distance);
        let next = self.index + length - 1;
        for index in self.index + 1..next.min(self.insert_end()) {
            self.insert(index);
        }
        self.index = next;
        self.byte_waits = false;
        self.previous = (MIN_MATCH - 1, 0);
        self.unmatched = 0;
        self.block_if_full(flush, out);
    }

    fn better_at_end(
        &mut self,
        previous: (usize, usize),
        lookahead: usize,
        flush: Flush,
        out: &mut Vec<u8>,
    ) -> (usize, usize) {
        let (length, distance) = previous;
        let start = self.index - 1;
        if length >= MAX_MATCH - SKIPPED || start + length >= self.insert_end() {
            return previous;
        }
        let end = lookahead.min(MAX_MATCH + SKIPPED) + start;
        let lowest = self.index.saturating_sub(WINDOW);
        let place = usize::from(self.heads[self.hash(start + length)]);
        let Some(from) = place.checked_sub(1 + length) else {
            return previous;
        };
        if from <= lowest + SKIPPED || from >= start || start - from == distance {
            return previous;
        }
        let (ahead, behind) = (start + SKIPPED, from + SKIPPED);
        let mut found = match_length(&self.window[..], behind, ahead, end - ahead);
        if found <= length {
            return previous;
        }
        let distance = start - from;
        for skipped in (0..SKIPPED).rev() {
            let same = self.window[start + skipped] == self.window[from + skipped];
            if found >= MAX_MATCH || !same {
                for index in start..=start + skipped {
                    self.literal(index, flush, out);
                    self.index += 1;
                    self.enter();
                }
                break;
            }
            found += 1;
        }
        (found, distance)
    }

    /// Passes over bytes faster the longer nothing is found.
    #[inline(always)]
    fn skip(&mut self, flush: Flush, out: &mut Vec<u8>) {
        let Some(over @ 1..) = usize::from(self.unmatched).checked_sub(self.tuning.tries) else {
            return;
        };
        for _ in 0..1 + (over >> 6) {
            if self.index + 1 >= self.end {
                break;
            }
            self.literal(self.index - 1, flush, out);
            self.enter();
            self.index += 1;
        }
        self.byte_waits = false;
        self.literal(self.index - 1, flush, out);
    }

    #[inline(always)]
    fn literal(&mut self, index: usize, flush: Flush, out: &mut Vec<u8>) {
        let byte = self.window[index];
        self.tokens.literals(&[byte]);
        self.block_if_full(flush, out);
    }

    #[inline(always)]
    fn block_if_full(&mut self, flush: Flush, out: &mut Vec<u8>) {
        if self.tokens.list.len() == BLOCK_TOKENS {
            self.block(flush, out);
        }
    }

    #[inline(never)]
    fn block(&mut self, flush: Flush, out: &mut Vec<u8>) {
        let start = self.block_start.filter(|start| *start <= self.index);
        let plain = start.map(|start| &self.window[start..self.index]);
        self.writer.dynamic(out, &self.tokens, plain, flush);
        self.block_start = Some(self.index);
        self.tokens.clear();
    }
}

impl Deflate for Lazy {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.end == SPAN {
                self.run(Flush::Open, out);
                self.slide();
            }
            let (now, later) = plain.split_at(plain.len().min(SPAN - self.end));
            self.window[self.end..self.end + now.len()].copy_from_slice(now);
            self.end += now.len();
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(Flush::Sync, out);
        if self.byte_waits {
            self.tokens.literals(&[self.window[self.index - 1]]);
        }
        if !self.tokens.list.is_empty() {
            self.block(Flush::Sync, out);
        }
        self.writer.finish(out);
    }
}
