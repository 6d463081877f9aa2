//! Reading content by digest: documents, uncompressed archives, compressed forms.
//!
//! Nothing leaves here that is not verified: documents before they are handed out, streams when
//! their last byte was read. Such a stream ends with an error instead of its end when the digest is
//! another, so whoever writes it somewhere must look at the end before it calls the work done.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use deflate::{Encoder, Recipe};
use sha2::{Digest as _, Sha256};
use spec::{DiffId, Digest};

use crate::forms::How;
use crate::record::{LayerRecord, MAX_CONFIG, read_small};
use crate::store::io as io_failed;
use crate::stream::{self, CHUNK};
use crate::tarmap::Rebuild;
use crate::{Error, Form, Result, Store};

/// The exact uncompressed archive of a layer; its end is an error when the digest is wrong.
#[derive(Debug)]
pub struct LayerArchive {
    source: Verified<Archive>,
}

/// The exact bytes of a form of a layer; its end is an error when the digest is wrong.
#[derive(Debug)]
pub struct FormReader {
    source: Source,
    form: Form,
}

enum Archive {
    Rebuilt(Box<Rebuild>),
    Decoded(Box<dyn Read + Send>),
}

#[derive(Debug)]
enum Source {
    Plain(LayerArchive),
    Encoded(Box<Verified<Encoded>>),
    Kept(Verified<File>),
}

impl Store {
    /// Bytes of a config, manifest or index; `None` where it is not here.
    ///
    /// # Errors
    ///
    /// The disk failed, or the bytes are not those of the digest any more.
    pub fn document(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        if !self.inner.state().blobs.contains_key(&digest) {
            return Ok(None);
        }
        let damaged = |what| Error::DamagedContent { digest, what };
        let bytes = match read_small(&self.layout().blob(digest), MAX_CONFIG) {
            // It was removed since the look at the table.
            Err(_) if !self.inner.state().blobs.contains_key(&digest) => return Ok(None),
            read => read.map_err(damaged)?,
        };
        match Digest::of(&bytes) {
            got if got == digest => Ok(Some(bytes)),
            got => Err(damaged(format!("its bytes are those of {got}"))),
        }
    }

    /// Opens the uncompressed archive of a layer, exactly as it was when its digest was taken.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchForm`] where it cannot be rebuilt, or the disk failed.
    pub fn layer_archive(&self, diff: DiffId) -> Result<LayerArchive> {
        let digest = diff.digest();
        let layer = self.inner.state().layers.get(&diff).cloned();
        let layer = layer.ok_or(Error::NoSuchForm { diff, digest })?;
        let size = layer
            .archive
            .ok_or(Error::NoSuchForm { diff, digest })?
            .size;
        let archive = if layer.is_mapped() {
            let dir = self.layout().layer(diff);
            let rebuild = Rebuild::open(&dir).map_err(io_failed("open the tar map of", &dir))?;
            Archive::Rebuilt(Box::new(rebuild))
        } else {
            Archive::Decoded(self.decode_kept(&layer)?)
        };
        Ok(LayerArchive {
            source: Verified::new(archive, digest, size),
        })
    }

    /// The archive out of a blob that was kept.
    fn decode_kept(&self, layer: &LayerRecord) -> Result<Box<dyn Read + Send>> {
        let (diff, digest) = (layer.diff_id, layer.diff_id.digest());
        let kept = {
            let state = self.inner.state();
            let mut forms = layer.forms.iter();
            forms
                .find(|form| state.blobs.contains_key(&form.digest))
                .map(|form| self.layout().blob(form.digest))
        };
        let path = kept.ok_or(Error::NoSuchForm { diff, digest })?;
        let mut file = File::open(&path).map_err(io_failed("open", &path))?;
        let head = stream::read_head(&mut file).map_err(io_failed("read", &path))?;
        stream::decoder(head, file)
    }

    /// Opens a form of a layer by the digest that a manifest names.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchForm`], or the disk failed.
    pub fn form(&self, diff: DiffId, digest: Digest) -> Result<FormReader> {
        let missing = || Error::NoSuchForm { diff, digest };
        // Settling may drop a blob between the look at the table and the opening: then it can be
        // made again, as the second look tells.
        for _ in 0..2 {
            let mut forms = self.forms(diff).into_iter();
            let form = forms
                .find(|form| form.digest == digest)
                .ok_or_else(missing)?;
            let source = match &form.how {
                How::Plain => Source::Plain(self.layer_archive(diff)?),
                How::Encoder(recipe) => self.encoded(diff, &form, recipe)?,
                How::Kept => match open_kept(&self.layout().blob(digest))? {
                    Some(file) => Source::Kept(Verified::new(file, digest, form.size)),
                    None => continue,
                },
            };
            return Ok(FormReader { source, form });
        }
        Err(missing())
    }

