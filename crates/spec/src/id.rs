//! Identities: 256-bit ids printed as 64 hex digits, names, and prefix lookup.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an id or name of the wanted form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} `{text}`: {rule}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Makes an id of random bytes that the caller drew.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The first 12 hex digits, as lists show them.
            pub fn short(&self) -> String {
                self.to_string()[..12].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; 64];
                for (i, byte) in self.0.iter().enumerate() {
                    text[i * 2] = HEX[usize::from(byte >> 4)];
                    text[i * 2 + 1] = HEX[usize::from(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_hex(text).map(Self).ok_or_else(|| InvalidId {
                    what: $what,
                    text: text.chars().take(80).collect(),
                    rule: "64 lower-case hex digits",
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    if bytes.len() != 64 {
        return None;
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut out = [0u8; 32];
    for (i, pair) in bytes.chunks_exact(2).enumerate() {
        out[i] = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

id!(
    /// Identity of a container.
    ContainerId,
    "container id"
);
id!(
    /// Identity of an additional process in a container.
    ExecId,
    "exec id"
);
id!(
    /// Identity of a network.
    NetworkId,
    "network id"
);

/// A container's name, without the leading slash that the API prints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Longest name accepted; Docker has no limit, file systems and DNS do.
const MAX_NAME: usize = 255;

impl ContainerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerName {
    type Err = InvalidId;
    /// Accepts `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, after at most one leading slash.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let first = name
            .bytes()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
        if first && rest && (2..=MAX_NAME).contains(&name.len()) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidId {
                what: "container name",
                text: text.chars().take(80).collect(),
                rule: "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 2 to 255 characters",
            })
        }
    }
}

impl TryFrom<String> for ContainerName {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> String {
        name.0
    }
}

/// What a user's text (name, id or id prefix) stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution<T> {
    /// Nothing has it.
    None,
    /// Exactly one object.
    One(T),
    /// Several ids begin with it.
    Ambiguous(Vec<T>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_other_forms() {
        let id = ContainerId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse::<ContainerId>().unwrap(), id);
        assert_eq!(id.short(), "abababababab");
        for bad in [
            "",
            "ab",
            &"AB".repeat(32),
            &"g0".repeat(32),
            &"ab".repeat(33),
        ] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_follow_dockers_grammar() {
        for good in ["web", "/web", "a.b-c_d", "0a"] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "/",
            "-ab",
            "a b",
            "a/../../b",
            "ü-web",
            "a\0b",
            "//ab",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad}");
        }
    }
}
