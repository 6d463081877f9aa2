//! Why a text is no JSON, in the words of Go's `encoding/json`.

/// Go's words for the first character that cannot stand where it stands.
///
/// `None` where every character can: the text ends too early, or what is wrong with it is something
/// that Go does not mind.
pub(super) fn complaint(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    match scanner.value() {
        Err(Stop::Bad { byte, place }) => {
            Some(format!("invalid character {} {place}", quote(byte)))
        }
        Err(Stop::End) | Ok(()) => None,
    }
}

/// What follows a whole document, in Go's words.
pub(super) fn trailing(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value().ok()?;
    scanner.blanks();
    let byte = *text.get(scanner.at)?;
    Some(format!(
        "invalid character {} after top-level value",
        quote(byte)
    ))
}

enum Stop {
    /// A character that cannot stand here.
    Bad { byte: u8, place: String },
    /// The text ends.
    End,
}

/// How Go shows a character.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        7 => r"'\a'".to_owned(),
        8 => r"'\b'".to_owned(),
        12 => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        11 => r"'\v'".to_owned(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa0 => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

/// Objects and arrays that are open at once; Go stops at 10000 and the parser before at 128.
const MAX_DEPTH: usize = 10_000;

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Stop> {
        self.text.get(self.at).copied().ok_or(Stop::End)
    }

    fn bad<T>(&self, place: impl Into<String>) -> Result<T, Stop> {
        let place = place.into();
        self.peek().and_then(|byte| Err(Stop::Bad { byte, place }))
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Ok(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// One value with everything in it, without recursion.
    fn value(&mut self) -> Result<(), Stop> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.blanks();
            match self.peek()? {
                b'{' | b'[' if open.len() >= MAX_DEPTH => return Err(Stop::End),
                brace @ (b'{' | b'[') => {
                    self.at += 1;
                    self.blanks();
                    let close = if brace == b'{' { b'}' } else { b']' };
                    if self.peek()? != close {
                        open.push(close);
                        if close == b'}' {
                            self.key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => return self.bad("looking for beginning of value"),
            }
            if !self.closed(&mut open)? {
                return Ok(());
            }
        }
    }

    /// What follows a value: whether another one has to come.
    fn closed(&mut self, open: &mut Vec<u8>) -> Result<bool, Stop> {
        while let Some(close) = open.last().copied() {
            self.blanks();
            match self.peek()? {
                b',' => {
                    self.at += 1;
                    if close == b'}' {
                        self.blanks();
                        self.key()?;
                    }
                    return Ok(true);
                }
                byte if byte == close => {
                    self.at += 1;
                    open.pop();
                }
                _ if close == b'}' => return self.bad("after object key:value pair"),
                _ => return self.bad("after array element"),
            }
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), Stop> {
        if self.peek()? != b'"' {
            return self.bad("looking for beginning of object key string");
        }
        self.string()?;
        self.blanks();
        if self.peek()? != b':' {
            return self.bad("after object key");
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..0x20 => return self.bad("in string literal"),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        match self.peek()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek()?.is_ascii_hexdigit() {
                        return self.bad(r"in \u hexadecimal character escape");
                    }
                    self.at += 1;
                }
            }
            _ => return self.bad("in string escape code"),
        }
        Ok(())
    }

    fn digits(&mut self, place: &str) -> Result<(), Stop> {
        if !self.peek()?.is_ascii_digit() {
            return self.bad(place);
        }
        while self.peek().is_ok_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek().is_ok_and(|byte| byte == b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if self.peek().is_ok_and(|byte| matches!(byte, b'e' | b'E')) {
            self.at += 1;
            if self.peek().is_ok_and(|byte| matches!(byte, b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), Stop> {
        for want in word.bytes() {
            if self.peek()? != want {
                let want = char::from(want);
                return self.bad(format!("in literal {word} (expecting '{want}')"));
            }
            self.at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_gos() {
        for (text, want) in [
            ("x", "'x' looking for beginning of value"),
            ("[1,]", "']' looking for beginning of value"),
            ("{\"a\":}", "'}' looking for beginning of value"),
            ("{a", "'a' looking for beginning of object key string"),
            (
                "{\"a\":1,}",
                "'}' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "'1' after object key"),
            ("{\"a\":1 \"", "'\"' after object key:value pair"),
            ("[1 2]", "'2' after array element"),
            ("\"a\nb\"", "'\\n' in string literal"),
            ("\"\\x\"", "'x' in string escape code"),
            ("\"\\u00g0\"", "'g' in \\u hexadecimal character escape"),
            ("-x", "'x' in numeric literal"),
            ("1.x", "'x' after decimal point in numeric literal"),
            ("1e'", "'\\'' in exponent of numeric literal"),
            ("tru e", "' ' in literal true (expecting 'e')"),
            ("nope", "'o' in literal null (expecting 'u')"),
            ("\u{0}", "'\\x00' looking for beginning of value"),
            ("ü", "'Ã' looking for beginning of value"),
        ] {
            let want = format!("invalid character {want}");
            assert_eq!(complaint(text.as_bytes()), Some(want), "{text:?}");
        }
        for fine in [
            "",
            "{",
            "{\"a\":[{}, null, -1.5e+3, \"\\u00e4\"]}",
            "[[",
            "tr",
            "1.",
        ] {
            assert_eq!(complaint(fine.as_bytes()), None, "{fine:?}");
        }
        assert_eq!(
            trailing(b"{} x").unwrap(),
            "invalid character 'x' after top-level value"
        );
        assert_eq!(trailing(b" 1 "), None);
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(complaint("[".repeat(20_000).as_bytes()), None);
    }
}
