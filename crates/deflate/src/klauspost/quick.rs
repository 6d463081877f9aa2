//! Levels 1 to 4: one place per hash of five bytes, two places, or tables of four and seven bytes.

use super::Edition;
use super::hash::{five_bytes, four_bytes, seven_bytes};
use super::history::{History, MARGIN, MAX_DISTANCE};
use super::stream::Search;
use super::tokens::Tokens;
use crate::window::{u32_at, u64_at};

/// Where a match was found, and where the search would have gone on.
#[derive(Debug, Clone, Copy)]
struct Found {
    at: usize,
    from: usize,
    next: usize,
}

/// Extends a match both ways and adds it; returns its length and where the search goes on.
fn emit(
    history: &History,
    tokens: &mut Tokens,
    emitted: &mut usize,
    found: &mut Found,
) -> (usize, usize) {
    let bytes = &history.bytes;
    let mut length = history.unlimited(found.at + 4, found.from + 4) + 4;
    while found.from > 0 && found.at > *emitted && bytes[found.from - 1] == bytes[found.at - 1] {
        found.at -= 1;
        found.from -= 1;
        length += 1;
    }
    tokens.literals(&bytes[*emitted..found.at]);
    tokens.matched(length, found.at - found.from);
    *emitted = found.at + length;
    (length, (*emitted).max(found.next + 1))
}

fn rest(history: &History, tokens: &mut Tokens, emitted: usize) {
    if !tokens.list.is_empty() {
        tokens.literals(&history.bytes[emitted..]);
    }
}

/// Levels 1 and 2.
#[derive(Debug)]
pub(super) struct Single {
    level: u8,
    history: History,
    table: Vec<u32>,
    bits: u32,
}

impl Single {
    pub(super) fn new(level: u8) -> Self {
        let bits = if level == 1 { 15 } else { 17 };
        Self {
            level,
            history: History::new(),
            table: vec![0; 1 << bits],
            bits,
        }
    }

    #[inline(always)]
    fn exchange(&mut self, bytes: u64, index: usize) -> u32 {
        let place = self.history.place(index);
        std::mem::replace(&mut self.table[five_bytes(bytes, self.bits)], place)
    }

    #[inline(always)]
    fn search(&mut self, mut at: usize, emitted: usize, limit: usize) -> Option<Found> {
        let mut bytes = u64_at(&self.history.bytes, at);
        loop {
            let mut next = at + 2 + ((at - emitted) >> 5);
            if next > limit {
                return None;
            }
            let place = self.exchange(bytes, at);
            let following = u64_at(&self.history.bytes, next);
            if let Some(from) = self.history.found(at, place, bytes as u32) {
                self.exchange(following, next);
                return Some(Found { at, from, next });
            }
            at = next;
            next += 1;
            let place = self.exchange(following, at);
            if let Some(from) = self.history.found(at, place, following as u32) {
                if self.level == 1 {
                    // Under the hash of the bytes before it.
                    self.exchange(following, next);
                }
                return Some(Found { at, from, next });
            }
            (bytes, at) = (following >> 8, next);
        }
    }

    /// Remembers what the match covered; returns another match right behind it.
    #[inline(always)]
    fn follow(&mut self, at: usize, length: usize) -> Option<usize> {
        if self.level == 2 {
            for index in (at - length + 2..at - 5).step_by(7) {
                let bytes = u64_at(&self.history.bytes, index);
                for ahead in [0, 2, 4] {
                    self.exchange(bytes >> (8 * ahead), index + ahead);
                }
            }
        }
        let bytes = u64_at(&self.history.bytes, at - 2);
        self.exchange(bytes, at - 2);
        if self.level == 2 {
            self.exchange(bytes >> 8, at - 1);
        }
        let place = self.exchange(bytes >> 16, at);
        self.history
            .within(at, place, MAX_DISTANCE)
            .filter(|from| u32_at(&self.history.bytes, *from) == (bytes >> 16) as u32)
    }
}

impl Search for Single {
    fn reset(&mut self) {
        self.history.reset();
    }

