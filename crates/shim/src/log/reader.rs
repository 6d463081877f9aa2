//! Reading the log, over its rotated files, from any point, and on as it grows.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::Timestamp;

use super::files::{self, LogFile};
use super::{Entry, Stream, parse, tail};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// A line longer than this is no record and is skipped.
const MAX_LINE: usize = 1024 * 1024;

/// Which records are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Only the last so many records, counted before the other filters, as Docker does.
    pub tail: Option<u64>,
    /// Only those at or after this moment.
    pub since: Option<Timestamp>,
    /// Only those at or before this moment; the first later one ends the reading.
    pub until: Option<Timestamp>,
    /// Those of the standard output.
    pub stdout: bool,
    /// Those of the standard error.
    pub stderr: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tail: None,
            since: None,
            until: None,
            stdout: true,
            stderr: true,
        }
    }
}

/// A point between two records that survives rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The file.
    pub inode: u64,
    /// The byte in it.
    pub offset: u64,
}

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read log `{}`", path.display())]
pub struct ReadError {
    /// The current file's path.
    pub path: PathBuf,
    /// What the kernel answered.
    pub source: io::Error,
}

/// Reads records in order. Blocking, for regular files.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    options: Options,
    /// Files after the current one, oldest first.
    queue: VecDeque<LogFile>,
    current: Option<LogFile>,
    /// Where in the current file the first byte of `buffer` lies.
    base: u64,
    buffer: Vec<u8>,
    cursor: usize,
    /// Holds a record that had to be unescaped.
    scratch: Vec<u8>,
    skipping: bool,
    ended: bool,
    malformed: u64,
}

impl Reader {
    /// Opens all files of the log at once, so that rotation cannot take any of them away.
    ///
    /// A log that does not exist (yet) is empty.
    pub fn open(path: &Path, options: Options) -> Result<Self, ReadError> {
        let mut reader = Self::empty(path, options);
        reader.open_set().map_err(|source| reader.error(source))?;
        Ok(reader)
    }

    /// Goes on after what another reader has read; from the oldest file if that one is gone.
    pub fn resume(path: &Path, position: Position, options: Options) -> Result<Self, ReadError> {
        let mut reader = Self::empty(
            path,
            Options {
                tail: None,
                ..options
            },
        );
        reader
            .open_at(position)
            .map_err(|source| reader.error(source))?;
        Ok(reader)
    }

