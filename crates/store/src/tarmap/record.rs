//! Writing a tar map while an archive passes through.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sys::root::{Dir, GuestPath, Root};
use zstd::stream::write::Encoder;
use zstd::zstd_safe::CParameter;

use super::{END, KEPT, MAGIC, MAP, MAX_MOVED, MAX_MOVED_BYTES, MOVED, RAW, STORED, put_number};
use crate::record::ArchiveRecord;
use crate::store::io as io_failed;
use crate::{Error, Result};

/// Headers repeat themselves: the fastest level finds nearly all of it.
const LEVEL: i32 = 1;
/// Memory of an encoder: 2^20 bytes of window.
const WINDOW_LOG: u32 = 20;
/// Raw bytes that are gathered for one op.
const GATHERED: usize = 64 * 1024;
/// Contents up to this length go into the map: a path would not be shorter, and the file need not
/// be opened.
pub(super) const SMALL: u64 = 128;

/// Passes an archive on and writes its map.
pub(crate) struct Recorder<R> {
    source: R,
    map: Map,
}

/// The map being written.
struct Map {
    directory: PathBuf,
    out: Option<Encoder<'static, BufWriter<File>>>,
    /// Raw bytes that are not in `out` yet.
    raw: Vec<u8>,
    /// The file that the coming bytes are stored in: the path, the offset, how many so far.
    stored: Option<(Vec<u8>, u64, u64)>,
    pieces: u64,
    total: u64,
    moved: Option<Moved>,
    failed: Option<io::Error>,
}

/// The objects that were replaced.
struct Moved {
    directory: Dir,
    list: BufWriter<File>,
    count: u64,
    bytes: u64,
}

impl<R: BufRead> Recorder<R> {
    /// Begins the map of an archive in the directory of its layer.
    pub(crate) fn create(source: R, directory: &Path) -> Result<Self> {
        let path = directory.join(MAP);
        let failed = |source| io_failed("write", &path)(source);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let make = || {
            let mut out = Encoder::new(BufWriter::with_capacity(GATHERED, file), LEVEL)?;
            out.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
            out.include_checksum(true)?;
            out.write_all(MAGIC)?;
            Ok(out)
        };
        let out = make().map_err(failed)?;
        Ok(Self {
            source,
            map: Map {
                directory: directory.to_owned(),
                out: Some(out),
                raw: Vec::new(),
                stored: None,
                pieces: 0,
                total: 0,
                moved: None,
                failed: None,
            },
        })
    }

    /// Says that the next bytes are put into a file, from an offset on; `None` for a file whose
    /// path cannot be told.
    pub(crate) fn begin_stored(&mut self, path: Option<Vec<u8>>, offset: u64, len: u64) {
        if let Some(path) = path
            && len > SMALL
            && path.len() < super::MAX_PATH
        {
            self.map.stored = Some((path, offset, 0));
        }
    }

    /// Says that the next bytes are put nowhere.
    pub(crate) fn end_stored(&mut self) {
        self.map.end_stored();
    }

    /// Moves an object away that is to be replaced; what was stored in it stays readable.
    ///
    /// Answers whether it did: there is a bound, and beyond it there will be no map.
    pub(crate) fn keep(&mut self, path: Option<&[u8]>, dir: &Dir, name: &OsStr) -> Result<bool> {
        let Some(path) = path else {
            self.map.give_up();
            return Ok(false);
        };
        self.map.keep(path, dir, name)
    }

    /// The write error that made the stream fail, if one did.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        let source = self.map.failed.take()?;
        Some(io_failed("write", &self.map.directory.join(MAP))(source))
    }

    /// Ends the map, which is removed again where the archive cannot be had from it.
    pub(crate) fn finish(mut self) -> Result<ArchiveRecord> {
        let path = self.map.directory.join(MAP);
        let size = self.map.total;
        let whole = self.map.finish().map_err(io_failed("write", &path))?;
        if !whole {
            crate::trash::delete(&path)?;
            crate::trash::delete(&self.map.directory.join(KEPT))?;
        }
        Ok(ArchiveRecord {
            size,
            unmapped: !whole,
        })
    }
}

