//! Names of volumes: directory names, so their grammar is also a safety rule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name: one component of a path.
const MAX: usize = 255;

/// A volume's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// A text that is no volume's name, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// One character.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    TooShort,
    /// More than a file name may have.
    #[error("volume name is too long: {0} bytes, a file name has at most {MAX}")]
    TooLong(usize),
    /// Something that is not a letter, a digit or `_.-`.
    #[error(
        "{0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Characters(String),
}

impl VolumeName {
    /// Makes the name of an anonymous volume of 32 random bytes.
    ///
    /// # Errors
    ///
    /// The kernel has no randomness: it never fails on a booted system.
    pub fn anonymous() -> Result<Self, sys::Error> {
        let mut name = String::with_capacity(64);
        for _ in 0..4 {
            name.push_str(&sys::fs::random_hex()?);
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VolumeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bytes = text.as_bytes();
        let plain = |c: &u8| c.is_ascii_alphanumeric() || b"_.-".contains(c);
        match bytes {
            [] | [_] => Err(InvalidName::TooShort),
            _ if bytes.len() > MAX => Err(InvalidName::TooLong(bytes.len())),
            [first, rest @ ..] if first.is_ascii_alphanumeric() && rest.iter().all(plain) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidName::Characters(text.to_owned())),
        }
    }
}

impl TryFrom<String> for VolumeName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names_and_nothing_else() {
        for good in ["ab", "a.", "0_", "a-b.c", &"x".repeat(255)] {
            assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
        }
        assert_eq!("a".parse::<VolumeName>(), Err(InvalidName::TooShort));
        assert_eq!("".parse::<VolumeName>(), Err(InvalidName::TooShort));
        assert_eq!(
            "x".repeat(256).parse::<VolumeName>(),
            Err(InvalidName::TooLong(256))
        );
        for bad in [
            "..", "./", "-a", "_a", "a/b", "a b", "a\0", "é1", "../../x", "a\n",
        ] {
            assert!(
                matches!(bad.parse::<VolumeName>(), Err(InvalidName::Characters(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn anonymous_names_are_64_digits_and_differ() {
        let name = VolumeName::anonymous().unwrap();
        assert_eq!(name.as_str().len(), 64);
        assert!(name.as_str().parse::<VolumeName>().is_ok());
        assert_ne!(name, VolumeName::anonymous().unwrap());
    }
}
