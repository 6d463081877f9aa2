//! Error bodies and the lines of progress streams.

mod progress;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use progress::ProgressDetail;

/// Body of every answer of 400 and above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// The text for the user.
    pub message: String,
}

/// A line of a progress stream: pull, push, load, import, and later build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// A value for programs, such as the digest that was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<Value>,
}

/// What a push tells programs in `aux`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PushResult {
    pub tag: String,
    pub digest: String,
    pub size: u64,
}

/// A failure in a progress stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// Code, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl JsonMessage {
    /// A line that says what happened, without progress.
    pub fn status(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            status: status.into(),
            ..Self::default()
        }
    }

    /// A line that says how far a step is; its bar is drawn as dockerd draws it.
    pub fn progress(
        id: impl Into<String>,
        action: impl Into<String>,
        detail: ProgressDetail,
    ) -> Self {
        Self {
            id: id.into(),
            status: action.into(),
            progress: detail.bar(ProgressDetail::WIDE),
            progress_detail: Some(detail),
            ..Self::default()
        }
    }

    /// A line of text to print as it is.
    pub fn text(stream: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            ..Self::default()
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn print(line: &JsonMessage) -> String {
        serde_json::to_string(line).unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        assert_eq!(
            print(&JsonMessage::status("latest", "Pulling from library/a")),
            r#"{"status":"Pulling from library/a","id":"latest"}"#
        );
        assert_eq!(
            print(&JsonMessage::progress(
                "ab",
                "Waiting",
                ProgressDetail::default()
            )),
            r#"{"status":"Waiting","progressDetail":{},"id":"ab"}"#
        );
        assert_eq!(
            print(&JsonMessage::failure("x")),
            r#"{"errorDetail":{"message":"x"},"error":"x"}"#
        );
    }
}