    fn tokenize(&mut self, block: &[u8], tokens: &mut Tokens) {
        if let Some(lowered) = self.history.lower() {
            for place in &mut self.table {
                *place = place.saturating_sub(lowered);
            }
        }
        let mut at = self.history.push(block);
        let end = self.history.bytes.len();
        let limit = end - MARGIN;
        let mut emitted = at;
        'block: while let Some(mut found) = self.search(at, emitted, limit) {
            loop {
                let (length, behind) = emit(&self.history, tokens, &mut emitted, &mut found);
                at = behind;
                if at >= limit {
                    if at + length + 8 < end {
                        self.exchange(u64_at(&self.history.bytes, at), at);
                    }
                    break 'block;
                }
                match self.follow(at, length) {
                    Some(from) => (found.at, found.from) = (at, from),
                    None => break,
                }
            }
            at += 1;
        }
        rest(&self.history, tokens, emitted);
    }
}

/// Level 3.
#[derive(Debug)]
pub(super) struct Double {
    history: History,
    /// The last place and the one before it.
    table: Vec<(u32, u32)>,
}

impl Double {
    const BITS: u32 = 16;
    /// Unlike in the other levels, the last distances are not used.
    const FARTHEST: usize = MAX_DISTANCE - 4;

    pub(super) fn new() -> Self {
        Self {
            history: History::new(),
            table: vec![(0, 0); 1 << Self::BITS],
        }
    }

    #[inline(always)]
    fn exchange(&mut self, bytes: u64, index: usize) -> (u32, u32) {
        let entry = &mut self.table[five_bytes(bytes, Self::BITS)];
        let places = *entry;
        *entry = (self.history.place(index), places.0);
        places
    }

    #[inline(always)]
    fn found(&self, at: usize, place: u32, farthest: usize, bytes: u32) -> Option<usize> {
        self.history
            .within(at, place, farthest)
            .filter(|from| u32_at(&self.history.bytes, *from) == bytes)
    }

    #[inline(always)]
    fn search(&mut self, at: usize, emitted: usize, limit: usize) -> Option<Found> {
        let mut bytes = u64_at(&self.history.bytes, at);
        let mut next = at;
        loop {
            let at = next;
            next = at + 1 + ((at - emitted) >> 7);
            if next > limit {
                return None;
            }
            let (last, before) = self.exchange(bytes, at);
            let wanted = std::mem::replace(&mut bytes, u64_at(&self.history.bytes, next)) as u32;
            if self.history.within(at, last, Self::FARTHEST).is_none() {
                continue;
            }
            if let Some(mut from) = self.found(at, last, Self::FARTHEST, wanted) {
                if let Some(other) = self.found(at, before, Self::FARTHEST, wanted) {
                    let history = &self.history;
                    let length = |from| history.unlimited(at + 4, from + 4);
                    if length(other) > length(from) {
                        from = other;
                    }
                }
                return Some(Found { at, from, next });
            }
            if let Some(from) = self.found(at, before, Self::FARTHEST - 1, wanted) {
                return Some(Found { at, from, next });
            }
        }
    }

    /// Remembers what the match covered; returns another match right behind it.
    #[inline(always)]
    fn follow(&mut self, at: usize, length: usize) -> Option<usize> {
        for index in (at - length + 2..at - 5).step_by(6) {
            self.exchange(u64_at(&self.history.bytes, index), index);
        }
        let bytes = u64_at(&self.history.bytes, at - 2);
        self.exchange(bytes, at - 2);
        self.exchange(bytes >> 8, at - 1);
        let (last, before) = self.exchange(bytes >> 16, at);
        let farthest = Self::FARTHEST - 1;
        self.history.within(at, last, farthest)?;
        let wanted = (bytes >> 16) as u32;
        self.found(at, last, farthest, wanted)
            .or_else(|| self.found(at, before, farthest, wanted))
    }
}

impl Search for Double {
    fn reset(&mut self) {
        self.history.reset();
    }

