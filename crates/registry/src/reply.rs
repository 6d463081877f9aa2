//! Answers that say no: from status and body to an error in Docker's words.

use serde::Deserialize;

use crate::challenge::challenges;
use crate::transport::Answer;
use crate::{ApiError, ApiErrors, Error, Result};

/// Errors of one answer that are kept.
const MAX_ERRORS: usize = 16;
/// Characters of one message that are kept.
const MAX_MESSAGE: usize = 2000;

/// The codes of the distribution-spec and their usual texts.
const CODES: &[(&str, &str)] = &[
    ("BLOB_UNKNOWN", "blob unknown to registry"),
    ("BLOB_UPLOAD_INVALID", "blob upload invalid"),
    ("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
    ("DENIED", "requested access to the resource is denied"),
    (
        "DIGEST_INVALID",
        "provided digest did not match uploaded content",
    ),
    ("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"),
    ("MANIFEST_INVALID", "manifest invalid"),
    ("MANIFEST_UNKNOWN", "manifest unknown"),
    (
        "MANIFEST_UNVERIFIED",
        "manifest failed signature verification",
    ),
    ("NAME_INVALID", "invalid repository name"),
    ("NAME_UNKNOWN", "repository name not known to registry"),
    (
        "PAGINATION_NUMBER_INVALID",
        "invalid number of results requested",
    ),
    ("RANGE_INVALID", "invalid content range"),
    (
        "SIZE_INVALID",
        "provided length did not match content length",
    ),
    ("TAG_INVALID", "manifest tag did not match URI"),
    ("TOOMANYREQUESTS", "too many requests"),
    ("UNAUTHORIZED", "authentication required"),
    ("UNAVAILABLE", "service unavailable"),
    ("UNKNOWN", "unknown error"),
    ("UNSUPPORTED", "The operation is unsupported."),
];

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    errors: Option<Vec<One>>,
    #[serde(default)]
    details: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<serde_json::Value>,
    #[serde(default)]
    detail: Option<serde_json::Value>,
}

/// Passes a success on; makes an error of everything else.
pub(crate) async fn success(mut answer: Answer) -> Result<Answer> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(error(&mut answer).await)
}

/// The error that an answer is.
pub(crate) async fn error(answer: &mut Answer) -> Error {
    let status = answer.status();
    if !status.is_client_error() {
        return Error::Status {
            status: status.to_string(),
        };
    }
    let challenged = (status == 401).then(|| challenged(answer)).flatten();
    let content_type = answer.content_type().to_owned();
    let body = answer.some_bytes(crate::session::ERROR_PATIENCE).await;
    let mut errors: Vec<ApiError> = challenged.into_iter().collect();
    match read(status.as_u16(), &content_type, &body) {
        Ok(found) => errors.extend(found),
        Err(_) if !errors.is_empty() => {}
        Err(error) => return error,
    }
    ApiErrors {
        status: status.as_u16(),
        errors,
    }
    .into()
}

/// What an OAuth challenge says (RFC 6750, section 3.1); it comes before the body.
fn challenged(answer: &Answer) -> Option<ApiError> {
    challenges(answer.headers())
        .iter()
        .filter(|challenge| challenge.scheme == "bearer")
        .find_map(|challenge| {
            let code = match challenge.get("error")? {
                "invalid_token" => "UNAUTHORIZED",
                "insufficient_scope" => "DENIED",
                _ => return None,
            };
            let message = challenge.get("error_description");
            Some(ApiError {
                code: code.to_owned(),
                message: clean(message.unwrap_or(usual(code))),
            })
        })
}

