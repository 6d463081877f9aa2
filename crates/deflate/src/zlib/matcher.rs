//! zlib's search for matches, and GNU gzip's, from which it descends.
//!
//! A window of 64 KiB moves by half. It is filled to its end before it is looked at, as it is when
//! the input comes in pieces that divide 32 KiB or from a file. Place 0 of the window says "none"
//! in the tables, so that what lies there is never found.

use std::fmt::Debug;
use std::marker::PhantomData;

use super::trees::{Place, Trees};
use crate::encoder::Deflate;
use crate::symbols::{DISTANCE_EXTRA, MAX_MATCH, Token, distance_symbol};
use crate::window::{SPAN, Window, agreement, u32_at, zeroed};

const WINDOW: usize = 1 << 15;
const MIN_MATCH: usize = 3;
const LOOKAHEAD: usize = MAX_MATCH + MIN_MATCH + 1;
const MAX_DISTANCE: usize = WINDOW - LOOKAHEAD;
const HASH_SIZE: usize = 1 << 15;
/// Matches of three bytes are not worth it from further away.
const TOO_FAR: usize = 4096;

/// What the programs do differently.
pub(super) trait Flavour: Debug + Send + 'static {
    /// Tokens in a block.
    const TOKENS: usize;
    /// Whether stale bytes behind the end of the input are looked at, and blocks end early when
    /// they compress well.
    const GNU: bool;
    /// Whether, of those, the first two are zero.
    const ZERO_AT_END: bool = true;
    const HASH_BITS: u32 = 15;
}

/// zlib with its default memory level.
#[derive(Debug)]
pub(super) struct Zlib;

/// GNU gzip.
#[derive(Debug)]
pub(super) struct Gnu;

/// busybox with `GZIP_FAST` 0, its default.
#[derive(Debug)]
pub(super) struct SmallBusybox;

/// busybox with `GZIP_FAST` 2.
#[derive(Debug)]
pub(super) struct BigBusybox;

impl Flavour for SmallBusybox {
    const TOKENS: usize = (1 << 13) - 1;
    const GNU: bool = true;
    const ZERO_AT_END: bool = false;
    const HASH_BITS: u32 = 13;
}

impl Flavour for BigBusybox {
    const TOKENS: usize = (1 << 15) - 1;
    const GNU: bool = true;
    const ZERO_AT_END: bool = false;
}

impl Flavour for Zlib {
    const TOKENS: usize = (1 << 14) - 1;
    const GNU: bool = false;
}

impl Flavour for Gnu {
    const TOKENS: usize = (1 << 15) - 1;
    const GNU: bool = true;
}

/// What distinguishes the levels; the names are zlib's.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    good: usize,
    lazy: usize,
    nice: usize,
    chain: usize,
}

const TUNINGS: [Tuning; 9] = [
    tuning(4, 4, 8, 4),
    tuning(4, 5, 16, 8),
    tuning(4, 6, 32, 32),
    tuning(4, 4, 16, 16),
    tuning(8, 16, 32, 32),
    tuning(8, 16, 128, 128),
    tuning(8, 32, 128, 256),
    tuning(32, 128, 258, 1024),
    tuning(32, 258, 258, 4096),
];

const fn tuning(good: usize, lazy: usize, nice: usize, chain: usize) -> Tuning {
    Tuning {
        good,
        lazy,
        nice,
        chain,
    }
}

/// What happens when the input runs short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    Wait,
    All,
}

/// The encoder of one level.
#[derive(Debug)]
pub(super) struct Matcher<F> {
    level: u8,
    tuning: Tuning,
    trees: Trees,
    window: Box<Window>,
    start: usize,
    end: usize,
    /// Where the plain bytes of the block begin; negative when that has left the window.
    block_start: isize,
    /// Whether the last places before `start` wait for the bytes that follow them.
    unremembered: bool,
    heads: Box<[u16; HASH_SIZE]>,
    links: Box<[u16; WINDOW]>,
    tokens: Vec<Token>,
    matches: usize,
    distance_bits: usize,
    /// The match at the byte before `start`, when its byte is not yet written.
    previous: (usize, usize),
    byte_waits: bool,
    flavour: PhantomData<F>,
}

impl<F: Flavour> Matcher<F> {
    pub(super) fn new(level: u8) -> Self {
        let level = level.clamp(1, 9);
        Self {
            level,
            tuning: TUNINGS[usize::from(level) - 1],
            trees: Trees::new(),
            window: zeroed(),
            start: 0,
            end: 0,
            block_start: 0,
            unremembered: false,
            heads: zeroed(),
            links: zeroed(),
            tokens: Vec::with_capacity(F::TOKENS + 1),
            matches: 0,
            distance_bits: 0,
            previous: (MIN_MATCH - 1, 0),
            byte_waits: false,
            flavour: PhantomData,
        }
    }

