//! Names of images, in the grammar of Docker's `distribution/reference` package.
//!
//! ```text
//! reference      := name [":" tag] ["@" digest]
//! name           := [domain "/"] path-component ["/" path-component]*
//! domain         := (label ["." label]* | "[" IPv6 "]") [":" port]
//! path-component := [a-z0-9]+ (([._] | "__" | "-"+) [a-z0-9]+)*
//! tag            := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
//! digest         := algorithm ":" hex{32,}
//! ```
//!
//! A parsed reference is always complete: `busybox` is `docker.io/library/busybox:latest`. The
//! short form that people see is [`Reference::familiar`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Longest repository path, as Docker and registries have it.
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// A complete image name: domain, path, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is not an image name; the texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// The grammar does not match.
    #[error("invalid reference format")]
    Format,
    /// Upper-case letters in the path.
    #[error("invalid reference format: repository name ({path}) must be lowercase")]
    Uppercase {
        /// The path with `library/` where Docker adds it.
        path: String,
    },
    /// 64 hex digits could be an image id.
    #[error("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId {
        /// The text.
        text: String,
    },
    /// The path exceeds 255 characters.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// The tag alone is wrong.
    #[error("invalid tag format")]
    Tag,
    /// An algorithm other than SHA-256.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// SHA-256 with another number of digits.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// SHA-256 with other characters than lower-case hex.
    #[error("invalid checksum digest format")]
    DigestFormat,
}

impl Reference {
    /// Reads a name without adding the tag `latest` where there is neither tag nor digest.
    ///
    /// # Errors
    ///
    /// [`InvalidReference`] with the text that Docker gives.
    pub fn parse_bare(text: &str) -> Result<Self, InvalidReference> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(InvalidReference::LooksLikeId {
                text: text.to_owned(),
            });
        }
        let (domain, remainder) = split_domain(text);
        let path = remainder.split(':').next().unwrap_or_default();
        if path.to_lowercase() != path {
            return Err(InvalidReference::Uppercase {
                path: path.chars().take(300).collect(),
            });
        }
        let (rest, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(InvalidReference::Format),
            None => (rest, None),
        };
        if !is_domain(&domain) || !path.split('/').all(is_path_component) {
            return Err(InvalidReference::Format);
        }
        if path.len() > MAX_PATH {
            return Err(InvalidReference::TooLong);
        }
        Ok(Self {
            domain,
            path: path.to_owned(),
            tag,
            digest,
        })
    }

    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path on the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Domain and path: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as people see it: `busybox`.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The whole name as people see it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_name(self.familiar_repository())
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    ///
    /// [`InvalidReference::Tag`].
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        if !is_tag(tag) {
            return Err(InvalidReference::Tag);
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository with this digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same name with tag `latest` where it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// Tells whether a shell pattern (`*`, `?`, `[a-z]`; not across `/`) fits the familiar name or
    /// its repository, as the list filter `reference=` wants it.
    pub fn matches(&self, pattern: &str) -> bool {
        glob(pattern.as_bytes(), self.familiar().as_bytes())
            || glob(pattern.as_bytes(), self.familiar_repository().as_bytes())
    }

    fn with_name(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_name(self.repository()))
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    /// Reads a name and completes it: domain `docker.io`, `library/`, tag `latest`.
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Ok(Self::parse_bare(text)?.or_latest())
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;
    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

/// Splits off the domain as Docker does: only `localhost`, a dot, a colon or an upper-case letter
/// makes the first component one.
fn split_domain(text: &str) -> (String, String) {
    let (domain, remainder) = match text.split_once('/') {
        Some((first, rest)) if first == LEGACY_DOMAIN => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    let official = domain == DEFAULT_DOMAIN && !remainder.contains('/');
    let prefix = if official { OFFICIAL } else { "" };
    (domain.to_owned(), format!("{prefix}{remainder}"))
}

fn is_lower_hex(c: u8) -> bool {
    matches!(c, b'0'..=b'9' | b'a'..=b'f')
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(at) if !text.ends_with(']') => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    let port_ok = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|c| c.is_ascii_digit()));
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => !v6.is_empty() && v6.bytes().all(|c| c.is_ascii_hexdigit() || c == b':'),
        None => host.split('.').all(is_label),
    };
    port_ok && host_ok
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

fn is_path_component(text: &str) -> bool {
    let alnum = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(alnum) || !bytes.last().is_some_and(alnum) {
        return false;
    }
    bytes.chunk_by(|a, b| alnum(a) == alnum(b)).all(|run| {
        alnum(&run[0]) || matches!(run, b"." | b"_" | b"__") || run.iter().all(|c| *c == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=MAX_TAG).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|c| word(c) || c == b'.' || c == b'-')
}

fn parse_digest(text: &str) -> Result<Digest, InvalidReference> {
    let (algorithm, hex) = text.split_once(':').ok_or(InvalidReference::Format)?;
    let algorithm_ok = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.bytes().next().is_some_and(|c| c.is_ascii_alphabetic())
            && part.bytes().all(|c| c.is_ascii_alphanumeric())
    });
    if !algorithm_ok || hex.len() < 32 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(InvalidReference::Format);
    }
    if algorithm != "sha256" {
        return Err(InvalidReference::Algorithm);
    }
    if hex.len() != 64 {
        return Err(InvalidReference::DigestLength);
    }
    text.parse().map_err(|_| InvalidReference::DigestFormat)
}

/// Go's `path.Match`; a broken pattern matches nothing.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => {
            let reach = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            (0..=reach).any(|n| glob(rest, &text[n..]))
        }
        Some((b'?', rest)) => text
            .split_first()
            .is_some_and(|(c, text)| *c != b'/' && glob(rest, text)),
        Some((b'[', rest)) => text
            .split_first()
            .is_some_and(|(c, text)| class(rest, *c).is_some_and(|rest| glob(rest, text))),
        Some((b'\\', [c, rest @ ..])) => text.first() == Some(c) && glob(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && glob(rest, &text[1..]),
    }
}

/// Reads a character class after its `[`; returns what follows it when `c` is in it.
fn class(pattern: &[u8], c: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut first = true;
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !first {
            return (found != negated && c != b'/').then_some(after);
        }
        first = false;
        rest = after;
        let high = match rest {
            [b'-', high, after @ ..] if *high != b']' => {
                rest = after;
                *high
            }
            _ => low,
        };
        found |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests;
