//! Filters of lists, prunes and events: a key and the values any of which may match.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::RegexBuilder;

use crate::{Error, Result};

/// Memory that one regular expression of a client may take.
const MAX_REGEX: usize = 256 * 1024;

/// Values wanted, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(pub BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// No filter: everything matches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a wanted value.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// The wanted values of a key; `None` when the key is not filtered.
    pub fn get(&self, key: &str) -> Option<&BTreeSet<String>> {
        self.0.get(key).filter(|values| !values.is_empty())
    }

    /// Whether a key is not filtered or wants this very value.
    pub fn allows(&self, key: &str, value: &str) -> bool {
        self.get(key).is_none_or(|values| values.contains(value))
    }

    /// Whether a key is not filtered or any wanted value satisfies the test.
    pub fn allows_if(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        self.get(key)
            .is_none_or(|values| values.iter().any(|v| test(v)))
    }

    /// Whether a key is not filtered, or the text is a wanted value or fits one as a regular
    /// expression; one that is none fits nothing, as in Docker.
    pub fn matches(&self, key: &str, text: &str) -> bool {
        self.allows_if(key, |wanted| {
            let pattern = || RegexBuilder::new(wanted).size_limit(MAX_REGEX).build();
            wanted == text || pattern().is_ok_and(|pattern| pattern.is_match(text))
        })
    }

    /// Whether every wanted label is present: `key`, or `key=value`.
    pub fn allows_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key)
            .is_none_or(|wanted| wanted.iter().all(|w| has_label(labels, w)))
    }

    /// Whether no unwanted label (`label!`) is present.
    pub fn allows_without_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key)
            .is_none_or(|unwanted| !unwanted.iter().any(|w| has_label(labels, w)))
    }

    /// Reads a filter that is true or false; absent is `None`.
    ///
    /// # Errors
    ///
    /// The value is neither, or both were given.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let Some(values) = self.get(key) else {
            return Ok(None);
        };
        let word = |v: &str| match v {
            "1" | "true" | "True" | "TRUE" | "t" | "T" => Some(true),
            "0" | "false" | "False" | "FALSE" | "f" | "F" => Some(false),
            _ => None,
        };
        let read: Option<BTreeSet<bool>> = values.iter().map(|v| word(v)).collect();
        match read.as_ref().map(|r| (r.len(), r.first())) {
            Some((1, Some(value))) => Ok(Some(*value)),
            _ => Err(invalid(key, values)),
        }
    }

    /// Refuses keys outside the known ones.
    ///
    /// # Errors
    ///
    /// Names the first unknown key.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::invalid(format!("invalid filter '{key}'"))),
        }
    }
}

/// Docker's text for a filter value that makes no sense.
fn invalid(key: &str, values: &BTreeSet<String>) -> Error {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    Error::invalid(format!("invalid filter '{key}=[{}]'", values.join(" ")))
}

fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        None => labels.contains_key(wanted),
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_need_all_other_keys_need_any() {
        let mut filters = Filters::new();
        filters.add("label", "a");
        filters.add("label", "b=2");
        filters.add("status", "running");
        filters.add("status", "paused");
        let mut labels = BTreeMap::from([("a".to_owned(), String::new())]);
        assert!(!filters.allows_labels("label", &labels));
        labels.insert("b".to_owned(), "2".to_owned());
        assert!(filters.allows_labels("label", &labels));
        assert!(filters.allows("status", "paused"));
        assert!(!filters.allows("status", "exited"));
        assert!(filters.allows("name", "anything"));
    }

    #[test]
    fn names_are_regular_expressions() {
        let fits = |pattern: &str, text: &str| {
            let mut filters = Filters::new();
            filters.add("name", pattern);
            filters.matches("name", text)
        };
        for good in ["we", "web.1", "^web", "1$", "^w.*[0-9]$", "(db|web)"] {
            assert!(fits(good, "web.1"), "{good}");
        }
        for bad in ["^eb", "web$", "(", "db|app"] {
            assert!(!fits(bad, "web.1"), "{bad}");
        }
        assert!(fits("a(", "a("), "equal");
        assert!(!fits("((a{1000}){1000}){1000}", "a"), "bounded");
        assert!(Filters::new().matches("name", "x"));
    }

    #[test]
    fn unknown_keys_and_bad_booleans_are_refused() {
        let mut filters = Filters::new();
        filters.add("dangling", "maybe");
        assert!(filters.boolean("dangling").is_err());
        assert!(filters.only(&["label"]).is_err());
        assert!(filters.only(&["dangling"]).is_ok());
        let mut filters = Filters::new();
        filters.add("dangling", "1");
        assert_eq!(filters.boolean("dangling").unwrap(), Some(true));
    }
}