    /// Forgets everything but the last bytes, which matches may still reach, as with a new
    /// stream that has them as its dictionary.
    pub(super) fn restart(&mut self) {
        let kept = self.end.min(WINDOW);
        self.window.copy_within(self.end - kept..self.end, 0);
        self.heads.fill(0);
        self.start = kept;
        self.end = kept;
        self.block_start = kept as isize;
        for index in 0..kept.saturating_sub(MIN_MATCH - 1) {
            self.insert(index);
        }
    }

    /// Puts the last two places of what came before into the table, now that bytes follow them.
    fn resume(&mut self) {
        self.unremembered = false;
        for index in self.start.saturating_sub(MIN_MATCH - 1)..self.start {
            if index + MIN_MATCH <= self.end {
                self.insert(index);
            }
        }
    }

    /// Takes bytes up to the end of the window.
    pub(super) fn fill(&mut self, plain: &mut &[u8], out: &mut Vec<u8>) {
        if self.end == 2 * WINDOW {
            self.run(Flush::Wait, out);
            self.slide();
        }
        let (now, later) = plain.split_at(plain.len().min(2 * WINDOW - self.end));
        self.window[self.end..self.end + now.len()].copy_from_slice(now);
        self.end += now.len();
        *plain = later;
    }

    /// Encodes all that is there and ends the block.
    pub(super) fn flush(&mut self, place: Place, out: &mut Vec<u8>) {
        if F::GNU {
            self.run(Flush::Wait, out);
            if self.start >= WINDOW + MAX_DISTANCE {
                self.slide();
            }
            if F::ZERO_AT_END {
                self.window[self.end..self.end + MIN_MATCH - 1].fill(0);
            }
        }
        self.run(Flush::All, out);
        if self.byte_waits {
            self.tokens
                .push(Token::literal(self.window[self.start - 1]));
            self.byte_waits = false;
        }
        if place == Place::Last || !self.tokens.is_empty() {
            self.block(place, out);
        }
        self.previous = (MIN_MATCH - 1, 0);
        self.unremembered = true;
    }

    /// Comes to a byte's end as pigz does.
    pub(super) fn align(&mut self, out: &mut Vec<u8>) {
        self.trees.align(out);
    }

