//! Writing JSON as Go's encoder does: compact, and HTML-safe unless that is turned off.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Writes compact JSON in which `<`, `>`, `&`, U+2028 and U+2029 are escaped.
///
/// # Panics
///
/// Never for the wire types of this crate: their map keys are strings and memory does not refuse.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut out, GoStyle(Markup::Escaped));
    value
        .serialize(&mut serializer)
        .expect("wire types have string keys and a Vec accepts every write");
    out
}

/// Writes compact JSON with `<`, `>` and `&` as they are, ended by a line feed: what Docker's
/// daemon answers with where it sends one value.
///
/// # Panics
///
/// As [`encode`].
pub fn encode_plain_line<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut out, GoStyle(Markup::Plain));
    value
        .serialize(&mut serializer)
        .expect("wire types have string keys and a Vec accepts every write");
    out.push(b'\n');
    out
}

/// Like [`encode`], ended by a line feed as Go's `Encoder` does.
pub fn encode_line<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = encode(value);
    out.push(b'\n');
    out
}

/// What becomes of the characters that mean something in HTML.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Markup {
    Escaped,
    Plain,
}

struct GoStyle(Markup);

impl Formatter for GoStyle {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        w: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let escape: &[u8] = match c {
                '<' | '>' | '&' if self.0 == Markup::Plain => continue,
                '<' => b"\\u003c",
                '>' => b"\\u003e",
                '&' => b"\\u0026",
                '\u{2028}' => b"\\u2028",
                '\u{2029}' => b"\\u2029",
                _ => continue,
            };
            CompactFormatter.write_string_fragment(w, &text[plain..at])?;
            w.write_all(escape)?;
            plain = at + c.len_utf8();
        }
        CompactFormatter.write_string_fragment(w, &text[plain..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_other_text_is_not() {
        let text = "a <b> & \"c\" ü\u{2028}\n";
        assert_eq!(
            String::from_utf8(encode(text)).unwrap(),
            "\"a \\u003cb\\u003e \\u0026 \\\"c\\\" ü\\u2028\\n\""
        );
        assert_eq!(
            String::from_utf8(encode_plain_line(text)).unwrap(),
            "\"a <b> & \\\"c\\\" ü\\u2028\\n\"\n"
        );
        assert_eq!(encode_line(&Option::<u8>::None), b"null\n");
    }
}
