//! Volumes of plugins.
//!
//! The plugin has the data, we have a record: name, driver, labels, options. No plugin is asked
//! while the lock is held.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use spec::Timestamp;

use super::life::{OnRefusal, removable};
use super::{Created, NewVolume, State, Volume, Volumes, no_such};
use crate::plugins::{Driver, Scope, Told};
use crate::record::{Record, VERSION};
use crate::{Error, LOCAL, PluginFailure, Result, VolumeName};

impl Volumes {
    /// Tells whether making, finding or mounting a volume may have to wait for a plugin or a server.
    pub fn may_ask_plugins(&self, name: &str, driver: &str) -> bool {
        let known = self.get(name).map(|volume| volume.may_wait());
        match (driver, known) {
            (_, Ok(is_plugged)) => is_plugged || !matches!(driver, "" | LOCAL),
            (LOCAL, Err(_)) => false,
            ("", Err(_)) => !name.is_empty() && self.inner.plugins.any(),
            (_, Err(_)) => true,
        }
    }

    /// All volumes, those of plugins as the plugins tell them, by name; and what went wrong.
    pub fn list_all(&self) -> (Vec<Volume>, Vec<String>) {
        let question =
            |driver: &Driver, limit| Ok((driver.list(limit)?, driver.scope(Some(limit))));
        let answers = self.inner.plugins.ask_all(question);
        let state = self.inner.state();
        let mut warnings = Vec::new();
        let mut heard = BTreeSet::new();
        let mut told = Vec::new();
        for (driver, answer) in answers {
            match answer {
                Ok((volumes, scope)) => {
                    let volumes = volumes.into_iter();
                    told.extend(volumes.filter_map(|one| self.listed(&state, &driver, one, scope)));
                    heard.insert(driver);
                }
                Err(error) => {
                    warnings.push(format!("list {driver}: {}", spec::error::chain(&error)))
                }
            }
        }
        // What a plugin that answers does not tell of is gone; of the others nobody knows.
        let records = state.volumes.values();
        let own = records.filter(|record| !heard.contains(&record.driver));
        let mut all: Vec<Volume> = own.map(|record| self.inner.view(&state, record)).collect();
        all.extend(told);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|later, first| later.name == first.name);
        (all, warnings)
    }

    fn listed(&self, state: &State, driver: &str, told: Told, scope: Scope) -> Option<Volume> {
        let Ok(name) = told.name.parse::<VolumeName>() else {
            tracing::debug!(driver, name = ?told.name, "a plugin tells of a volume with a name that none can have");
            return None;
        };
        match state.volumes.get(&name) {
            Some(record) if record.driver != driver => None,
            Some(record) => Some(joined(self.inner.view(state, record), told, scope)),
            None => Some(stranger(name, driver, told, scope)),
        }
    }

    /// One volume, that of a plugin as the plugin tells it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVolume`], [`Error::Plugin`].
    pub fn inspect(&self, name: &str) -> Result<Volume> {
        let missing = || Error::NoSuchVolume {
            name: name.to_owned(),
        };
        let volume = match self.get(name) {
            Ok(volume) if volume.driver == LOCAL => return Ok(volume),
            Ok(volume) => volume,
            Err(_) => {
                let name: VolumeName = name.parse().map_err(|_| missing())?;
                let (driver, told, scope) = self.probe(&name).ok_or_else(missing)?;
                return Ok(stranger(name, &driver, told, scope));
            }
        };
        let asked = self.inner.plugins.driver(&volume.driver);
        let asked =
            asked.and_then(|driver| Ok(driver.get(name)?.map(|told| (told, driver.scope(None)))));
        let told = asked.map_err(|source| Error::Plugin {
            action: format!(
                "get {name}: error while checking if volume \"{name}\" exists in driver \"{}\"",
                volume.driver
            ),
            source,
        })?;
        let (told, scope) = told.ok_or_else(missing)?;
        Ok(joined(volume, told, scope))
    }

    /// Looks for a volume that there is no record of, at all plugins.
    fn probe(&self, name: &VolumeName) -> Option<(String, Told, Scope)> {
        let question = |driver: &Driver, limit| {
            let told = driver.get_within(name.as_str(), limit)?;
            Ok(told.map(|told| (told, driver.scope(Some(limit)))))
        };
        let answers = self.inner.plugins.ask_all(question).into_iter();
        answers
            .filter_map(|(driver, answer)| {
                answer
                    .ok()
                    .flatten()
                    .map(|(told, scope)| (driver, told, scope))
            })
            .next()
    }

    /// The driver of a volume that is a plugin's.
    pub(super) fn plugin_of(&self, name: &VolumeName) -> Option<String> {
        let state = self.inner.state();
        let record = state.volumes.get(name)?;
        (record.driver != LOCAL).then(|| record.driver.clone())
    }

    /// Takes up a volume that some plugin has and that there is no record of. Needs the turn.
    pub(super) fn adopt(
        &self,
        name: &VolumeName,
        wanted: &NewVolume,
        is_named: bool,
    ) -> Result<Option<Created>> {
        // Nobody has a name that was drawn a moment ago.
        let found = is_named.then(|| self.probe(name)).flatten();
        let Some((driver, ..)) = found else {
            return Ok(None);
        };
        let record = record(name, &driver, wanted);
        let record = self.write_new(record, None, |_| Ok(()))?;
        Ok(Some(self.keep(&mut self.inner.state(), record, false)))
    }

    /// Makes a volume at a plugin; one that it has is taken as it is. Needs the turn.
    pub(super) fn create_plugged(&self, name: VolumeName, wanted: NewVolume) -> Result<Created> {
        let failed = |source| refused("create", &name, source);
        let driver = self.inner.plugins.driver(&wanted.driver).map_err(failed)?;
        // Docker takes every failure of the question for a no, too.
        let is_there = matches!(driver.get(name.as_str()), Ok(Some(_)));
        if !is_there {
            let options = wanted.options.as_ref();
            driver.create(name.as_str(), options).map_err(failed)?;
        }
        let record = record(&name, driver.name(), &wanted);
        match self.write_new(record, None, |_| Ok(())) {
            Ok(record) => {
                let mut created = self.keep(&mut self.inner.state(), record, true);
                created.volume = located(created.volume, &driver);
                Ok(created)
            }
            Err(error) => {
                if !is_there && let Err(error) = driver.remove(name.as_str()) {
                    let error = spec::error::chain(&error);
                    tracing::warn!(volume = %name, error, "a plugin did not take a volume back");
                }
                Err(error)
            }
        }
    }

    /// A volume of a name that is known already. Needs the turn.
    pub(super) fn find_again(&self, record: Record, wanted: &NewVolume) -> Result<Created> {
        let name = record.name.clone();
        let is_other = !wanted.driver.is_empty() && wanted.driver != record.driver;
        let plugins = &self.inner.plugins;
        if is_other && wanted.driver != LOCAL {
            // A plugin that is missing is the first thing to tell.
            let found = plugins.driver(&wanted.driver);
            found.map_err(|source| refused("create", &name, source))?;
        }
        let mut driver: Option<Arc<Driver>> = None;
        if record.driver != LOCAL {
            let asked = plugins
                .driver(&record.driver)
                .and_then(|driver| Ok((driver.get(name.as_str())?, driver)));
            let (told, asked) = asked.map_err(|source| Error::Unclear {
                name: name.clone(),
                driver: record.driver.clone(),
                what: spec::error::chain(&source),
            })?;
            if told.is_none() && !is_other {
                // Removed behind our back: it is made again as it was.
                let made = asked.create(name.as_str(), record.options.as_ref());
                made.map_err(|source| refused("create", &name, source))?;
            }
            driver = Some(asked);
        }
        if is_other {
            return Err(Error::DriverConflict {
                name,
                driver: record.driver,
            });
        }
        let mut created = {
            let mut state = self.inner.state();
            // It may have been renamed, or protected, since it was looked up.
            let record = state.volumes.get(&name).ok_or_else(|| no_such(&name))?;
            let volume = self.inner.view(&state, record);
            Created {
                volume,
                is_new: false,
                hold: self.inner.hold(&mut state, &name),
            }
        };
        if let Some(driver) = driver {
            created.volume = located(created.volume, &driver);
        }
        Ok(created)
    }

    /// Removes a volume of a plugin. Needs the turn.
    pub(super) fn remove_plugged(
        &self,
        volume: Volume,
        users: &dyn Fn(&VolumeName) -> Vec<String>,
        on_refusal: OnRefusal,
    ) -> Result<Volume> {
        let name = &volume.name;
        removable(&self.inner.state(), name, users)?;
        let asked = self.inner.plugins.driver(&volume.driver);
        let removed = asked.and_then(|driver| driver.remove(name.as_str()));
        let result = match removed {
            Ok(()) => Ok(()),
            Err(error) if on_refusal == OnRefusal::Forget && error.is_absent() => Ok(()),
            Err(error) => Err(refused("remove", name, error)),
        };
        if result.is_ok() || on_refusal == OnRefusal::Forget {
            let hidden = self.hide(&mut self.inner.state(), name)?;
            self.delete_hidden(&hidden)?;
        }
        result.map(|()| volume)
    }

    /// Removes a volume that only a plugin knows of.
    pub(super) fn remove_unknown(
        &self,
        name: &str,
        users: &dyn Fn(&VolumeName) -> Vec<String>,
    ) -> Result<Volume> {
        let missing = || Error::NoSuchVolume {
            name: name.to_owned(),
        };
        let name: VolumeName = name.parse().map_err(|_| missing())?;
        let _turn = self.turn(&name);
        let (driver, told, scope) = self.probe(&name).ok_or_else(missing)?;
        let users = users(&name);
        if !users.is_empty() {
            return Err(Error::InUse { name, users });
        }
        let asked = self.inner.plugins.driver(&driver);
        let removed = asked.and_then(|driver| driver.remove(name.as_str()));
        removed.map_err(|source| refused("remove", &name, source))?;
        Ok(stranger(name, &driver, told, scope))
    }

    /// Has a plugin mount a volume for a user, and opens what it says.
    pub(super) fn mount_plugged(
        &self,
        name: &VolumeName,
        driver: &str,
        user: &str,
    ) -> Result<OwnedFd> {
        let _turn = self.turn(name);
        let (known, at) = {
            let state = self.inner.state();
            if !state.volumes.contains_key(name) {
                return Err(no_such(name));
            }
            let has_it = |users: &Vec<String>| users.iter().any(|known| known == user);
            let place = state.places.get(name).cloned();
            let is_user = state.mounts.get(name).is_some_and(has_it);
            (place.clone().filter(|_| is_user), place.unwrap_or_default())
        };
        let failed = |source| Error::PluginMount {
            path: at.clone(),
            source,
        };
        if let Some(place) = known {
            return open(&place).map_err(failed);
        }
        let plugin = self.inner.plugins.driver(driver).map_err(failed)?;
        let id = id_of(user);
        let place = plugin.mount(name.as_str(), &id).map_err(failed)?;
        let opened = open(&place).map_err(|lie| {
            if let Err(error) = plugin.unmount(name.as_str(), &id) {
                let error = spec::error::chain(&error);
                tracing::warn!(volume = %name, error, "a plugin did not take a mount back");
            }
            failed(lie)
        })?;
        let mut state = self.inner.state();
        let users = state.mounts.entry(name.clone()).or_default();
        if !users.iter().any(|known| known == user) {
            users.push(user.to_owned());
        }
        state.places.insert(name.clone(), place);
        Ok(opened)
    }

    /// Tells a plugin that a user is gone. Whatever it answers, the user is.
    pub(super) fn unmount_plugged(
        &self,
        name: &VolumeName,
        driver: &str,
        user: &str,
    ) -> Result<()> {
        let _turn = self.turn(name);
        {
            let mut state = self.inner.state();
            let Some(users) = state.mounts.get_mut(name) else {
                return Ok(());
            };
            let before = users.len();
            users.retain(|known| known != user);
            if users.len() == before {
                return Ok(());
            }
            if users.is_empty() {
                state.mounts.remove(name);
                state.places.remove(name);
            }
        }
        let plugin = self.inner.plugins.driver(driver);
        let told = plugin.and_then(|plugin| plugin.unmount(name.as_str(), &id_of(user)));
        told.map_err(|source| refused("unmount", name, source))
    }
}

