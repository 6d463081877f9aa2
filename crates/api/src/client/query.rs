//! Query strings and path segments.

use std::fmt;

/// A query string under construction; prints with its `?`, or as nothing when empty.
#[derive(Debug, Clone, Default)]
pub struct Query(String);

impl Query {
    /// Makes an empty query.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `key=value`.
    pub fn add(&mut self, key: &str, value: impl AsRef<str>) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(&escape(key));
        self.0.push('=');
        self.0.push_str(&escape(value.as_ref()));
    }

    /// Adds `key=value` unless the value is empty.
    pub fn add_some(&mut self, key: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.add(key, value);
        }
    }

    /// Adds `key=1` if set.
    pub fn add_flag(&mut self, key: &str, set: bool) {
        if set {
            self.add(key, "1");
        }
    }

    /// Returns it with `key=value` added.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.add(key, value);
        self
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes everything that is not unreserved in a URL.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_all_but_unreserved() {
        assert_eq!(escape("a b/c:ü~"), "a%20b%2Fc%3A%C3%BC~");
        let query = Query::new().with("filters", "{\"a\":1}").with("all", "1");
        assert_eq!(query.to_string(), "?filters=%7B%22a%22%3A1%7D&all=1");
        assert_eq!(Query::new().to_string(), "");
    }
}
