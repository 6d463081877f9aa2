//! Pipes that bytes pass through: a connection has one only while there is something in it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// Empty pipes that are kept for the next who need one.
const KEPT: usize = 64;
/// Bytes moved at once: what a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// Bytes on their way from one socket to another.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes what a socket has; 0 is its end.
    pub(super) fn fill(&mut self, from: impl AsFd) -> Result<usize, Errno> {
        let taken = splice(from, None, &self.writer, None, CHUNK, flags())?;
        self.held += taken;
        Ok(taken)
    }

    /// Gives a socket what it has room for.
    pub(super) fn drain(&mut self, to: impl AsFd) -> Result<(), Errno> {
        let given = splice(&self.reader, None, to, None, self.held, flags())?;
        self.held -= given;
        Ok(())
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

/// Pipes that nobody needs just now.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    free: Vec<Pipe>,
}

impl Pipes {
    pub(super) fn take(&mut self) -> Result<Pipe, Errno> {
        if let Some(pipe) = self.free.pop() {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Pipe {
            reader,
            writer,
            held: 0,
        })
    }

    /// Takes a pipe back; one with something in it is of no use to anybody.
    pub(super) fn give(&mut self, pipe: Pipe) {
        if pipe.is_empty() && self.free.len() < KEPT {
            self.free.push(pipe);
        }
    }

    pub(super) fn clear(&mut self) {
        self.free = Vec::new();
    }
}
