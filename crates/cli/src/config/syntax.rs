//! What is wrong with a text that should be JSON, in the words of Go's `encoding/json`.
//!
//! Only asked when the text could not be read; walks the grammar up to the first offence.

/// Go's complaint about the first JSON value of a text; `None` when there is nothing to say.
pub(super) fn complaint(text: &[u8]) -> Option<String> {
    let mut walk = Walk {
        text,
        at: 0,
        depth: 0,
    };
    walk.value("looking for beginning of value").err()
}

/// Go's bound of nesting.
const MAX_DEPTH: usize = 10_000;

struct Walk<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

type Told = Result<(), String>;

impl Walk<'_> {
    fn peek(&mut self) -> Result<u8, String> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.here()
    }

    fn here(&self) -> Result<u8, String> {
        let byte = self.text.get(self.at).copied();
        byte.ok_or_else(|| "unexpected EOF".to_owned())
    }

    fn wrong(&self, where_: &str) -> String {
        // Go shows one byte as if it were a character.
        let shown = match self.text.get(self.at).copied() {
            None => return "unexpected EOF".to_owned(),
            Some(b'\'') => r"'\''".to_owned(),
            Some(b'\n') => r"'\n'".to_owned(),
            Some(b'\r') => r"'\r'".to_owned(),
            Some(b'\t') => r"'\t'".to_owned(),
            Some(byte @ (0..=0x1f | 0x7f)) => format!("'\\x{byte:02x}'"),
            Some(byte) => format!("'{}'", char::from(byte)),
        };
        format!("invalid character {shown} {where_}")
    }

    fn value(&mut self, expected: &str) -> Told {
        match self.peek()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.wrong(expected)),
        }
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Told) -> Told {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        self.at += 1;
        inner(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Told {
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.wrong("looking for beginning of object key string"));
            }
            self.string()?;
            if self.peek()? != b':' {
                return Err(self.wrong("after object key"));
            }
            self.at += 1;
            self.value("looking for beginning of value")?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Told {
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value("looking for beginning of value")?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("after array element")),
            }
        }
    }

    fn string(&mut self) -> Told {
        self.at += 1;
        loop {
            match self.here()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..=0x1f => return Err(self.wrong("in string literal")),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Told {
        match self.here()? {
            b'u' => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.here()?.is_ascii_hexdigit() {
                        return Err(self.wrong("in \\u hexadecimal character escape"));
                    }
                }
            }
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
            _ => return Err(self.wrong("in string escape code")),
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Told {
        for expected in word.chars() {
            if char::from(self.here()?) != expected {
                return Err(self.wrong(&format!("in literal {word} (expecting {expected:?})")));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Told {
        if self.here()? == b'-' {
            self.at += 1;
            if !self.here()?.is_ascii_digit() {
                return Err(self.wrong("in numeric literal"));
            }
        }
        let digits = |walk: &mut Self| {
            while walk.text.get(walk.at).is_some_and(u8::is_ascii_digit) {
                walk.at += 1;
            }
        };
        if self.here()? == b'0' {
            self.at += 1;
        } else {
            digits(self);
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !self.here()?.is_ascii_digit() {
                return Err(self.wrong("after decimal point in numeric literal"));
            }
            digits(self);
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.here()?, b'+' | b'-') {
                self.at += 1;
            }
            if !self.here()?.is_ascii_digit() {
                return Err(self.wrong("in exponent of numeric literal"));
            }
            digits(self);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_words() {
        for (text, want) in [
            ("{", "unexpected EOF"),
            (
                r#"{"a":tru}"#,
                "invalid character '}' in literal true (expecting 'e')",
            ),
            (
                "{a:1}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (
                "{'a':1}",
                r"invalid character '\'' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":1 "b":2}"#,
                "invalid character '\"' after object key:value pair",
            ),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("x", "invalid character 'x' looking for beginning of value"),
            (
                r#"{"a":"\x"}"#,
                "invalid character 'x' in string escape code",
            ),
            (
                "{\"a\":\"\n\"}",
                r"invalid character '\n' in string literal",
            ),
            (
                r#"{"a":01}"#,
                "invalid character '1' after object key:value pair",
            ),
            (r#"{"a":-x}"#, "invalid character 'x' in numeric literal"),
        ] {
            assert_eq!(complaint(text.as_bytes()).as_deref(), Some(want), "{text}");
        }
        assert_eq!(complaint(br#"{"a":[1.5e3,null,"x\u00e9"]} trailing"#), None);
    }
}
