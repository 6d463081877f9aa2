//! The hashes of the first bytes of eight, to a number of bits.

#[inline(always)]
pub(super) fn four_bytes(bytes: u64, bits: u32) -> usize {
    ((bytes as u32).wrapping_mul(2_654_435_761) >> (32 - bits)) as usize
}

#[inline(always)]
pub(super) fn five_bytes(bytes: u64, bits: u32) -> usize {
    ((bytes << 24).wrapping_mul(889_523_592_379) >> (64 - bits)) as usize
}

#[inline(always)]
pub(super) fn seven_bytes(bytes: u64, bits: u32) -> usize {
    ((bytes << 8).wrapping_mul(58_295_818_150_454_627) >> (64 - bits)) as usize
}
