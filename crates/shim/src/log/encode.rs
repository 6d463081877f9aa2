//! Bytes of output to records.
//!
//! Strings are escaped as Docker's json-file driver does (Go's `encoding/json` with HTML escaping):
//! `"`, `\`, control characters, `<`, `>`, `&`, U+2028 and U+2029; every byte that is not UTF-8
//! becomes `\ufffd`.

/// A line longer than this is recorded in pieces of this many bytes.
pub const PIECE: usize = 16 * 1024;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Cuts the output of one stream into pieces; keeps the unfinished line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
}

/// A record's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The bytes, without the newline.
    pub text: &'a [u8],
    /// Whether a newline followed.
    pub newline: bool,
}

impl Splitter {
    /// Hands every piece that is complete with this input to `emit`.
    pub fn feed(&mut self, mut input: &[u8], mut emit: impl FnMut(Piece<'_>)) {
        while !input.is_empty() {
            let end = memchr::memchr(b'\n', input);
            let mut line = &input[..end.unwrap_or(input.len())];
            input = end.map_or(&[], |end| &input[end + 1..]);
            if !self.partial.is_empty() {
                let room = PIECE - self.partial.len();
                let (head, rest) = line.split_at(room.min(line.len()));
                self.partial.extend_from_slice(head);
                line = rest;
                if self.partial.len() < PIECE {
                    if end.is_some() {
                        emit(Piece {
                            text: &self.partial,
                            newline: true,
                        });
                        self.partial.clear();
                    }
                    continue;
                }
                let cut = boundary(&self.partial);
                emit(Piece {
                    text: &self.partial[..cut],
                    newline: false,
                });
                self.partial.drain(..cut);
                if !self.partial.is_empty() {
                    // The start of a character whose end is the next byte: go round once more.
                    self.rejoin(line, end.is_some(), &mut emit);
                    continue;
                }
            }
            self.whole(line, end.is_some(), &mut emit);
        }
    }

    /// Hands on the unfinished line, if there is one.
    pub fn finish(&mut self, mut emit: impl FnMut(Piece<'_>)) {
        if !self.partial.is_empty() {
            emit(Piece {
                text: &self.partial,
                newline: false,
            });
            self.partial = Vec::new();
        }
    }

    /// Gives back memory that no unfinished line needs.
    pub fn shrink(&mut self) {
        self.partial.shrink_to_fit();
    }

    fn rejoin(&mut self, line: &[u8], newline: bool, emit: &mut impl FnMut(Piece<'_>)) {
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(line);
        self.whole(&joined, newline, emit);
    }

    fn whole(&mut self, mut line: &[u8], newline: bool, emit: &mut impl FnMut(Piece<'_>)) {
        while line.len() >= PIECE {
            let cut = boundary(&line[..PIECE]);
            emit(Piece {
                text: &line[..cut],
                newline: false,
            });
            line = &line[cut..];
        }
        if newline {
            emit(Piece {
                text: line,
                newline: true,
            });
        } else {
            self.partial.extend_from_slice(line);
        }
    }
}

/// Where to cut so that no character is torn: at most three bytes before the end.
// COMPAT: Docker cuts at exactly 16 KiB and turns both halves of a torn character into U+FFFD.
fn boundary(piece: &[u8]) -> usize {
    for back in 1..=3 {
        let at = piece.len() - back;
        let width = match piece[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if width > back { at } else { piece.len() };
    }
    piece.len()
}

/// Appends one record. `tail` is what follows the text: stream, attributes, time, newline.
pub(super) fn record(out: &mut Vec<u8>, piece: Piece<'_>, tail: &[u8]) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, piece.text);
    if piece.newline {
        out.extend_from_slice(b"\\n");
    }
    out.extend_from_slice(tail);
}

/// Appends `text` escaped, without quotes.
pub(super) fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let plain = plain_len(text);
        out.extend_from_slice(&text[..plain]);
        text = &text[plain..];
        let Some(&byte) = text.first() else { return };
        if byte < 0x80 {
            escape_ascii(out, byte);
            text = &text[1..];
        } else {
            let len = text.iter().position(u8::is_ascii).unwrap_or(text.len());
            escape_unicode(out, &text[..len]);
            text = &text[len..];
        }
    }
}

/// Length of the longest prefix that needs no escaping and is ASCII.
fn plain_len(text: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let mut at = 0;
    // The inner loop has no branches, so the compiler makes vector instructions of it.
    for block in text.chunks_exact(BLOCK) {
        let special = block.iter().fold(false, |any, &b| any | is_special(b));
        if special {
            break;
        }
        at += BLOCK;
    }
    text[at..]
        .iter()
        .position(|&b| is_special(b))
        .map_or(text.len(), |i| at + i)
}

fn is_special(byte: u8) -> bool {
    // As signed numbers, control characters and all of 0x80..=0xff are below 0x20. `<` and `>`
    // differ in one bit, `"` and `&` in another.
    (byte.cast_signed() < 0x20) | (byte | 2 == b'>') | (byte | 4 == b'&') | (byte == b'\\')
}

fn escape_ascii(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}

fn escape_unicode(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut valid = chunk.valid().as_bytes();
        // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
        while let Some(at) = memchr::memmem::find(valid, b"\xe2\x80") {
            let (before, rest) = valid.split_at(at);
            out.extend_from_slice(before);
            match rest[2] {
                0xa8 => out.extend_from_slice(b"\\u2028"),
                0xa9 => out.extend_from_slice(b"\\u2029"),
                _ => out.extend_from_slice(&rest[..3]),
            }
            valid = &rest[3..];
        }
        out.extend_from_slice(valid);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_as_docker_does() {
        for (text, want) in [
            (&b"plain ~!@#$%^*()'"[..], r#"plain ~!@#$%^*()'"#),
            (b"a\"b\\c", r#"a\"b\\c"#),
            (b"\t\r\n\0\x1b[0m", "\\u0009\\r\\n\\u0000\\u001b[0m"),
            (b"<a&b>", r"\u003ca\u0026b\u003e"),
            (
                "caf\u{e9} \u{1f600} \u{2028}\u{2029}\u{2030}".as_bytes(),
                "caf\u{e9} \u{1f600} \\u2028\\u2029\u{2030}",
            ),
            (b"\xff\xe2\x82A\x80", r"\ufffd\ufffd\ufffdA\ufffd"),
            (b"\x7f", "\x7f"),
        ] {
            assert_eq!(escaped(text), want);
        }
    }

    #[test]
    fn every_byte_is_escaped_the_same_at_every_offset() {
        for byte in 0..=255u8 {
            let alone = escaped(&[byte]);
            for offset in 0..70 {
                let mut text = vec![b'x'; offset];
                text.push(byte);
                text.extend_from_slice(b"yyy");
                assert_eq!(escaped(&text), format!("{}{alone}yyy", "x".repeat(offset)));
            }
        }
    }

    fn pieces(input: &[u8], chunk: usize) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        for part in input.chunks(chunk) {
            splitter.feed(part, |p| all.push((p.text.to_vec(), p.newline)));
        }
        splitter.finish(|p| all.push((p.text.to_vec(), p.newline)));
        all
    }

    #[test]
    fn the_pieces_do_not_depend_on_how_the_input_arrives() {
        let mut input = Vec::new();
        for len in [
            0,
            1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            2 * PIECE,
            3 * PIECE + 5,
            7,
        ] {
            input.extend(std::iter::repeat_n(b'a', len));
            input.push(b'\n');
        }
        input.extend_from_slice("\u{20ac}".repeat(PIECE).as_bytes());
        input.extend_from_slice(b"\nno newline");
        let want = pieces(&input, input.len());
        for chunk in [1, 7, 1000, PIECE - 1, PIECE, PIECE + 1, 65_536] {
            assert!(pieces(&input, chunk) == want, "chunks of {chunk}");
        }
        let joined: Vec<u8> = want
            .iter()
            .flat_map(|(text, newline)| text.iter().copied().chain(newline.then_some(b'\n')))
            .collect();
        assert!(joined == input);
        assert!(
            want.iter()
                .all(|(text, _)| text.len() <= PIECE && std::str::from_utf8(text).is_ok())
        );
        // A line of exactly one piece is a piece and an empty end, as with Docker.
        assert_eq!(want[3], (vec![b'a'; PIECE], false));
        assert_eq!(want[4], (Vec::new(), true));
    }
}
