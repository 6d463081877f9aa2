//! Byte streams: which compression, the decoder for it, and hand-over between two threads.
//!
//! ```text
//! source ─► [decoder] ─► hash ─► ChunkSender ══ bounded channel ══► ChunkReader ─► tar ─► disk
//!           └────────── one thread ─────────┘                      └──── another ────┘
//! ```

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use spec::Digest;

use crate::unpack::Limits;
use crate::{Error, Result};

/// Bytes handed over at once; large enough that the hand-over costs nothing.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Chunks on the way: with [`CHUNK`], 2 MiB per layer.
const IN_FLIGHT: usize = 8;
/// Bytes that tell the compression and whether it is a tar archive.
pub(crate) const HEAD: usize = 512;

/// How a stream is compressed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // Skippable frames may come first (zstd:chunked writes them last, pzstd first).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Reads the first bytes of a stream; fewer than [`HEAD`] only where it ends.
pub(crate) fn read_head(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    source.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Puts a decoder on a stream whose first bytes were read already.
pub(crate) fn decoder<'r>(
    head: Vec<u8>,
    source: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>> {
    let compression = Compression::of(&head);
    let whole = Cursor::new(head).chain(source);
    let refuse = |name: &str| Error::Unsupported {
        what: format!(
            "the archive is compressed with {name}, which is not supported: use gzip, zstd or none"
        ),
    };
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(
            BufReader::with_capacity(CHUNK, whole),
        )),
        Compression::Zstd => {
            // The library refuses windows above 128 MiB by itself: memory stays bounded.
            let decoder =
                zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(CHUNK, whole))
                    .map_err(|source| Error::BadArchive {
                        what: "failed to start the zstd decoder".to_owned(),
                        source: Some(Box::new(source)),
                    })?;
            Box::new(decoder)
        }
        Compression::Bzip2 => return Err(refuse("bzip2")),
        Compression::Xz => return Err(refuse("xz")),
    })
}

/// A stream in pieces that may be kept without copying them.
pub(crate) struct Pieces<'p> {
    source: Box<dyn Iterator<Item = io::Result<Bytes>> + Send + 'p>,
    current: Bytes,
}

impl<'p> Pieces<'p> {
    pub(crate) fn new(source: impl Iterator<Item = io::Result<Bytes>> + Send + 'p) -> Self {
        Self {
            source: Box::new(source),
            current: Bytes::new(),
        }
    }

    /// Finds out the compression and takes it away.
    pub(crate) fn decoded(mut self) -> Result<Self> {
        let head = read_head(&mut self).map_err(|source| Error::BadArchive {
            what: "failed to read the archive".to_owned(),
            source: Some(Box::new(source)),
        })?;
        if Compression::of(&head) == Compression::None {
            let head = std::iter::once(Ok(Bytes::from(head)));
            let rest = std::iter::once(Ok(self.current)).chain(self.source);
            return Ok(Self::new(head.chain(rest)));
        }
        let mut decoder = decoder(head, self)?;
        Ok(Self::new(std::iter::from_fn(move || {
            let mut piece = vec![0; CHUNK];
            match read_full(&mut decoder, &mut piece) {
                Ok(0) => None,
                Ok(len) => {
                    piece.truncate(len);
                    Some(Ok(piece.into()))
                }
                Err(error) => Some(Err(error)),
            }
        })))
    }

    /// Takes bytes that [`BufRead::fill_buf`] showed.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        self.current.split_to(len)
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.source.next() {
                Some(piece) => self.current = piece?,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, len: usize) {
        drop(self.take(len));
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

/// Counts what is read through it.
pub(crate) struct Counting<'c, R> {
    source: R,
    count: &'c std::sync::atomic::AtomicU64,
}

impl<'c, R> Counting<'c, R> {
    pub(crate) fn new(source: R, count: &'c std::sync::atomic::AtomicU64) -> Self {
        Self { source, count }
    }
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        self.count
            .fetch_add(len as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(len)
    }
}

/// Fills a buffer as far as the stream goes.
pub(crate) fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match source.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(len) => have += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// A bounded pipe of chunks between two threads.
pub(crate) fn pipe() -> (ChunkSender, ChunkReader) {
    let (chunks, incoming) = sync_channel(IN_FLIGHT);
    let (spent, recycled) = channel();
    let reader = ChunkReader {
        incoming,
        spent,
        current: Vec::new(),
        at: 0,
    };
    (ChunkSender { chunks, recycled }, reader)
}

/// The end that produces.
#[derive(Debug)]
pub(crate) struct ChunkSender {
    chunks: SyncSender<io::Result<Vec<u8>>>,
    recycled: Receiver<Vec<u8>>,
}

/// What came through a pump.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pumped {
    /// Digest of everything, when it was asked for.
    pub(crate) digest: Option<Digest>,
}

/// Whether a pump hashes what it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashing {
    Hash,
    /// Somebody else does.
    Skip,
}

impl ChunkSender {
    /// Passes a stream on until its end, the reader's end, or a limit.
    ///
    /// `consumed` counts the compressed bytes that went in: the ratio is limited.
    pub(crate) fn pump(
        self,
        source: &mut dyn Read,
        hashing: Hashing,
        limits: &Limits,
        consumed: &std::sync::atomic::AtomicU64,
    ) -> Result<Pumped> {
        let mut hasher = (hashing == Hashing::Hash).then(Sha256::new);
        let mut total = 0u64;
        loop {
            let mut chunk = self.recycled.try_recv().unwrap_or_default();
            chunk.resize(CHUNK, 0);
            let len = match read_full(source, &mut chunk) {
                Ok(len) => len,
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    // A reader that is gone has an error of its own to tell.
                    drop(self.chunks.send(Err(copy)));
                    return Err(Error::BadArchive {
                        what: "failed to read the archive".to_owned(),
                        source: Some(Box::new(error)),
                    });
                }
            };
            if len == 0 {
                break;
            }
            total += len as u64;
            let consumed = consumed.load(std::sync::atomic::Ordering::Relaxed);
            if let Err(error) = limits.check_stream(total, consumed) {
                drop(self.chunks.send(Err(io::Error::other(error.to_string()))));
                return Err(error);
            }
            chunk.truncate(len);
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
            if self.chunks.send(Ok(chunk)).is_err() {
                // The reader failed; what it has to say is the error of the operation.
                return Err(Error::Cancelled);
            }
        }
        let digest = hasher.map(|hasher| Digest::from_sha256(hasher.finalize().into()));
        Ok(Pumped { digest })
    }
}

/// The end that consumes.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    incoming: Receiver<io::Result<Vec<u8>>>,
    spent: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

/// Takes what is left of a stream, so that whoever makes it sees all of it.
pub(crate) fn drain(stream: &mut impl BufRead) -> io::Result<()> {
    loop {
        let len = stream.fill_buf()?.len();
        if len == 0 {
            return Ok(());
        }
        stream.consume(len);
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            let spent = std::mem::take(&mut self.current);
            self.at = 0;
            if spent.capacity() > 0 {
                // Nobody listens at the end of the stream.
                drop(self.spent.send(spent));
            }
            match self.incoming.recv() {
                Ok(chunk) => self.current = chunk?,
                Err(_) => return Ok(&[]),
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, len: usize) {
        self.at += len;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}
