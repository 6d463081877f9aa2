//! Writing the log: batching, rotation, and going on when the disk does not.
//!
//! A rotation is: shift `.1` → `.2` …, link the current file as `.1`, rename a new empty file over
//! the current name. The current name therefore always exists, and a crash between any two steps
//! leaves a set that the reader takes in (a file met twice is read once).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use spec::Timestamp;

use super::encode::{self, Piece, Splitter};
use super::{Stream, files};
use crate::protocol::LogConfig;

/// Records are handed to the kernel in writes of about this size.
const BATCH_BYTES: usize = 256 * 1024;

/// Longest record the repair of a torn end looks for.
const MAX_RECORD: u64 = 1024 * 1024;

/// The log file could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open log file `{}`", path.display())]
pub struct LogError {
    /// Which.
    pub path: PathBuf,
    /// What the kernel answered.
    pub source: io::Error,
}

/// Records output. Errors after opening are counted, never returned: a container must not notice.
#[derive(Debug)]
pub struct LogWriter {
    target: Option<Target>,
}

#[derive(Debug)]
struct Target {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    attrs: Vec<u8>,
    splitters: [Splitter; 2],
    sink: Sink,
}

/// The file at its end, and what is to be appended.
#[derive(Debug)]
struct Sink {
    file: Option<File>,
    size: u64,
    out: Vec<u8>,
    lost_lines: u64,
}

impl LogWriter {
    /// Opens or makes the log file and repairs a torn last record.
    pub fn open(config: &LogConfig) -> Result<Self, LogError> {
        let LogConfig::JsonFile {
            path,
            max_size_bytes,
            max_files,
            attrs,
        } = config
        else {
            return Ok(Self { target: None });
        };
        let (file, size) = open_end(path).map_err(|source| LogError {
            path: path.clone(),
            source,
        })?;
        let mut json = Vec::new();
        if !attrs.is_empty() {
            json.extend_from_slice(b",\"attrs\":{");
            for (i, (key, value)) in attrs.iter().enumerate() {
                json.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
                encode::escape(&mut json, key.as_bytes());
                json.extend_from_slice(b"\":\"");
                encode::escape(&mut json, value.as_bytes());
                json.push(b'"');
            }
            json.push(b'}');
        }
        Ok(Self {
            target: Some(Target {
                path: path.clone(),
                max_size: *max_size_bytes,
                max_files: (*max_files).max(1),
                attrs: json,
                splitters: Default::default(),
                sink: Sink {
                    file: Some(file),
                    size,
                    out: Vec::new(),
                    lost_lines: 0,
                },
            }),
        })
    }

    /// Records output; when it returns, every whole line is in the file or counted as lost.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        if let Some(target) = &mut self.target {
            let tail = target.tail(stream, now);
            let mut splitter = std::mem::take(&mut target.splitters[stream.index()]);
            splitter.feed(bytes, |piece| target.append(piece, &tail));
            target.splitters[stream.index()] = splitter;
            target.sink.flush();
        }
    }

    /// Records unfinished lines, at the end of the output.
    pub fn finish(&mut self, now: Timestamp) {
        let Some(target) = &mut self.target else {
            return;
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let tail = target.tail(stream, now);
            let mut splitter = std::mem::take(&mut target.splitters[stream.index()]);
            splitter.finish(|piece| target.append(piece, &tail));
        }
        target.sink.flush();
    }

    /// Gives back the memory that only a busy writer needs.
    pub fn release(&mut self) {
        if let Some(target) = &mut self.target {
            target.sink.out = Vec::new();
            target.splitters.iter_mut().for_each(Splitter::shrink);
        }
    }

    /// How many records could not be written so far.
    pub fn lost_lines(&self) -> u64 {
        self.target
            .as_ref()
            .map_or(0, |target| target.sink.lost_lines)
    }
}

