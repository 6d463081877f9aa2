//! How the process being made tells what failed: a chain of texts that fits through a socket.

use spec::{ErrorKind, WireError};

/// Result of a step of the set-up.
pub(crate) type Step<T> = Result<T, WireError>;

/// Adds to a failure what was being done.
pub(crate) trait Stage<T> {
    /// Wraps the failure; the text is made only then.
    fn stage<S: Into<String>>(self, text: impl FnOnce() -> S) -> Step<T>;
}

impl<T, E: std::error::Error + 'static> Stage<T> for Result<T, E> {
    fn stage<S: Into<String>>(self, text: impl FnOnce() -> S) -> Step<T> {
        self.map_err(|error| {
            let error: &(dyn std::error::Error + 'static) = &error;
            // A failure that is a chain already keeps its kind and exit code.
            let cause = match error.downcast_ref::<WireError>() {
                Some(wire) => wire.clone(),
                None => WireError::from_error(ErrorKind::Internal, error),
            };
            WireError {
                source: Some(Box::new(cause.clone())),
                ..WireError::new(cause.kind, text())
            }
        })
    }
}

/// A failure by the fault of the specification.
pub(crate) fn invalid(text: impl Into<String>) -> WireError {
    WireError::new(ErrorKind::InvalidArgument, text)
}
