//! Lists under construction, in files below the configuration as Docker's client keeps them.
//!
//! ```text
//! <config>/manifests/<list>/<image>      names with `-` for `:` and `_` for `/`
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use spec::Reference;

use super::entry::Entry;
use super::whole;
use crate::config::{Config, go_text};
use crate::exit::Failure;

/// The lists of one user.
#[derive(Debug)]
pub(super) struct Lists {
    root: PathBuf,
}

fn file_name(reference: &Reference) -> String {
    whole(reference).replace(':', "-").replace('/', "_")
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{doing} {}: {}", path.display(), go_text(error)))
}

impl Lists {
    /// The lists in a configuration.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            root: config.directory().join("manifests"),
        }
    }

    fn directory(&self, list: &Reference) -> PathBuf {
        self.root.join(file_name(list))
    }

    /// One image of a list; `None` when it is not there.
    pub(super) fn get(
        &self,
        list: &Reference,
        image: &Reference,
    ) -> Result<Option<Entry>, Failure> {
        read(&self.directory(list).join(file_name(image)))
    }

    /// All images of a list in the order of their files; `None` when there is no list.
    pub(super) fn all(&self, list: &Reference) -> Result<Option<Vec<Entry>>, Failure> {
        let directory = self.directory(list);
        let mut names = Vec::new();
        match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &directory, &error)),
            Ok(files) => {
                for file in files {
                    let file = file.map_err(|error| failed("readdir", &directory, &error))?;
                    names.push(file.file_name());
                }
            }
        }
        names.sort();
        let entries = names.iter().map(|name| read(&directory.join(name)));
        let entries: Result<Vec<Option<Entry>>, Failure> = entries.collect();
        Ok(Some(entries?.into_iter().flatten().collect()))
    }

    /// Keeps an image of a list under the name it was asked for.
    pub(super) fn put(
        &self,
        list: &Reference,
        image: &Reference,
        entry: &Entry,
    ) -> Result<(), Failure> {
        let directory = self.directory(list);
        fs::create_dir_all(&directory).map_err(|error| failed("mkdir", &directory, &error))?;
        let path = directory.join(file_name(image));
        // Written beside the lists, where nobody takes it for an image of one.
        let temporary = self.root.join(format!(".{}", std::process::id()));
        fs::write(&temporary, api::gojson::encode(&entry.json()?))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|error| {
                let _ = fs::remove_file(&temporary);
                failed("open", &path, &error)
            })
    }

    /// Removes a list; it may not be there.
    pub(super) fn remove(&self, list: &Reference) -> Result<(), Failure> {
        let directory = self.directory(list);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("unlinkat", &directory, &error))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<Entry>, Failure> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path, &error)),
    };
    Entry::read(&text)
        .map(Some)
        .map_err(|why| Failure::new(format!("invalid manifest file {}: {why}", path.display())))
}

/// Docker's text for what is not among the lists.
pub(super) fn no_such(reference: &Reference) -> Failure {
    Failure::new(format!("No such manifest: {}", whole(reference)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for (name, want) in [
            ("localhost:5711/team/bb:x", "localhost-5711_team_bb-x"),
            ("busybox", "docker.io_library_busybox-latest"),
        ] {
            assert_eq!(file_name(&name.parse().unwrap()), want);
        }
    }

    #[test]
    fn damaged_files_are_named() {
        let dir = std::env::temp_dir().join(format!("corten-lists-{}", std::process::id()));
        let (config, _) = Config::load(dir.to_str());
        let lists = Lists::of(&config);
        let (list, image): (Reference, Reference) =
            ("l:1".parse().unwrap(), "i:1".parse().unwrap());
        assert_eq!(lists.all(&list).unwrap(), None);
        assert_eq!(lists.get(&list, &image).unwrap(), None);
        fs::create_dir_all(lists.directory(&list)).unwrap();
        fs::write(lists.directory(&list).join(file_name(&image)), "{").unwrap();
        let error = lists.get(&list, &image).unwrap_err().message;
        assert!(
            error.starts_with("invalid manifest file ") && error.contains("docker.io_library_i-1"),
            "{error}"
        );
        assert!(lists.all(&list).is_err());
        lists.remove(&list).unwrap();
        assert_eq!(lists.all(&list).unwrap(), None);
        lists.remove(&list).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
