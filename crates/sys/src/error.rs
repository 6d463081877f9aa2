//! The one error of this crate: which call, on what, and what the kernel answered.

use std::fmt;

/// A call the kernel refused.
#[derive(Debug)]
pub struct Error {
    call: String,
    errno: rustix::io::Errno,
}

/// Result of a kernel call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Describes a failed call, e.g. ``mkdirat(`5`, `web`)``.
    pub fn new(call: impl Into<String>, errno: rustix::io::Errno) -> Self {
        Self {
            call: call.into(),
            errno,
        }
    }

    /// What the kernel answered.
    pub fn errno(&self) -> rustix::io::Errno {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.call)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

impl From<Error> for std::io::Error {
    /// Keeps the kind and the call's name.
    fn from(error: Error) -> Self {
        Self::new(Self::from(error.errno).kind(), error)
    }
}
