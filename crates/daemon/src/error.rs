//! What goes wrong on the way to the engine, and how every failure becomes an HTTP answer.
//!
//! This is the only place where a class of error becomes a status.

use api::gojson::DecodeError;
use hyper::StatusCode;
use spec::{Classify, ErrorKind};

/// A failure as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Status of the answer.
    pub status: StatusCode,
    /// Text in `{"message": …}`.
    pub message: String,
}

impl ApiError {
    /// Makes a failure of this status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Docker's answer to a path or method that it does not know.
    pub fn page_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<engine::Error> for ApiError {
    fn from(error: engine::Error) -> Self {
        Self::new(status(error.kind()), spec::error::chain(&error))
    }
}

/// The status of a class of failure.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        // Docker has no statuses of its own for these.
        ErrorKind::Exhausted | ErrorKind::Cancelled | ErrorKind::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_dockers_statuses() {
        let error = ApiError::from(engine::Error::NoSuchContainer {
            key: "x".to_owned(),
        });
        assert_eq!(
            (error.status.as_u16(), error.message.as_str()),
            (404, "No such container: x")
        );
        for (kind, code) in [
            (ErrorKind::InvalidArgument, 400),
            (ErrorKind::Conflict, 409),
            (ErrorKind::NotModified, 304),
            (ErrorKind::Unsupported, 501),
            (ErrorKind::Internal, 500),
        ] {
            assert_eq!(status(kind).as_u16(), code);
        }
    }
}
