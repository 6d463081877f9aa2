//! What a token is asked for: `repository:library/debian:pull`.

use std::collections::BTreeMap;
use std::fmt;

/// Scopes of one request; equal sets have equal texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scopes(BTreeMap<String, Vec<String>>);

/// Characters of scopes that a registry may add.
const MAX_ADDED: usize = 1000;

impl Scopes {
    /// Actions on one repository.
    pub(crate) fn repository(name: &str, actions: &[&str]) -> Self {
        Self::default().and(name, actions)
    }

    /// Adds actions on another repository.
    #[must_use]
    pub(crate) fn and(mut self, name: &str, actions: &[&str]) -> Self {
        self.add(format!("repository:{name}"), actions.iter().copied());
        self
    }

    /// Adds what a challenge asks for.
    #[must_use]
    pub(crate) fn with_text(mut self, text: &str) -> Self {
        for scope in text
            .get(..text.len().min(MAX_ADDED))
            .unwrap_or_default()
            .split(' ')
        {
            if let Some((resource, actions)) = scope.rsplit_once(':')
                && !resource.is_empty()
            {
                self.add(resource.to_owned(), actions.split(','));
            }
        }
        self
    }

    /// One text each, as they are sent.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(resource, actions)| format!("{resource}:{}", actions.join(",")))
    }

    fn add<'a>(&mut self, resource: String, actions: impl Iterator<Item = &'a str>) {
        let known = self.0.entry(resource).or_default();
        for action in actions {
            if !action.is_empty() && !known.iter().any(|known| known == action) {
                known.push(action.to_owned());
            }
        }
        known.sort();
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_merged() {
        let own = Scopes::repository("b", &["push", "pull"]).and("a", &["pull"]);
        assert_eq!(own.to_string(), "repository:a:pull repository:b:pull,push");
        let more = own
            .clone()
            .with_text("repository:b:pull,delete registry:catalog:*");
        assert_eq!(
            more.to_string(),
            "registry:catalog:* repository:a:pull repository:b:delete,pull,push"
        );
        assert_eq!(own.clone().with_text("nonsense :x"), own);
    }
}
