//! One stream: blocks of 65535 bytes, and what happens to the rest.

use super::Edition;
use super::fast::Fast;
use super::history::BLOCK;
use super::quick::{Double, ShortLong, Single};
use super::tokens::Tokens;
use super::writer::{Flush, Writer};
use crate::encoder::Deflate;

/// A way to find matches in the blocks of a stream.
pub(super) trait Search: std::fmt::Debug + Send {
    /// Forgets what came before.
    fn reset(&mut self);
    /// Turns a block (13 to 65535 bytes) into tokens; none at all when there is no match.
    fn tokenize(&mut self, block: &[u8], tokens: &mut Tokens);
}

fn search(edition: Edition, level: u8) -> Box<dyn Search> {
    match level {
        1 | 2 => Box::new(Single::new(level)),
        3 => Box::new(Double::new()),
        4 => Box::new(ShortLong::new(edition)),
        _ => Box::new(Fast::new(level)),
    }
}

/// The encoder of one stream, or of one block of `pgzip`.
#[derive(Debug)]
pub(super) struct Stream {
    search: Box<dyn Search>,
    writer: Writer,
    tokens: Tokens,
    plain: Vec<u8>,
}

impl Stream {
    pub(super) fn new(edition: Edition, level: u8) -> Self {
        Self {
            search: search(edition, level),
            writer: Writer::new(edition, 7),
            tokens: Tokens::with_capacity(BLOCK),
            plain: Vec::with_capacity(BLOCK),
        }
    }

    /// Begins anew, with bytes that matches may refer to.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        self.search.reset();
        if dictionary.len() > 12 {
            self.search.tokenize(dictionary, &mut self.tokens);
            self.tokens.clear();
        }
    }

    /// Writes everything that was given and an empty stored block.
    pub(super) fn sync(&mut self, out: &mut Vec<u8>) {
        self.step(Flush::Sync, out);
        self.writer.stored(out, &[]);
    }

    fn step(&mut self, flush: Flush, out: &mut Vec<u8>) {
        let plain = &self.plain;
        match plain.len() {
            0 => {}
            1..=32 => {
                self.writer.stored(out, plain);
                self.search.reset();
            }
            33..128 => {
                self.writer.literals(out, plain, Flush::Sync);
                self.search.reset();
            }
            size => {
                self.search.tokenize(plain, &mut self.tokens);
                match self.tokens.list.len() {
                    0 => self.writer.stored(out, plain),
                    count if count > size - (size >> 4) => {
                        self.writer.literals(out, plain, flush);
                    }
                    _ => self.writer.dynamic(out, &self.tokens, Some(plain), flush),
                }
                self.tokens.clear();
            }
        }
        self.plain.clear();
    }
}

impl Deflate for Stream {
    fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.plain.len() == BLOCK {
                self.step(Flush::Open, out);
            }
            let (now, later) = plain.split_at(plain.len().min(BLOCK - self.plain.len()));
            self.plain.extend_from_slice(now);
            plain = later;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.step(Flush::Sync, out);
        self.writer.finish(out);
    }
}
