//! The tar reader: one parser for archives and for layers.
//!
//! Reads V7, ustar, GNU and PAX headers as Go's `archive/tar` does, whose reading of an archive
//! is what Docker acts on: two readers that disagree about where an entry ends are how files get
//! smuggled. So PAX records win over header fields, for the size also; what only looks like a
//! header, a length or a record is an error, never skipped.
//!
//! ```text
//! next() ──► [x PAX | g global | L, K GNU long]* header ──► Entry
//! payload()/consume() until empty, or next() skips what is left
//! ```

mod header;
mod pax;
mod sparse;

use std::io::{self, BufRead};

use bytes::Bytes;
use header::{BLOCK, Header};
use pax::Pax;

use crate::stream::Pieces;

/// Largest extended header or long name; Go's bound.
const MAX_SPECIAL: u64 = 1024 * 1024;

/// What is wrong with an archive, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// A header block that is none.
    #[error("invalid tar header at byte {at}: {what}")]
    Header {
        /// Offset of the block.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The archive ends within an entry.
    #[error("tar archive is cut off at byte {at}")]
    Truncated {
        /// Offset of the end.
        at: u64,
    },
    /// The stream below failed.
    #[error("failed to read the tar archive at byte {at}")]
    Read {
        /// Offset.
        at: u64,
        /// The cause.
        source: io::Error,
    },
}

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Directory,
    Fifo,
}

/// One entry, as its headers together say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name as written: not cleaned, may be hostile.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Unix seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the payload belongs in a sparse file: offset and length.
    pub(crate) sparse: Option<Vec<(u64, u64)>>,
}

/// Reads the entries of an archive in order.
#[derive(Debug)]
pub(crate) struct Entries<R> {
    source: R,
    at: u64,
    payload: u64,
    padding: u64,
    done: bool,
}

impl Entries<Pieces<'_>> {
    /// The next bytes of the current entry's payload, to be kept; empty when there are no more.
    pub(crate) fn take_payload(&mut self) -> Result<Bytes, TarError> {
        let len = self.payload()?.len();
        let piece = self.source.take(len);
        self.count(len);
        Ok(piece)
    }
}

