//! Volumes on the host while somebody uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use sys::root::{GuestPath, Root};

use super::{DATA, Volumes, no_such};
use crate::error::failed;
use crate::record::Record;
use crate::{Backing, Error, LOCAL, Result, VolumeName, address, backing};

impl Volumes {
    /// Makes a volume's data available to a user of it and opens it, for mounting by descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], [`Error::Mount`], [`Error::PluginMount`], or the disk failed.
    pub fn mount(&self, name: &VolumeName, user: &str) -> Result<OwnedFd> {
        if let Some(driver) = self.plugin_of(name) {
            return self.mount_plugged(name, &driver, user);
        }
        let backing = self.backing(name)?;
        if !matches!(backing, Backing::Directory { .. }) {
            self.mount_backing(name, backing, user)?;
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

    fn backing(&self, name: &VolumeName) -> Result<Backing> {
        let state = self.inner.state();
        backing_of(state.volumes.get(name).ok_or_else(|| no_such(name))?)
    }

    /// Mounts what is not mounted yet. A server may not answer: the lock is not held meanwhile.
    fn mount_backing(&self, name: &VolumeName, backing: Backing, user: &str) -> Result<()> {
        let _turn = self.turn(name);
        // It may have been removed before the turn came.
        self.backing(name)?;
        let data = self.inner.data(name);
        if !backing::is_mounted(&data)? {
            let backing = backing
                .located(&address::look_up)
                .map_err(|why| Error::Host {
                    path: data.clone(),
                    why,
                })?;
            backing::mount(&backing, &data)?;
        }
        let mut state = self.inner.state();
        let users = state.mounts.entry(name.clone()).or_default();
        if !users.iter().any(|known| known == user) {
            users.push(user.to_owned());
        }
        Ok(())
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
        // Without anything mounted there is nothing to wait for.
        if !self.inner.state().mounts.contains_key(name) {
            return Ok(());
        }
        let _turn = self.turn(name);
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
}

pub(super) fn backing_of(record: &Record) -> Result<Backing> {
    let none = BTreeMap::new();
    Backing::of(record.options.as_ref().unwrap_or(&none)).map_err(|source| Error::InvalidOptions {
        name: record.name.clone(),
        source,
    })
}
