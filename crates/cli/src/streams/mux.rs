//! Docker's framing of stdout and stderr in one stream.
//!
//! A frame is a head of eight bytes (kind, three zeros, length as a big-endian 32-bit number) and
//! the bytes. Kind 3 is an error of the daemon's.

use std::io;

const HEAD: usize = 8;

/// Takes frames apart, whatever the pieces they arrive in.
#[derive(Debug, Default)]
pub struct Demux {
    head: Vec<u8>,
    stderr: bool,
    error: Option<Vec<u8>>,
    left: usize,
}

impl Demux {
    /// Hands each piece to `show`, with whether it is stderr.
    ///
    /// # Errors
    ///
    /// Those of `show`, an unknown kind, and what the daemon says in a frame of kind 3.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut show: impl FnMut(bool, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = HEAD - self.head.len();
                let (head, rest) = bytes.split_at(missing.min(bytes.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if self.head.len() == HEAD {
                    self.begin()?;
                }
                continue;
            }
            let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
            bytes = rest;
            self.left -= body.len();
            match &mut self.error {
                Some(text) => text.extend_from_slice(body),
                None => show(self.stderr, body)?,
            }
            if let (0, Some(text)) = (self.left, &self.error) {
                let text = String::from_utf8_lossy(text);
                return Err(io::Error::other(format!(
                    "error from daemon in stream: {text}"
                )));
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let length = self.head[4..]
            .iter()
            .fold(0_usize, |n, b| n << 8 | usize::from(*b));
        let kind = self.head[0];
        self.head.clear();
        self.left = length;
        self.stderr = kind == 2;
        self.error = (kind == 3).then(Vec::new);
        match kind {
            0..=3 => Ok(()),
            kind => Err(io::Error::other(format!(
                "Unrecognized input header: {kind}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &str) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], body.as_bytes()].concat()
    }

    #[test]
    fn frames_in_any_pieces() {
        let stream = [
            frame(1, "out"),
            frame(2, "err"),
            frame(1, ""),
            frame(1, "more"),
        ]
        .concat();
        for size in 1..stream.len() {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut demux = Demux::default();
            for piece in stream.chunks(size) {
                let show = |stderr, bytes: &[u8]| {
                    if stderr { &mut err } else { &mut out }.extend_from_slice(bytes);
                    Ok(())
                };
                demux.push(piece, show).unwrap();
            }
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (&b"outmore"[..], &b"err"[..]),
                "{size}"
            );
        }
    }

    #[test]
    fn errors_in_the_stream() {
        let mut demux = Demux::default();
        let error = demux.push(&frame(3, "broken"), |_, _| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "error from daemon in stream: broken");
        let error = Demux::default()
            .push(&frame(9, "x"), |_, _| Ok(()))
            .unwrap_err();
        assert_eq!(error.to_string(), "Unrecognized input header: 9");
    }
}
