//! Code lengths by Huffman's algorithm, with zlib's choice between equals.
//!
//! Nodes lie in a binary heap by frequency and then by depth of their subtree; which of two equal
//! nodes comes out first depends on every step of the heap, so its steps are zlib's. Codes that
//! became too long are shortened by moving leaves, from the rarest symbol on.

use crate::symbols::LITERALS;

const NODES: usize = 2 * LITERALS + 1;

/// Scratch space for one tree.
#[derive(Debug)]
pub(super) struct Heap {
    /// Node numbers; the heap proper begins at 1 and ends at `size`.
    heap: [u16; NODES],
    size: usize,
    frequencies: [u32; NODES],
    depths: [u8; NODES],
    parents: [u16; NODES],
    lengths: [u8; NODES],
    /// Nodes in the order in which they were joined.
    joined: Vec<u16>,
}

impl Heap {
    pub(super) fn new() -> Self {
        Self {
            heap: [0; NODES],
            size: 0,
            frequencies: [0; NODES],
            depths: [0; NODES],
            parents: [0; NODES],
            lengths: [0; NODES],
            joined: Vec::with_capacity(NODES),
        }
    }

    /// Sets the lengths of all symbols; returns the highest symbol that has one.
    ///
    /// Even of an empty alphabet two symbols get a code.
    pub(super) fn lengths(&mut self, counts: &[u32], limit: u8, lengths: &mut [u8]) -> usize {
        let highest = self.fill(counts);
        for at in (1..=self.size / 2).rev() {
            self.sink(at);
        }
        self.join(counts.len());
        self.measure(counts.len(), limit);
        for (symbol, length) in lengths.iter_mut().enumerate() {
            let used = self.frequencies[symbol] != 0;
            *length = if used { self.lengths[symbol] } else { 0 };
        }
        highest
    }

    fn fill(&mut self, counts: &[u32]) -> usize {
        self.size = 0;
        self.joined.clear();
        self.frequencies[..counts.len()].copy_from_slice(counts);
        self.depths[..counts.len()].fill(0);
        let mut highest = None;
        for (symbol, count) in counts.iter().enumerate() {
            if *count != 0 {
                self.push(symbol);
                highest = Some(symbol);
            }
        }
        while self.size < 2 {
            let next = match highest {
                None => 0,
                Some(symbol @ 0..2) => symbol + 1,
                Some(_) => 0,
            };
            if highest.is_none_or(|symbol| symbol < 2) {
                highest = Some(next);
            }
            self.frequencies[next] = 1;
            self.push(next);
        }
        highest.unwrap_or(0)
    }

    fn push(&mut self, node: usize) {
        self.size += 1;
        self.heap[self.size] = node as u16;
    }

    #[inline(always)]
    fn before(&self, a: u16, b: u16) -> bool {
        let key = |node: u16| {
            (
                self.frequencies[usize::from(node)],
                self.depths[usize::from(node)],
            )
        };
        key(a) <= key(b)
    }

    /// Moves the node at `at` down to where both below it come after it.
    #[inline(always)]
    fn sink(&mut self, mut at: usize) {
        let node = self.heap[at];
        let mut child = at * 2;
        while child <= self.size {
            if child < self.size && self.before(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if self.before(node, self.heap[child]) {
                break;
            }
            self.heap[at] = self.heap[child];
            at = child;
            child *= 2;
        }
        self.heap[at] = node;
    }

    /// Joins the two rarest nodes until one is left.
    fn join(&mut self, symbols: usize) {
        let mut node = symbols;
        while self.size >= 2 {
            let first = self.heap[1];
            self.heap[1] = self.heap[self.size];
            self.size -= 1;
            self.sink(1);
            let second = self.heap[1];
            self.joined.extend([first, second]);
            let (a, b) = (usize::from(first), usize::from(second));
            self.frequencies[node] = self.frequencies[a] + self.frequencies[b];
            self.depths[node] = self.depths[a].max(self.depths[b]) + 1;
            self.parents[a] = node as u16;
            self.parents[b] = node as u16;
            self.heap[1] = node as u16;
            self.sink(1);
            node += 1;
        }
        self.joined.push(self.heap[1]);
    }

    /// Finds the lengths from the root down and cuts those above the limit.
    fn measure(&mut self, symbols: usize, limit: u8) {
        let mut counts = [0u32; 17];
        let mut overflow = 0i32;
        let root = usize::from(self.heap[1]);
        self.lengths[root] = 0;
        for &node in self.joined.iter().rev().skip(1) {
            let node = usize::from(node);
            let mut length = self.lengths[usize::from(self.parents[node])] + 1;
            if length > limit {
                length = limit;
                overflow += 1;
            }
            self.lengths[node] = length;
            if node < symbols {
                counts[usize::from(length)] += 1;
            }
        }
        if overflow == 0 {
            return;
        }
        let limit = usize::from(limit);
        while overflow > 0 {
            let mut length = limit - 1;
            while counts[length] == 0 {
                length -= 1;
            }
            counts[length] -= 1;
            counts[length + 1] += 2;
            counts[limit] -= 1;
            overflow -= 2;
        }
        let mut leaves = self
            .joined
            .iter()
            .filter(|node| usize::from(**node) < symbols);
        for length in (1..=limit).rev() {
            for node in leaves.by_ref().take(counts[length] as usize) {
                self.lengths[usize::from(*node)] = length as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(counts: &[u32], limit: u8) -> (Vec<u8>, usize) {
        let mut lengths = vec![9; counts.len()];
        let highest = Heap::new().lengths(counts, limit, &mut lengths);
        (lengths, highest)
    }

    #[test]
    fn even_one_symbol_gets_a_neighbour() {
        assert_eq!(lengths(&[0, 0, 0, 0], 15), (vec![1, 1, 0, 0], 1));
        assert_eq!(lengths(&[0, 5, 0, 0], 15), (vec![0, 1, 1, 0], 2));
        assert_eq!(lengths(&[0, 0, 0, 5], 15), (vec![1, 0, 0, 1], 3));
    }

    #[test]
    fn codes_that_are_too_long_are_cut() {
        let (lengths, _) = lengths(&[1, 1, 2, 3, 5, 8, 13, 21], 4);
        let kraft: u32 = lengths.iter().map(|l| 16 >> l).sum();
        assert!(
            kraft <= 16 && lengths.iter().all(|l| *l <= 4),
            "{lengths:?}"
        );
    }
}
