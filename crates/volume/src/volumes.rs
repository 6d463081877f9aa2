//! All volumes under one directory.
//!
//! Records are read once, when the directory is opened; after that memory is the truth for readers
//! and disk follows. One lock serialises whoever changes anything. A volume's directory is made
//! under a temporary name and renamed when it is complete, and renamed away before it is deleted:
//! what has a name of the right form is whole.
//!
//! Volumes of plugins have a record only. Plugins may take minutes, so they are asked without the
//! lock: who wants to change such a volume takes a turn, by name.

mod changes;
mod life;
mod mounted;
mod plugged;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use spec::Timestamp;
use sys::root::{GuestPath, Root};

use crate::address::is_remote;
use crate::error::{failed, io};
use crate::plugins::Plugins;
use crate::record::{self, Record};
use crate::{ANONYMOUS, Error, LOCAL, PluginSettings, Result, VolumeName};

/// Directory of a volume that holds its data.
const DATA: &str = "_data";

/// Volumes under one directory; cheap to clone, shared by threads.
#[derive(Debug, Clone)]
pub struct Volumes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    state: Mutex<State>,
    problems: Vec<Problem>,
    plugins: Plugins,
    /// Somebody's turn has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<VolumeName, Record>,
    /// Operations that need a volume to stay, by name.
    holds: BTreeMap<VolumeName, usize>,
    /// Who has a volume mounted that needs mounting.
    mounts: BTreeMap<VolumeName, Vec<String>>,
    /// Where plugins said that volumes are, while they are mounted.
    places: BTreeMap<VolumeName, PathBuf>,
    /// Names whose turn somebody has.
    turns: BTreeSet<VolumeName>,
}

/// Something wrong that was found when the volumes were opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: PathBuf,
    /// What is wrong, and what was done about it.
    pub what: String,
}

/// A volume as it was when asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// Its driver.
    pub driver: String,
    /// How far it can be seen: `local` or `global`.
    pub scope: &'static str,
    /// What else its driver tells of it.
    pub status: Option<BTreeMap<String, serde_json::Value>>,
    /// Where its data is on the host; empty while it is nowhere.
    pub mountpoint: PathBuf,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options; `None` where none were given.
    pub options: Option<BTreeMap<String, String>>,
    /// Removal and prune are refused.
    pub protected: bool,
}

impl Volume {
    /// Tells whether nobody named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// Tells whether mounting it may wait for a plugin or another machine.
    pub fn may_wait(&self) -> bool {
        let kind = self
            .options
            .as_ref()
            .and_then(|options| options.get("type"));
        self.driver != LOCAL || kind.is_some_and(|kind| is_remote(kind))
    }
}

/// A volume to make.
#[derive(Debug, Clone, Default)]
pub struct NewVolume {
    /// Its name; an anonymous one is drawn where there is none.
    pub name: Option<VolumeName>,
    /// Its driver; empty for that of the volume which is there, else `local`.
    pub driver: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
}

/// What a creation came to.
#[derive(Debug)]
pub struct Created {
    /// The volume.
    pub volume: Volume,
    /// It was not there before.
    pub is_new: bool,
    /// Keeps it from being removed until dropped.
    pub hold: Hold,
}

/// Keeps a volume from being removed; ends when dropped.
#[derive(Debug)]
pub struct Hold {
    inner: Arc<Inner>,
    name: VolumeName,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if let Some(count) = state.holds.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                state.holds.remove(&self.name);
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the tables is one insertion or removal: a panic leaves them whole.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn dir(&self, name: &VolumeName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn data(&self, name: &VolumeName) -> PathBuf {
        self.dir(name).join(DATA)
    }

    /// Where a volume's data is, as far as it is known without asking anybody.
    fn place(&self, state: &State, record: &Record) -> PathBuf {
        if record.driver == LOCAL {
            return self.data(&record.name);
        }
        state.places.get(&record.name).cloned().unwrap_or_default()
    }

    fn view(&self, state: &State, record: &Record) -> Volume {
        Volume {
            name: record.name.clone(),
            driver: record.driver.clone(),
            scope: LOCAL,
            status: None,
            mountpoint: self.place(state, record),
            created: record.created,
            labels: record.labels.clone(),
            options: record.options.clone(),
            protected: record.protected,
        }
    }

    fn hold(self: &Arc<Self>, state: &mut State, name: &VolumeName) -> Hold {
        *state.holds.entry(name.clone()).or_default() += 1;
        Hold {
            inner: Arc::clone(self),
            name: name.clone(),
        }
    }
}

impl Volumes {
    /// Opens or makes the directory of all volumes (`<data-root>/volumes`), without plugins.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, PluginSettings::default())
    }

