//! How zlib writes a block: which type, which codes, which header.

use super::heap::Heap;
use crate::bits::Bits;
use crate::code::{Code, Codes, assign, fixed_literal_length, weight};
use crate::symbols::{
    CODE_LENGTH_ORDER, DISTANCE_EXTRA, DISTANCES, END, LENGTH_EXTRA, LITERALS, Token,
    distance_symbol, length_symbol,
};

/// Whether more blocks follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Inner,
    Last,
}

/// Counts, codes and the bits on their way out.
#[derive(Debug)]
pub(super) struct Trees {
    bits: Bits,
    heap: Heap,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    codes: Codes,
    fixed: Codes,
    /// Code length symbols and what stands in their extra bits.
    runs: Vec<(u8, u8)>,
    run_counts: [u32; 19],
    run_lengths: [u8; 19],
}

impl Trees {
    pub(super) fn new() -> Self {
        Self {
            bits: Bits::default(),
            heap: Heap::new(),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            codes: Codes::empty(),
            fixed: Codes::fixed(),
            runs: Vec::with_capacity(LITERALS + DISTANCES),
            run_counts: [0; 19],
            run_lengths: [0; 19],
        }
    }

    /// Writes the smallest block; `plain` is what the tokens stand for, if it is still there.
    pub(super) fn block(
        &mut self,
        out: &mut Vec<u8>,
        tokens: &[Token],
        plain: Option<&[u8]>,
        place: Place,
    ) {
        self.count(tokens);
        let fixed = (self.fixed_bits() + 3).div_ceil(8);
        let (literals, distances) = self.make_codes();
        let described = self.plan(literals, distances);
        let dynamic = (self.dynamic_bits(described) + 3).div_ceil(8);
        let last = u32::from(place == Place::Last);
        let stored = plain.filter(|plain| plain.len() + 4 <= fixed.min(dynamic));
        if let Some(plain) = stored.filter(|plain| plain.len() <= 65535) {
            self.bits.stored(out, plain, place == Place::Last);
        } else if fixed <= dynamic {
            self.bits.put(out, 2 | last, 3);
            self.fixed.write(&mut self.bits, out, tokens);
            self.fixed.end(&mut self.bits, out);
        } else {
            self.bits.put(out, 4 | last, 3);
            self.write_header(out, literals, distances, described);
            self.codes.write(&mut self.bits, out, tokens);
            self.codes.end(&mut self.bits, out);
        }
        if place == Place::Last {
            self.bits.align(out);
        }
    }

    /// Comes to a byte's end as pigz does: with empty blocks, fixed ones where they fit.
    pub(super) fn align(&mut self, out: &mut Vec<u8>) {
        if self.bits.odd() & 1 == 1 {
            self.bits.stored(out, &[], false);
        }
        while self.bits.odd() != 0 {
            self.bits.put(out, 2, 10);
        }
        self.bits.align(out);
    }

    fn count(&mut self, tokens: &[Token]) {
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
        self.literals[END] = 1;
    }

    /// Makes the codes; returns how many of either alphabet are described.
    fn make_codes(&mut self) -> (usize, usize) {
        let mut lengths = [0; LITERALS];
        let literals = self.heap.lengths(&self.literals, 15, &mut lengths) + 1;
        assign(&lengths, &mut self.codes.literals);
        let lengths = &mut lengths[..DISTANCES];
        let distances = self.heap.lengths(&self.distances, 15, lengths) + 1;
        assign(lengths, &mut self.codes.distances);
        (literals, distances)
    }

    /// Makes the description of the codes; returns how many run lengths it begins with.
    fn plan(&mut self, literals: usize, distances: usize) -> usize {
        self.runs.clear();
        self.run_counts = [0; 19];
        let codes = &self.codes;
        for codes in [&codes.literals[..literals], &codes.distances[..distances]] {
            runs(codes, &mut self.runs);
        }
        for (symbol, _) in &self.runs {
            self.run_counts[usize::from(*symbol)] += 1;
        }
        self.heap
            .lengths(&self.run_counts, 7, &mut self.run_lengths);
        let last = CODE_LENGTH_ORDER
            .iter()
            .rposition(|s| self.run_lengths[*s] != 0);
        last.map_or(4, |last| (last + 1).max(4))
    }

    fn extra_bits(&self) -> usize {
        let lengths = self.literals[END + 1..].iter().zip(&LENGTH_EXTRA);
        let distances = self.distances.iter().zip(&DISTANCE_EXTRA);
        let all = lengths.chain(distances);
        all.map(|(count, bits)| *count as usize * usize::from(*bits))
            .sum()
    }

    fn fixed_bits(&self) -> usize {
        let literals = self.literals.iter().enumerate();
        let literals: usize = literals
            .map(|(symbol, count)| *count as usize * usize::from(fixed_literal_length(symbol)))
            .sum();
        literals + self.distances.iter().sum::<u32>() as usize * 5 + self.extra_bits()
    }

    fn dynamic_bits(&self, described: usize) -> usize {
        let counts = &self.run_counts;
        let lengths = counts.iter().zip(&self.run_lengths);
        let runs: usize = lengths.map(|(c, l)| *c as usize * usize::from(*l)).sum();
        let rests = counts[16] * 2 + counts[17] * 3 + counts[18] * 7;
        3 * described
            + 5
            + 5
            + 4
            + runs
            + rests as usize
            + weight(&self.literals, &self.codes.literals)
            + weight(&self.distances, &self.codes.distances)
            + self.extra_bits()
    }

    fn write_header(
        &mut self,
        out: &mut Vec<u8>,
        literals: usize,
        distances: usize,
        described: usize,
    ) {
        let mut codes = [Code::default(); 19];
        assign(&self.run_lengths, &mut codes);
        let bits = &mut self.bits;
        bits.put(out, literals as u32 - 257, 5);
        bits.put(out, distances as u32 - 1, 5);
        bits.put(out, described as u32 - 4, 4);
        for symbol in &CODE_LENGTH_ORDER[..described] {
            bits.put(out, u32::from(self.run_lengths[*symbol]), 3);
        }
        for &(symbol, rest) in &self.runs {
            let code = codes[usize::from(symbol)];
            bits.put(out, u32::from(code.bits), u32::from(code.length));
            match symbol {
                16 => bits.put(out, u32::from(rest), 2),
                17 => bits.put(out, u32::from(rest), 3),
                18 => bits.put(out, u32::from(rest), 7),
                _ => {}
            }
        }
    }
}

/// Describes the lengths of one alphabet; runs do not reach from one alphabet into the other.
///
/// A run of a length that was not yet written is one length and then up to six repetitions,
/// after which the next run of the same length begins with a repetition.
fn runs(codes: &[Code], runs: &mut Vec<(u8, u8)>) {
    let mut previous = None;
    let mut at = 0;
    while at < codes.len() {
        let length = codes[at].length;
        let most = match length {
            0 => 138,
            _ if previous == Some(length) => 6,
            _ => 7,
        };
        let rest = &codes[at..];
        let same = rest
            .iter()
            .take(most)
            .take_while(|c| c.length == length)
            .count();
        at += same;
        let least = if most == 7 { 4 } else { 3 };
        match length {
            _ if same < least => runs.extend(std::iter::repeat_n((length, 0), same)),
            0 if same <= 10 => runs.push((17, (same - 3) as u8)),
            0 => runs.push((18, (same - 11) as u8)),
            _ if most == 7 => runs.extend([(length, 0), (16, (same - 4) as u8)]),
            _ => runs.push((16, (same - 3) as u8)),
        }
        previous = Some(length);
    }
}