    /// The next wanted record; `None` if there is none now. After `None`, call again to follow.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        while !self.ended {
            let Some(line) = self.next_line().map_err(|source| self.error(source))? else {
                return Ok(None);
            };
            let Some(shape) = parse::parse(&self.buffer[line.clone()], &mut self.scratch) else {
                self.malformed += 1;
                continue;
            };
            if self.is_wanted(&shape, line.clone()) {
                return Ok(Some(shape.entry(&self.buffer[line], &self.scratch)));
            }
        }
        Ok(None)
    }

    /// The point before the next unread record; `None` as long as there is no log file.
    pub fn position(&self) -> Option<Position> {
        let current = self.current.as_ref()?;
        Some(Position {
            inode: current.inode,
            offset: self.base + self.cursor as u64,
        })
    }

    /// Whether a record later than `until` was met: there is nothing more to come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// How many lines were no records.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn empty(path: &Path, options: Options) -> Self {
        Self {
            path: path.to_path_buf(),
            options,
            queue: VecDeque::new(),
            current: None,
            base: 0,
            buffer: Vec::new(),
            cursor: 0,
            scratch: Vec::new(),
            skipping: false,
            ended: false,
            malformed: 0,
        }
    }

    fn error(&self, source: io::Error) -> ReadError {
        ReadError {
            path: self.path.clone(),
            source,
        }
    }

    fn open_set(&mut self) -> io::Result<()> {
        self.queue = files::open_all(&self.path)?.into();
        let mut start = 0;
        if let Some(mut wanted) = self.options.tail {
            let mut first = 0;
            for (index, file) in self.queue.iter().enumerate().rev() {
                let (offset, found) = tail::start_of_last(&file.file, wanted)?;
                (first, start) = (index, offset);
                wanted -= found;
                if wanted == 0 {
                    break;
                }
            }
            self.queue.drain(..first);
        }
        self.advance(start);
        Ok(())
    }

    fn open_at(&mut self, position: Position) -> io::Result<()> {
        self.queue = files::open_all(&self.path)?.into();
        match self
            .queue
            .iter()
            .position(|file| file.inode == position.inode)
        {
            Some(index) => {
                self.queue.drain(..index);
                self.advance(position.offset);
            }
            None => self.advance(0),
        }
        Ok(())
    }

    /// Goes on to the next file of the queue.
    fn advance(&mut self, offset: u64) {
        if let Some(next) = self.queue.pop_front() {
            self.current = Some(next);
            self.base = offset;
            self.buffer.clear();
            self.cursor = 0;
            self.skipping = false;
        }
    }

    /// Range in the buffer of the next line, without its newline.
    fn next_line(&mut self) -> io::Result<Option<Range<usize>>> {
        let mut scanned = self.cursor;
        let mut rotated = false;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[scanned..]) {
                let line = self.cursor..scanned + at;
                self.cursor = line.end + 1;
                scanned = self.cursor;
                if !std::mem::take(&mut self.skipping) {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.buffer.len() - self.cursor > MAX_LINE {
                self.cursor = self.buffer.len();
                self.skipping = true;
                self.malformed += 1;
            }
            scanned = self.buffer.len() - self.cursor;
            if self.fill()? {
                // Less than before if the file was emptied.
                scanned = scanned.min(self.buffer.len());
                rotated = false;
                continue;
            }
            // The end of this file. If it is not the newest, read it once more (the writer may have
            // appended before it rotated), then go on.
            if !self.queue.is_empty() {
                self.advance(0);
            } else if rotated {
                self.open_following()?;
                if self.queue.is_empty() {
                    return Ok(None);
                }
                self.advance(0);
            } else if self.is_rotated()? {
                rotated = true;
                continue;
            } else {
                // A record that is not whole yet may be taken back: it is read afresh next time.
                self.buffer.truncate(self.cursor);
                return Ok(None);
            }
            rotated = false;
            scanned = 0;
        }
    }

    fn is_rotated(&self) -> io::Result<bool> {
        let newest = files::current_inode(&self.path)?;
        Ok(newest.is_some() && newest != self.current.as_ref().map(|file| file.inode))
    }

    fn open_following(&mut self) -> io::Result<()> {
        let mut all: VecDeque<_> = files::open_all(&self.path)?.into();
        if let Some(current) = &self.current
            && let Some(index) = all.iter().position(|file| file.inode == current.inode)
        {
            all.drain(..=index);
        }
        self.queue = all;
        Ok(())
    }

    /// Moves the unread rest to the front and reads more behind it; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(current) = &self.current else {
            return Ok(false);
        };
        self.buffer.drain(..self.cursor);
        self.base += self.cursor as u64;
        self.cursor = 0;
        let old = self.buffer.len();
        self.buffer.reserve(CHUNK);
        let spare = rustix::buffer::spare_capacity(&mut self.buffer);
        let count = rustix::io::pread(&current.file, spare, self.base + old as u64)?;
        Ok(count > 0 || self.restart_if_truncated()?)
    }

    /// Starts over in a file that was emptied under us (`truncate -s 0`, as people do).
    fn restart_if_truncated(&mut self) -> io::Result<bool> {
        let Some(current) = &self.current else {
            return Ok(false);
        };
        if current.file.metadata()?.len() >= self.base + self.buffer.len() as u64 {
            return Ok(false);
        }
        self.base = 0;
        self.buffer.clear();
        Ok(true)
    }

    fn is_wanted(&mut self, shape: &parse::Shape, line: Range<usize>) -> bool {
        let Options {
            since,
            until,
            stdout,
            stderr,
            ..
        } = self.options;
        if since.is_some() || until.is_some() {
            let time = shape.entry(&self.buffer[line], &self.scratch).time();
            if until.is_some_and(|until| time > until) {
                self.ended = true;
                return false;
            }
            if since.is_some_and(|since| time < since) {
                return false;
            }
        }
        match shape.stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }
}
