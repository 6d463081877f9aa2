//! Paths as text, as Go cleans and splits them. Pure.
//!
//! The end of a path says something: `a/` is the directory `a`, and `a/.` is what is in it.

use crate::options::clean;

/// Whether the last name is `.`.
fn is_current(path: &str) -> bool {
    base(path) == "."
}

/// Whether the text says that a directory is meant.
pub fn directory_meant(path: &str) -> bool {
    path.ends_with('/') || is_current(path)
}

/// The last name; `/` of the root and `.` of nothing.
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    match path.trim_end_matches('/') {
        "" => "/",
        path => path.rsplit('/').next().unwrap_or(path),
    }
}

/// The cleaned path with the ending that the given one had.
pub fn keep_ending(cleaned: &str, given: &str) -> String {
    let mut out = cleaned.to_owned();
    if !is_current(&out) && is_current(given) {
        if !out.ends_with('/') {
            out.push('/');
        }
        out.push('.');
    }
    if !out.ends_with('/') && given.ends_with('/') {
        out.push('/');
    }
    out
}

/// The directory of a path and the last name in it, which stays `.` where it was.
pub fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if is_current(path) {
        return (cleaned, ".".to_owned());
    }
    let parent = match cleaned.rsplit_once('/') {
        None => ".",
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
    };
    (parent.to_owned(), base(&cleaned).to_owned())
}

/// Where a followed link leads, with the ending that the link's path had, and the name that the
/// copy keeps: that of the link.
pub fn rebased(path: &str, leads_to: &str) -> (String, Option<String>) {
    let target = keep_ending(leads_to, path);
    let name = (base(path) != base(&target)).then(|| base(path).to_owned());
    (target, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_kept() {
        for (given, want) in [
            ("a", "/w/a"),
            ("a/", "/w/a/"),
            ("a/.", "/w/a/."),
            (".", "/w/a/."),
        ] {
            assert_eq!(keep_ending("/w/a", given), want, "{given}");
        }
        assert_eq!(keep_ending("/", "."), "/.");
        assert_eq!(keep_ending("/", "/"), "/");
    }

    #[test]
    fn splits() {
        for (path, want) in [
            ("/a/b", ("/a", "b")),
            ("/a/b/", ("/a", "b")),
            ("/a/b/.", ("/a/b", ".")),
            ("/a", ("/", "a")),
            ("/", ("/", "/")),
            ("a", (".", "a")),
        ] {
            let (parent, name) = split(path);
            assert_eq!((parent.as_str(), name.as_str()), want, "{path}");
        }
    }

    #[test]
    fn links_give_their_name() {
        assert_eq!(
            rebased("/l", "/real"),
            ("/real".to_owned(), Some("l".to_owned()))
        );
        assert_eq!(rebased("/d/x", "/e/x"), ("/e/x".to_owned(), None));
        assert_eq!(rebased("/l/.", "/real"), ("/real/.".to_owned(), None));
        assert_eq!(
            rebased("/l/", "/real"),
            ("/real/".to_owned(), Some("l".to_owned()))
        );
    }
}