    fn tokenize(&mut self, block: &[u8], tokens: &mut Tokens) {
        if let Some(lowered) = self.history.lower() {
            for (last, before) in &mut self.table {
                *last = last.saturating_sub(lowered);
                *before = before.saturating_sub(lowered);
            }
        }
        let mut at = self.history.push(block);
        let end = self.history.bytes.len();
        let limit = end - MARGIN;
        let mut emitted = at;
        'block: while let Some(mut found) = self.search(at, emitted, limit) {
            loop {
                let (length, behind) = emit(&self.history, tokens, &mut emitted, &mut found);
                at = behind;
                if at >= limit {
                    let from = found.from + length;
                    if from + 8 < end {
                        self.exchange(u64_at(&self.history.bytes, from), from);
                    }
                    break 'block;
                }
                match self.follow(at, length) {
                    Some(from) => (found.at, found.from) = (at, from),
                    None => break,
                }
            }
            at += 1;
        }
        rest(&self.history, tokens, emitted);
    }
}

/// Level 4.
#[derive(Debug)]
pub(super) struct ShortLong {
    edition: Edition,
    history: History,
    short: Vec<u32>,
    long: Vec<u32>,
}

impl ShortLong {
    const BITS: u32 = 15;

    pub(super) fn new(edition: Edition) -> Self {
        Self {
            edition,
            history: History::new(),
            short: vec![0; 1 << Self::BITS],
            long: vec![0; 1 << Self::BITS],
        }
    }

    #[inline(always)]
    fn put_short(&mut self, bytes: u64, index: usize) -> u32 {
        let place = self.history.place(index);
        std::mem::replace(&mut self.short[four_bytes(bytes, Self::BITS)], place)
    }

    #[inline(always)]
    fn put_long(&mut self, bytes: u64, index: usize) -> u32 {
        let place = self.history.place(index);
        std::mem::replace(&mut self.long[seven_bytes(bytes, Self::BITS)], place)
    }

    #[inline(always)]
    fn search(&mut self, at: usize, emitted: usize, limit: usize) -> Option<Found> {
        let mut bytes = u64_at(&self.history.bytes, at);
        let mut next = at;
        loop {
            let at = next;
            next = at + 1 + ((at - emitted) >> 6);
            if next > limit {
                return None;
            }
            let following = u64_at(&self.history.bytes, next);
            let near = self.put_short(bytes, at);
            let far = self.put_long(bytes, at);
            let history = &self.history;
            if let Some(from) = history.found(at, far, bytes as u32) {
                return Some(Found { at, from, next });
            }
            if let Some(from) = history.found(at, near, bytes as u32) {
                let far = self.long[seven_bytes(following, Self::BITS)];
                if let Some(other) = history.found(next, far, following as u32) {
                    let compared = match self.edition {
                        Edition::Full => other,
                        // Since 1.18.0 the distance is taken for an index.
                        Edition::Trimmed => next - other,
                    };
                    let now = history.unlimited(at + 4, from + 4);
                    if history.unlimited(next + 4, compared + 4) > now {
                        return Some(Found {
                            at: next,
                            from: other,
                            next,
                        });
                    }
                }
                return Some(Found { at, from, next });
            }
            bytes = following;
        }
    }

    /// Remembers every third place of a match.
    #[inline(always)]
    fn index(&mut self, from: usize, until: usize) {
        for index in (from..until - 1).step_by(3) {
            let bytes = u64_at(&self.history.bytes, index);
            self.put_long(bytes, index);
            self.put_long(bytes >> 8, index + 1);
            self.put_short(bytes >> 8, index + 1);
        }
        let bytes = u64_at(&self.history.bytes, until - 1);
        self.put_short(bytes, until - 1);
        self.put_long(bytes, until - 1);
    }
}

impl Search for ShortLong {
    fn reset(&mut self) {
        self.history.reset();
    }

    fn tokenize(&mut self, block: &[u8], tokens: &mut Tokens) {
        if let Some(lowered) = self.history.lower() {
            for place in self.short.iter_mut().chain(&mut self.long) {
                *place = place.saturating_sub(lowered);
            }
        }
        let mut at = self.history.push(block);
        let end = self.history.bytes.len();
        let limit = end - MARGIN;
        let mut emitted = at;
        while let Some(mut found) = self.search(at, emitted, limit) {
            (_, at) = emit(&self.history, tokens, &mut emitted, &mut found);
            if at >= limit {
                if at + 8 < end {
                    let bytes = u64_at(&self.history.bytes, at);
                    self.put_short(bytes, at);
                    self.put_long(bytes, at);
                }
                break;
            }
            self.index(found.next, at);
        }
        rest(&self.history, tokens, emitted);
    }
}
