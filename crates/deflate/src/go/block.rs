//! How Go's encoder writes a block: which type, which codes, which header.

use crate::bits::Bits;
use crate::code::{Codes, assign, fixed_literal_length, weight};
use crate::description::Description;
use crate::package_merge::PackageMerge;
use crate::symbols::{
    DISTANCE_EXTRA, DISTANCES, END, LENGTH_EXTRA, LITERALS, Token, distance_symbol, length_symbol,
};

/// The largest block that can be stored.
pub(super) const MAX_STORED: usize = 65535;

/// Counts, codes and the bits on their way out.
#[derive(Debug)]
pub(super) struct Blocks {
    bits: Bits,
    merge: PackageMerge,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    codes: Codes,
    fixed: Codes,
    description: Description,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self {
            bits: Bits::default(),
            merge: PackageMerge::default(),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            codes: Codes::empty(),
            fixed: Codes::fixed(),
            description: Description::default(),
        }
    }

    /// Writes the smallest of a fixed, a dynamic and (when `plain` is known) a stored block.
    pub(super) fn smallest(&mut self, out: &mut Vec<u8>, tokens: &[Token], plain: Option<&[u8]>) {
        let (literals, distances) = self.count(tokens);
        self.description
            .plan(&mut self.merge, &self.codes, literals, distances);
        let plain = plain.filter(|p| p.len() <= MAX_STORED);
        let extra = if plain.is_some() {
            self.extra_bits()
        } else {
            0
        };
        let fixed = 3 + self.fixed_bits() + extra;
        let dynamic = self.dynamic_bits() + extra;
        if let Some(plain) = plain.filter(|p| (p.len() + 5) * 8 < fixed.min(dynamic)) {
            self.bits.stored(out, plain, false);
        } else if dynamic < fixed {
            self.description.write(&mut self.bits, out);
            self.codes.write(&mut self.bits, out, tokens);
            self.codes.end(&mut self.bits, out);
        } else {
            self.bits.put(out, 2, 3);
            self.fixed.write(&mut self.bits, out, tokens);
            self.fixed.end(&mut self.bits, out);
        }
    }

    /// Writes a dynamic block, or a stored one when the gain is below a sixteenth.
    pub(super) fn dynamic(&mut self, out: &mut Vec<u8>, tokens: &[Token], plain: &[u8]) {
        let (literals, distances) = self.count(tokens);
        self.description
            .plan(&mut self.merge, &self.codes, literals, distances);
        if self.not_worth_it(plain) {
            self.bits.stored(out, plain, false);
        } else {
            self.description.write(&mut self.bits, out);
            self.codes.write(&mut self.bits, out, tokens);
            self.codes.end(&mut self.bits, out);
        }
    }

    /// Writes a dynamic block without matches, or a stored one when the gain is small.
    pub(super) fn literals_only(&mut self, out: &mut Vec<u8>, plain: &[u8]) {
        self.literals = [0; LITERALS];
        for &byte in plain {
            self.literals[usize::from(byte)] += 1;
        }
        self.literals[END] = 1;
        self.distances = [0; DISTANCES];
        self.distances[0] = 1;
        self.make_codes();
        self.description
            .plan(&mut self.merge, &self.codes, END + 1, 1);
        if self.not_worth_it(plain) {
            self.bits.stored(out, plain, false);
        } else {
            self.description.write(&mut self.bits, out);
            self.codes.write_literals(&mut self.bits, out, plain);
            self.codes.end(&mut self.bits, out);
        }
    }

    /// Writes a stored block.
    pub(super) fn stored(&mut self, out: &mut Vec<u8>, plain: &[u8]) {
        self.bits.stored(out, plain, false);
    }

    /// Ends the stream as Go does: with an empty stored block.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.bits.stored(out, &[], true);
    }

    fn not_worth_it(&self, plain: &[u8]) -> bool {
        let size = self.dynamic_bits();
        plain.len() <= MAX_STORED && (plain.len() + 5) * 8 < size + (size >> 4)
    }

    /// Counts symbols and makes the codes; returns how many of either alphabet are described.
    fn count(&mut self, tokens: &[Token]) -> (usize, usize) {
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
        let mut lengths = [0u32; 256];
        for token in tokens {
            match token.parts() {
                Err(byte) => self.literals[usize::from(byte)] += 1,
                Ok((length, distance)) => {
                    lengths[usize::from(length)] += 1;
                    self.distances[distance_symbol(distance)] += 1;
                }
            }
        }
        for (length, count) in lengths.iter().enumerate() {
            self.literals[END + 1 + length_symbol(length as u8)] += count;
        }
        self.literals[END] += 1;
        let described = |counts: &[u32]| counts.iter().rposition(|c| *c != 0).map_or(0, |p| p + 1);
        let literals = described(&self.literals);
        let mut distances = described(&self.distances);
        if distances == 0 {
            self.distances[0] = 1;
            distances = 1;
        }
        self.make_codes();
        (literals, distances)
    }

    fn make_codes(&mut self) {
        let mut lengths = [0; LITERALS];
        self.merge.lengths(&self.literals, 15, &mut lengths);
        assign(&lengths, &mut self.codes.literals);
        let lengths = &mut lengths[..DISTANCES];
        self.merge.lengths(&self.distances, 15, lengths);
        assign(lengths, &mut self.codes.distances);
    }

    fn extra_bits(&self) -> usize {
        let lengths = self.literals[END + 1..].iter().zip(&LENGTH_EXTRA);
        let distances = self.distances.iter().zip(&DISTANCE_EXTRA);
        lengths
            .chain(distances)
            .map(|(count, bits)| *count as usize * usize::from(*bits))
            .sum()
    }

    fn fixed_bits(&self) -> usize {
        let literals = self.literals.iter().enumerate();
        let literals: usize = literals
            .map(|(symbol, count)| *count as usize * usize::from(fixed_literal_length(symbol)))
            .sum();
        literals + self.distances.iter().sum::<u32>() as usize * 5
    }

    fn dynamic_bits(&self) -> usize {
        self.description.bits()
            + weight(&self.literals, &self.codes.literals)
            + weight(&self.distances, &self.codes.distances)
    }
}
