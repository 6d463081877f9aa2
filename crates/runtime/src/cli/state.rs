//! What is known of a container between two calls.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::runtime::{State, Status};

use super::CliError;

/// Name of the socket on which a made container waits to be started.
pub(crate) const START_SOCKET: &str = "start.sock";

/// Longest id; it becomes a name of a directory and of control groups.
const MAX_ID: usize = 1024;

/// `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub id: String,
    pub pid: i32,
    /// Start time of the process in clock ticks: tells it from a later one of the same number.
    pub pid_start: u64,
    pub bundle: PathBuf,
    pub cgroup: String,
    /// Seconds since 1970.
    pub created: i64,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// The directory of one container.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// Names the directory of an id.
    pub(crate) fn new(root: &Path, id: &str) -> Result<Self, CliError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if id.is_empty() || id.len() > MAX_ID || !id.chars().all(good) || id == "." || id == ".." {
            return Err(CliError::Usage(format!(
                "invalid container ID format: {id:?}"
            )));
        }
        Ok(Self(root.join(id)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// Makes the directory.
    pub(crate) fn create(&self) -> Result<(), CliError> {
        let fail = |source| CliError::File {
            action: "make",
            path: self.0.clone(),
            source,
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o711).recursive(true);
        builder
            .create(self.0.parent().unwrap_or(Path::new("/")))
            .map_err(fail)?;
        match builder.recursive(false).mode(0o700).create(&self.0) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(CliError::Exists),
            other => other.map_err(fail),
        }
    }

    /// Removes the directory.
    pub(crate) fn remove(&self) -> Result<(), CliError> {
        std::fs::remove_dir_all(&self.0).map_err(|source| CliError::File {
            action: "remove",
            path: self.0.clone(),
            source,
        })
    }

    pub(crate) fn load(&self) -> Result<Record, CliError> {
        let path = self.file();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(CliError::NotFound),
            Err(source) => {
                return Err(CliError::File {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        serde_json::from_slice(&bytes).map_err(|source| CliError::Json { path, source })
    }

    /// Replaces the state atomically: a reader sees the old one or the new one.
    pub(crate) fn save(&self, record: &Record) -> Result<(), CliError> {
        let path = self.file();
        let temporary = self.0.join("state.json.tmp");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_data()?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|source| CliError::File {
            action: "write",
            path: path.clone(),
            source,
        })
    }

    /// How far the container is.
    pub(crate) fn status(&self, record: &Record) -> Status {
        if !alive(record) {
            return Status::Stopped;
        }
        if self.0.join(START_SOCKET).exists() {
            return Status::Created;
        }
        let frozen = super::commands::group(record).is_ok_and(|g| g.is_frozen().unwrap_or(false));
        if frozen {
            Status::Paused
        } else {
            Status::Running
        }
    }

    /// What `state` prints.
    pub(crate) fn state(&self, record: &Record) -> State {
        let status = self.status(record);
        State {
            oci_version: spec::runtime::VERSION.to_owned(),
            id: record.id.clone(),
            status,
            pid: (status != Status::Stopped).then_some(record.pid),
            bundle: record.bundle.clone(),
            annotations: record.annotations.clone(),
        }
    }
}

/// Whether the process of a record is there and has not ended.
fn alive(record: &Record) -> bool {
    process_stat(record.pid)
        .is_some_and(|(state, start)| start == record.pid_start && !matches!(state, 'Z' | 'X'))
}

/// State letter and start time of a process.
pub(crate) fn process_stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, so fields are counted from its end.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names() {
        let root = Path::new("/r");
        assert_eq!(
            Dir::new(root, "a-b_c.d+1").unwrap().path(),
            Path::new("/r/a-b_c.d+1")
        );
        for bad in ["", ".", "..", "a/b", "a b", "a\0", "é"] {
            assert!(Dir::new(root, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn own_process_is_found() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (state, start) = process_stat(pid).unwrap();
        assert!(matches!(state, 'R' | 'S') && start > 0);
    }
}
