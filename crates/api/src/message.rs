//! Error bodies and the lines of progress streams.

use serde::{Deserialize, Serialize};

/// Body of every answer of 400 and above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// The text for the user.
    pub message: String,
}

/// A line of a progress stream: load, import, and later pull, push and build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonMessage {
    /// Text to print as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// What is being done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// A bar drawn in text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// What it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Failure.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// Text of the failure once more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Bytes in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A failure in a progress stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// Code, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The text.
    pub message: String,
}

impl JsonMessage {
    /// A line with a failure.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error: message.clone(),
            error_detail: Some(ErrorDetail {
                code: None,
                message,
            }),
            ..Self::default()
        }
    }
}
