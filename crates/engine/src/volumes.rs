//! Volumes: what there is, who uses it, and what nobody does.

use std::collections::BTreeMap;

use spec::{ContainerId, ErrorKind};
pub use volume::Volume;
use volume::{NewVolume, VolumeName};

use crate::containers::{Containers, Pruned};
use crate::events::Events;
use crate::mounts::Point;
use crate::{Error, Filters, Result};

/// The volumes of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Volumes {
    containers: Containers,
}

/// A volume to make.
#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// Its driver; empty for `local`.
    pub driver: String,
    /// The driver's options; `None` where none were given.
    pub options: Option<BTreeMap<String, String>>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a volume holds and who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeUsage {
    /// Bytes on disk.
    pub size: u64,
    /// Containers that use it.
    pub users: u64,
}

/// Filters of a list.
const LIST: [&str; 4] = ["dangling", "driver", "label", "name"];
/// Filters of a prune.
const PRUNE: [&str; 3] = ["all", "label", "label!"];

impl Volumes {
    /// Makes the service.
    pub(crate) fn new(containers: Containers) -> Self {
        Self { containers }
    }

    /// Volumes that match, by name.
    ///
    /// # Errors
    ///
    /// An unknown filter.
    pub fn list(&self, filters: &Filters) -> Result<Vec<Volume>> {
        filters.only(&LIST)?;
        let dangling = filters.boolean("dangling")?;
        let shared = self.containers.shared();
        let matches = |volume: &Volume| {
            filters.allows_if("name", |part| volume.name.as_str().contains(part))
                && filters.allows("driver", &volume.driver)
                && filters.allows_labels("label", &volume.labels)
                && dangling.is_none_or(|wanted| {
                    wanted == shared.volume_users(&volume.name, None).is_empty()
                })
        };
        Ok(shared.volumes.list().into_iter().filter(matches).collect())
    }