impl<R: BufRead> Entries<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            at: 0,
            payload: 0,
            padding: 0,
            done: false,
        }
    }

    /// Gives back the stream, which stands behind the last block read.
    pub(crate) fn into_inner(self) -> R {
        self.source
    }

    /// The stream itself, to tell it what is done with its bytes.
    pub(crate) fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// Skips what is left of an entry and reads the next; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        if self.done {
            return Ok(None);
        }
        let mut pax = Pax::default();
        let mut long_name = None;
        let mut long_link = None;
        loop {
            self.skip()?;
            let Some((header, at)) = self.header()? else {
                self.done = true;
                if pax.is_empty() && long_name.is_none() && long_link.is_none() {
                    return Ok(None);
                }
                return Err(TarError::Truncated { at: self.at });
            };
            let bad = |what: String| TarError::Header { at, what };
            match header.kind() {
                b'x' => {
                    let data = self.special(&header, at)?;
                    pax = Pax::parse(&data).map_err(|what| bad(what.to_owned()))?;
                }
                // Global records and volume labels say nothing about what is unpacked; Docker
                // ignores them too.
                b'g' => drop(self.special(&header, at)?),
                b'V' => self.begin_payload(header.size().map_err(bad)?, at)?,
                b'L' => long_name = Some(until_nul(self.special(&header, at)?)),
                b'K' => long_link = Some(until_nul(self.special(&header, at)?)),
                _ => {
                    if long_name.is_some() && pax.path.is_some()
                        || long_link.is_some() && pax.linkpath.is_some()
                    {
                        return Err(bad("both a GNU long name and a PAX path".to_owned()));
                    }
                    pax.path = pax.path.take().or(long_name);
                    pax.linkpath = pax.linkpath.take().or(long_link);
                    return self.entry(&header, pax, at).map(Some);
                }
            }
        }
    }

    /// The next bytes of the current entry's payload; empty when it is all consumed.
    pub(crate) fn payload(&mut self) -> Result<&[u8], TarError> {
        if self.payload == 0 {
            return Ok(&[]);
        }
        let at = self.at;
        let buffer = loop {
            match self.source.fill_buf() {
                // Borrowed again below: the borrow checker cannot see that this one ends here.
                Ok(_) => break self.source.fill_buf().map_err(|e| read_error(at, e))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(at, error)),
            }
        };
        if buffer.is_empty() {
            return Err(TarError::Truncated { at });
        }
        let len = usize::try_from(self.payload)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        Ok(&buffer[..len])
    }

    /// Takes bytes that [`Entries::payload`] showed.
    pub(crate) fn consume(&mut self, len: usize) {
        self.source.consume(len);
        self.count(len);
    }

    fn count(&mut self, len: usize) {
        self.at += len as u64;
        self.payload -= len as u64;
    }

    /// Reads all of the current payload, which the caller knows to be small enough.
    pub(crate) fn read_payload(&mut self) -> Result<Vec<u8>, TarError> {
        let mut data = Vec::new();
        loop {
            let chunk = self.payload()?;
            if chunk.is_empty() {
                return Ok(data);
            }
            data.extend_from_slice(chunk);
            let len = chunk.len();
            self.consume(len);
        }
    }

    fn skip(&mut self) -> Result<(), TarError> {
        self.payload += std::mem::take(&mut self.padding);
        loop {
            let len = self.payload()?.len();
            if len == 0 {
                return Ok(());
            }
            self.consume(len);
        }
    }

    fn begin_payload(&mut self, size: u64, at: u64) -> Result<(), TarError> {
        let padding = size.wrapping_neg() % BLOCK as u64;
        if size
            .checked_add(padding)
            .is_none_or(|all| i64::try_from(all).is_err())
        {
            return Err(TarError::Header {
                at,
                what: format!("size {size} is out of range"),
            });
        }
        self.payload = size;
        self.padding = padding;
        Ok(())
    }

    fn special(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
        let size = header
            .size()
            .map_err(|what| TarError::Header { at, what })?;
        if size > MAX_SPECIAL {
            let what = format!("extended header of {size} bytes, at most {MAX_SPECIAL} are read");
            return Err(TarError::Header { at, what });
        }
        self.begin_payload(size, at)?;
        self.read_payload()
    }

    /// Reads a header block; `None` at two zero blocks or where the stream ends between entries.
    fn header(&mut self) -> Result<Option<(Header, u64)>, TarError> {
        let at = self.at;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block.iter().all(|byte| *byte == 0) {
            return match self.block()? {
                Some(second) if second.iter().any(|byte| *byte != 0) => {
                    let what = "a lone zero block within the archive".to_owned();
                    Err(TarError::Header { at, what })
                }
                _ => Ok(None),
            };
        }
        let header = Header::new(block).map_err(|what| TarError::Header { at, what })?;
        Ok(Some((header, at)))
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.source.read(&mut block[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated { at: self.at }),
                Ok(len) => {
                    have += len;
                    self.at += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(TarError::Read {
                        at: self.at,
                        source,
                    });
                }
            }
        }
        Ok(Some(block))
    }

    fn entry(&mut self, header: &Header, mut pax: Pax, at: u64) -> Result<Entry, TarError> {
        let bad = |what: String| TarError::Header { at, what };
        let mut path = match pax.path.take() {
            Some(path) => path,
            None => header.path(),
        };
        let link = match pax.linkpath.take() {
            Some(link) => link,
            None => header.linkname(),
        };
        if path.contains(&0) || link.contains(&0) {
            return Err(bad("a NUL byte in a name".to_owned()));
        }
        let flag = header.kind();
        let kind = match flag {
            0 if path.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' | b'4' => {
                let (major, minor) = header.device().map_err(bad)?;
                match flag {
                    b'3' => EntryKind::CharDevice { major, minor },
                    _ => EntryKind::BlockDevice { major, minor },
                }
            }
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => {
                let name = String::from_utf8_lossy(&path).into_owned();
                let shown = char::from(other).escape_default();
                return Err(bad(format!("entry `{name}` is of unknown type `{shown}`")));
            }
        };
        // Types that have no payload have none whatever their size field says: Go's rule.
        let size = match flag {
            b'1'..=b'6' => 0,
            _ => match pax.size {
                Some(size) => size,
                None => header.size().map_err(bad)?,
            },
        };
        self.begin_payload(size, at)?;
        let map = self.sparse_map(header, &mut pax, &mut path, at)?;
        let size = map.as_ref().map_or(size, |map| map.size);
        Ok(Entry {
            path,
            kind,
            size,
            mode: header.mode().map_err(bad)?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok).map_err(bad)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok).map_err(bad)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok).map_err(bad)?,
            xattrs: pax.xattrs,
            sparse: map.map(|map| map.pieces),
        })
    }

    fn sparse_map(
        &mut self,
        header: &Header,
        pax: &mut Pax,
        path: &mut Vec<u8>,
        at: u64,
    ) -> Result<Option<sparse::Map>, TarError> {
        let bad = |what: &str| TarError::Header {
            at,
            what: what.to_owned(),
        };
        let map = if header.kind() == b'S' {
            let mut map = sparse::Map::of_header(header).map_err(bad)?;
            let mut more = header.sparse_continues();
            while more {
                let block = self.block()?.ok_or(TarError::Truncated { at: self.at })?;
                more = map.extend(&block).map_err(bad)?;
            }
            map
        } else if pax.sparse.is_present() {
            if let Some(name) = pax.sparse.name.take() {
                *path = name;
            }
            match pax.sparse.version() {
                sparse::Version::InPayload => {
                    let mut reader = sparse::PayloadMap::default();
                    while !reader.is_complete() {
                        let mut block = [0; BLOCK];
                        self.take_block(&mut block)?;
                        reader.push(&block).map_err(bad)?;
                    }
                    reader.finish(&pax.sparse).map_err(bad)?
                }
                sparse::Version::InHeader => sparse::Map::of_pax(&pax.sparse).map_err(bad)?,
            }
        } else {
            return Ok(None);
        };
        map.check(self.payload).map_err(bad)?;
        Ok(Some(map))
    }

    fn take_block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), TarError> {
        let mut have = 0;
        while have < BLOCK {
            let chunk = self.payload()?;
            if chunk.is_empty() {
                return Err(TarError::Header {
                    at: self.at,
                    what: "sparse map exceeds its entry".to_owned(),
                });
            }
            let len = chunk.len().min(BLOCK - have);
            block[have..have + len].copy_from_slice(&chunk[..len]);
            self.consume(len);
            have += len;
        }
        Ok(())
    }
}

fn read_error(at: u64, source: io::Error) -> TarError {
    TarError::Read { at, source }
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    if let Some(end) = data.iter().position(|byte| *byte == 0) {
        data.truncate(end);
    }
    data
}

#[cfg(test)]
mod tests;
