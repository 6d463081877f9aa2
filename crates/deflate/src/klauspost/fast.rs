//! Levels 5 and 6: a table of four bytes, and one of seven bytes with two places each.

use super::hash::{four_bytes, seven_bytes};
use super::history::{BLOCK, History, MARGIN, MAX_DISTANCE};
use super::stream::Search;
use super::tokens::Tokens;
use crate::window::{u32_at, u64_at};

const TABLE_BITS: u32 = 15;
/// At the end of a match a better one is looked for that begins so many bytes later.
const SKIPPED: usize = 2;

/// A match: of `length` bytes at `at`, equal to those at `from`; `next` is where the search was.
#[derive(Debug, Clone, Copy)]
struct Found {
    at: usize,
    from: usize,
    /// Zero when only four bytes were compared.
    length: usize,
    next: usize,
}

/// The search of one level over the blocks of a stream.
#[derive(Debug)]
pub(super) struct Fast {
    level: u8,
    history: History,
    short: Vec<u32>,
    /// The last place and the one before it.
    long: Vec<(u32, u32)>,
}

impl Fast {
    pub(super) fn new(level: u8) -> Self {
        Self {
            level,
            history: History::new(),
            short: vec![0; 1 << TABLE_BITS],
            long: vec![(0, 0); 1 << TABLE_BITS],
        }
    }

    fn lower(&mut self, by: u32) {
        let long = self
            .long
            .iter_mut()
            .flat_map(|(last, before)| [last, before]);
        for place in self.short.iter_mut().chain(long) {
            *place = place.saturating_sub(by);
        }
    }

    #[inline(always)]
    fn put_short(&mut self, slot: usize, index: usize) {
        self.short[slot] = self.history.place(index);
    }

    #[inline(always)]
    fn put_long(&mut self, slot: usize, index: usize) {
        let places = &mut self.long[slot];
        *places = (self.history.place(index), places.0);
    }

    /// Looks from `at` on, the further apart the longer nothing is found.
    #[inline(always)]
    fn search(&mut self, at: usize, emitted: usize, limit: usize, repeat: usize) -> Option<Found> {
        let patience = if self.level == 6 { 7 } else { 6 };
        let mut bytes = u64_at(&self.history.bytes, at);
        let mut next = at;
        loop {
            let at = next;
            next = at + 1 + ((at - emitted) >> patience);
            if next > limit {
                return None;
            }
            let (short, long) = (
                four_bytes(bytes, TABLE_BITS),
                seven_bytes(bytes, TABLE_BITS),
            );
            let (near, far) = (self.short[short], self.long[long]);
            self.put_short(short, at);
            self.put_long(long, at);
            let next_bytes = u64_at(&self.history.bytes, next);
            let slots = (
                four_bytes(next_bytes, TABLE_BITS),
                seven_bytes(next_bytes, TABLE_BITS),
            );
            if let Some(found) = self.by_long(at, next, bytes as u32, far) {
                self.put_short(slots.0, next);
                self.put_long(slots.1, next);
                return Some(found);
            }
            if let Some(from) = self.history.found(at, near, bytes as u32) {
                let far = self.long[slots.1];
                self.put_short(slots.0, next);
                self.put_long(slots.1, next);
                let length = self.history.limited(at + 4, from + 4) + 4;
                let found = Found {
                    at,
                    from,
                    length,
                    next,
                };
                return Some(self.by_short(found, bytes, next_bytes as u32, far, repeat));
            }
            bytes = next_bytes;
        }
    }

    /// Takes the better of the two places with the same seven bytes.
    #[inline(always)]
    fn by_long(&self, at: usize, next: usize, bytes: u32, far: (u32, u32)) -> Option<Found> {
        let history = &self.history;
        let found = |from, length| {
            Some(Found {
                at,
                from,
                length,
                next,
            })
        };
        history.near(at, far.0)?;
        let Some(from) = history.found(at, far.0, bytes) else {
            return found(history.found(at, far.1, bytes)?, 0);
        };
        let Some(before) = history.found(at, far.1, bytes) else {
            return found(from, 0);
        };
        let last = history.limited(at + 4, from + 4) + 4;
        let other = history.limited(at + 4, before + 4) + 4;
        if other > last {
            found(before, other)
        } else {
            found(from, last)
        }
    }

    /// Of a match that four bytes gave, looks whether one at a following place is longer.
    #[inline(always)]
    fn by_short(
        &self,
        mut found: Found,
        bytes: u64,
        next_bytes: u32,
        far: (u32, u32),
        repeat: usize,
    ) -> Found {
        let history = &self.history;
        let next = found.next;
        if self.level == 6 {
            let from = found.at + 1 - repeat;
            if u32_at(&history.bytes, from) == (bytes >> 8) as u32 {
                let length = history.limited(found.at + 5, from + 4) + 4;
                if length > found.length {
                    return Found {
                        at: found.at + 1,
                        from,
                        length,
                        next,
                    };
                }
            }
        }
        if history.near(next, far.0).is_none() {
            return found;
        }
        for place in [far.0, far.1] {
            if let Some(from) = history.found(next, place, next_bytes) {
                let length = history.limited(next + 4, from + 4) + 4;
                if length > found.length {
                    found = Found {
                        at: next,
                        from,
                        length,
                        next,
                    };
                    if self.level != 6 {
                        break;
                    }
                }
            }
        }
        found
    }

