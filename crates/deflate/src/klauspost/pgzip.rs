//! `pgzip`: blocks of 1 MiB that end on a byte, each able to refer to the 16 KiB before it.

use super::Edition;
use super::stream::Stream;
use crate::encoder::Deflate;

const BLOCK: usize = 1 << 20;
const TAIL: usize = 16 << 10;

/// The encoder of one level.
#[derive(Debug)]
pub(super) struct Pgzip {
    stream: Stream,
    taken: usize,
    /// The last bytes; at least [`TAIL`] of them if there were so many.
    tail: Vec<u8>,
}

impl Pgzip {
    pub(super) fn new(edition: Edition, level: u8) -> Self {
        Self {
            stream: Stream::new(edition, level),
            taken: 0,
            tail: Vec::with_capacity(2 * TAIL),
        }
    }

    fn remember(&mut self, plain: &[u8]) {
        let plain = &plain[plain.len().saturating_sub(TAIL)..];
        if self.tail.len() + plain.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        self.tail.extend_from_slice(plain);
    }
}

impl Deflate for Pgzip {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            let (now, later) = plain.split_at(plain.len().min(BLOCK - self.taken));
            self.stream.write(now, out);
            self.remember(now);
            self.taken += now.len();
            if self.taken == BLOCK {
                self.stream.sync(out);
                let tail = self.tail.len().saturating_sub(TAIL);
                self.stream.restart(&self.tail[tail..]);
                self.taken = 0;
            }
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.stream.sync(out);
        self.stream.finish(out);
    }
}
