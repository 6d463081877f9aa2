//! Windows on the heap, and comparing bytes in them eight at a time.

/// The bytes of a window that moves by half.
pub(crate) const SPAN: usize = 1 << 16;

/// Eight bytes behind the end may be read, but change nothing.
pub(crate) type Window = [u8; SPAN + 8];

/// Returns how many bytes from `a` and from `b` on agree, at most `max`.
///
/// Both `a + max` and `b + max` must lie within the window. What lies behind is read, but does
/// not count; indices are cut to the window so that no check is needed.
#[inline(always)]
pub(crate) fn agreement(window: &Window, a: usize, b: usize, max: usize) -> usize {
    let mut at = 0;
    while at < max {
        let left = u64_at(window, (a + at) % SPAN);
        let difference = left ^ u64_at(window, (b + at) % SPAN);
        if difference != 0 {
            return max.min(at + (difference.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    max
}

/// The same for bytes of which none behind may be read.
#[inline(always)]
pub(crate) fn match_length(bytes: &[u8], a: usize, b: usize, max: usize) -> usize {
    let left = &bytes[a..a + max];
    let right = &bytes[b..b + max];
    let mut at = 0;
    let mut lefts = left.chunks_exact(8);
    for (l, r) in lefts.by_ref().zip(right.chunks_exact(8)) {
        let difference = u64_at(l, 0) ^ u64_at(r, 0);
        if difference != 0 {
            return at + (difference.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < max && left[at] == right[at] {
        at += 1;
    }
    at
}

/// Returns the eight bytes at `at` as a little endian number.
#[inline(always)]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// Returns the four bytes at `at` as a little endian number.
#[inline(always)]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// A zeroed array on the heap that never lies on the stack.
pub(crate) fn zeroed<T: Clone + Default + std::fmt::Debug, const N: usize>() -> Box<[T; N]> {
    vec![T::default(); N]
        .into_boxed_slice()
        .try_into()
        .expect("the vector has that many elements")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_ends_at_the_first_difference_or_the_bound() {
        let mut window: Box<Window> = zeroed();
        window[..40].fill(7);
        window[1000..1037].fill(7);
        for max in [0, 1, 7, 8, 9, 36, 37, 38, 258] {
            assert_eq!(
                agreement(&window, 0, 1000, max),
                max.min(37),
                "at most {max}"
            );
            assert_eq!(match_length(&window[..], 0, 1000, max), max.min(37));
        }
        assert_eq!(agreement(&window, SPAN - 20, SPAN - 10, 10), 10);
    }
}