    fn run(&mut self, flush: Flush, out: &mut Vec<u8>) {
        if self.unremembered && self.end > self.start {
            self.resume();
        }
        if self.level < 4 {
            self.greedy(flush, out);
        } else {
            self.lazy(flush, out);
        }
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW..2 * WINDOW, 0);
        self.start -= WINDOW;
        self.end -= WINDOW;
        self.block_start -= WINDOW as isize;
        let places = self.heads.iter_mut().chain(self.links.iter_mut());
        places.for_each(|place| *place = place.saturating_sub(WINDOW as u16));
    }

    /// Says whether there is something to encode.
    #[inline(always)]
    fn ready(&mut self, flush: Flush) -> bool {
        let lookahead = self.end - self.start;
        if lookahead >= LOOKAHEAD {
            return true;
        }
        if flush == Flush::All && !F::GNU && self.start >= WINDOW + MAX_DISTANCE {
            self.slide();
        }
        flush == Flush::All && lookahead != 0
    }

    /// Remembers a place; returns the last one of the same hash.
    #[inline(always)]
    fn insert(&mut self, index: usize) -> usize {
        let bytes = u32_at(&*self.window, index % SPAN);
        let hash = (bytes & 0xff) << 10 ^ (bytes >> 8 & 0xff) << 5 ^ (bytes >> 16 & 0xff);
        let head = &mut self.heads[hash as usize % (1 << F::HASH_BITS) % HASH_SIZE];
        let last = *head;
        self.links[index % WINDOW] = last;
        *head = index as u16;
        usize::from(last)
    }

    /// Remembers the current place and finds a match longer than `previous`.
    #[inline(always)]
    fn search(&mut self, previous: usize) -> (usize, usize) {
        let none = (MIN_MATCH - 1, 0);
        let lookahead = self.end - self.start;
        if !F::GNU && lookahead < MIN_MATCH {
            return none;
        }
        let last = self.insert(self.start);
        if last == 0 || self.start - last > MAX_DISTANCE {
            return none;
        }
        if F::GNU && self.start > 2 * WINDOW - LOOKAHEAD {
            return none;
        }
        let max = if F::GNU {
            MAX_MATCH
        } else {
            lookahead.min(MAX_MATCH)
        };
        let (length, distance) = self.longest(last, previous, max);
        (length.min(lookahead), distance)
    }

    #[inline(always)]
    fn longest(&self, mut candidate: usize, previous: usize, max: usize) -> (usize, usize) {
        let (window, links, start) = (&*self.window, &*self.links, self.start);
        let (mut length, mut distance) = (previous, 0);
        if length >= max {
            return (MIN_MATCH - 1, 0);
        }
        let mut tries = self.tuning.chain;
        if previous >= self.tuning.good {
            tries /= 4;
        }
        let nice = self.tuning.nice.min(max);
        let lowest = start.saturating_sub(MAX_DISTANCE);
        // The bytes that a longer match ends with; any other candidate cannot be longer.
        let ends_with = |length: usize| match length {
            0..3 => (0, 0x00ff_ffff),
            _ => (length - 3, u32::MAX),
        };
        let (mut offset, mut mask) = ends_with(length);
        let mut end = u32_at(window, (start + offset) % SPAN) & mask;
        loop {
            if u32_at(window, (candidate + offset) % SPAN) & mask == end {
                let found = agreement(window, candidate, start, max);
                if found > length {
                    (length, distance) = (found, start - candidate);
                    if found >= nice {
                        break;
                    }
                    (offset, mask) = ends_with(length);
                    end = u32_at(window, (start + offset) % SPAN) & mask;
                }
            }
            tries -= 1;
            candidate = usize::from(links[candidate % WINDOW]);
            if candidate <= lowest || tries == 0 {
                break;
            }
        }
        if distance == 0 {
            (MIN_MATCH - 1, 0)
        } else {
            (length, distance)
        }
    }

    fn lazy(&mut self, flush: Flush, out: &mut Vec<u8>) {
        while self.ready(flush) {
            let (length, distance) = self.previous;
            self.previous = if length < self.tuning.lazy {
                self.search(length)
            } else {
                self.remember(self.start..self.start + 1);
                (MIN_MATCH - 1, 0)
            };
            if self.previous.0 == MIN_MATCH && self.previous.1 > TOO_FAR {
                self.previous.0 = MIN_MATCH - 1;
            }
            if length >= MIN_MATCH && self.previous.0 <= length {
                let full = self.tally(Token::matched(length, distance), distance);
                let next = self.start + length - 1;
                self.remember(self.start + 1..next);
                self.start = next;
                self.byte_waits = false;
                self.previous = (MIN_MATCH - 1, 0);
                if full {
                    self.block(Place::Inner, out);
                }
            } else {
                if self.byte_waits {
                    let byte = self.window[self.start - 1];
                    if self.tally(Token::literal(byte), 0) {
                        self.block(Place::Inner, out);
                    }
                }
                self.byte_waits = true;
                self.start += 1;
            }
        }
    }

    fn greedy(&mut self, flush: Flush, out: &mut Vec<u8>) {
        while self.ready(flush) {
            let (length, distance) = self.search(MIN_MATCH - 1);
            let full = if length >= MIN_MATCH {
                let full = self.tally(Token::matched(length, distance), distance);
                let next = self.start + length;
                let enough = F::GNU || self.end - next >= MIN_MATCH;
                if length <= self.tuning.lazy && enough {
                    self.remember(self.start + 1..next);
                }
                self.start = next;
                full
            } else {
                let byte = self.window[self.start];
                let full = self.tally(Token::literal(byte), 0);
                self.start += 1;
                full
            };
            if full {
                self.block(Place::Inner, out);
            }
        }
    }

    /// Remembers places, but not the last two, which have no three bytes (GNU gzip takes stale
    /// bytes for them).
    #[inline(always)]
    fn remember(&mut self, places: std::ops::Range<usize>) {
        let until = if F::GNU {
            2 * WINDOW
        } else {
            (self.end + 1).saturating_sub(MIN_MATCH)
        };
        for index in places.start..places.end.min(until) {
            self.insert(index);
        }
    }

    /// Takes a token; says whether the block ends with it.
    #[inline(always)]
    fn tally(&mut self, token: Token, distance: usize) -> bool {
        self.tokens.push(token);
        if F::GNU && distance != 0 {
            self.matches += 1;
            let symbol = distance_symbol((distance - 1) as u16);
            self.distance_bits += 5 + usize::from(DISTANCE_EXTRA[symbol]);
        }
        let count = self.tokens.len();
        count == F::TOKENS || (F::GNU && count & 0xfff == 0 && self.compresses_well())
    }

    /// GNU gzip's guess, every 4096 tokens, whether it is time for a new block.
    #[inline(never)]
    fn compresses_well(&self) -> bool {
        let count = self.tokens.len();
        let plain = self.start.wrapping_add_signed(-self.block_start);
        let size = (count * 8 + self.distance_bits) / 8;
        self.level > 2 && self.matches < count / 2 && size < plain / 2
    }

    #[inline(never)]
    fn block(&mut self, place: Place, out: &mut Vec<u8>) {
        let start = usize::try_from(self.block_start).ok();
        let plain = start.map(|start| &self.window[start..self.start]);
        self.trees.block(out, &self.tokens, plain, place);
        self.block_start = self.start as isize;
        self.tokens.clear();
        self.matches = 0;
        self.distance_bits = 0;
    }
}

impl<F: Flavour> Deflate for Matcher<F> {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            self.fill(&mut plain, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.flush(Place::Last, out);
    }
}