    /// Lengthens a match at both ends, or replaces it by one that its end leads to.
    #[inline(always)]
    fn improve(&self, mut found: Found, emitted: usize, limit: usize) -> Found {
        let history = &self.history;
        match found.length {
            0 => found.length = history.unlimited(found.at + 4, found.from + 4) + 4,
            258 => found.length += history.unlimited(found.at + 258, found.from + 258),
            _ => {}
        }
        let end = found.at + found.length;
        if end < limit && (self.level == 6 || found.length < 30) {
            let places = self.long[seven_bytes(u64_at(&history.bytes, end), TABLE_BITS)];
            found = self.by_end(found, places);
        }
        while found.from > 0
            && found.at > emitted
            && history.bytes[found.from - 1] == history.bytes[found.at - 1]
        {
            found.at -= 1;
            found.from -= 1;
            found.length += 1;
        }
        found
    }

    #[inline(always)]
    fn by_end(&self, found: Found, places: (u32, u32)) -> Found {
        let history = &self.history;
        let mut best = found;
        let at = found.at + SKIPPED;
        // How far `at` is from where a match must begin that is found at its end.
        let distance = |place: u32, length: usize| {
            let end = history.place(found.at + length);
            i64::from(end) - i64::from(place)
        };
        let mut check = |place: u32| {
            let off = distance(place, best.length);
            if off >= MAX_DISTANCE as i64 {
                return false;
            }
            if let Some(from) = usize::try_from(off)
                .ok()
                .filter(|o| *o > 0)
                .and_then(|o| at.checked_sub(o))
            {
                let length = history.unlimited(at, from);
                if length > best.length {
                    best = Found {
                        at,
                        from,
                        length,
                        ..found
                    };
                }
            }
            true
        };
        if check(places.0) && self.level == 6 {
            check(places.1);
        }
        best
    }

    /// Level 5: remembers every third place of a match.
    #[inline(always)]
    fn index_some(&mut self, from: usize, until: usize) {
        if from + 1 < until {
            let bytes = u64_at(&self.history.bytes, from);
            self.put_short(four_bytes(bytes, TABLE_BITS), from);
            self.put_long(seven_bytes(bytes, TABLE_BITS), from);
            self.put_long(seven_bytes(bytes >> 8, TABLE_BITS), from + 1);
            self.put_short(four_bytes(bytes >> 16, TABLE_BITS), from + 2);
            for index in (from + 4..until - 1).step_by(3) {
                let bytes = u64_at(&self.history.bytes, index);
                self.put_long(seven_bytes(bytes, TABLE_BITS), index);
                self.put_short(four_bytes(bytes >> 8, TABLE_BITS), index + 1);
            }
        }
        let bytes = u64_at(&self.history.bytes, until - 1);
        self.put_short(four_bytes(bytes, TABLE_BITS), until - 1);
        self.put_long(seven_bytes(bytes, TABLE_BITS), until - 1);
    }

    /// Level 6: remembers every place of a match, every second one by four bytes.
    #[inline(always)]
    fn index_all(&mut self, from: usize, until: usize) {
        for index in (from..until - 1).step_by(2) {
            let bytes = u64_at(&self.history.bytes, index);
            self.put_short(four_bytes(bytes, TABLE_BITS), index);
            self.put_long(seven_bytes(bytes, TABLE_BITS), index);
            self.put_long(seven_bytes(bytes >> 8, TABLE_BITS), index + 1);
        }
    }

    /// Level 6: remembers every second place behind the last match of a block.
    fn index_rest(&mut self, from: usize, end: usize) {
        for index in (from..end - 8).step_by(2) {
            let bytes = u64_at(&self.history.bytes, index);
            self.put_short(four_bytes(bytes, TABLE_BITS), index);
            self.put_long(seven_bytes(bytes, TABLE_BITS), index);
        }
    }
}

impl Search for Fast {
    fn reset(&mut self) {
        self.history.reset();
    }

    fn tokenize(&mut self, block: &[u8], tokens: &mut Tokens) {
        debug_assert!((13..=BLOCK).contains(&block.len()));
        if let Some(lowered) = self.history.lower() {
            self.lower(lowered);
        }
        let mut at = self.history.push(block);
        let end = self.history.bytes.len();
        let limit = end - MARGIN;
        let mut emitted = at;
        let mut repeat = 1;
        while let Some(found) = self.search(at, emitted, limit, repeat) {
            let found = self.improve(found, emitted, limit);
            tokens.literals(&self.history.bytes[emitted..found.at]);
            repeat = found.at - found.from;
            tokens.matched(found.length, repeat);
            emitted = found.at + found.length;
            at = emitted.max(found.next + 1);
            if at >= limit {
                if self.level == 6 {
                    self.index_rest(found.next + 1, end);
                }
                break;
            }
            match self.level {
                6 => self.index_all(found.next + 1, at),
                _ => self.index_some(at + 1 - found.length, at),
            }
        }
        if !tokens.list.is_empty() {
            tokens.literals(&self.history.bytes[emitted..]);
        }
    }
}
