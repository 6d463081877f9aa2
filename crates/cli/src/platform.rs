//! Platforms as flags name them, `os[/arch[/variant]]`, and as requests carry them.
//!
//! Read as containerd's `platforms` package does for Docker's client, with its errors.

use spec::Platform as Known;

use crate::flags::Parsed;

/// The variable that `--platform` defaults to.
const VARIABLE: &str = "DOCKER_DEFAULT_PLATFORM";

/// What a program runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    architecture: String,
    os: String,
    os_version: String,
    variant: String,
}

impl Platform {
    /// Reads a platform.
    ///
    /// # Errors
    ///
    /// Docker's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: String| format!("{why}: invalid argument");
        if text.contains('*') {
            return Err(bad(format!("{text:?}: wildcards not yet supported")));
        }
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let Some((os, os_version)) = os_and_version(parts[0]) else {
            return Err(bad(format!(
                "{:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match {:?}",
                parts[0], r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?$"
            )));
        };
        if let Some(part) = parts[1..].iter().find(|part| !is_word(part, b"_.-")) {
            return Err(bad(format!(
                "{part:?} is an invalid component of {text:?}: platform specifier component must match {:?}",
                "^[A-Za-z0-9_.-]+$"
            )));
        }
        let known = match parts.as_slice() {
            [_] => os.parse::<Known>().map_err(|_| {
                bad(format!(
                    "{text:?}: unknown operating system or architecture"
                ))
            })?,
            [_, architecture] => Known::new(os, architecture, ""),
            [_, architecture, variant] => Known::new(os, architecture, variant),
            _ => {
                return Err(bad(format!("{text:?}: cannot parse platform specifier")));
            }
        };
        // The usual variant is left out where it was not named, and kept where it was.
        let variant = match (known.architecture.as_str(), known.variant.as_str()) {
            ("arm", "v7") if parts.len() < 3 => "",
            ("arm64", "") if parts.len() == 3 => "v8",
            (_, variant) => variant,
        };
        Ok(Self {
            variant: variant.to_owned(),
            architecture: known.architecture,
            os: known.os,
            os_version: os_version.to_owned(),
        })
    }

    /// The form of the API's `platform` and `platforms`.
    pub fn json(&self) -> String {
        let fields = [
            ("architecture", &self.architecture),
            ("os", &self.os),
            ("os.version", &self.os_version),
            ("variant", &self.variant),
        ];
        let mut out = serde_json::Map::new();
        for (name, value) in fields {
            if !value.is_empty() || matches!(name, "architecture" | "os") {
                out.insert(name.to_owned(), value.as_str().into());
            }
        }
        serde_json::Value::Object(out).to_string()
    }

    /// The form of a container's creation: `linux/arm/v7`.
    pub fn path(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join("/")
    }
}

fn is_word(text: &str, marks: &[u8]) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || marks.contains(&c))
}

// `linux` or `windows(10.0.17763)`.
fn os_and_version(text: &str) -> Option<(&str, &str)> {
    let (os, version) = match text.split_once('(') {
        None => (text, ""),
        Some((os, rest)) => (os, rest.strip_suffix(')')?),
    };
    let fits = is_word(os, b"_-") && (version.is_empty() || is_word(version, b"_.-"));
    fits.then_some((os, version))
}

/// `--platform`, or the user's default for all commands that run or fetch images.
pub fn wanted(flags: &Parsed) -> String {
    if flags.changed("platform") {
        return flags.str("platform").to_owned();
    }
    std::env::var(VARIABLE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, json, path) in [
            (
                "linux/amd64",
                r#"{"architecture":"amd64","os":"linux"}"#,
                "linux/amd64",
            ),
            (
                "Linux/aarch64",
                r#"{"architecture":"arm64","os":"linux"}"#,
                "linux/arm64",
            ),
            (
                "linux/arm64/v8",
                r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#,
                "linux/arm64/v8",
            ),
            (
                "linux/arm/v6",
                r#"{"architecture":"arm","os":"linux","variant":"v6"}"#,
                "linux/arm/v6",
            ),
            (
                "linux/arm",
                r#"{"architecture":"arm","os":"linux"}"#,
                "linux/arm",
            ),
            ("386", r#"{"architecture":"386","os":"linux"}"#, "linux/386"),
            (
                "windows(10.0.17763)/amd64",
                r#"{"architecture":"amd64","os":"windows","os.version":"10.0.17763"}"#,
                "windows/amd64",
            ),
        ] {
            let platform = Platform::parse(text).unwrap();
            assert_eq!(
                (platform.json().as_str(), platform.path().as_str()),
                (json, path)
            );
        }
    }

    #[test]
    fn refusals() {
        for (text, want) in [
            (
                "x",
                r#""x": unknown operating system or architecture: invalid argument"#,
            ),
            (
                "foo!",
                r#""foo!" is an invalid OS component of "foo!": OSAndVersion specifier component must match "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$": invalid argument"#,
            ),
            (
                "linux/a b",
                r#""a b" is an invalid component of "linux/a b": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument"#,
            ),
            (
                "a/b/c/d",
                r#""a/b/c/d": cannot parse platform specifier: invalid argument"#,
            ),
            ("*", r#""*": wildcards not yet supported: invalid argument"#),
        ] {
            assert_eq!(Platform::parse(text).unwrap_err(), want);
        }
    }
}
