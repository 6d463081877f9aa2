//! Finding the route of a request: pure matching of segments.
//!
//! A pattern is literal segments, `{name}` for exactly one segment, and at most one `{name...}`
//! for one or more segments, which may stand in the middle: image names contain slashes.

use std::fmt;

use futures_util::future::BoxFuture;
use hyper::Method;

use crate::call::Call;
use crate::error::ApiError;
use crate::reply::Reply;

/// Serves a route.
pub type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, ApiError>>;

/// How much of a route of Docker's API is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// All of it.
    Done,
    /// What the text leaves.
    Partial(&'static str),
    /// Nothing: it answers 501, or the status that Docker answers for a feature that is off.
    Refused,
}

/// A route of Docker's API.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Pattern without the version.
    pub pattern: &'static str,
    /// How much is there.
    pub support: Support,
    /// Who serves it.
    pub handler: Handler,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.pattern, self.support)
    }
}

/// A path split into the version in front, if any, and the rest.
pub fn split_version(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else {
        return (None, path);
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let version = &rest[..end];
    let digits = !version.is_empty() && version.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    if digits && end < rest.len() {
        (Some(version), &rest[end..])
    } else {
        (None, path)
    }
}

/// The values of a pattern's variables, if the path matches.
pub fn match_path(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut segments = path.strip_prefix('/')?.split('/');
    let mut wanted = pattern.strip_prefix('/')?.split('/');
    while let Some(want) = wanted.next() {
        if want.ends_with("...}") {
            let tail: Vec<&str> = wanted.collect();
            let left: Vec<&str> = segments.collect();
            let middle = left.len().checked_sub(tail.len()).filter(|n| *n > 0)?;
            if left[middle..] != tail[..] || left[..middle].contains(&"") {
                return None;
            }
            values.push(left[..middle].join("/"));
            return Some(values);
        }
        let have = segments.next()?;
        if want.starts_with('{') {
            if have.is_empty() {
                return None;
            }
            values.push(have.to_owned());
        } else if want != have {
            return None;
        }
    }
    segments.next().is_none().then_some(values)
}

/// The path without empty and dot segments; Docker's router redirects to it.
pub fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", parts.join("/"))
}

/// Compares `major.minor` versions as Docker does: part by part, missing parts are zero.
pub fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    let number = |part: Option<&str>| part.and_then(|p| p.parse::<u64>().ok()).unwrap_or(0);
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    for _ in 0..a.split('.').count().max(b.split('.').count()) {
        let order = number(left.next()).cmp(&number(right.next()));
        if order.is_ne() {
            return order;
        }
    }
    std::cmp::Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_split_off() {
        assert_eq!(split_version("/v1.51/info"), (Some("1.51"), "/info"));
        assert_eq!(split_version("/info"), (None, "/info"));
        assert_eq!(split_version("/volumes"), (None, "/volumes"));
        assert_eq!(split_version("/v1.51"), (None, "/v1.51"));
        assert_eq!(split_version("/v/info"), (None, "/v/info"));
        assert_eq!(split_version("/vx/info"), (None, "/vx/info"));
    }

    #[test]
    fn patterns() {
        let m = |pattern: &str, path: &str| match_path(pattern, path).map(|v| v.join(","));
        assert_eq!(m("/info", "/info").as_deref(), Some(""));
        assert_eq!(m("/info", "/info/"), None);
        assert_eq!(
            m("/containers/{id}/json", "/containers/a/json").as_deref(),
            Some("a")
        );
        assert_eq!(m("/containers/{id}/json", "/containers/a/b/json"), None);
        assert_eq!(m("/containers/{id}/json", "/containers//json"), None);
        assert_eq!(
            m("/images/{name...}/json", "/images/a/b:c/json").as_deref(),
            Some("a/b:c")
        );
        assert_eq!(m("/images/{name...}/json", "/images/json"), None);
        assert_eq!(
            m("/images/{name...}/json", "/images/json/json").as_deref(),
            Some("json")
        );
        assert_eq!(
            m("/images/{name...}", "/images/a/b").as_deref(),
            Some("a/b")
        );
        assert_eq!(m("/a/{x}/b/{y}", "/a/1/b/2").as_deref(), Some("1,2"));
    }

    #[test]
    fn cleaning() {
        assert_eq!(clean_path("/images//json"), "/images/json");
        assert_eq!(clean_path("/a/../../b/./c/"), "/b/c/");
        assert_eq!(clean_path("/"), "/");
    }

    #[test]
    fn version_order() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        for (a, b, order) in [
            ("1.24", "1.51", Less),
            ("1.51", "1.51", Equal),
            ("1.51.2", "1.51", Greater),
            ("1.9", "1.10", Less),
            ("2", "1.51", Greater),
            ("1.51.0", "1.51", Equal),
        ] {
            assert_eq!(compare_versions(a, b), order, "{a} {b}");
        }
    }
}
