//! The keys that detach a client from a terminal.

use crate::{Error, Result};

/// Docker's default: ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// Reads Docker's grammar: keys separated by commas, each a character or `ctrl-x`.
///
/// # Errors
///
/// Names the key that is neither.
pub fn parse_keys(text: &str) -> Result<Vec<u8>> {
    let key = |key: &str| -> Option<u8> {
        let mut chars = key.bytes();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            return Some(c);
        }
        let name = key.to_ascii_lowercase();
        let rest = name.strip_prefix("ctrl-")?;
        match rest.as_bytes() {
            [c @ b'a'..=b'z'] => Some(c - b'a' + 1),
            [b'@'] => Some(0),
            [c @ b'['..=b'_'] => Some(c - b'[' + 27),
            _ => None,
        }
    };
    text.split(',')
        .map(|part| {
            key(part).ok_or_else(|| {
                Error::invalid(format!(
                    "Invalid detach keys ({text}) provided: Unknown character: '{part}'"
                ))
            })
        })
        .collect()
}

/// Looks for the keys in what a user types, over any split into chunks.
#[derive(Debug, Clone)]
pub struct DetachScanner {
    keys: Vec<u8>,
    matched: usize,
}

/// What becomes of a chunk of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes to pass on; those of a begun sequence are held back until it fails.
    pub forward: Vec<u8>,
    /// The keys were pressed: what follows is not passed on.
    pub detach: bool,
}

impl DetachScanner {
    /// Looks for these keys; `None` or empty is the default.
    ///
    /// # Errors
    ///
    /// The keys are not of Docker's grammar.
    pub fn new(keys: Option<&str>) -> Result<Self> {
        let keys = match keys {
            None | Some("") => DEFAULT.to_vec(),
            Some(text) => parse_keys(text)?,
        };
        Ok(Self { keys, matched: 0 })
    }

    /// Takes the next chunk.
    pub fn scan(&mut self, chunk: &[u8]) -> Scanned {
        let mut forward = Vec::with_capacity(chunk.len());
        for &byte in chunk {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Scanned {
                        forward,
                        detach: true,
                    };
                }
                continue;
            }
            forward.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(self.keys[0] == byte);
            if self.matched == 0 {
                forward.push(byte);
            } else if self.keys.len() == 1 {
                return Scanned {
                    forward,
                    detach: true,
                };
            }
        }
        Scanned {
            forward,
            detach: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(scanner: &mut DetachScanner, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        for chunk in chunks {
            let scanned = scanner.scan(chunk);
            out.extend(scanned.forward);
            if scanned.detach {
                return (out, true);
            }
        }
        (out, false)
    }

    #[test]
    fn keys_are_found_over_chunk_borders_and_failed_starts_are_passed_on() {
        let scanner = DetachScanner::new(None).unwrap();
        assert_eq!(
            feed(&mut scanner.clone(), &[b"ab\x10", b"\x11cd"]),
            (b"ab".to_vec(), true)
        );
        assert_eq!(
            feed(&mut scanner.clone(), &[b"\x10x", b"\x10", b"\x10\x11"]),
            (b"\x10x\x10".to_vec(), true)
        );
        assert_eq!(
            feed(&mut scanner.clone(), &[b"plain"]),
            (b"plain".to_vec(), false)
        );
    }

    #[test]
    fn grammar_of_keys() {
        assert_eq!(parse_keys("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(
            parse_keys("a,ctrl-@,ctrl-],CTRL-a").unwrap(),
            [b'a', 0, 29, 1]
        );
        for bad in ["ctrl-", "ctrl-1", "xx", "a,,b", "ctrl-ü"] {
            assert!(parse_keys(bad).is_err(), "{bad}");
        }
    }
}
