//! The alphabets of RFC 1951, 3.2.5: lengths, distances, and tokens made of them.

/// Symbols for literals, the end of a block and lengths.
pub(crate) const LITERALS: usize = 286;
/// Symbols for distances.
pub(crate) const DISTANCES: usize = 30;
/// The symbol that ends a block.
pub(crate) const END: usize = 256;
/// The longest match there is.
pub(crate) const MAX_MATCH: usize = 258;
/// The order in which the lengths of the code length code are written.
pub(crate) const CODE_LENGTH_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Extra bits of the length symbols from 257 on.
pub(crate) const LENGTH_EXTRA: [u8; 29] = length_extra();
/// The shortest length less 3 of the length symbols from 257 on.
pub(crate) const LENGTH_BASE: [u8; 29] = length_base();
/// Extra bits of the distance symbols.
pub(crate) const DISTANCE_EXTRA: [u8; DISTANCES] = distance_extra();
/// The shortest distance less 1 of the distance symbols.
pub(crate) const DISTANCE_BASE: [u16; DISTANCES] = distance_base();

const LENGTH_CODE: [u8; 256] = length_code();
const DISTANCE_CODE: [u8; 512] = distance_code();

const fn length_extra() -> [u8; 29] {
    let mut table = [0; 29];
    let mut code = 8;
    while code < 28 {
        table[code] = (code / 4 - 1) as u8;
        code += 1;
    }
    table
}

const fn length_base() -> [u8; 29] {
    let extra = length_extra();
    let mut table = [0; 29];
    let mut code = 1;
    while code < 28 {
        table[code] = table[code - 1] + (1 << extra[code - 1]);
        code += 1;
    }
    table[28] = 255;
    table
}

const fn length_code() -> [u8; 256] {
    let base = length_base();
    let mut table = [0; 256];
    let mut code = 0;
    while code < 29 {
        let mut length = base[code] as usize;
        while length < 256 {
            table[length] = code as u8;
            length += 1;
        }
        code += 1;
    }
    table
}

const fn distance_extra() -> [u8; DISTANCES] {
    let mut table = [0; DISTANCES];
    let mut code = 4;
    while code < DISTANCES {
        table[code] = (code / 2 - 1) as u8;
        code += 1;
    }
    table
}

const fn distance_base() -> [u16; DISTANCES] {
    let extra = distance_extra();
    let mut table = [0; DISTANCES];
    let mut code = 1;
    while code < DISTANCES {
        table[code] = table[code - 1] + (1 << extra[code - 1]);
        code += 1;
    }
    table
}

/// The first half is for distances up to 256, the second for the others, by 128.
const fn distance_code() -> [u8; 512] {
    let base = distance_base();
    let mut table = [0; 512];
    let mut code = 0;
    while code < DISTANCES {
        let from = base[code] as usize;
        let mut at = from;
        while at < 256 {
            table[at] = code as u8;
            at += 1;
        }
        at = from.div_ceil(128);
        while at < 256 {
            table[256 + at] = code as u8;
            at += 1;
        }
        code += 1;
    }
    table
}

/// Returns the symbol, less 257, of a length that is given less 3.
#[inline(always)]
pub(crate) fn length_symbol(length_less_3: u8) -> usize {
    usize::from(LENGTH_CODE[usize::from(length_less_3)])
}

/// Returns the symbol of a distance that is given less 1.
#[inline(always)]
pub(crate) fn distance_symbol(distance_less_1: u16) -> usize {
    let distance = usize::from(distance_less_1);
    let at = if distance < 256 {
        distance
    } else {
        256 + (distance >> 7)
    };
    usize::from(DISTANCE_CODE[at & 511])
}

/// A literal, or a length and a distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(u32);

impl Token {
    /// The byte itself.
    #[inline(always)]
    pub(crate) fn literal(byte: u8) -> Self {
        Self(u32::from(byte))
    }

    /// A match of 3 to 258 bytes, 1 to 32768 back.
    #[inline(always)]
    pub(crate) fn matched(length: usize, distance: usize) -> Self {
        debug_assert!((3..=MAX_MATCH).contains(&length) && (1..=32768).contains(&distance));
        Self((distance as u32) << 16 | (length as u32 - 3))
    }

    /// Length less 3 and distance less 1, if it is a match.
    #[inline(always)]
    pub(crate) fn parts(self) -> Result<(u8, u16), u8> {
        match self.0 >> 16 {
            0 => Err(self.0 as u8),
            distance => Ok((self.0 as u8, (distance - 1) as u16)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbols_are_those_of_the_standard() {
        let lengths = [
            (3, 0),
            (10, 7),
            (11, 8),
            (12, 8),
            (13, 9),
            (257, 27),
            (258, 28),
        ];
        for (length, symbol) in lengths {
            assert_eq!(length_symbol((length - 3) as u8), symbol, "length {length}");
        }
        assert_eq!((LENGTH_EXTRA[27], LENGTH_BASE[27]), (5, 224));
        for (distance, symbol) in [(1, 0), (4, 3), (5, 4), (256, 15), (257, 16), (385, 17)] {
            assert_eq!(distance_symbol(distance - 1), symbol, "distance {distance}");
        }
        for (distance, symbol) in [(24576, 28), (24577, 29), (32768, 29)] {
            assert_eq!(distance_symbol((distance - 1) as u16), symbol, "{distance}");
        }
        for (symbol, base) in DISTANCE_BASE.iter().enumerate() {
            assert_eq!(distance_symbol(*base), symbol);
        }
    }
}