    /// One volume.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn inspect(&self, name: &str) -> Result<Volume> {
        Ok(self.containers.shared().volumes.get(name)?)
    }

    /// Makes a volume, or finds the one of this name.
    ///
    /// # Errors
    ///
    /// A name, driver or option that cannot be, in Docker's words.
    pub async fn create(&self, request: CreateVolume) -> Result<Volume> {
        check_driver(&request.driver)?;
        let wanted = NewVolume {
            name: match request.name.as_str() {
                "" => None,
                text => Some(name(text)?),
            },
            labels: request.labels,
            options: request.options,
        };
        let shared = self.containers.shared();
        let volumes = shared.volumes.clone();
        let created = shared
            .blocking
            .heavy(move || Ok(volumes.create(wanted)?))
            .await?;
        if created.is_new {
            emit(&shared.events, &created.volume, "create");
        }
        Ok(created.volume)
    }

    /// Removes a volume; with force a missing one is no error.
    ///
    /// # Errors
    ///
    /// Containers use it, or it is protected.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let shared = std::sync::Arc::clone(self.containers.shared());
        let wanted = name.to_owned();
        let job = move || {
            let users = |name: &VolumeName| shared.volume_users(name, None);
            let removed = shared.volumes.remove(&wanted, &users);
            match removed {
                Ok(volume) => emit(&shared.events, &volume, "destroy"),
                Err(volume::Error::NoSuchVolume { .. }) if force => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        };
        self.containers.shared().blocking.heavy(job).await
    }

    /// Removes volumes that no container uses: anonymous ones, or all of them with `all=true`.
    ///
    /// # Errors
    ///
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<Pruned<String>> {
        let doomed = self.prunable(filters)?;
        let shared = std::sync::Arc::clone(self.containers.shared());
        let job = move || {
            let mut pruned = Pruned {
                deleted: Vec::new(),
                reclaimed: 0,
            };
            for volume in doomed {
                let size = size_of(&volume);
                let users = |name: &VolumeName| shared.volume_users(name, None);
                match shared.volumes.remove(volume.name.as_str(), &users) {
                    Ok(volume) => {
                        emit(&shared.events, &volume, "destroy");
                        pruned.deleted.push(volume.name.to_string());
                        pruned.reclaimed += size;
                    }
                    // Taken into use, or removed, by somebody else in between.
                    Err(error) => {
                        tracing::debug!(error = spec::error::chain(&error), "not pruned");
                    }
                }
            }
            let attributes = [("reclaimed".to_owned(), pruned.reclaimed.to_string())].into();
            shared.events.emit("volume", "prune", "", attributes);
            Ok(pruned)
        };
        self.containers.shared().blocking.heavy(job).await
    }

    /// What a prune would remove now.
    ///
    /// # Errors
    ///
    /// An unknown filter.
    pub fn prunable(&self, filters: &Filters) -> Result<Vec<Volume>> {
        filters.only(&PRUNE)?;
        let all = filters.boolean("all")?.unwrap_or(false);
        let shared = self.containers.shared();
        let idle = |volume: &Volume| {
            (all || volume.is_anonymous())
                && !volume.protected
                && filters.allows_labels("label", &volume.labels)
                && filters.allows_without_labels("label!", &volume.labels)
                && shared.volume_users(&volume.name, None).is_empty()
        };
        Ok(shared.volumes.list().into_iter().filter(idle).collect())
    }

    /// What every volume holds, for `system df`.
    ///
    /// # Errors
    ///
    /// The engine is being torn down.
    pub async fn usage(&self) -> Result<Vec<(Volume, VolumeUsage)>> {
        let shared = std::sync::Arc::clone(self.containers.shared());
        let job = move || {
            let usage = |volume: Volume| {
                let users = shared.volume_users(&volume.name, None).len() as u64;
                let size = size_of(&volume);
                (volume, VolumeUsage { size, users })
            };
            Ok(shared.volumes.list().into_iter().map(usage).collect())
        };
        self.containers.shared().blocking.heavy(job).await
    }

    /// Gives a volume that nobody uses another name.
    ///
    /// # Errors
    ///
    /// It is used, or the name is taken or none.
    pub async fn rename(&self, from: &str, to: &str) -> Result<Volume> {
        let (from, to) = (from.to_owned(), name(to)?);
        let shared = std::sync::Arc::clone(self.containers.shared());
        let job = move || {
            let users = |name: &VolumeName| shared.volume_users(name, None);
            Ok(shared.volumes.rename(&from, &to, &users)?)
        };
        self.containers.shared().blocking.heavy(job).await
    }

    /// Makes a volume with a copy of another's data.
    ///
    /// # Errors
    ///
    /// The name is taken or none, or the disk failed.
    pub async fn duplicate(&self, from: &str, to: &str) -> Result<Volume> {
        let (from, to) = (from.to_owned(), name(to)?);
        let shared = self.containers.shared();
        let volumes = shared.volumes.clone();
        let made = shared
            .blocking
            .heavy(move || Ok(volumes.duplicate(&from, &to)?))
            .await?;
        emit(&shared.events, &made, "create");
        Ok(made)
    }

    /// Protects a volume from removal and prune, or takes the protection away.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub async fn protect(&self, name: &str, protected: bool) -> Result<Volume> {
        let (volumes, name) = (self.containers.shared().volumes.clone(), name.to_owned());
        self.containers
            .shared()
            .blocking
            .heavy(move || Ok(volumes.protect(&name, protected)?))
            .await
    }
}

/// Bytes on disk; what cannot be read counts as nothing.
fn size_of(volume: &Volume) -> u64 {
    volume::tree::size(&volume.mountpoint).unwrap_or_else(|error| {
        let error = spec::error::chain(&error);
        tracing::warn!(volume = %volume.name, error, "failed to measure a volume");
        0
    })
}

/// A volume's name, refused in Docker's words.
pub(crate) fn name(text: &str) -> Result<VolumeName> {
    text.parse().map_err(|source| {
        Error::Volume(volume::Error::InvalidName {
            text: text.to_owned(),
            source,
        })
    })
}

/// Refuses a driver that there is not.
pub(crate) fn check_driver(driver: &str) -> Result<()> {
    match driver {
        "" | volume::LOCAL => Ok(()),
        other => Err(Error::refused(
            ErrorKind::NotFound,
            format!("error looking up volume plugin {other}: plugin \"{other}\" not found"),
        )),
    }
}

/// Tells that something happened to a volume.
pub(crate) fn emit(events: &Events, volume: &Volume, action: &'static str) {
    let attributes = [("driver".to_owned(), volume.driver.clone())].into();
    events.emit("volume", action, volume.name.to_string(), attributes);
}

/// Tells that a container took a volume into use or let it go.
pub(crate) fn emit_use(events: &Events, action: &'static str, id: ContainerId, point: &Point) {
    let mut attributes: BTreeMap<String, String> = [
        ("container", id.to_string()),
        ("driver", point.driver.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if action == "mount" {
        let more = [
            ("destination", point.target.clone()),
            ("propagation", point.propagation.clone()),
            ("read/write", point.writable.to_string()),
        ];
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
    }
    events.emit("volume", action, point.name.clone(), attributes);
}
