//! Platforms in requests: as users write them, and as JSON since API 1.46.

use api::gojson::{Names, unmarshal};
use api::oci;
use spec::Platform;
use spec::platform::InvalidPlatform;

use crate::error::ApiError;

/// Reads a platform as users write it: `linux/arm64`.
///
/// # Errors
///
/// It is none; the texts are those of Docker's parser.
pub fn from_text(text: &str) -> Result<Option<Platform>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let told = |why: String| ApiError::bad_request(format!("{why}: invalid argument"));
    text.parse().map(Some).map_err(|error| match error {
        InvalidPlatform::Component { text, platform } => told(format!(
            "{text:?} is an invalid component of {platform:?}: platform specifier component must match \
             \"^[A-Za-z0-9_.-]+$\""
        )),
        InvalidPlatform::Parts { platform } => {
            told(format!("{platform:?}: cannot parse platform specifier"))
        }
        InvalidPlatform::Unknown { platform } => told(format!(
            "{platform:?}: unknown operating system or architecture"
        )),
    })
}

/// Reads a platform in the image specification's JSON; empty is none.
///
/// # Errors
///
/// It is no JSON of that form, or names no system or no processor.
pub fn from_json(text: &str) -> Result<Option<Platform>, ApiError> {
    const NAMES: Names = Names {
        whole: "v1.Platform",
        field_root: "Platform",
    };
    if text.is_empty() {
        return Ok(None);
    }
    let platform: oci::Platform = unmarshal(text.as_bytes(), NAMES)
        .map_err(|why| ApiError::bad_request(format!("failed to parse platform: {why}")))?;
    let optional = !platform.variant.is_empty()
        || !platform.os_version.is_empty()
        || !platform.os_features.is_empty();
    if platform.os.is_empty() && platform.architecture.is_empty() && optional {
        return Err(ApiError::bad_request(
            "optional platform fields provided, but OS and Architecture are missing",
        ));
    }
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(ApiError::bad_request(
            "both OS and Architecture must be provided",
        ));
    }
    Ok(Some(Platform::new(
        &platform.os,
        &platform.architecture,
        &platform.variant,
    )))
}

/// Reads every value of a parameter that may be given several times.
///
/// # Errors
///
/// Like [`from_json`].
pub fn list_from_json(values: &[String]) -> Result<Vec<Platform>, ApiError> {
    let read = values.iter().map(|text| from_json(text));
    read.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(from_text("").unwrap(), None);
        let arm = from_text("linux/arm64").unwrap().unwrap();
        assert_eq!(arm, Platform::new("linux", "arm64", ""));
        for (text, want) in [
            (
                "a/b/c/d",
                "\"a/b/c/d\": cannot parse platform specifier: invalid argument",
            ),
            (
                "foo",
                "\"foo\": unknown operating system or architecture: invalid argument",
            ),
        ] {
            assert_eq!(from_text(text).unwrap_err().message, want);
        }
        let error = from_text("linux/a b").unwrap_err().message;
        assert!(
            error.starts_with("\"a b\" is an invalid component of \"linux/a b\""),
            "{error}"
        );
    }

    #[test]
    fn json() {
        assert_eq!(from_json("").unwrap(), None);
        let text = r#"{"architecture":"arm","os":"linux","variant":"v6"}"#;
        let arm = from_json(text).unwrap().unwrap();
        assert_eq!(arm, Platform::new("linux", "arm", "v6"));
        for (text, want) in [
            (
                "linux/amd64",
                "failed to parse platform: invalid character 'l' looking for beginning of value",
            ),
            (
                "{",
                "failed to parse platform: unexpected end of JSON input",
            ),
            ("{}", "both OS and Architecture must be provided"),
            (
                "{\"os\":\"linux\"}",
                "both OS and Architecture must be provided",
            ),
            (
                "{\"variant\":\"v7\"}",
                "optional platform fields provided, but OS and Architecture are missing",
            ),
            (
                "{\"os\":1}",
                "failed to parse platform: json: cannot unmarshal number into Go struct field Platform.os of type string",
            ),
        ] {
            assert_eq!(from_json(text).unwrap_err().message, want, "{text}");
        }
    }
}
