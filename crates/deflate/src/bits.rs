//! The bit stream of RFC 1951: least significant bit first.

/// Bits that do not fill a byte yet; whole bytes go to the buffer given with each call.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    held: u64,
    count: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of `value`, at most 32; the bits above must be zero.
    #[inline(always)]
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, value: u32, count: u32) {
        self.held |= u64::from(value) << self.count;
        self.count += count;
        if self.count >= 32 {
            out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Fills the byte that is begun with zeros and gives all bytes out.
    pub(crate) fn align(&mut self, out: &mut Vec<u8>) {
        let bytes = self.count.div_ceil(8) as usize;
        out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
        *self = Self::default();
    }

    /// Writes the header of a stored block and its bytes (at most 65535).
    pub(crate) fn stored(&mut self, out: &mut Vec<u8>, plain: &[u8], last: bool) {
        self.put(out, u32::from(last), 3);
        self.align(out);
        let size = plain.len() as u16;
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(!size).to_le_bytes());
        out.extend_from_slice(plain);
    }

    /// Returns how many bits of the byte that is begun are there.
    pub(crate) fn odd(&self) -> u32 {
        self.count & 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_lowest() {
        let (mut bits, mut out) = (Bits::default(), Vec::new());
        bits.put(&mut out, 0b1, 1);
        bits.put(&mut out, 0b10, 2);
        bits.put(&mut out, 0xffff_ffff, 32);
        assert_eq!(bits.odd(), 3);
        bits.align(&mut out);
        assert_eq!(out, [0xfd, 0xff, 0xff, 0xff, 0x07]);
    }

    #[test]
    fn a_stored_block_begins_at_a_byte() {
        let (mut bits, mut out) = (Bits::default(), Vec::new());
        bits.put(&mut out, 0b11, 2);
        bits.stored(&mut out, b"ab", true);
        assert_eq!(out, [0b111, 2, 0, 0xfd, 0xff, b'a', b'b']);
    }
}