fn read(status: u16, content_type: &str, body: &[u8]) -> Result<Vec<ApiError>> {
    let by_status = |text: &str| {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        vec![ApiError {
            code: code.to_owned(),
            message: clean(text),
        }]
    };
    let text = String::from_utf8_lossy(body);
    let essence = spec::manifest::media::essence(content_type);
    let is_json = matches!(essence, "application/json" | "application/vnd.api+json");
    if !is_json {
        return Ok(by_status(text.trim_end()));
    }
    let unreadable = |why: &str| {
        if status == 401 {
            return Ok(by_status(usual("UNAUTHORIZED")));
        }
        Err(Error::Unreadable {
            status,
            why: why.to_owned(),
            body: clean(&text),
        })
    };
    let listed: Listed = match serde_json::from_slice(body) {
        Ok(listed) => listed,
        Err(error) => return unreadable(&json_error(body, &error)),
    };
    if let Some(details) = listed.details.as_ref().and_then(|details| details.as_str())
        && !details.is_empty()
    {
        return Ok(by_status(details));
    }
    let errors = listed.errors.unwrap_or_default();
    if errors.is_empty() {
        return unreadable("no error details found in HTTP response body");
    }
    Ok(errors.into_iter().take(MAX_ERRORS).map(one).collect())
}

/// Go's text for what is no JSON from its first byte on, and ours for the rest.
pub(crate) fn json_error(body: &[u8], error: &serde_json::Error) -> String {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => "unexpected end of JSON input".to_owned(),
        Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => error.to_string(),
        Some(byte) => format!(
            "invalid character '{}' looking for beginning of value",
            char::from(*byte)
        ),
    }
}

fn one(error: One) -> ApiError {
    let text = |value: Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) => text,
        _ => String::new(),
    };
    let given = text(error.code);
    let code = CODES
        .iter()
        .map(|(code, _)| *code)
        .find(|code| *code == given)
        .unwrap_or("UNKNOWN");
    let message = text(error.message);
    let bare = error.detail.is_none_or(|detail| detail.is_null())
        && (message.is_empty() || message == usual(code));
    ApiError {
        code: code.to_owned(),
        // Docker shows the code alone where the message adds nothing.
        message: if bare { String::new() } else { clean(&message) },
    }
}

fn usual(code: &str) -> &'static str {
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or("unknown error", |(_, text)| text)
}

/// Keeps texts of strangers short and without control characters.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .take(MAX_MESSAGE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(status: u16, content_type: &str, body: &str) -> String {
        match read(status, content_type, body.as_bytes()) {
            Ok(errors) => ApiErrors { status, errors }.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bodies_read_as_docker_reads_them() {
        let json = "application/json; charset=utf-8";
        for (status, body, want) in [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "manifest unknown: manifest unknown",
            ),
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                "manifest unknown",
            ),
            (
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#,
                "unauthorized: authentication required",
            ),
            (
                400,
                r#"{"errors":[{"code":"X","message":"m"}]}"#,
                "unknown: m",
            ),
            (403, r#"{"details":"no"}"#, "denied: no"),
            (
                400,
                r#"{"errors":[{"code":"DENIED","message":"a"},{"code":"UNKNOWN","message":"b"}]}"#,
                "errors:\ndenied: a\nunknown: b\n",
            ),
            (401, "{}", "unauthorized: authentication required"),
            (
                404,
                "{}",
                r#"error parsing HTTP 404 response body: no error details found in HTTP response body: "{}""#,
            ),
        ] {
            assert_eq!(shown(status, json, body), want, "{body}");
        }
        assert_eq!(shown(404, "text/plain", "not here\n"), "unknown: not here");
        assert_eq!(shown(429, "", "slow"), "toomanyrequests: slow");
        assert_eq!(
            shown(404, json, "<html>"),
            "error parsing HTTP 404 response body: invalid character '<' looking for beginning of \
             value: \"<html>\""
        );
    }

    #[test]
    fn texts_of_strangers_are_cut_and_cleaned() {
        let body = format!(
            r#"{{"errors":[{{"code":"DENIED","message":"\u001b[31m{}"}}]}}"#,
            "x".repeat(9999)
        );
        let text = shown(403, "application/json", &body);
        assert!(
            text.len() < MAX_MESSAGE + 100 && !text.contains('\u{1b}'),
            "{text:.80}"
        );
    }
}
