//! What a program runs on: operating system, processor and its variant.
//!
//! Texts are read and normalised as containerd's `platforms` package does, which Docker uses:
//! `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is `arm64`, `armhf` is `arm/v7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the operating system: `linux`.
    pub os: String,
    /// Go's name of the processor: `amd64`.
    pub architecture: String,
    /// The processor's variant (`v7`), empty where the architecture has none or the usual one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlatform {
    /// Characters or number of parts are wrong.
    #[error(
        "`{text}` is an invalid component of `{platform}`: platform specifier component must match `^[A-Za-z0-9_.-]+$`"
    )]
    Component {
        /// The offending part.
        text: String,
        /// The whole text.
        platform: String,
    },
    /// More than three parts.
    #[error("`{platform}`: cannot parse platform specifier")]
    Parts {
        /// The whole text.
        platform: String,
    },
    /// A single word that is neither a known system nor a known processor.
    #[error("`{platform}`: unknown operating system or architecture")]
    Unknown {
        /// The whole text.
        platform: String,
    },
}

const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
const PROCESSORS: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// Makes a platform of Go's names, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_lowercase().as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normalize(architecture, variant);
        Self {
            os,
            architecture,
            variant,
        }
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// Tells whether programs for `other` run on this platform.
    ///
    /// An older ARM variant runs on a newer one, and 32-bit x86 on 64-bit.
    pub fn runs(&self, other: &Self) -> bool {
        if self.os != other.os {
            return false;
        }
        match (self.architecture.as_str(), other.architecture.as_str()) {
            ("arm", "arm") => level(&other.variant, 7) <= level(&self.variant, 7),
            ("amd64", "amd64") => level(&other.variant, 1) <= level(&self.variant, 4),
            (mine, theirs) if mine == theirs => {
                level(&other.variant, 0) <= level(&self.variant, 99)
            }
            ("amd64", "386") | ("arm64", "arm") => true,
            _ => false,
        }
    }
}

fn level(variant: &str, default: u32) -> u32 {
    variant
        .strip_prefix('v')
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn normalize(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_lowercase();
    let variant = variant.to_lowercase();
    let pair = |a: &str, v: &str| (a.to_owned(), v.to_owned());
    match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => pair("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => pair("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", v) => pair("amd64", v),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => pair("arm64", ""),
        ("aarch64" | "arm64", v) => pair("arm64", v),
        ("armhf", _) => pair("arm", "v7"),
        ("armel", _) => pair("arm", "v6"),
        ("arm", "" | "7") => pair("arm", "v7"),
        ("arm", v @ ("5" | "6" | "8")) => pair("arm", &format!("v{v}")),
        (a, v) => pair(a, v),
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// Reads `os`, `arch`, `os/arch` or `os/arch/variant`.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        for part in &parts {
            let good = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
            if part.is_empty() || !part.bytes().all(good) {
                return Err(InvalidPlatform::Component {
                    text: part.chars().take(80).collect(),
                    platform: text.chars().take(80).collect(),
                });
            }
        }
        match parts.as_slice() {
            [word] => {
                let os = Self::new(word, "", "").os;
                if SYSTEMS.contains(&os.as_str()) {
                    let host = Self::host();
                    return Ok(Self { os, ..host });
                }
                let platform = Self::new("linux", word, "");
                if PROCESSORS.contains(&platform.architecture.as_str()) {
                    return Ok(platform);
                }
                Err(InvalidPlatform::Unknown {
                    platform: text.chars().take(80).collect(),
                })
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(InvalidPlatform::Parts {
                platform: text.chars().take(80).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_normalised_as_containerd_does() {
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AARCH64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(
                text.parse::<Platform>().unwrap().to_string(),
                want,
                "{text}"
            );
        }
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
        for bad in [
            "",
            "/",
            "linux/",
            "linux/amd64/v1/x",
            "lin ux",
            "toaster",
            "a/b\0",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_processor_runs_its_older_variants_only() {
        let runs = |host: &str, image: &str| {
            host.parse::<Platform>()
                .unwrap()
                .runs(&image.parse().unwrap())
        };
        assert!(runs("linux/amd64", "linux/amd64"));
        assert!(runs("linux/amd64", "linux/386"));
        assert!(runs("linux/arm/v7", "linux/arm/v6"));
        assert!(!runs("linux/arm/v6", "linux/arm/v7"));
        assert!(!runs("linux/amd64", "linux/arm64"));
        assert!(!runs("linux/amd64", "windows/amd64"));
    }
}