    /// Opens or makes the directory of all volumes (`<data-root>/volumes`).
    ///
    /// Sweeps what a crash left half-made. A damaged volume is reported and left where it is: its
    /// data may be all somebody has.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or read.
    pub fn open_with(root: &Path, plugins: PluginSettings) -> Result<Self> {
        let root = std::path::absolute(root).map_err(io("find", root))?;
        // Others may pass through to a path they know, as with Docker, and list nothing.
        make_dir(&root, 0o711)?;
        let mut state = State::default();
        let mut problems = Vec::new();
        for entry in std::fs::read_dir(&root).map_err(io("read", &root))? {
            let name = entry.map_err(io("read", &root))?.file_name();
            let path = root.join(&name);
            if is_temporary(&name) {
                if let Err(error) = delete(&path) {
                    problems.push(Problem {
                        path,
                        what: format!("could not be swept: {}", spec::error::chain(&error)),
                    });
                }
                continue;
            }
            match recover(&path) {
                Ok(record) => {
                    if let Some(bound) = &record.bound
                        && let Err(error) = bound::resume(&path.join(DATA), bound)
                    {
                        let what = spec::error::chain(&error);
                        problems.push(Problem {
                            path: path.clone(),
                            what: format!("cannot be mounted: {what}"),
                        });
                    }
                    state.volumes.insert(record.name.clone(), record);
                }
                Err(what) => problems.push(Problem { path, what }),
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                state: Mutex::new(state),
                problems,
                plugins: Plugins::new(plugins),
                ended: Condvar::new(),
            }),
        })
    }

    /// What was found damaged when the volumes were opened.
    pub fn problems(&self) -> Vec<Problem> {
        self.inner.problems.clone()
    }

    /// All volumes that there are records of, by name; no plugin is asked.
    pub fn list(&self) -> Vec<Volume> {
        let state = self.inner.state();
        state
            .volumes
            .values()
            .map(|record| self.inner.view(&state, record))
            .collect()
    }

    /// One volume as its record tells it; no plugin is asked.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`].
    pub fn get(&self, name: &str) -> Result<Volume> {
        let state = self.inner.state();
        let found = name
            .parse::<VolumeName>()
            .ok()
            .and_then(|name| state.volumes.get(&name));
        match found {
            Some(record) => Ok(self.inner.view(&state, record)),
            None => Err(Error::NoSuchVolume {
                name: name.to_owned(),
            }),
        }
    }

    /// Where a volume's data is on the host, whether it is there or not; empty for a volume of a
    /// plugin that is not mounted.
    pub fn mountpoint(&self, name: &VolumeName) -> PathBuf {
        let state = self.inner.state();
        match state.volumes.get(name) {
            Some(record) => self.inner.place(&state, record),
            None => self.inner.data(name),
        }
    }

    /// Keeps a volume from being removed.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`].
    pub fn hold(&self, name: &VolumeName) -> Result<Hold> {
        let mut state = self.inner.state();
        if !state.volumes.contains_key(name) {
            return Err(no_such(name));
        }
        Ok(self.inner.hold(&mut state, name))
    }
}

fn no_such(name: &VolumeName) -> Error {
    Error::NoSuchVolume {
        name: name.to_string(),
    }
}

fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes()
        .starts_with(sys::fs::TEMPORARY.as_bytes())
}

/// Reads a volume's directory; the error is a finding in words.
fn recover(path: &Path) -> std::result::Result<Record, String> {
    let directory = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if !directory {
        return Err("is no volume: left alone".to_owned());
    }
    let record = record::read(path).map_err(|what| format!("{what}: left alone"))?;
    if record.driver != LOCAL {
        return Ok(record);
    }
    let data = path.join(DATA);
    match std::fs::symlink_metadata(&data) {
        Ok(metadata) if metadata.is_dir() => Ok(record),
        _ => Err("its data is no directory: left alone".to_owned()),
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(io("make", path))
}

/// Deletes a tree, following no link; absent is fine.
fn delete(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    Root::open(parent)
        .and_then(|root| root.open_dir(&GuestPath::root()))
        .and_then(|dir| dir.remove_all(name))
        .map_err(failed(format!("delete `{}`", path.display())))
}
