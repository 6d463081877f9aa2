//! What went wrong, in a vocabulary that needs no HTTP and no exit codes.
//!
//! Each layer's error type says only its own part; [`chain`] prints the whole. Only the daemon maps
//! an [`ErrorKind`] to a status, only the client maps an outcome to an exit code.

use serde::{Deserialize, Serialize};

/// The class of a failure: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is wrong and will stay wrong.
    InvalidArgument,
    /// The named object does not exist.
    NotFound,
    /// The object is in a state that does not allow it, or the name is taken.
    Conflict,
    /// Nothing had to be done.
    NotModified,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// The caller is known and may not.
    Forbidden,
    /// It may work later.
    Unavailable,
    /// A bound was reached: disk, memory, addresses, a limit.
    Exhausted,
    /// The caller went away or took it back.
    Cancelled,
    /// This build, host or kernel cannot do it.
    Unsupported,
    /// A defect, or a failure of the machine below.
    Internal,
}

/// Tells the class of an error; implemented by the umbrella error of each crate.
pub trait Classify: std::error::Error {
    /// The class of this error.
    fn kind(&self) -> ErrorKind;
}

/// Prints an error and its causes in one line: `outer: middle: inner`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// An error that crossed a process boundary with its chain intact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// The class.
    pub kind: ErrorKind,
    /// This layer's text.
    pub message: String,
    /// Exit code the failure stands for, where Docker defines one (126, 127).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<WireError>>,
}

impl WireError {
    /// Makes an error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            exit_code: None,
            source: None,
        }
    }

    /// Copies an error and its causes.
    pub fn from_error(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        let source = error
            .source()
            .map(|cause| Box::new(Self::from_error(kind, cause)));
        Self {
            kind,
            message: error.to_string(),
            exit_code: None,
            source,
        }
    }
}

impl Classify for WireError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_survives_the_wire() {
        let inner = WireError::new(ErrorKind::NotFound, "no such file");
        let outer = WireError {
            source: Some(Box::new(inner)),
            ..WireError::new(ErrorKind::Internal, "exec failed")
        };
        let copied = WireError::from_error(ErrorKind::Internal, &outer);
        let json = serde_json::to_string(&copied).unwrap();
        let back: WireError = serde_json::from_str(&json).unwrap();
        assert_eq!(chain(&back), "exec failed: no such file");
    }
}
