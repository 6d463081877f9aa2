//! The log file: Docker's json-file format, its writer and its reader.
//!
//! ```text
//! <id>-json.log      current; one JSON object per line, appended
//! <id>-json.log.1    the one before; .2 is older
//!
//! {"log":"hello\n","stream":"stdout","attrs":{"k":"v"},"time":"2024-05-06T07:08:09.1Z"}
//! ```
//!
//! A record is one line of output with its newline, or a piece of [`PIECE`] bytes of a longer line
//! without one. Invariants: a file is never larger than its limit (unless one record is), a record
//! is never split between files, and a current file always exists once the first was opened.

mod encode;
mod files;
mod parse;
mod reader;
mod tail;
mod watch;
mod writer;

pub use encode::PIECE;
pub use parse::Entry;
pub use reader::{Options, Position, ReadError, Reader};
pub use watch::Watch;
pub use writer::{LogError, LogWriter};

/// Which output a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name used in log files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}

#[cfg(test)]
mod tests;