impl Target {
    fn tail(&self, stream: Stream, now: Timestamp) -> Vec<u8> {
        let mut tail = format!("\",\"stream\":\"{}\"", stream.as_str()).into_bytes();
        tail.extend_from_slice(&self.attrs);
        tail.extend_from_slice(format!(",\"time\":\"{now}\"}}\n").as_bytes());
        tail
    }

    fn append(&mut self, piece: Piece<'_>, tail: &[u8]) {
        let start = self.sink.out.len();
        encode::record(&mut self.sink.out, piece, tail);
        let total = self.sink.size + self.sink.out.len() as u64;
        if self.max_size > 0 && total > self.max_size && self.sink.size + start as u64 > 0 {
            let record = self.sink.out.split_off(start);
            self.sink.flush();
            self.make_room(record.len() as u64);
            self.sink.out.extend_from_slice(&record);
        } else if self.sink.out.len() >= BATCH_BYTES {
            self.sink.flush();
        }
    }

    /// Rotates if the file really is as large as we think; someone may have truncated it.
    fn make_room(&mut self, record: u64) {
        if let Some(size) = self
            .sink
            .file
            .as_ref()
            .and_then(|file| file.metadata().ok())
        {
            self.sink.size = size.len();
        }
        if self.sink.size > 0 && self.sink.size + record > self.max_size {
            match rotate(&self.path, self.max_files) {
                Ok(file) => {
                    self.sink.file = Some(file);
                    self.sink.size = 0;
                }
                // Growing without bound would be worse than losing lines: they are counted by
                // `flush`, and the next record tries again.
                Err(_) => self.sink.file = None,
            }
        }
    }
}

impl Sink {
    /// Appends what is pending; on failure counts the records and cuts the file at a record's end.
    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let mut done = 0;
        if let Some(file) = &mut self.file {
            while done < self.out.len() {
                match file.write(&self.out[done..]) {
                    Ok(0) => break,
                    Ok(n) => done += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            if done < self.out.len() {
                let whole = memchr::memrchr(b'\n', &self.out[..done]).map_or(0, |at| at + 1);
                if done > whole
                    && let Ok(end) = file.stream_position()
                {
                    // A torn record that cannot be cut off is skipped by readers.
                    let _ = file.set_len(end.saturating_sub((done - whole) as u64));
                }
                done = whole;
            }
        }
        self.size += done as u64;
        self.lost_lines += memchr::memchr_iter(b'\n', &self.out[done..]).count() as u64;
        self.out.clear();
    }
}

fn rotate(path: &Path, max_files: u32) -> io::Result<File> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    remove(&next)?;
    let file = options().create_new(true).open(&next)?;
    let moved = (|| {
        if max_files > 1 {
            for number in (1..max_files - 1).rev() {
                rename(
                    &files::numbered(path, number),
                    &files::numbered(path, number + 1),
                )?;
            }
            let first = files::numbered(path, 1);
            remove(&first)?;
            std::fs::hard_link(path, &first)?;
        }
        std::fs::rename(&next, path)
    })();
    match moved {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = remove(&next);
            Err(error)
        }
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    absent_is_fine(std::fs::rename(from, to))
}

fn remove(path: &Path) -> io::Result<()> {
    absent_is_fine(std::fs::remove_file(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o640);
    options
}

/// Opens the file at its end, having cut off a last record that a crash left without its newline.
fn open_end(path: &Path) -> io::Result<(File, u64)> {
    let mut file = options().create(true).open(path)?;
    let size = file.metadata()?.len();
    let from = size.saturating_sub(MAX_RECORD);
    let mut last = [0];
    if size > 0 {
        file.seek(SeekFrom::Start(size - 1))?;
        file.read_exact(&mut last)?;
    }
    if size == 0 || last == [b'\n'] {
        file.seek(SeekFrom::End(0))?;
        return Ok((file, size));
    }
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    (&file).take(MAX_RECORD).read_to_end(&mut end)?;
    let whole = from + memchr::memrchr(b'\n', &end).map_or(0, |at| at as u64 + 1);
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, whole))
}
