//! How the library writes blocks: it may go on with the codes of the block before.
//!
//! A dynamic block is left open. The next tokens are written with its codes when a new header
//! would not pay; otherwise the end of the open block is written first.

use super::Edition;
use super::history::BLOCK;
use super::tokens::Tokens;
use crate::bits::Bits;
use crate::code::{Code, Codes, assign, fixed_literal_length, weight};
use crate::description::Description;
use crate::package_merge::PackageMerge;
use crate::symbols::{DISTANCE_EXTRA, DISTANCES, END, LENGTH_EXTRA, LITERALS};

/// Blocks of fewer tokens are tried with the fixed codes.
const FEW_TOKENS: usize = 250;
/// What a header is thought to take before one was written.
const GUESSED_HEADER: usize = 70 * 8;

/// Whether a block is the last one before a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    Open,
    Sync,
}

/// What was written last and can be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Closed,
    /// A block with codes for literals and matches, whose header took so many bits.
    Open(usize),
    /// A block with a code for literals alone.
    OpenLiterals(usize),
}

impl Last {
    fn header(self) -> Option<usize> {
        match self {
            Self::Closed => None,
            Self::Open(bits) | Self::OpenLiterals(bits) => Some(bits),
        }
    }
}

/// Codes, and the bits on their way out.
#[derive(Debug)]
pub(super) struct Writer {
    edition: Edition,
    /// A new header must pay by more than this power of two's part.
    penalty: u32,
    bits: Bits,
    merge: PackageMerge,
    codes: Codes,
    fixed: Codes,
    description: Description,
    last: Last,
}

impl Writer {
    pub(super) fn new(edition: Edition, penalty: u32) -> Self {
        Self {
            edition,
            penalty,
            bits: Bits::default(),
            merge: PackageMerge::default(),
            codes: Codes::empty(),
            fixed: Codes::fixed(),
            description: Description::default(),
            last: Last::Closed,
        }
    }

    /// Writes a stored block.
    pub(super) fn stored(&mut self, out: &mut Vec<u8>, plain: &[u8]) {
        self.close(out);
        self.bits.stored(out, plain, false);
    }