    /// Compresses the archive of a layer anew; the archive is verified, what comes of it is not
    /// compared with anything.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchForm`] where the archive cannot be rebuilt, or the disk failed.
    pub fn encode(&self, diff: DiffId, recipe: &Recipe) -> Result<impl Read + Send + use<>> {
        Ok(Encoded::new(self.layer_archive(diff)?, recipe))
    }

    fn encoded(&self, diff: DiffId, form: &Form, recipe: &Recipe) -> Result<Source> {
        let encoded = Encoded::new(self.layer_archive(diff)?, recipe);
        let verified = Verified::new(encoded, form.digest, form.size);
        Ok(Source::Encoded(Box::new(verified)))
    }
}

fn open_kept(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failed("open", path)(error)),
    }
}

impl LayerArchive {
    /// Number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "an archive is never empty")]
    pub fn len(&self) -> u64 {
        self.source.size
    }
}

impl FormReader {
    /// Number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "a form is never empty")]
    pub fn len(&self) -> u64 {
        self.form.size
    }

    /// Which form it is.
    pub fn form(&self) -> &Form {
        &self.form
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

impl Read for FormReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Plain(archive) => archive.read(buffer),
            Source::Encoded(encoded) => encoded.read(buffer),
            Source::Kept(file) => file.read(buffer),
        }
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Rebuilt(rebuild) => rebuild.read(buffer),
            Self::Decoded(decoder) => decoder.read(buffer),
        }
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rebuilt(_) => "Rebuilt",
            Self::Decoded(_) => "Decoded",
        })
    }
}

/// Hashes what is read through it, and refuses to end on another digest or length.
struct Verified<R> {
    source: R,
    digest: Digest,
    size: u64,
    hasher: Option<Sha256>,
    seen: u64,
}

impl<R> Verified<R> {
    fn new(source: R, digest: Digest, size: u64) -> Self {
        Self {
            source,
            digest,
            size,
            hasher: Some(Sha256::new()),
            seen: 0,
        }
    }

    fn damaged(&self, what: &str) -> io::Error {
        let text = format!("content {} is damaged: {what}", self.digest);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

impl<R> std::fmt::Debug for Verified<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("digest", &self.digest)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        if len > 0 {
            self.seen += len as u64;
            if self.seen > self.size {
                return Err(self.damaged("it is longer than it was"));
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..len]);
            }
            return Ok(len);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some(hasher) = self.hasher.take() {
            let got = Digest::from_sha256(hasher.finalize().into());
            if self.seen != self.size || got != self.digest {
                return Err(self.damaged(&format!("its bytes are those of {got}")));
            }
        }
        Ok(0)
    }
}

/// An archive that is compressed while it is read.
struct Encoded {
    archive: LayerArchive,
    encoder: Option<Encoder<Sink>>,
    out: Sink,
    ready: Vec<u8>,
    at: usize,
    chunk: Vec<u8>,
}

/// Where the encoder leaves its bytes. The lock is never contended: one thread has both ends.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encoded {
    fn new(archive: LayerArchive, recipe: &Recipe) -> Self {
        let out = Sink::default();
        Self {
            archive,
            encoder: Some(Encoder::new(out.clone(), recipe)),
            out,
            ready: Vec::new(),
            at: 0,
            chunk: vec![0; CHUNK],
        }
    }

    /// Feeds the encoder until it gives something; `false` at its end.
    fn fill(&mut self) -> io::Result<bool> {
        self.ready.clear();
        self.at = 0;
        while self.ready.is_empty() {
            let Some(encoder) = &mut self.encoder else {
                return Ok(false);
            };
            match self.archive.read(&mut self.chunk)? {
                0 => {
                    let encoder = self.encoder.take().expect("it was looked at above");
                    encoder.finish()?;
                }
                len => encoder.write_all(&self.chunk[..len])?,
            }
            let mut out = self.out.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *out, &mut self.ready);
        }
        Ok(true)
    }
}

impl Read for Encoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() && !self.fill()? {
            return Ok(0);
        }
        let len = buffer.len().min(self.ready.len() - self.at);
        buffer[..len].copy_from_slice(&self.ready[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}
