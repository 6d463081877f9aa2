//! What can go wrong while a container's process is made.

use spec::{Classify, ErrorKind, WireError};

/// A container or process could not be made.
///
/// Whatever was made before the failure has been taken back when a caller sees it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a call of the caller's side.
    #[error("failed to {action}")]
    Kernel {
        /// What was being done.
        action: &'static str,
        /// The call.
        source: sys::Error,
    },
    /// The specification asks for something invalid.
    #[error("invalid container specification: {reason}")]
    Invalid {
        /// What and why.
        reason: String,
    },
    /// The specification asks for something that this build or kernel cannot do.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The system call filter cannot be made.
    #[error("failed to compile the seccomp filter: {reason}")]
    Seccomp {
        /// Which rule and why.
        reason: String,
    },
    /// The process being made told why it gave up.
    #[error("unable to start container process")]
    Init {
        /// Its account.
        source: WireError,
    },
    /// The process being made ended without a word.
    #[error("the container's process ended during its set-up ({status})")]
    Died {
        /// How it ended.
        status: String,
    },
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Seccomp { .. } => ErrorKind::InvalidArgument,
            Self::Init { source } => source.kind,
            Self::Kernel { .. } | Self::Died { .. } => ErrorKind::Internal,
        }
    }
}

impl Error {
    /// Exit code that the failure stands for: 127 when the program is missing, 126 when it cannot run.
    pub fn exit_code(&self) -> Option<i32> {
        let Self::Init { source } = self else {
            return None;
        };
        let mut next = Some(source);
        while let Some(error) = next {
            if error.exit_code.is_some() {
                return error.exit_code;
            }
            next = error.source.as_deref();
        }
        None
    }

    /// Copies the error and its causes for another process.
    pub fn to_wire(&self) -> WireError {
        WireError {
            exit_code: self.exit_code(),
            ..WireError::from_error(self.kind(), self)
        }
    }
}

impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        error.to_wire()
    }
}
