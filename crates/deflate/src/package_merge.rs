//! Code lengths by package-merge, with the choice between equals that Go's encoder makes.
//!
//! Symbols are ordered by frequency and then by value. On each of the `limit` levels the leaves
//! are merged with the pairs of the level below; of a leaf and a pair that weigh the same the
//! pair comes first. The first `2n - 2` items of the top level decide: a symbol's length is the
//! number of levels in which its leaf is taken.

/// Scratch space, so that a block does not allocate.
#[derive(Debug, Default)]
pub(crate) struct PackageMerge {
    /// Frequency above the symbol, in ascending order.
    leaves: Vec<u64>,
    below: Vec<u32>,
    above: Vec<u32>,
    /// For every level, how many of its first items are leaves.
    taken: Vec<Vec<u16>>,
}

impl PackageMerge {
    /// Sets the length of every symbol; none is longer than `limit`, those of frequency 0 are 0.
    pub(crate) fn lengths(&mut self, frequencies: &[u32], limit: usize, lengths: &mut [u8]) {
        lengths.fill(0);
        self.leaves.clear();
        let used = frequencies.iter().enumerate().filter(|(_, f)| **f != 0);
        self.leaves
            .extend(used.map(|(symbol, f)| u64::from(*f) << 16 | symbol as u64));
        let count = self.leaves.len();
        if count <= 2 {
            for leaf in &self.leaves {
                lengths[usize::from(*leaf as u16)] = 1;
            }
            return;
        }
        self.leaves.sort_unstable();
        let limit = limit.min(count - 1);
        self.merge(limit, 2 * count - 2);
        let mut items = 2 * count - 2;
        let mut length = 0;
        for level in (0..limit).rev() {
            let leaves = usize::from(self.taken[level][items]);
            length += 1;
            for leaf in &self.leaves[..leaves] {
                lengths[usize::from(*leaf as u16)] = length;
            }
            items = 2 * (items - leaves);
        }
    }

    fn merge(&mut self, levels: usize, wanted: usize) {
        self.taken
            .resize_with(levels.max(self.taken.len()), Vec::new);
        self.below.clear();
        for taken in &mut self.taken[..levels] {
            taken.clear();
            taken.push(0);
            self.above.clear();
            let mut leaf = 0;
            let mut pairs = self.below.chunks_exact(2).map(|pair| pair[0] + pair[1]);
            let mut pair = pairs.next().unwrap_or(u32::MAX);
            while self.above.len() < wanted {
                let weight = self.leaves.get(leaf).map_or(u32::MAX, |l| (l >> 16) as u32);
                if weight < pair {
                    self.above.push(weight);
                    leaf += 1;
                } else if pair != u32::MAX {
                    self.above.push(pair);
                    pair = pairs.next().unwrap_or(u32::MAX);
                } else {
                    break;
                }
                taken.push(leaf as u16);
            }
            std::mem::swap(&mut self.below, &mut self.above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(frequencies: &[u32], limit: usize) -> Vec<u8> {
        let mut lengths = vec![9; frequencies.len()];
        PackageMerge::default().lengths(frequencies, limit, &mut lengths);
        lengths
    }

    #[test]
    fn few_symbols_have_one_bit_each() {
        assert_eq!(lengths(&[0, 0, 0], 15), [0, 0, 0]);
        assert_eq!(lengths(&[0, 7, 0], 15), [0, 1, 0]);
        assert_eq!(lengths(&[3, 7, 0], 15), [1, 1, 0]);
    }

    #[test]
    fn a_skewed_code_is_cut_at_the_limit() {
        let fibonacci = [1, 1, 2, 3, 5, 8, 13, 21];
        assert_eq!(lengths(&fibonacci, 15), [7, 7, 6, 5, 4, 3, 2, 1]);
        let cut = lengths(&fibonacci, 4);
        assert_eq!(cut.iter().max(), Some(&4));
        let kraft: u32 = cut.iter().map(|l| 16 >> l).sum();
        assert_eq!(kraft, 16);
    }
}