impl Map {
    fn note(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        if let Some((_, _, len)) = &mut self.stored {
            *len += bytes.len() as u64;
            return;
        }
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= GATHERED {
            self.flush_raw();
        }
    }

    fn flush_raw(&mut self) {
        if self.raw.is_empty() {
            return;
        }
        let mut head = vec![RAW];
        put_number(&mut head, self.raw.len() as u64);
        let raw = std::mem::take(&mut self.raw);
        self.write(&head);
        self.write(&raw);
        self.raw = raw;
        self.raw.clear();
    }

    fn end_stored(&mut self) {
        let Some((path, offset, len)) = self.stored.take() else {
            return;
        };
        if len == 0 {
            return;
        }
        self.flush_raw();
        let mut op = vec![STORED];
        put_number(&mut op, path.len() as u64);
        op.extend_from_slice(&path);
        put_number(&mut op, offset);
        put_number(&mut op, len);
        self.write(&op);
        self.pieces += 1;
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.out
            && let Err(error) = out.write_all(bytes)
        {
            // The next read tells it: those who consume bytes cannot be told.
            self.failed.get_or_insert(error);
        }
    }

    fn keep(&mut self, path: &[u8], dir: &Dir, name: &OsStr) -> Result<bool> {
        if self.out.is_none() {
            return Ok(false);
        }
        if self.moved.is_none() {
            self.moved = Some(Moved::create(&self.directory.join(KEPT))?);
        }
        let moved = self.moved.as_mut().expect("it was made above");
        if moved.count >= MAX_MOVED || moved.bytes + path.len() as u64 > MAX_MOVED_BYTES {
            self.give_up();
            return Ok(false);
        }
        moved.add(self.pieces, path, dir, name)?;
        Ok(true)
    }

    /// The archive cannot be had again from what there will be.
    fn give_up(&mut self) {
        self.out = None;
    }

    fn finish(&mut self) -> io::Result<bool> {
        self.end_stored();
        self.flush_raw();
        let mut end = vec![END];
        put_number(&mut end, self.total);
        self.write(&end);
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let Some(moved) = &mut self.moved {
            moved.list.flush()?;
        }
        match self.out.take() {
            None => Ok(false),
            Some(out) => out.finish()?.flush().map(|()| true),
        }
    }
}

impl Moved {
    fn create(path: &Path) -> Result<Self> {
        let failed = io_failed("make", path);
        let make = || {
            std::fs::DirBuilder::new().mode(0o700).create(path)?;
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path.join(MOVED))
        };
        let list = BufWriter::new(make().map_err(failed)?);
        let opened = Root::open(path).and_then(|root| root.open_dir(&GuestPath::root()));
        let directory = opened.map_err(|source| Error::Sys {
            action: format!("open `{}`", path.display()),
            source,
        })?;
        Ok(Self {
            directory,
            list,
            count: 0,
            bytes: 0,
        })
    }

    fn add(&mut self, pieces: u64, path: &[u8], dir: &Dir, name: &OsStr) -> Result<()> {
        let target = self.count.to_string();
        dir.rename(name, &self.directory, OsStr::new(&target))
            .map_err(|source| Error::Sys {
                action: format!("keep the replaced `{}`", String::from_utf8_lossy(path)),
                source,
            })?;
        let mut entry = Vec::new();
        put_number(&mut entry, pieces);
        put_number(&mut entry, path.len() as u64);
        entry.extend_from_slice(path);
        self.list
            .write_all(&entry)
            .map_err(io_failed("write", Path::new(MOVED)))?;
        self.count += 1;
        self.bytes += path.len() as u64;
        Ok(())
    }
}

impl<R: BufRead> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(error) = &self.map.failed {
            return Err(io::Error::new(error.kind(), "the tar map was not written"));
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        // What is in the buffer is shown again without reading.
        match self.source.fill_buf() {
            Ok(bytes) => self.map.note(&bytes[..len.min(bytes.len())]),
            Err(error) => {
                self.map.failed.get_or_insert(error);
            }
        }
        self.source.consume(len);
    }
}

impl<R: BufRead> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.map.note(&buffer[..len]);
        self.source.consume(len);
        Ok(len)
    }
}
