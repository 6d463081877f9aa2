//! Maps of sparse files: old GNU headers, PAX 0.0 and 0.1, PAX 1.0.

use super::header::{BLOCK, Header, number};
use super::pax::decimal;

/// Most pieces of one file: 16 MB of map.
const MAX_PIECES: usize = 1_000_000;

/// Where the payload of an entry belongs in its file.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) size: u64,
    pub(super) pieces: Vec<(u64, u64)>,
}

/// The records `GNU.sparse.*` of a PAX header.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    major: Option<u64>,
    minor: Option<u64>,
    offset: Option<u64>,
    pieces: Vec<(u64, u64)>,
    present: bool,
}

/// Where the map is.
pub(super) enum Version {
    InHeader,
    InPayload,
}

impl PaxSparse {
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    pub(super) fn version(&self) -> Version {
        match (self.major, self.minor) {
            (Some(1), Some(0)) => Version::InPayload,
            _ => Version::InHeader,
        }
    }

    pub(super) fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        self.present = true;
        let number = || decimal(value).ok_or("malformed number in a sparse record");
        match key {
            b"name" if value.contains(&0) => return Err("a NUL byte in a PAX path"),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self
                    .offset
                    .take()
                    .ok_or("sparse length without an offset")?;
                self.pieces.push((offset, number()?));
            }
            b"map" => {
                let mut numbers = value.split(|c| *c == b',').map(decimal);
                while let Some(offset) = numbers.next() {
                    let (Some(offset), Some(Some(len))) = (offset, numbers.next()) else {
                        return Err("malformed sparse map");
                    };
                    self.pieces.push((offset, len));
                }
            }
            _ => {}
        }
        if self.pieces.len() > MAX_PIECES {
            return Err("sparse file has too many pieces");
        }
        Ok(())
    }
}

impl Map {
    pub(super) fn of_header(header: &Header) -> Result<Self, &'static str> {
        let size = header
            .sparse_size()
            .map_err(|_| "malformed size of a sparse file")?;
        let mut map = Self {
            size,
            pieces: Vec::new(),
        };
        map.add(header.sparse_pieces())?;
        Ok(map)
    }

    /// Adds the pieces of a continuation block; tells whether another block follows.
    pub(super) fn extend(&mut self, block: &[u8; BLOCK]) -> Result<bool, &'static str> {
        self.add(&block[..504])?;
        Ok(block[504] != 0)
    }

    fn add(&mut self, fields: &[u8]) -> Result<(), &'static str> {
        for piece in fields.chunks_exact(24) {
            if piece[0] == 0 {
                break;
            }
            let read = |field| number(field).and_then(|n| u64::try_from(n).ok());
            let (Some(offset), Some(len)) = (read(&piece[..12]), read(&piece[12..])) else {
                return Err("malformed sparse map");
            };
            if self.pieces.len() >= MAX_PIECES {
                return Err("sparse file has too many pieces");
            }
            self.pieces.push((offset, len));
        }
        Ok(())
    }

    pub(super) fn of_pax(sparse: &PaxSparse) -> Result<Self, &'static str> {
        let size = sparse.size.ok_or("sparse file without its size")?;
        Ok(Self {
            size,
            pieces: sparse.pieces.clone(),
        })
    }

    /// Checks that the pieces are in order, inside the file, and as long as the payload.
    pub(super) fn check(&self, payload: u64) -> Result<(), &'static str> {
        let mut end = 0;
        let mut sum = 0u64;
        for (offset, len) in &self.pieces {
            if *offset < end {
                return Err("sparse pieces overlap or are out of order");
            }
            end = offset
                .checked_add(*len)
                .ok_or("sparse piece is out of range")?;
            sum = sum
                .checked_add(*len)
                .ok_or("sparse piece is out of range")?;
        }
        if end > self.size {
            return Err("sparse piece lies behind the end of its file");
        }
        if sum != payload {
            return Err("sparse pieces do not add up to the entry's size");
        }
        Ok(())
    }
}

/// Reads the map that PAX 1.0 puts in front of the payload: decimal lines, padded to blocks.
#[derive(Debug, Default)]
pub(super) struct PayloadMap {
    numbers: Vec<u64>,
    partial: Vec<u8>,
}

impl PayloadMap {
    pub(super) fn is_complete(&self) -> bool {
        self.numbers
            .first()
            .is_some_and(|count| self.numbers.len() as u64 > count * 2)
    }

    pub(super) fn push(&mut self, block: &[u8]) -> Result<(), &'static str> {
        for byte in block {
            if self.is_complete() {
                return Ok(());
            }
            if *byte != b'\n' {
                self.partial.push(*byte);
                if self.partial.len() > 20 {
                    return Err("malformed sparse map");
                }
                continue;
            }
            let value = decimal(&self.partial).ok_or("malformed sparse map")?;
            self.partial.clear();
            if self.numbers.is_empty() && value > MAX_PIECES as u64 {
                return Err("sparse file has too many pieces");
            }
            self.numbers.push(value);
        }
        Ok(())
    }

    pub(super) fn finish(self, sparse: &PaxSparse) -> Result<Map, &'static str> {
        let size = sparse.size.ok_or("sparse file without its size")?;
        let pieces = self.numbers[1..]
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        Ok(Map { size, pieces })
    }
}
