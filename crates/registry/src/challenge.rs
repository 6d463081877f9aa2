//! `WWW-Authenticate`: what a registry wants to see (RFC 9110, section 11.6.1).
//!
//! Several headers and several challenges in one header are all read; what cannot be read ends
//! its header, what came before it counts.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Challenges that are looked at; a registry sends one or two.
const MAX_CHALLENGES: usize = 16;

/// One challenge; scheme and names of parameters in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// A parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// All challenges of an answer.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut all = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        if let Ok(text) = value.to_str() {
            parse(text, &mut all);
        }
    }
    all.truncate(MAX_CHALLENGES);
    all
}

fn parse(text: &str, all: &mut Vec<Challenge>) {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return;
        }
        let value = after.trim_start_matches([' ', '\t']);
        // `name = value` belongs to the challenge before it; a word alone begins a new one.
        match value.strip_prefix('=') {
            Some(value) if !all.is_empty() && !is_token68_tail(value) => {
                let Some((value, after)) = quoted_or_token(value.trim_start_matches([' ', '\t']))
                else {
                    return;
                };
                if let Some(last) = all.last_mut() {
                    last.parameters.entry(word.to_lowercase()).or_insert(value);
                }
                rest = after;
            }
            Some(_) => return,
            None => {
                all.push(Challenge {
                    scheme: word.to_lowercase(),
                    parameters: BTreeMap::new(),
                });
                rest = after;
            }
        }
        if all.len() > MAX_CHALLENGES {
            return;
        }
    }
}

/// The padding of a `token68` (`Negotiate abc==`) looks like an empty value.
fn is_token68_tail(value: &str) -> bool {
    let rest = value.trim_start_matches('=');
    rest.is_empty() || rest.starts_with([',', ' '])
}

fn token(text: &str) -> (&str, &str) {
    let good = |c: char| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c);
    let end = text.find(|c| !good(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn quoted_or_token(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        // Unquoted URLs are wrong and common.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.parse().unwrap());
        }
        challenges(&headers)
    }

    #[test]
    fn the_usual_forms_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="insufficient_scope""#;
        let found = read(&[hub]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(found[0].get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(found[0].get("error"), Some("insufficient_scope"));
        let found = read(&["BASIC Realm=Registry"]);
        assert_eq!(found[0].scheme, "basic");
        assert_eq!(found[0].get("realm"), Some("Registry"));
    }

    #[test]
    fn several_challenges_are_told_apart() {
        let one = r#"Negotiate, Basic realm="a \"b\", c" , Bearer realm=https://x/t,service="s""#;
        for found in [
            read(&[one]),
            read(&[
                "Negotiate",
                r#"Basic realm="a \"b\", c""#,
                r#"Bearer realm="https://x/t", service=s"#,
            ]),
        ] {
            let schemes: Vec<&str> = found.iter().map(|c| c.scheme.as_str()).collect();
            assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
            assert_eq!(found[1].get("realm"), Some(r#"a "b", c"#));
            assert_eq!(found[2].get("realm"), Some("https://x/t"));
            assert_eq!(found[2].get("service"), Some("s"));
        }
    }

    #[test]
    fn nonsense_neither_panics_nor_loops() {
        for text in [
            "",
            ",",
            "=",
            "a=b",
            "Basic realm=",
            "Basic realm=\"",
            "Basic realm=\"\\",
            "\"x\"",
            "Negotiate YII==",
            "Basic =",
            "Bearer realm=\"x\",,,=,",
        ] {
            let _ = read(&[text]);
        }
        assert_eq!(read(&[&"a,".repeat(1000)]).len(), MAX_CHALLENGES);
        assert_eq!(
            read(&["Bearer realm=\"first\",realm=\"second\""])[0].get("realm"),
            Some("first")
        );
    }
}
