//! Volumes: what there is, who uses it, and what nobody does.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use bytes::Bytes;
use futures_util::Stream;
use spec::ContainerId;
use store::copy::{self, CopyPath, Extract};
use sys::root::{GuestPath, Root};
use tokio_util::sync::CancellationToken;
pub use volume::Volume;
use volume::{Hold, NewVolume, VolumeName};

use crate::containers::{Containers, Pruned, Shared};
use crate::events::Events;
use crate::images::archive::{ArchiveStream, produce};
use crate::mounts::Point;
use crate::{Error, Filters, Result, pieces};

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

    /// Volumes that match, by name, and what plugins failed to tell.
    ///
    /// # Errors
    ///
    /// An unknown filter.
    pub async fn list(&self, filters: &Filters) -> Result<(Vec<Volume>, Vec<String>)> {
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
        let volumes = shared.volumes.clone();
        let listed = shared.blocking.plugin(move || Ok(volumes.list_all()));
        let (all, warnings) = listed.await?;
        Ok((all.into_iter().filter(matches).collect(), warnings))
    }

    /// One volume.
    ///
    /// # Errors
    ///
    /// There is none of this name, or its plugin failed.
    pub async fn inspect(&self, name: &str) -> Result<Volume> {
        let shared = self.containers.shared();
        match shared.volumes.get(name) {
            Ok(volume) if volume.driver == volume::LOCAL => Ok(volume),
            _ => {
                let (volumes, name) = (shared.volumes.clone(), name.to_owned());
                let job = move || Ok(volumes.inspect(&name)?);
                shared.blocking.plugin(job).await
            }
        }
    }

    /// Makes a volume, or finds the one of this name.
    ///
    /// # Errors
    ///
    /// A name, driver or option that cannot be, in Docker's words.
    pub async fn create(&self, request: CreateVolume) -> Result<Volume> {
        Ok(self.make(request).await?.0)
    }

    /// Makes or finds a volume; tells whether it was made, and keeps it from being removed.
    async fn make(&self, request: CreateVolume) -> Result<(Volume, bool, Hold)> {
        let shared = self.containers.shared();
        let asks_plugins = shared
            .volumes
            .may_ask_plugins(&request.name, &request.driver);
        let wanted = NewVolume {
            name: match request.name.as_str() {
                "" => None,
                text => Some(name(text)?),
            },
            driver: request.driver,
            labels: request.labels,
            options: request.options,
        };
        let volumes = shared.volumes.clone();
        let created = shared
            .blocking
            .heavy_or_plugin(asks_plugins, move || Ok(volumes.create(wanted)?))
            .await?;
        if created.is_new {
            emit(&shared.events, &created.volume, "create");
        }
        Ok((created.volume, created.is_new, created.hold))
    }

    /// Removes a volume; with force a missing one is no error, nor is one whose plugin is missing.
    ///
    /// # Errors
    ///
    /// Containers use it, it is protected, or its plugin refuses.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let shared = std::sync::Arc::clone(self.containers.shared());
        let asks_plugins = shared.volumes.may_ask_plugins(name, "");
        let wanted = name.to_owned();
        let job = move || {
            let users = |name: &VolumeName| shared.volume_users(name, None);
            let removed = match force {
                true => shared.volumes.remove_forced(&wanted, &users),
                false => shared.volumes.remove(&wanted, &users),
            };
            match removed {
                Ok(volume) => emit(&shared.events, &volume, "destroy"),
                Err(volume::Error::NoSuchVolume { .. }) if force => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        };
        let blocking = &self.containers.shared().blocking;
        blocking.heavy_or_plugin(asks_plugins, job).await
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
            // Docker leaves those of plugins to people, too.
            volume.driver == volume::LOCAL
                && (all || volume.is_anonymous())
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
            // What plugins have lies elsewhere: Docker counts the local ones, too.
            let all = shared.volumes.list().into_iter();
            let local = all.filter(|volume| volume.driver == volume::LOCAL);
            Ok(local.map(usage).collect())
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

    /// A volume's data as an archive: owners, modes, times, attributes and hard links as they are.
    ///
    /// # Errors
    ///
    /// There is none of this name, or it cannot be mounted; failures under way end the stream.
    pub async fn export(&self, name: &str) -> Result<ArchiveStream> {
        let shared = std::sync::Arc::clone(self.containers.shared());
        let volume = shared.volumes.get(name)?;
        // Held from here on: nobody removes what is being read.
        let hold = shared.volumes.hold(&volume.name)?;
        Ok(produce(move |out| {
            let _hold = hold;
            with_data(&shared.volumes, &volume.name, "export", |root| {
                Ok(copy::pack_exactly(root, &whole()?, out)?)
            })
        }))
    }

    /// Unpacks an archive into a volume, which is made if it is missing. A volume that was made for
    /// it is gone again if it fails; one that was there is left with what was unpacked.
    ///
    /// # Errors
    ///
    /// The name is none, containers use the volume, it is not empty, or the archive is bad.
    pub async fn import<S>(&self, name: &str, client: S) -> Result<Volume>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let request = CreateVolume {
            name: self::name(name)?.to_string(),
            ..CreateVolume::default()
        };
        let (volume, is_new, hold) = self.make(request).await?;
        let shared = std::sync::Arc::clone(self.containers.shared());
        let (source, passing) = pieces::of_client(client, CancellationToken::new());
        let name = volume.name.clone();
        let job = move || {
            let filled = fill(&shared, &name, source);
            drop(hold);
            if let (Err(_), true) = (&filled, is_new) {
                let users = |name: &VolumeName| shared.volume_users(name, None);
                match shared.volumes.remove(name.as_str(), &users) {
                    Ok(volume) => emit(&shared.events, &volume, "destroy"),
                    Err(error) => {
                        let error = spec::error::chain(&error);
                        tracing::warn!(volume = %name, error, "failed to take a volume back");
                    }
                }
            }
            filled
        };
        let filling = self.containers.shared().blocking.client(job);
        let ((), filled) = tokio::join!(passing, filling);
        filled.map(|()| volume)
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

/// All of a volume, its own directory as `./`.
fn whole() -> Result<CopyPath> {
    Ok(CopyPath::parse("/.")?)
}

/// Runs a job on a volume's data, mounted for it.
fn with_data<T>(
    volumes: &volume::Volumes,
    name: &VolumeName,
    what: &str,
    job: impl FnOnce(&Root) -> Result<T>,
) -> Result<T> {
    let random = sys::fs::random_hex().map_err(|source| Error::System {
        what: "failed to draw a name".to_owned(),
        source,
    })?;
    // Several may do so at once, and each lets go for itself.
    let user = format!("{what}-{random}");
    let data = volumes.mount(name, &user)?;
    let done = job(&Root::from_fd(data));
    volumes.unmount(name, &user)?;
    done
}

/// Unpacks an archive into a volume that must be empty; durable when it returns.
fn fill(
    shared: &Shared,
    name: &VolumeName,
    source: impl Iterator<Item = io::Result<Bytes>> + Send,
) -> Result<()> {
    let users = shared.volume_users(name, None);
    if !users.is_empty() {
        return Err(Error::conflict(format!(
            "import {name}: volume is in use - [{}]",
            users.join(", ")
        )));
    }
    with_data(&shared.volumes, name, "import", |root| {
        let failed = |source| Error::System {
            what: format!("failed to open volume {name}"),
            source,
        };
        let directory = root.open_dir(&GuestPath::root()).map_err(failed)?;
        if !volume::tree::is_empty(directory.as_fd())? {
            return Err(Error::conflict(format!(
                "import {name}: volume is not empty"
            )));
        }
        copy::extract(root, &whole()?, source, &Extract::default())?;
        rustix::fs::syncfs(directory.as_fd())
            .map_err(|errno| failed(sys::Error::new("syncfs", errno)))
    })
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