fn refused(verb: &str, name: &VolumeName, source: PluginFailure) -> Error {
    Error::Plugin {
        action: format!("{verb} {name}"),
        source,
    }
}

fn record(name: &VolumeName, driver: &str, wanted: &NewVolume) -> Record {
    let options = wanted.options.clone();
    Record {
        version: VERSION,
        name: name.clone(),
        driver: driver.to_owned(),
        created: Timestamp::from(std::time::SystemTime::now()),
        labels: wanted.labels.clone(),
        options: options.filter(|options| !options.is_empty()),
        bound: None,
        protected: false,
    }
}

/// A volume that there is a record of, with what its plugin tells.
fn joined(volume: Volume, told: Told, scope: Scope) -> Volume {
    let is_told = !told.mountpoint.as_os_str().is_empty();
    Volume {
        scope: scope.as_str(),
        status: told.status,
        created: told.created.unwrap_or(volume.created),
        mountpoint: if is_told {
            told.mountpoint
        } else {
            volume.mountpoint
        },
        ..volume
    }
}

/// A volume that only its plugin knows of.
fn stranger(name: VolumeName, driver: &str, told: Told, scope: Scope) -> Volume {
    Volume {
        name,
        driver: driver.to_owned(),
        scope: scope.as_str(),
        status: told.status,
        mountpoint: told.mountpoint,
        created: told.created.unwrap_or(Timestamp::ZERO),
        labels: Default::default(),
        options: None,
        protected: false,
    }
}

/// A volume with the place that its plugin tells; a plugin that does not tell is no failure.
fn located(volume: Volume, driver: &Driver) -> Volume {
    let told = driver.path(volume.name.as_str()).unwrap_or_default();
    let is_told = !told.as_os_str().is_empty();
    Volume {
        scope: driver.scope(None).as_str(),
        mountpoint: if is_told { told } else { volume.mountpoint },
        ..volume
    }
}

/// The id of a user at a plugin, which may make a file of it.
fn id_of(user: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            c
        } else {
            '-'
        }
    };
    user.chars().map(plain).collect()
}

/// Opens what a plugin says is a volume.
fn open(place: &Path) -> std::result::Result<OwnedFd, PluginFailure> {
    let lie = |what: String| PluginFailure::Answer {
        method: "VolumeDriver.Mount".to_owned(),
        what,
    };
    if !place.is_absolute() {
        return Err(lie(format!("its mountpoint {place:?} is no absolute path")));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, place, flags, Mode::empty()).map_err(|errno| {
        lie(format!(
            "its mountpoint {place:?} cannot be opened: {errno}"
        ))
    })
}
