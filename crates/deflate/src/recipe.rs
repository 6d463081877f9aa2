//! What has to be known to make a gzip file again: the program's method and its header.
//!
//! The text form is what the store keeps: `<method>-<level> <header in hex>`, for example
//! `go-6 1f8b08000000000000ff`. A method's name is never given another meaning: an encoder that
//! would give other bytes gets another name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::header;

/// What Go's `compress/gzip` gives at its default level since Go 1.27, and so a Docker built with
/// it when it pushes a layer. It is twice as fast as what older ones gave.
pub static GZIP_DEFAULT: Recipe = Recipe {
    method: Method::Go127 { level: 6 },
    header: Cow::Borrowed(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]),
};

/// The longest header that a recipe keeps (file names and comments are in it).
pub(crate) const MAX_HEADER: usize = 4096;

/// Which program's deflate encoder, and at which level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Go's `compress/flate` up to Go 1.26, levels 0 to 9.
    Go { level: u8 },
    /// Go's `compress/flate` from Go 1.27 on, and klauspost's from 1.18.2 on, levels 1 to 9.
    Go127 { level: u8 },
    /// klauspost's `compress/flate` 1.15.11 to 1.18.1, levels 1 to 6.
    Klauspost { level: u8 },
    /// klauspost's `pgzip` over `compress` 1.15.11 to 1.18.1, levels 1 to 6.
    Pgzip { level: u8 },
    /// klauspost's `pgzip` over `compress` 1.18.2 and later, levels 1 to 6.
    Pgzip118 { level: u8 },
    /// zlib 1.2.11 to 1.3 through `deflate`, window 15 and memory level 8, levels 1 to 9.
    Zlib { level: u8 },
    /// GNU gzip 1.3 to 1.13, levels 1 to 9.
    Gnu { level: u8 },
    /// `gzip` of busybox with `GZIP_FAST` 0 (its default, and so in its official image), levels 4
    /// to 9; builds without levels have 6.
    Busybox { level: u8 },
    /// `gzip` of busybox with `GZIP_FAST` 2 (as in Debian), levels 4 to 9.
    BigBusybox { level: u8 },
    /// pigz 2.3 to 2.8 with its blocks of 128 KiB, levels 1 to 9.
    Pigz { level: u8 },
    /// The same with one thread, which keeps all its tables from block to block.
    PigzSingle { level: u8 },
}

/// Everything that makes a gzip file from its plain bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recipe {
    method: Method,
    header: Cow<'static, [u8]>,
}

/// Why a text is not a recipe.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipeError {
    /// Another version may know it; this one cannot make such a file.
    #[error("compression method {name:?} is not known")]
    UnknownMethod { name: String },
    /// The header is no gzip header or has something after it.
    #[error("the header kept in the recipe is not a gzip header")]
    BadHeader,
    /// The text has another form.
    #[error("{text:?} is not a compression recipe")]
    BadForm { text: String },
}

impl Recipe {
    /// Puts a method and the exact bytes of a gzip header together.
    ///
    /// # Errors
    /// When `header` is not exactly one gzip header, or too long to be kept.
    pub fn new(method: Method, header: &[u8]) -> Result<Self, RecipeError> {
        if header.len() > MAX_HEADER || header::length(header) != Some(header.len()) {
            return Err(RecipeError::BadHeader);
        }
        Ok(Self {
            method,
            header: Cow::Owned(header.to_vec()),
        })
    }

    /// Returns which encoder it is.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Returns the bytes that stand before the first deflate block.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }
}

impl Method {
    /// The name and the levels of every method, in the order in which they are tried.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        NAMES
            .iter()
            .flat_map(|(_, make, levels)| levels.clone().map(*make))
    }

    /// Returns the level alone.
    #[must_use]
    pub fn level(self) -> u8 {
        self.parts().1
    }

    /// Says whether programs with this encoder name Unix in the header.
    pub(crate) fn is_unix(self) -> bool {
        !matches!(
            self,
            Self::Go { .. } | Self::Go127 { .. } | Self::Klauspost { .. }
        ) && !self.is_pgzip()
    }

    pub(crate) fn is_pgzip(self) -> bool {
        matches!(self, Self::Pgzip { .. } | Self::Pgzip118 { .. })
    }

    /// The level that the program takes when it is told none.
    pub(crate) fn default_level(self) -> u8 {
        match self {
            Self::Klauspost { .. } | Self::Pgzip { .. } | Self::Pgzip118 { .. } => 5,
            _ => 6,
        }
    }

    fn parts(self) -> (&'static str, u8) {
        match self {
            Self::Go { level } => ("go", level),
            Self::Go127 { level } => ("go127", level),
            Self::Klauspost { level } => ("klauspost115", level),
            Self::Pgzip { level } => ("pgzip115", level),
            Self::Pgzip118 { level } => ("pgzip118", level),
            Self::Zlib { level } => ("zlib", level),
            Self::Gnu { level } => ("gnu", level),
            Self::Busybox { level } => ("busybox", level),
            Self::BigBusybox { level } => ("busyboxbig", level),
            Self::Pigz { level } => ("pigz", level),
            Self::PigzSingle { level } => ("pigz1", level),
        }
    }
}

type Named = (&'static str, fn(u8) -> Method, std::ops::RangeInclusive<u8>);

const NAMES: &[Named] = &[
    ("go", |level| Method::Go { level }, 0..=9),
    ("pgzip115", |level| Method::Pgzip { level }, 1..=6),
    ("pgzip118", |level| Method::Pgzip118 { level }, 1..=6),
    ("go127", |level| Method::Go127 { level }, 1..=9),
    ("klauspost115", |level| Method::Klauspost { level }, 1..=6),
    ("zlib", |level| Method::Zlib { level }, 1..=9),
    ("gnu", |level| Method::Gnu { level }, 1..=9),
    ("busybox", |level| Method::Busybox { level }, 4..=9),
    ("busyboxbig", |level| Method::BigBusybox { level }, 4..=9),
    ("pigz", |level| Method::Pigz { level }, 1..=9),
    ("pigz1", |level| Method::PigzSingle { level }, 1..=9),
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, level) = self.parts();
        write!(f, "{name}-{level}")
    }
}

impl FromStr for Method {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || RecipeError::UnknownMethod {
            name: text.to_owned(),
        };
        let (name, level) = text.rsplit_once('-').ok_or_else(unknown)?;
        let level: u8 = level.parse().map_err(|_| unknown())?;
        NAMES
            .iter()
            .find(|(known, _, levels)| *known == name && levels.contains(&level))
            .map(|(_, make, _)| make(level))
            .ok_or_else(unknown)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method)?;
        self.header
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || RecipeError::BadForm {
            text: text.chars().take(80).collect(),
        };
        let (method, header) = text.split_once(' ').ok_or_else(bad)?;
        let method = method.parse()?;
        let digits: Option<Vec<u8>> = header
            .bytes()
            .map(|c| {
                char::from(c)
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            })
            .collect();
        let digits = digits.filter(|d| d.len() % 2 == 0).ok_or_else(bad)?;
        let header: Vec<u8> = digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect();
        Self::new(method, &header)
    }
}

impl TryFrom<String> for Recipe {
    type Error = RecipeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Recipe> for String {
    fn from(recipe: Recipe) -> Self {
        recipe.to_string()
    }
}
