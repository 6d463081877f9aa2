//! Levels 2 to 9: hash chains over a window of 64 KiB that moves by half.
//!
//! The window is filled to its end before it is looked at, as it is when Go's writer gets
//! its input in pieces that divide 32 KiB (`io.Copy`, tar blocks). Positions are kept as index
//! plus one, so that zero says "none" and moving the window is a saturating subtraction.

use super::block::Blocks;
use crate::encoder::Deflate;
use crate::symbols::{MAX_MATCH, Token};
use crate::window::{SPAN, Window, agreement, u32_at, zeroed};

const WINDOW: usize = 1 << 15;
const HASH_BITS: u32 = 17;
const MIN_MATCH: usize = 4;
const LOOKAHEAD: usize = MIN_MATCH + MAX_MATCH;
const BLOCK_TOKENS: usize = 1 << 14;

/// What distinguishes the levels.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    /// Matches up to this length are looked at for a better one a byte later; 0: never.
    lazy: usize,
    /// A match of this length ends the search.
    nice: usize,
    /// So many candidates are looked at.
    tries: usize,
    /// Without lazy matching: the places in longer matches are not remembered.
    remembered: usize,
}

const TUNINGS: [Tuning; 8] = [
    tuning(0, 16, 8, 5),
    tuning(0, 32, 32, 6),
    tuning(4, 16, 16, 0),
    tuning(16, 32, 32, 0),
    tuning(16, 128, 128, 0),
    tuning(32, 128, 256, 0),
    tuning(128, 258, 1024, 0),
    tuning(258, 258, 4096, 0),
];

const fn tuning(lazy: usize, nice: usize, tries: usize, remembered: usize) -> Tuning {
    Tuning {
        lazy,
        nice,
        tries,
        remembered,
    }
}

/// The encoder of one level.
#[derive(Debug)]
pub(super) struct Chain {
    tuning: Tuning,
    blocks: Blocks,
    window: Box<Window>,
    end: usize,
    index: usize,
    /// Where the plain bytes of the block begin, if they are still in the window.
    block_start: Option<usize>,
    table: Table,
    tokens: Vec<Token>,
    /// The match at the byte before `index`, when its byte is not yet written.
    previous: (usize, usize),
    byte_waits: bool,
}

/// The last place of every hash, and for every place the one before it.
#[derive(Debug)]
struct Table {
    heads: Box<[u16; 1 << HASH_BITS]>,
    links: Box<[u16; WINDOW]>,
}

impl Table {
    #[inline(always)]
    fn hash(window: &Window, index: usize) -> usize {
        let value = u32_at(window, index % SPAN).swap_bytes();
        (value.wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS)) as usize
    }

    /// Remembers a place, which must be done in their order.
    #[inline(always)]
    fn insert(&mut self, window: &Window, index: usize) {
        let head = &mut self.heads[Self::hash(window, index)];
        self.links[index % WINDOW] = *head;
        *head = (index + 1) as u16;
    }

    fn slide(&mut self) {
        let places = self.heads.iter_mut().chain(self.links.iter_mut());
        places.for_each(|place| *place = place.saturating_sub(WINDOW as u16));
    }
}

