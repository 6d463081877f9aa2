//! The key sequence that leaves a container running and goes away.

/// Looks for the sequence in what is typed and holds back what may become it.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    /// Looks for these bytes; for nothing when there are none.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What of these bytes may be passed on, and whether the sequence is complete.
    pub fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (bytes.to_vec(), false);
        }
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if *byte != self.keys[self.matched] && self.matched > 0 {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if *byte != self.keys[self.matched] {
                out.push(*byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                self.matched = 0;
                return (out, true);
            }
        }
        (out, false)
    }
}

/// Reads `ctrl-p,ctrl-q` and the like.
///
/// # Errors
///
/// The text that names the key which is none.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, String> {
    let unknown = || format!("Unknown character: '{text}'");
    match text.strip_prefix("ctrl-") {
        Some("@") => Ok(0),
        Some("[") => Ok(27),
        Some("\\") => Ok(28),
        Some("]") => Ok(29),
        Some("^") => Ok(30),
        Some("_") => Ok(31),
        Some(letter) => match letter.as_bytes() {
            [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
            _ => Err(unknown()),
        },
        None => match text.as_bytes() {
            [one] => Ok(*one),
            b"DEL" => Ok(127),
            _ => Err(unknown()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        assert_eq!(parse("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(parse("a,ctrl-\\,ctrl-@"), Ok(vec![97, 28, 0]));
        assert_eq!(
            parse("ctrl-p,nope"),
            Err("Unknown character: 'nope'".to_owned())
        );
    }

    #[test]
    fn held_back_until_it_is_not_the_sequence() {
        let mut detector = Detector::new(vec![16, 17]);
        assert_eq!(detector.pass(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(detector.pass(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(detector.pass(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(detector.pass(b"\x11rest"), (b"".to_vec(), true));
        assert_eq!(
            Detector::new(Vec::new()).pass(b"\x10\x11"),
            (b"\x10\x11".to_vec(), false)
        );
    }
}
