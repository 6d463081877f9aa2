//! How volumes come and go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spec::Timestamp;

use super::{Created, DATA, NewVolume, State, Volume, Volumes, delete, make_dir, no_such};
use crate::error::{failed, io};
use crate::record::{self, Record, VERSION};
use crate::{ANONYMOUS, Backing, Error, LOCAL, Result, VolumeName, backing};

impl Volumes {
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
    pub(super) fn keep(&self, state: &mut State, record: Record, is_new: bool) -> Created {
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
    pub(super) fn write_new(
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
    pub(super) fn hide(&self, state: &mut State, name: &VolumeName) -> Result<PathBuf> {
        let hidden = self.temporary()?;
        let dir = self.inner.dir(name);
        std::fs::rename(&dir, &hidden).map_err(io("remove", &dir))?;
        state.volumes.remove(name);
        state.mounts.remove(name);
        state.places.remove(name);
        Ok(hidden)
    }

    pub(super) fn delete_hidden(&self, hidden: &Path) -> Result<()> {
        sys::fs::sync_dir(&self.inner.root).map_err(failed("sync the volumes"))?;
        delete(hidden)
    }
}

/// What becomes of a record whose plugin does not remove the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRefusal {
    Keep,
    Forget,
}

/// The record of a volume that nothing keeps from being removed.
pub(super) fn removable<'s>(
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
