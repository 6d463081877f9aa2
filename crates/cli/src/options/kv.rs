//! `key=value` pairs, from flags and from files.

use std::env;
use std::fs;

use serde_json::{Map, Value};

use crate::config::go_text;

/// What a variable without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The value of our own variable of that name, where there is one.
    Environment,
    /// Nothing: in a file it is left out.
    Nowhere,
}

/// All pairs: those of the files first, so that those of the flags win.
pub fn read(files: &[String], given: &[String], lookup: Lookup) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for file in files {
        let bytes = fs::read(file).map_err(|error| format!("open {file}: {}", go_text(&error)))?;
        let lines = parse_file(&bytes, lookup)
            .map_err(|error| format!("invalid env file ({file}): {error}"))?;
        out.extend(lines);
    }
    for pair in given {
        match (lookup, pair.contains('=')) {
            (Lookup::Environment, false) => {
                out.push(from_environment(pair).unwrap_or_else(|| pair.clone()))
            }
            _ => out.push(pair.clone()),
        }
    }
    Ok(out)
}

fn from_environment(name: &str) -> Option<String> {
    Some(format!("{name}={}", env::var(name).ok()?))
}

fn parse_file(bytes: &[u8], lookup: Lookup) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
            return Err(format!(
                "invalid utf8 bytes at line {}: [{}]",
                number + 1,
                bytes.join(" ")
            ));
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if key.contains([' ', '\t']) {
            return Err(format!("variable '{key}' contains whitespaces"));
        }
        if line.contains('=') {
            out.push(line.to_owned());
        } else if lookup == Lookup::Environment {
            out.extend(from_environment(line));
        }
    }
    Ok(out)
}

/// Pairs as a JSON object; the last of a key wins.
pub fn object(pairs: &[String]) -> Map<String, Value> {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), Value::from(value))
    };
    pairs.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let text = b"\xef\xbb\xbf# comment\n\n  A=1 \nB=\nCORTEN_SURELY_NOT_SET\r\nC=x=y\r\n";
        assert_eq!(
            parse_file(text, Lookup::Environment),
            Ok(vec!["A=1 ".to_owned(), "B=".to_owned(), "C=x=y".to_owned()])
        );
        assert_eq!(
            parse_file(b"=x", Lookup::Nowhere),
            Err("no variable name on line '=x'".to_owned())
        );
        assert_eq!(
            parse_file(b"a b=x", Lookup::Nowhere),
            Err("variable 'a b' contains whitespaces".to_owned())
        );
        assert_eq!(
            parse_file(b"ok=1\n\xff", Lookup::Nowhere),
            Err("invalid utf8 bytes at line 2: [255]".to_owned())
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(&["/nowhere/at/all".to_owned()], &[], Lookup::Nowhere).unwrap_err();
        assert_eq!(error, "open /nowhere/at/all: no such file or directory");
    }

    #[test]
    fn the_last_of_a_key_wins() {
        let map = object(&["a=1".to_owned(), "b".to_owned(), "a=2=3".to_owned()]);
        assert_eq!(Value::Object(map).to_string(), r#"{"a":"2=3","b":""}"#);
    }
}
