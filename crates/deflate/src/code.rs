//! Canonical prefix codes (RFC 1951, 3.2.2), and tokens written with them.

use crate::bits::Bits;
use crate::symbols::{
    DISTANCE_BASE, DISTANCE_EXTRA, DISTANCES, END, LENGTH_BASE, LENGTH_EXTRA, LITERALS, Token,
    distance_symbol, length_symbol,
};

/// The bits of one symbol, as they are put into the stream, and how many they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) bits: u16,
    pub(crate) length: u8,
}

/// Gives every symbol its code from the lengths alone.
pub(crate) fn assign(lengths: &[u8], codes: &mut [Code]) {
    let mut counts = [0u16; 17];
    for &length in lengths {
        counts[usize::from(length)] += 1;
    }
    counts[0] = 0;
    let mut next = [0u16; 17];
    for length in 1..17 {
        next[length] = next[length - 1].wrapping_add(counts[length - 1]) << 1;
    }
    for (code, &length) in codes.iter_mut().zip(lengths) {
        let value = &mut next[usize::from(length)];
        *code = match length {
            0 => Code::default(),
            _ => Code {
                bits: value.reverse_bits() >> (16 - u32::from(length)),
                length,
            },
        };
        *value = value.wrapping_add(1);
    }
}

/// Returns the lengths of the fixed code for literals and lengths.
pub(crate) const fn fixed_literal_length(symbol: usize) -> u8 {
    match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    }
}

/// Returns how many bits all symbols take that are counted.
pub(crate) fn weight(counts: &[u32], codes: &[Code]) -> usize {
    let pairs = counts.iter().zip(codes);
    pairs
        .map(|(count, code)| *count as usize * usize::from(code.length))
        .sum()
}

/// Both codes of a block.
#[derive(Debug, Clone)]
pub(crate) struct Codes {
    pub(crate) literals: [Code; LITERALS],
    pub(crate) distances: [Code; DISTANCES],
}

impl Codes {
    /// Codes that nothing can be written with yet.
    pub(crate) fn empty() -> Self {
        Self {
            literals: [Code::default(); LITERALS],
            distances: [Code::default(); DISTANCES],
        }
    }

    /// The codes of blocks of type 1.
    pub(crate) fn fixed() -> Self {
        let mut codes = Self::empty();
        let mut lengths = [0; 288];
        for (symbol, length) in lengths.iter_mut().enumerate() {
            *length = fixed_literal_length(symbol);
        }
        let mut all = [Code::default(); 288];
        assign(&lengths, &mut all);
        codes.literals.copy_from_slice(&all[..LITERALS]);
        let mut all = [Code::default(); 32];
        assign(&[5; 32], &mut all);
        codes.distances.copy_from_slice(&all[..DISTANCES]);
        codes
    }

    /// Writes the tokens, without the end of the block.
    pub(crate) fn write(&self, bits: &mut Bits, out: &mut Vec<u8>, tokens: &[Token]) {
        let mut lengths = [(0u32, 0u32); 256];
        for (value, entry) in lengths.iter_mut().enumerate() {
            let symbol = length_symbol(value as u8);
            let code = self.literals[END + 1 + symbol];
            let rest = value as u32 - u32::from(LENGTH_BASE[symbol]);
            let count = u32::from(code.length);
            *entry = (
                u32::from(code.bits) | rest << count,
                count + u32::from(LENGTH_EXTRA[symbol]),
            );
        }
        for token in tokens {
            match token.parts() {
                Err(byte) => {
                    let code = self.literals[usize::from(byte)];
                    bits.put(out, u32::from(code.bits), u32::from(code.length));
                }
                Ok((length, distance)) => {
                    let (value, count) = lengths[usize::from(length)];
                    bits.put(out, value, count);
                    let symbol = distance_symbol(distance);
                    let code = self.distances[symbol];
                    let rest = u32::from(distance - DISTANCE_BASE[symbol]);
                    let count = u32::from(code.length);
                    let value = u32::from(code.bits) | rest << count;
                    bits.put(out, value, count + u32::from(DISTANCE_EXTRA[symbol]));
                }
            }
        }
    }

    /// Writes plain bytes as literals, without the end of the block.
    pub(crate) fn write_literals(&self, bits: &mut Bits, out: &mut Vec<u8>, plain: &[u8]) {
        for &byte in plain {
            let code = self.literals[usize::from(byte)];
            bits.put(out, u32::from(code.bits), u32::from(code.length));
        }
    }

    /// Writes the end of the block.
    pub(crate) fn end(&self, bits: &mut Bits, out: &mut Vec<u8>) {
        let code = self.literals[END];
        bits.put(out, u32::from(code.bits), u32::from(code.length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_example_in_the_standard() {
        let mut codes = [Code::default(); 8];
        assign(&[3, 3, 3, 3, 3, 2, 4, 4], &mut codes);
        let bits: Vec<u16> = codes.iter().map(|c| c.bits).collect();
        let want = [0b010, 0b110, 0b001, 0b101, 0b011, 0b00, 0b0111, 0b1111];
        assert_eq!(bits, want);
    }

    #[test]
    fn the_fixed_code_ends_blocks_with_seven_zeros() {
        let codes = Codes::fixed();
        assert_eq!(codes.literals[END], Code { bits: 0, length: 7 });
        assert_eq!(
            codes.literals[255],
            Code {
                bits: 0x1ff,
                length: 9
            }
        );
    }
}