    /// Writes an empty last block with the fixed codes.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        self.bits.put(out, 3, 10);
        self.bits.align(out);
    }

    /// Writes the end of the block that is open.
    fn close(&mut self, out: &mut Vec<u8>) {
        if self.last != Last::Closed {
            self.codes.end(&mut self.bits, out);
            self.last = Last::Closed;
        }
    }

    /// Writes tokens with old, new or fixed codes, or `plain` (if it is known) as it is.
    pub(super) fn dynamic(
        &mut self,
        out: &mut Vec<u8>,
        tokens: &Tokens,
        plain: Option<&[u8]>,
        flush: Flush,
    ) {
        let ends = usize::from(flush == Flush::Sync);
        if matches!(self.last, Last::OpenLiterals(_)) || !self.can_go_on(tokens) {
            self.close(out);
        }
        let mut literals = tokens.literals;
        let mut distances = tokens.distances;
        let full = self.edition == Edition::Full && flush == Flush::Open;
        literals[END] = u32::from(!full);
        let described = if full {
            (LITERALS, DISTANCES)
        } else {
            if distances.iter().all(|count| *count == 0) {
                distances[0] = 1;
            }
            (used(&literals), used(&distances))
        };
        let counts = Counts {
            literals,
            distances,
        };
        let extra = counts.extra_bits();
        let few = tokens.list.len() + ends < FEW_TOKENS;
        let stored_if =
            |size: usize| plain.filter(|p| p.len() <= BLOCK && (p.len() + 5) * 8 <= size);
        if let Some(header) = self.last.header() {
            let end = usize::from(self.codes.literals[END].length);
            let new = header + tokens.estimated_bits(ends);
            let new = new + end + (new >> self.penalty);
            let old = counts.bits(&self.codes) + extra;
            if new < old {
                self.close(out);
            }
            let size = new.min(old);
            if few && counts.fixed_bits() + extra + 7 < size {
                return self.small(out, tokens, stored_if(size));
            }
            if let Some(plain) = stored_if(size) {
                return self.stored(out, plain);
            }
        }
        if self.last == Last::Closed {
            let mut counts = counts;
            counts.literals[END] = 1;
            self.make_codes(&counts);
            self.description
                .plan(&mut self.merge, &self.codes, described.0, described.1);
            let size = self.description.bits() + counts.bits(&self.codes) + extra;
            let fixed = counts.fixed_bits() + extra;
            if few && fixed <= size {
                return self.small(out, tokens, stored_if(fixed));
            }
            if let Some(plain) = stored_if(size) {
                return self.stored(out, plain);
            }
            self.description.write(&mut self.bits, out);
            self.last = Last::Open(self.description.bits());
        }
        self.codes.write(&mut self.bits, out, &tokens.list);
        if flush == Flush::Sync {
            self.close(out);
        }
    }

    /// Writes a block without matches; `plain` as it is when that saves little.
    pub(super) fn literals(&mut self, out: &mut Vec<u8>, plain: &[u8], flush: Flush) {
        let mut counts = [0; END + 1];
        for &byte in plain {
            counts[usize::from(byte)] += 1;
        }
        if plain.len() > 1024 && plain.len() <= BLOCK && is_even(&counts[..END], plain.len()) {
            return self.stored(out, plain);
        }
        counts[END] = 1;
        let mut lengths = [0; LITERALS];
        self.merge.lengths(&counts, 15, &mut lengths[..=END]);
        let mut codes = [Code::default(); LITERALS];
        assign(&lengths, &mut codes);
        let new = weight(&counts, &codes) + self.last.header().unwrap_or(GUESSED_HEADER);
        let new = new + (new >> self.penalty);
        if plain.len() <= BLOCK && (plain.len() + 5) * 8 <= new {
            return self.stored(out, plain);
        }
        if self.last != Last::Closed {
            let known = |(count, code): (&u32, &Code)| *count == 0 || code.length != 0;
            let old = &self.codes.literals[..END];
            let usable = counts[..END].iter().zip(old).all(known);
            if !usable || new < weight(&counts[..END], old) {
                self.close(out);
            }
        }
        if self.last == Last::Closed {
            self.codes.literals = codes;
            self.codes.distances = [Code::default(); DISTANCES];
            self.codes.distances[0] = Code { bits: 0, length: 1 };
            self.description
                .plan(&mut self.merge, &self.codes, END + 1, 1);
            self.description.write(&mut self.bits, out);
            self.last = Last::OpenLiterals(self.description.bits());
        }
        self.codes.write_literals(&mut self.bits, out, plain);
        if flush == Flush::Sync {
            self.close(out);
        }
    }

    /// Writes a stored block, if there is one, or else one with the fixed codes.
    fn small(&mut self, out: &mut Vec<u8>, tokens: &Tokens, stored: Option<&[u8]>) {
        if let Some(plain) = stored {
            return self.stored(out, plain);
        }
        self.close(out);
        self.bits.put(out, 2, 3);
        self.fixed.write(&mut self.bits, out, &tokens.list);
        self.fixed.end(&mut self.bits, out);
    }

    /// Says whether the codes of the open block have all symbols.
    fn can_go_on(&self, tokens: &Tokens) -> bool {
        let known = |(count, code): (&u32, &Code)| *count == 0 || code.length != 0;
        tokens
            .distances
            .iter()
            .zip(&self.codes.distances)
            .all(known)
            && tokens.literals.iter().zip(&self.codes.literals).all(known)
    }

    fn make_codes(&mut self, counts: &Counts) {
        let mut lengths = [0; LITERALS];
        self.merge.lengths(&counts.literals, 15, &mut lengths);
        assign(&lengths, &mut self.codes.literals);
        let lengths = &mut lengths[..DISTANCES];
        self.merge.lengths(&counts.distances, 15, lengths);
        assign(lengths, &mut self.codes.distances);
    }
}

/// How often symbols occur in a block, its end included or not.
struct Counts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

impl Counts {
    fn bits(&self, codes: &Codes) -> usize {
        weight(&self.literals, &codes.literals) + weight(&self.distances, &codes.distances)
    }

    fn fixed_bits(&self) -> usize {
        let literals = self.literals.iter().enumerate();
        let literals: usize = literals
            .map(|(symbol, count)| *count as usize * usize::from(fixed_literal_length(symbol)))
            .sum();
        3 + literals + self.distances.iter().sum::<u32>() as usize * 5
    }

    fn extra_bits(&self) -> usize {
        let lengths = self.literals[END + 1..].iter().zip(&LENGTH_EXTRA);
        let distances = self.distances.iter().zip(&DISTANCE_EXTRA);
        let all = lengths.chain(distances);
        all.map(|(count, bits)| *count as usize * usize::from(*bits))
            .sum()
    }
}

fn used(counts: &[u32]) -> usize {
    let last = counts.iter().rposition(|count| *count != 0);
    last.map_or(0, |last| last + 1)
}

/// Says whether all bytes occur about equally often, so that nothing can be saved.
fn is_even(counts: &[u32], total: usize) -> bool {
    let average = total as f64 / 256.0;
    let limit = (total * 2) as f64;
    let mut sum = 0.0;
    for &count in counts {
        let difference = f64::from(count) - average;
        sum += difference * difference;
        if sum > limit {
            return false;
        }
    }
    sum < limit
}
