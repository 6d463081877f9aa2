//! The stream around the encoders: header, deflate blocks, check sum and length.

use std::fmt;
use std::io::{self, Write};

use flate2::Crc;

use crate::klauspost::{self, Edition};
use crate::recipe::{Method, Recipe};
use crate::{go, zlib};

/// Encoded bytes are handed on when so many have come together.
const BATCH: usize = 64 << 10;

/// Makes deflate blocks of plain bytes; how the bytes are cut into calls changes nothing.
pub(crate) trait Deflate: fmt::Debug + Send {
    /// Takes plain bytes and appends what can be written by now.
    fn write(&mut self, plain: &[u8], out: &mut Vec<u8>);
    /// Appends the rest, whole bytes.
    fn finish(&mut self, out: &mut Vec<u8>);
}

pub(crate) fn deflate(method: Method) -> Box<dyn Deflate> {
    match method {
        Method::Go { level } => go::encoder(level),
        Method::Go127 { level } => klauspost::encoder(Edition::Trimmed, level),
        Method::Klauspost { level } => klauspost::encoder(Edition::Full, level),
        Method::Pgzip { level } => klauspost::pgzip(Edition::Full, level),
        Method::Pgzip118 { level } => klauspost::pgzip(Edition::Trimmed, level),
        Method::Zlib { level } => zlib::encoder(level),
        Method::Gnu { level } => zlib::gnu(level),
        Method::Busybox { level } => zlib::busybox(level),
        Method::BigBusybox { level } => zlib::big_busybox(level),
        Method::Pigz { level } => zlib::pigz(level),
        Method::PigzSingle { level } => zlib::pigz_single(level),
    }
}

/// Writes the gzip file that a recipe describes while it is given the plain bytes.
///
/// Memory is bounded (below 2 MiB). Dropping it without [`Encoder::finish`] leaves the file cut.
#[derive(Debug)]
pub struct Encoder<W: Write> {
    inner: W,
    pending: Vec<u8>,
    crc: Crc,
    deflate: Box<dyn Deflate>,
}

impl<W: Write> Encoder<W> {
    /// Begins a file; its header is written with the first bytes.
    pub fn new(inner: W, recipe: &Recipe) -> Self {
        Self {
            inner,
            pending: recipe.header().to_vec(),
            crc: Crc::new(),
            deflate: deflate(recipe.method()),
        }
    }

    /// Ends the deflate stream, writes check sum and length, and gives the writer back.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.deflate.finish(&mut self.pending);
        self.pending.extend(self.crc.sum().to_le_bytes());
        self.pending.extend(self.crc.amount().to_le_bytes());
        self.inner.write_all(&self.pending)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let plain = &plain[..plain.len().min(BATCH)];
        if self.pending.len() >= BATCH {
            self.inner.write_all(&self.pending)?;
            self.pending.clear();
        }
        self.crc.update(plain);
        self.deflate.write(plain, &mut self.pending);
        Ok(plain.len())
    }

    /// Flushes the writer below; an encoder's own blocks are never cut by this.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
