//! The header of a dynamic block as Go's encoders, old and new, write it.

use crate::bits::Bits;
use crate::code::{Code, Codes, assign, weight};
use crate::package_merge::PackageMerge;
use crate::symbols::CODE_LENGTH_ORDER;

/// The description of a dynamic block's codes.
#[derive(Debug, Default)]
pub(crate) struct Description {
    literals: usize,
    distances: usize,
    /// Code length symbols and what stands in their extra bits.
    runs: Vec<(u8, u8)>,
    counts: [u32; 19],
    lengths: [u8; 19],
    codes: [Code; 19],
}

impl Description {
    /// Describes the first symbols of either alphabet; runs reach from one into the other.
    pub(crate) fn plan(
        &mut self,
        merge: &mut PackageMerge,
        codes: &Codes,
        literals: usize,
        distances: usize,
    ) {
        (self.literals, self.distances) = (literals, distances);
        self.runs.clear();
        self.counts = [0; 19];
        let described = codes.literals[..literals]
            .iter()
            .chain(&codes.distances[..distances]);
        let mut lengths = described.map(|code| code.length);
        let mut current = lengths.next().unwrap_or(0);
        let mut count = 1;
        for length in lengths {
            if length == current {
                count += 1;
                continue;
            }
            self.run(current, count);
            (current, count) = (length, 1);
        }
        self.run(current, count);
        merge.lengths(&self.counts, 7, &mut self.lengths);
        assign(&self.lengths, &mut self.codes);
    }

    /// Takes over `count` equal code lengths.
    fn run(&mut self, length: u8, mut count: usize) {
        if length == 0 {
            while count >= 11 {
                let part = count.min(138);
                self.push(18, part - 11);
                count -= part;
            }
            if count >= 3 {
                self.push(17, count - 3);
                count = 0;
            }
        } else {
            self.push(length, 0);
            count -= 1;
            while count >= 3 {
                let part = count.min(6);
                self.push(16, part - 3);
                count -= part;
            }
        }
        for _ in 0..count {
            self.push(length, 0);
        }
    }

    fn push(&mut self, symbol: u8, rest: usize) {
        self.runs.push((symbol, rest as u8));
        self.counts[usize::from(symbol)] += 1;
    }

    /// How many lengths of the code length code are written.
    fn described(&self) -> usize {
        let last = CODE_LENGTH_ORDER
            .iter()
            .rposition(|symbol| self.counts[*symbol] != 0);
        last.map_or(4, |last| (last + 1).max(4))
    }

    /// Returns the size of the header.
    pub(crate) fn bits(&self) -> usize {
        let runs = weight(&self.counts, &self.codes);
        let rests = self.counts[16] * 2 + self.counts[17] * 3 + self.counts[18] * 7;
        3 + 5 + 5 + 4 + 3 * self.described() + runs + rests as usize
    }

    /// Writes the header of a block that is not the last one.
    pub(crate) fn write(&self, bits: &mut Bits, out: &mut Vec<u8>) {
        let described = self.described();
        bits.put(out, 4, 3);
        bits.put(out, self.literals as u32 - 257, 5);
        bits.put(out, self.distances as u32 - 1, 5);
        bits.put(out, described as u32 - 4, 4);
        for symbol in &CODE_LENGTH_ORDER[..described] {
            bits.put(out, u32::from(self.lengths[*symbol]), 3);
        }
        for &(symbol, rest) in &self.runs {
            let code = self.codes[usize::from(symbol)];
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
