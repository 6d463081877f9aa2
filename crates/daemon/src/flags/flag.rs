//! A flag: its names, its values, and what it does.

use super::Kind;

/// What a flag does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What it does in dockerd.
    Used,
    /// Nothing; the log says so.
    Accepted,
    /// The daemon does not start with it: security would be less than was asked for.
    Refused(&'static str),
}

/// A flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Name after two dashes.
    pub name: &'static str,
    /// Letter after one dash.
    pub letter: Option<char>,
    /// Key in `daemon.json`; empty when it is not allowed there.
    pub key: &'static str,
    /// Its values.
    pub kind: Kind,
    /// What it does here.
    pub effect: Effect,
    /// Its line of help.
    pub help: &'static str,
}

/// A flag without a letter, whose key is its name.
pub(super) const fn f(name: &'static str, kind: Kind, effect: Effect, help: &'static str) -> Flag {
    Flag {
        name,
        letter: None,
        key: name,
        kind,
        effect,
        help,
    }
}

impl Flag {
    /// With another key.
    pub(super) const fn key(mut self, key: &'static str) -> Self {
        self.key = key;
        self
    }

    /// With a letter.
    pub(super) const fn letter(mut self, letter: char) -> Self {
        self.letter = Some(letter);
        self
    }

    /// The flag as error texts show it.
    pub fn shown(&self) -> String {
        match self.letter {
            Some(letter) => format!("-{letter}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}
