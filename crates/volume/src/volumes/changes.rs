//! What Docker has not: another name, a copy, protection.

use std::os::fd::AsFd;

use spec::Timestamp;
use sys::root::{GuestPath, Root};

use super::{Volume, Volumes, no_such};
use crate::error::{failed, io};
use crate::record::{self, Record, VERSION};
use crate::{ANONYMOUS, Error, LOCAL, Result, VolumeName, backing, tree};

impl Volumes {
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