impl Chain {
    pub(super) fn new(level: u8) -> Self {
        Self {
            tuning: TUNINGS[usize::from(level.clamp(2, 9)) - 2],
            blocks: Blocks::new(),
            window: zeroed(),
            end: 0,
            index: 0,
            block_start: Some(0),
            table: Table {
                heads: zeroed(),
                links: zeroed(),
            },
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            previous: (MIN_MATCH - 1, 0),
            byte_waits: false,
        }
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW.., 0);
        self.index -= WINDOW;
        self.end -= WINDOW;
        self.block_start = self.block_start.and_then(|start| start.checked_sub(WINDOW));
        self.table.slide();
    }

    fn run(&mut self, last: bool, out: &mut Vec<u8>) {
        match self.tuning.lazy {
            0 => self.greedy(last, out),
            _ => self.lazy(last, out),
        }
    }

    /// Remembers the current place and finds the longest match worth having.
    #[inline(always)]
    fn search(&mut self, previous: usize) -> (usize, usize) {
        let none = (MIN_MATCH - 1, 0);
        let lookahead = self.end - self.index;
        if lookahead < MIN_MATCH {
            return none;
        }
        let slot = Table::hash(&self.window, self.index);
        let last = self.table.heads[slot];
        let wanted = match self.tuning.lazy {
            0 => true,
            lazy => lookahead > previous && previous < lazy,
        };
        let found = if wanted && usize::from(last) > self.index.saturating_sub(WINDOW) {
            self.longest(usize::from(last - 1), lookahead.min(MAX_MATCH))
        } else {
            none
        };
        // Only now, as the place a whole window before this one has its link in the same slot.
        self.table.links[self.index % WINDOW] = last;
        self.table.heads[slot] = (self.index + 1) as u16;
        found
    }

    #[inline(always)]
    fn longest(&self, mut candidate: usize, max: usize) -> (usize, usize) {
        let (window, links, index) = (&*self.window, &*self.table.links, self.index);
        let nice = self.tuning.nice.min(max);
        let (mut length, mut distance) = (MIN_MATCH - 1, 0);
        let lowest = index.saturating_sub(WINDOW);
        let mut end = u32_at(window, index % SPAN);
        for _ in 0..self.tuning.tries {
            // The bytes that a longer match ends with; any other candidate cannot be longer.
            if end == u32_at(window, (candidate + length - 3) % SPAN) {
                let found = agreement(window, candidate, index, max);
                let near = index - candidate <= 4096;
                if found > length && (found > MIN_MATCH || near) {
                    (length, distance) = (found, index - candidate);
                    if found >= nice {
                        break;
                    }
                    end = u32_at(window, (index + length - 3) % SPAN);
                }
            }
            candidate = usize::from(links[candidate % WINDOW]).wrapping_sub(1);
            if candidate < lowest || candidate >= index {
                break;
            }
        }
        (length, distance)
    }

    fn lazy(&mut self, last: bool, out: &mut Vec<u8>) {
        loop {
            let lookahead = self.end - self.index;
            if lookahead < LOOKAHEAD && (!last || lookahead == 0) {
                break;
            }
            let (length, distance) = self.previous;
            self.previous = self.search(length);
            if length >= MIN_MATCH && self.previous.0 <= length {
                self.tokens.push(Token::matched(length, distance));
                let next = self.index + length - 1;
                self.remember(next);
                self.index = next;
                self.previous = (MIN_MATCH - 1, 0);
                self.byte_waits = false;
                self.block_if_full(out);
            } else {
                if self.byte_waits {
                    let byte = self.window[self.index - 1];
                    self.tokens.push(Token::literal(byte));
                    self.block_if_full(out);
                }
                self.index += 1;
                self.byte_waits = true;
            }
        }
    }

    fn greedy(&mut self, last: bool, out: &mut Vec<u8>) {
        loop {
            let lookahead = self.end - self.index;
            if lookahead < LOOKAHEAD && (!last || lookahead == 0) {
                break;
            }
            let (length, distance) = self.search(0);
            if length >= MIN_MATCH {
                self.tokens.push(Token::matched(length, distance));
                let next = self.index + length;
                if length <= self.tuning.remembered {
                    self.remember(next);
                }
                self.index = next;
            } else {
                self.tokens.push(Token::literal(self.window[self.index]));
                self.index += 1;
            }
            self.block_if_full(out);
        }
    }

    /// Remembers the places after the current one, up to but without `until`.
    #[inline(always)]
    fn remember(&mut self, until: usize) {
        let until = until.min(self.end.saturating_sub(MIN_MATCH - 1));
        for index in self.index + 1..until {
            self.table.insert(&self.window, index);
        }
    }

    #[inline(always)]
    fn block_if_full(&mut self, out: &mut Vec<u8>) {
        if self.tokens.len() == BLOCK_TOKENS {
            self.block(out);
        }
    }

    #[inline(never)]
    fn block(&mut self, out: &mut Vec<u8>) {
        let start = self.block_start.filter(|start| *start <= self.index);
        let plain = start.map(|start| &self.window[start..self.index]);
        self.blocks.smallest(out, &self.tokens, plain);
        self.block_start = Some(self.index);
        self.tokens.clear();
    }
}

impl Deflate for Chain {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.end == 2 * WINDOW {
                self.run(false, out);
                self.slide();
            }
            let (now, later) = plain.split_at(plain.len().min(2 * WINDOW - self.end));
            self.window[self.end..self.end + now.len()].copy_from_slice(now);
            self.end += now.len();
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(true, out);
        if self.byte_waits {
            self.tokens
                .push(Token::literal(self.window[self.index - 1]));
        }
        if !self.tokens.is_empty() {
            self.block(out);
        }
        self.blocks.finish(out);
    }
}
