//! What is copied, where to, and under which name.

use std::fs;
use std::io;
use std::path::Path;

use super::path::{base, directory_meant, keep_ending, rebased, split};
use crate::config::go_text;
use crate::options::clean;

/// Links in a row that are followed to a destination.
const MAX_LINKS: usize = 10;

/// One end of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its path, with the ending that tells what is meant.
    pub path: String,
    /// Whether there is something.
    pub exists: bool,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The name that the copy gets, where it is not the path's last one.
    pub name: Option<String>,
}

/// What the topmost entry of an archive is called, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name in the archive.
    pub from: String,
    /// The name it gets.
    pub to: String,
}

/// Where an archive is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The directory.
    pub dir: String,
    /// The change of name on the way.
    pub rename: Option<Rename>,
}

/// Decides by Docker's rules.
///
/// # Errors
///
/// In Docker's words, where the two do not fit.
pub fn place(source: &Place, target: &Place) -> Result<Placed, String> {
    if target.exists && target.is_dir {
        return Ok(Placed {
            dir: target.path.clone(),
            rename: None,
        });
    }
    if target.exists && source.is_dir {
        return Err("cannot copy directory".to_owned());
    }
    if !target.exists && !source.is_dir && directory_meant(&target.path) {
        return Err("no such directory".to_owned());
    }
    let (dir, to) = split(&target.path);
    let from = match &source.name {
        Some(name) => name.clone(),
        None => split(&source.path).1,
    };
    Ok(Placed {
        dir,
        rename: Some(Rename { from, to }),
    })
}

fn told(action: &str, path: &str, error: &io::Error) -> String {
    format!("{action} {path}: {}", go_text(error))
}

/// What is at a path here that is to be copied; links before its last name are resolved, and the
/// last one too when they are followed.
///
/// # Errors
///
/// There is nothing, in Go's words.
pub fn source(path: &str, follow: bool) -> Result<Place, String> {
    let (resolved, name) = if follow {
        rebased(path, &resolve(path)?)
    } else {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = resolve(&format!("{parent}/"))?;
        let resolved = format!("{}/{last}", parent.trim_end_matches('/'));
        let differs = path.ends_with('/') && base(path) != base(&resolved);
        (resolved, differs.then(|| base(path).to_owned()))
    };
    let found = fs::symlink_metadata(&resolved).map_err(|e| told("lstat", &resolved, &e))?;
    Ok(Place {
        path: resolved,
        exists: true,
        is_dir: found.is_dir(),
        name,
    })
}

// The path without links; the error names the first part that is missing.
fn resolve(path: &str) -> Result<String, String> {
    let failed = match fs::canonicalize(path) {
        Ok(resolved) => return Ok(resolved.to_string_lossy().into_owned()),
        Err(error) => error,
    };
    if failed.kind() == io::ErrorKind::NotADirectory {
        return Err("not a directory".to_owned());
    }
    let clean = clean(path);
    let mut parts: Vec<&Path> = Path::new(&clean).ancestors().collect();
    parts.reverse();
    let missing = parts.into_iter().find(|part| fs::metadata(part).is_err());
    let missing = missing.map_or(clean.clone(), |part| part.to_string_lossy().into_owned());
    Err(told("lstat", &missing, &failed))
}

/// What is at a path here that is to be copied to; links are followed.
///
/// # Errors
///
/// Neither it nor the directory it would be in is there, in Docker's words.
pub fn target(path: &str) -> Result<Place, String> {
    let mut at = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_symlink() => {
                let link = fs::read_link(&at).map_err(|e| told("readlink", &at, &e))?;
                let joined = Path::new(&split(&at).0).join(link);
                at = clean(&joined.to_string_lossy());
            }
            Ok(found) => {
                return Ok(Place {
                    path: at,
                    exists: true,
                    is_dir: found.is_dir(),
                    name: None,
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, _) = split(&at);
                let found = fs::metadata(&parent).map_err(|e| told("stat", &parent, &e))?;
                if !found.is_dir() {
                    return Err("not a directory".to_owned());
                }
                return Ok(Place {
                    path: at,
                    ..Place::default()
                });
            }
            Err(error) => return Err(told("lstat", &at, &error)),
        }
    }
    Err(format!("too many symlinks in {path}"))
}

/// A path here as it was given, made absolute and clean.
pub fn absolute(path: &str) -> Result<String, String> {
    let here = std::env::current_dir().map_err(|e| e.to_string())?;
    let whole = here.join(path);
    Ok(keep_ending(&clean(&whole.to_string_lossy()), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(path: &str, exists: bool, is_dir: bool) -> Place {
        Place {
            path: path.to_owned(),
            exists,
            is_dir,
            name: None,
        }
    }

    #[test]
    fn the_table_of_docker() {
        let file = end("/s/f", true, false);
        let dir = end("/s/d", true, true);
        let contents = end("/s/d/.", true, true);
        let rename = |source: &Place, to: &Place| {
            let placed = place(source, to).unwrap();
            (placed.dir, placed.rename.map(|r| (r.from, r.to)))
        };
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        let there = end("/t", true, true);
        for source in [&file, &dir, &contents] {
            assert_eq!(rename(source, &there), ("/t".to_owned(), None));
        }
        let new = end("/t/n", false, false);
        assert_eq!(rename(&file, &new), ("/t".to_owned(), pair("f", "n")));
        assert_eq!(rename(&dir, &new), ("/t".to_owned(), pair("d", "n")));
        assert_eq!(rename(&contents, &new), ("/t".to_owned(), pair(".", "n")));
        let new_dir = end("/t/n/", false, false);
        assert_eq!(rename(&dir, &new_dir), ("/t".to_owned(), pair("d", "n")));
        assert_eq!(place(&file, &new_dir).unwrap_err(), "no such directory");
        let other = end("/t/o", true, false);
        assert_eq!(rename(&file, &other), ("/t".to_owned(), pair("f", "o")));
        assert_eq!(place(&dir, &other).unwrap_err(), "cannot copy directory");
    }

    #[test]
    fn ends_on_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| format!("{}/{name}", root.display());
        fs::create_dir(at("d")).unwrap();
        fs::write(at("f"), "x").unwrap();
        std::os::unix::fs::symlink("d", at("l")).unwrap();
        std::os::unix::fs::symlink("gone", at("dangling")).unwrap();
        let found = source(&at("l"), false).unwrap();
        assert_eq!((found.path, found.is_dir), (at("l"), false));
        let found = source(&at("l"), true).unwrap();
        assert_eq!((found.path, found.name.as_deref()), (at("d"), Some("l")));
        let found = source(&at("l/"), false).unwrap();
        assert_eq!((found.is_dir, found.name.as_deref()), (true, Some("l")));
        assert_eq!(source(&at("f/"), false).unwrap_err(), "not a directory");
        let error = source(&at("nope/x"), false).unwrap_err();
        assert_eq!(
            error,
            format!("lstat {}: no such file or directory", at("nope"))
        );
        assert!(target(&at("l")).unwrap().is_dir);
        let found = target(&at("dangling")).unwrap();
        assert_eq!((found.path, found.exists), (at("gone"), false));
        let error = target(&at("nope/x")).unwrap_err();
        assert_eq!(
            error,
            format!("stat {}: no such file or directory", at("nope"))
        );
    }
}
