//! Archives that a command writes: to stdout, or to a file that is there whole or not at all.
//!
//! A file is written beside its place under a hidden name and renamed when it is complete, as
//! Docker does; only ordinary files are written over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use api::client::Response;

use crate::app::is_terminal;
use crate::config::go_text;
use crate::exit::Failure;

/// Where an archive goes.
#[derive(Debug)]
pub enum Output {
    /// Stdout.
    Stdout,
    /// A file, not there yet.
    File(Pending),
}

/// A file under construction; dropping it removes what was written.
#[derive(Debug)]
pub struct Pending {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Output {
    /// Opens the place that `--output` names; empty is stdout.
    ///
    /// # Errors
    ///
    /// Docker's texts, those about the file behind `what`.
    pub fn open(path: &str, what: &str) -> Result<Self, Failure> {
        if path.is_empty() {
            if is_terminal(io::stdout()) {
                return Err(Failure::new(
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ));
            }
            return Ok(Self::Stdout);
        }
        Pending::create(path)
            .map(Self::File)
            .map_err(|why| Failure::new(format!("{what}: {why}")))
    }

    /// Writes the whole body of an answer.
    pub async fn fill(self, mut response: Response) -> Result<(), Failure> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                while let Some(chunk) = response.chunk().await? {
                    out.write_all(&chunk)?;
                }
                Ok(out.flush()?)
            }
            Self::File(mut pending) => {
                while let Some(chunk) = response.chunk().await? {
                    pending.file.write_all(&chunk).map_err(|error| {
                        let path = pending.temporary.display();
                        Failure::new(format!("write {path}: {}", go_text(&error)))
                    })?;
                }
                Ok(pending.publish()?)
            }
        }
    }
}

impl Pending {
    fn create(path: &str) -> Result<Self, String> {
        let target = Path::new(path);
        check(target)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = parent.join(format!(".tmp-{name}{}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| format!("open {}: {}", temporary.display(), go_text(&error)))?;
        Ok(Self {
            file,
            temporary,
            target: target.to_owned(),
            done: false,
        })
    }

    fn publish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn check(target: &Path) -> Result<(), String> {
    let parent = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        let bad = |why: &str| format!("invalid output path: stat {}: {why}", parent.display());
        match fs::metadata(parent) {
            Err(error) => return Err(bad(&go_text(&error))),
            Ok(meta) if !meta.is_dir() => return Err(bad("not a directory")),
            Ok(_) => {}
        }
    }
    let kind = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let path = target.display();
            return Err(format!(
                "failed to stat output path: lstat {path}: {}",
                go_text(&error)
            ));
        }
        Ok(meta) => meta.file_type(),
    };
    let thing = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link directly",
        () if kind.is_fifo() => "a named pipe (FIFO)",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() => "a character device file",
        () => "a block device file",
    };
    Err(format!("cannot write to {thing}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_files_are_written() {
        let refused = |path: &str| Pending::create(path).unwrap_err();
        assert_eq!(
            refused("/nonexistent/x"),
            "invalid output path: stat /nonexistent: no such file or directory"
        );
        assert_eq!(refused("/tmp"), "cannot write to a directory");
        assert_eq!(
            refused("/dev/null"),
            "cannot write to a character device file"
        );
        assert_eq!(
            refused("/etc/passwd/x"),
            "invalid output path: stat /etc/passwd: not a directory"
        );
    }

    #[test]
    fn a_file_is_there_when_it_is_complete() {
        let dir = std::env::temp_dir().join(format!("corten-out-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.tar");
        let given = path.to_str().unwrap();
        drop(Pending::create(given).unwrap());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        let mut pending = Pending::create(given).unwrap();
        pending.file.write_all(b"x").unwrap();
        assert!(!path.exists());
        pending.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
