//! The tokens of a block, counted while they are added.

use crate::symbols::{
    DISTANCE_EXTRA, DISTANCES, END, LENGTH_EXTRA, LITERALS, MAX_MATCH, Token, distance_symbol,
    length_symbol,
};

/// Tokens and how often each symbol occurs in them; the end of a block is not among them.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) list: Vec<Token>,
    pub(super) literals: [u32; LITERALS],
    pub(super) distances: [u32; DISTANCES],
}

impl Tokens {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            list: Vec::with_capacity(capacity),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
        }
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
    }

    #[inline(always)]
    pub(super) fn literals(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.list.push(Token::literal(byte));
            self.literals[usize::from(byte)] += 1;
        }
    }

    /// Adds a match of any length from 3 on as one or more tokens.
    #[inline(always)]
    pub(super) fn matched(&mut self, mut length: usize, distance: usize) {
        let symbol = distance_symbol((distance - 1) as u16);
        while length > 0 {
            let part = match length {
                0..=MAX_MATCH => length,
                // What is left must be long enough for a match of its own.
                259..=261 => MAX_MATCH - 3,
                _ => MAX_MATCH,
            };
            length -= part;
            self.literals[END + 1 + length_symbol((part - 3) as u8)] += 1;
            self.distances[symbol] += 1;
            self.list.push(Token::matched(part, distance));
        }
    }

    /// Estimates the size of a block with a code of its own; `extra` tokens are not in the list.
    ///
    /// In single precision and in this order, as the result decides between codes.
    pub(super) fn estimated_bits(&self, extra: usize) -> usize {
        let mut shannon = 0f32;
        let mut bits = 0;
        let mut matches = 0;
        let total = self.list.len() + extra;
        if total > 0 {
            let inverse = 1.0 / total as f32;
            for &count in &self.literals[..END] {
                shannon += entropy(count, inverse);
            }
            shannon += 15.0;
            for (&count, extra) in self.literals[END + 1..].iter().zip(LENGTH_EXTRA) {
                shannon += entropy(count, inverse);
                bits += usize::from(extra) * count as usize;
                matches += count;
            }
        }
        if matches > 0 {
            let inverse = 1.0 / matches as f32;
            for (&count, extra) in self.distances.iter().zip(DISTANCE_EXTRA) {
                shannon += entropy(count, inverse);
                bits += usize::from(extra) * count as usize;
            }
        }
        shannon as usize + bits
    }
}

fn entropy(count: u32, inverse: f32) -> f32 {
    if count == 0 {
        return 0.0;
    }
    let count = count as f32;
    (-fast_log2(count * inverse)).clamp(1.0, 15.0) * count
}

/// A parabola through the mantissa in place of the logarithm.
fn fast_log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 255) as i32 - 128;
    let mantissa = f32::from_bits((bits & 0x807f_ffff).wrapping_add(127 << 23));
    exponent as f32 + (((-0.344_848_43 * mantissa) + 2.024_665_8) * mantissa - 0.674_877_6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_matches_leave_no_rest_that_is_too_short() {
        for length in [3, 258, 259, 260, 261, 262, 516, 517, 1000] {
            let mut tokens = Tokens::with_capacity(8);
            tokens.matched(length, 7);
            let parts = tokens.list.iter().map(|t| t.parts().unwrap());
            let sum: usize = parts.map(|(less_3, _)| usize::from(less_3) + 3).sum();
            assert_eq!(sum, length);
        }
    }

    #[test]
    fn the_logarithm_is_roughly_one() {
        for value in [1.0f32, 0.5, 0.25, 0.001, 0.75] {
            assert!((fast_log2(value) - value.log2()).abs() < 0.02, "{value}");
        }
    }
}
