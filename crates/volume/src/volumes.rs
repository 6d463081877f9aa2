//! All volumes under one directory.
//!
//! Records are read once, when the directory is opened; after that memory is the truth for readers
//! and disk follows. One lock serialises whoever changes anything. A volume's directory is made
//! under a temporary name and renamed when it is complete, and renamed away before it is deleted:
//! what has a name of the right form is whole.
//!
//! Volumes of plugins have a record only. Plugins may take minutes, so they are asked without the
//! lock: who wants to change such a volume takes a turn, by name.

mod plugged;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use spec::Timestamp;
use sys::root::{GuestPath, Root};

use crate::error::{failed, io};
use crate::plugins::Plugins;
use crate::record::{self, Record, VERSION};
use crate::{ANONYMOUS, Backing, Error, LOCAL, PluginSettings, Result, VolumeName, backing, tree};

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

    /// Makes a volume, or finds the one of this name. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`], [`Error::DriverConflict`], [`Error::Plugin`], or the disk failed.
    pub fn create(&self, mut wanted: NewVolume) -> Result<Created> {
        let given = wanted.name.take();
        let is_named = given.is_some();
        let name = match given {
            Some(name) => name,
            None => {
                wanted.labels.insert(ANONYMOUS.to_owned(), String::new());
                VolumeName::anonymous().map_err(failed("draw a name"))?
            }
        };
        let _turn = self.turn(&name);
        let known = self.inner.state().volumes.get(&name).cloned();
        if let Some(record) = known {
            return self.find_again(record, &wanted);
        }
        match wanted.driver.as_str() {
            LOCAL => self.create_local(name, wanted),
            "" => match self.adopt(&name, &wanted, is_named)? {
                Some(found) => Ok(found),
                None => self.create_local(name, wanted),
            },
            _ => self.create_plugged(name, wanted),
        }
    }

    fn create_local(&self, name: VolumeName, wanted: NewVolume) -> Result<Created> {
        let mut state = self.inner.state();
        let options = wanted.options.filter(|options| !options.is_empty());
        let backing =
            Backing::of(options.as_ref().unwrap_or(&BTreeMap::new())).map_err(|source| {
                Error::InvalidOptions {
                    name: name.clone(),
                    source,
                }
            })?;
        let record = Record {
            version: VERSION,
            name: name.clone(),
            driver: LOCAL.to_owned(),
            created: Timestamp::from(std::time::SystemTime::now()),
            labels: wanted.labels,
            options,
            bound: None,
            protected: false,
        };
        let size = match backing {
            Backing::Directory { size } => size,
            Backing::Bind { .. } | Backing::FileSystem { .. } => None,
        };
        let record = self.write_new(record, size, |_| Ok(()))?;
        Ok(self.keep(&mut state, record, true))
    }

    /// Puts a record in the table and holds its volume.
    fn keep(&self, state: &mut State, record: Record, is_new: bool) -> Created {
        let name = record.name.clone();
        let volume = self.inner.view(state, &record);
        state.volumes.insert(name.clone(), record);
        Created {
            volume,
            is_new,
            hold: self.inner.hold(state, &name),
        }
    }

    /// Makes a volume's directory whole under a temporary name, then gives it its own.
    fn write_new(
        &self,
        mut record: Record,
        size: Option<u64>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Record> {
        let target = self.inner.dir(&record.name);
        if std::fs::symlink_metadata(&target).is_ok() {
            return Err(Error::Damaged {
                name: record.name.clone(),
                what: "something of its name is there that is no volume".to_owned(),
            });
        }
        let temporary = self.temporary()?;
        let made = (|| {
            make_dir(&temporary, 0o711)?;
            if record.driver == LOCAL {
                make_dir(&temporary.join(DATA), 0o755)?;
                fill(&temporary.join(DATA))?;
            }
            record::write(&temporary, &record)?;
            std::fs::rename(&temporary, &target).map_err(io("name", &target))?;
            if let Some(bytes) = size {
                // Under its own name: what is mounted there cannot be renamed.
                let bound = bound::set(&target.join(DATA), bytes, bound::Purpose::Keep);
                record.bound = Some(bound.map_err(|source| Error::Bound {
                    name: record.name.clone(),
                    source,
                })?);
                record::write(&target, &record)?;
            }
            sys::fs::sync_dir(&self.inner.root).map_err(failed("sync the volumes"))
        })();
        if let Err(error) = made {
            if let Some(bound) = &record.bound {
                let _ = bound::remove(&target.join(DATA), bound);
            }
            for path in [&temporary, &target] {
                // The first error is the one to tell; the next open sweeps what is left.
                let _ = delete(path);
            }
            return Err(error);
        }
        Ok(record)
    }

    fn unbound(&self, record: &Record) -> Result<()> {
        let Some(bound) = &record.bound else {
            return Ok(());
        };
        bound::remove(&self.inner.data(&record.name), bound).map_err(|source| Error::Bound {
            name: record.name.clone(),
            source,
        })
    }

    fn temporary(&self) -> Result<PathBuf> {
        let random = sys::fs::random_hex().map_err(failed("draw a name"))?;
        Ok(self
            .inner
            .root
            .join(format!("{}{random}", sys::fs::TEMPORARY)))
    }

    /// Removes a volume with its data. `users` is asked, under the lock, who uses it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], [`Error::InUse`], [`Error::Protected`], [`Error::Plugin`], or the
    /// disk failed.
    pub fn remove(&self, name: &str, users: &dyn Fn(&VolumeName) -> Vec<String>) -> Result<Volume> {
        self.remove_as(name, users, OnRefusal::Keep)
    }

    /// Like [`Volumes::remove`], but a volume whose plugin refuses is forgotten all the same, and
    /// one whose plugin is gone is no error.
    ///
    /// # Errors
    ///
    /// Those of [`Volumes::remove`].
    pub fn remove_forced(
        &self,
        name: &str,
        users: &dyn Fn(&VolumeName) -> Vec<String>,
    ) -> Result<Volume> {
        self.remove_as(name, users, OnRefusal::Forget)
    }

    fn remove_as(
        &self,
        name: &str,
        users: &dyn Fn(&VolumeName) -> Vec<String>,
        on_refusal: OnRefusal,
    ) -> Result<Volume> {
        let volume = match self.get(name) {
            Ok(volume) => volume,
            Err(_) => return self.remove_unknown(name, users),
        };
        let _turn = self.turn(&volume.name);
        if volume.driver != LOCAL {
            return self.remove_plugged(volume, users, on_refusal);
        }
        let name = &volume.name;
        let hidden = {
            let mut state = self.inner.state();
            let record = removable(&state, name, users)?;
            self.unbound(record)?;
            backing::unmount(&self.inner.data(name))?;
            self.hide(&mut state, name)?
        };
        self.delete_hidden(&hidden)?;
        Ok(volume)
    }

    /// Takes a volume out of the table; its directory waits under a temporary name.
    fn hide(&self, state: &mut State, name: &VolumeName) -> Result<PathBuf> {
        let hidden = self.temporary()?;
        let dir = self.inner.dir(name);
        std::fs::rename(&dir, &hidden).map_err(io("remove", &dir))?;
        state.volumes.remove(name);
        state.mounts.remove(name);
        state.places.remove(name);
        Ok(hidden)
    }

    fn delete_hidden(&self, hidden: &Path) -> Result<()> {
        sys::fs::sync_dir(&self.inner.root).map_err(failed("sync the volumes"))?;
        delete(hidden)
    }

    /// Makes a volume's data available to a user of it and opens it, for mounting by descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], [`Error::Mount`], [`Error::PluginMount`], or the disk failed.
    pub fn mount(&self, name: &VolumeName, user: &str) -> Result<OwnedFd> {
        if let Some(driver) = self.plugin_of(name) {
            return self.mount_plugged(name, &driver, user);
        }
        let mut state = self.inner.state();
        let record = state.volumes.get(name).ok_or_else(|| no_such(name))?;
        let backing = backing_of(record)?;
        let data = self.inner.data(name);
        if !matches!(backing, Backing::Directory { .. }) {
            if !backing::is_mounted(&data)? {
                backing::mount(&backing, &data)?;
            }
            let users = state.mounts.entry(name.clone()).or_default();
            if !users.iter().any(|known| known == user) {
                users.push(user.to_owned());
            }
        }
        Root::open(&self.inner.dir(name))
            .and_then(|root| {
                root.open_at(
                    &GuestPath::new(DATA)
                        .map_err(|_| sys::Error::new("open a volume", rustix::io::Errno::INVAL))?,
                    rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY,
                    rustix::fs::Mode::empty(),
                )
            })
            .map_err(failed(format!("open volume {name}")))
    }

    /// Tells that a user of a volume is gone; the last one's going unmounts what was mounted.
    ///
    /// # Errors
    ///
    /// The kernel or the plugin refused.
    pub fn unmount(&self, name: &VolumeName, user: &str) -> Result<()> {
        if let Some(driver) = self.plugin_of(name) {
            return self.unmount_plugged(name, &driver, user);
        }
        let mut state = self.inner.state();
        let Some(users) = state.mounts.get_mut(name) else {
            return Ok(());
        };
        users.retain(|known| known != user);
        if users.is_empty() {
            state.mounts.remove(name);
            backing::unmount(&self.inner.data(name))?;
        }
        Ok(())
    }

    /// Takes up what a former daemon left mounted: `users` tells who still runs with a volume.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub fn reconcile(&self, users: &dyn Fn(&VolumeName) -> Vec<String>) -> Result<()> {
        let mut state = self.inner.state();
        let names: Vec<VolumeName> = state.volumes.keys().cloned().collect();
        let mut plugins = BTreeSet::new();
        for name in names {
            if state
                .volumes
                .get(&name)
                .is_some_and(|record| record.driver != LOCAL)
            {
                // Its plugin has it mounted for them still; it is told when they end.
                let running = users(&name);
                if !running.is_empty() {
                    plugins.extend(state.volumes.get(&name).map(|record| record.driver.clone()));
                    state.mounts.insert(name, running);
                }
                continue;
            }
            let data = self.inner.data(&name);
            let bounded = state
                .volumes
                .get(&name)
                .is_some_and(|record| record.bound.is_some());
            if bounded || !backing::is_mounted(&data)? {
                continue;
            }
            let running = users(&name);
            if running.is_empty() {
                backing::unmount(&data)?;
            } else {
                state.mounts.insert(name, running);
            }
        }
        drop(state);
        for plugin in plugins {
            self.inner.plugins.wake(&plugin);
        }
        Ok(())
    }

    /// Gives a volume another name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], [`Error::Exists`], [`Error::InUse`], or the disk failed.
    pub fn rename(
        &self,
        name: &str,
        new: &VolumeName,
        users: &dyn Fn(&VolumeName) -> Vec<String>,
    ) -> Result<Volume> {
        let name = self.get(name)?.name;
        let mut state = self.inner.state();
        let record = state.volumes.get(&name).ok_or_else(|| no_such(&name))?;
        if state.volumes.contains_key(new) || state.turns.contains(new) {
            return Err(Error::Exists { name: new.clone() });
        }
        if record.driver != LOCAL {
            return Err(Error::Unsupported {
                what: format!(
                    "volume {name} belongs to plugin {}, which cannot rename it: clone it instead",
                    record.driver
                ),
            });
        }
        let users = users(&name);
        if !users.is_empty() || state.holds.contains_key(&name) {
            return Err(Error::InUse { name, users });
        }
        if record.bound.is_some() {
            return Err(Error::Unsupported {
                what: format!("volume {name} has a size limit: clone it instead of renaming it"),
            });
        }
        backing::unmount(&self.inner.data(&name))?;
        let mut record = record.clone();
        record.name = new.clone();
        record.labels.remove(ANONYMOUS);
        let (from, to) = (self.inner.dir(&name), self.inner.dir(new));
        std::fs::rename(&from, &to).map_err(io("rename", &from))?;
        if let Err(error) = record::write(&to, &record) {
            // The old name has the old record again; a failure here is found at the next open.
            let _ = std::fs::rename(&to, &from);
            return Err(error);
        }
        sys::fs::sync_dir(&self.inner.root).map_err(failed("sync the volumes"))?;
        let volume = self.inner.view(&state, &record);
        state.volumes.remove(&name);
        state.volumes.insert(new.clone(), record);
        Ok(volume)
    }

    /// Makes a volume with a copy of another's data and its labels.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], [`Error::Exists`], or the disk failed.
    pub fn duplicate(&self, name: &str, new: &VolumeName) -> Result<Volume> {
        let source = self.get(name)?;
        let _hold = self.hold(&source.name)?;
        let user = format!("clone of {}", source.name);
        let from = self.mount(&source.name, &user)?;
        let record = Record {
            version: VERSION,
            name: new.clone(),
            driver: LOCAL.to_owned(),
            created: Timestamp::from(std::time::SystemTime::now()),
            labels: {
                let mut labels = source.labels.clone();
                labels.remove(ANONYMOUS);
                labels
            },
            options: None,
            bound: None,
            protected: false,
        };
        if self.inner.state().volumes.contains_key(new) {
            return Err(Error::Exists { name: new.clone() });
        }
        let made = self.write_new(record, None, |data| {
            let to = Root::open(data)
                .and_then(|root| root.open_dir(&GuestPath::root()))
                .map_err(failed("open the new volume"))?;
            tree::copy(from.as_fd(), to.as_fd())?;
            sys::fs::sync_file_system(data).map_err(failed("sync the new volume"))
        });
        self.unmount(&source.name, &user)?;
        let record = made?;
        let mut state = self.inner.state();
        let volume = self.inner.view(&state, &record);
        state.volumes.insert(new.clone(), record);
        Ok(volume)
    }

    /// Protects a volume from removal and prune, or takes the protection away.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], or the disk failed.
    pub fn protect(&self, name: &str, protected: bool) -> Result<Volume> {
        let name = self.get(name)?.name;
        let mut state = self.inner.state();
        let mut record = state
            .volumes
            .get(&name)
            .cloned()
            .ok_or_else(|| no_such(&name))?;
        record.protected = protected;
        record::write(&self.inner.dir(&name), &record)?;
        let volume = self.inner.view(&state, &record);
        state.volumes.insert(name, record);
        Ok(volume)
    }
}

/// What becomes of a record whose plugin does not remove the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    Keep,
    Forget,
}

/// The record of a volume that nothing keeps from being removed.
fn removable<'s>(
    state: &'s State,
    name: &VolumeName,
    users: &dyn Fn(&VolumeName) -> Vec<String>,
) -> Result<&'s Record> {
    let Some(record) = state.volumes.get(name) else {
        return Err(no_such(name));
    };
    if record.protected {
        return Err(Error::Protected { name: name.clone() });
    }
    let mut users = users(name);
    if users.is_empty() && state.holds.contains_key(name) {
        users.push("an operation that is under way".to_owned());
    }
    if !users.is_empty() {
        return Err(Error::InUse {
            name: name.clone(),
            users,
        });
    }
    Ok(record)
}

fn backing_of(record: &Record) -> Result<Backing> {
    let none = BTreeMap::new();
    Backing::of(record.options.as_ref().unwrap_or(&none)).map_err(|source| Error::InvalidOptions {
        name: record.name.clone(),
        source,
    })
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
