//! Volumes, images and sources behind a container's mount points.
//!
//! ```text
//! creation   volumes are made or found, held, filled from the image; images get snapshots
//! start      volumes that need it are mounted, missing sources of -v are made
//! end        volumes are let go
//! removal    anonymous volumes and the images' snapshots go
//! ```
//!
//! Who uses a volume is never written down: the records say it, and holds while a creation runs.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spec::{ContainerId, Rootfs};
use store::{Lease, PrepareOptions};
use sys::root::{GuestPath, Kind as Object, Root};
use volume::{Hold, NewVolume, VolumeName};

use super::labels;
use super::record::Record;
use super::shared::Shared;
use super::start::missing_source;
use crate::container::{Config, HostConfig};
use crate::mounts::{self, IdMap, Kind, Owners, Point, Sources, Wanted};
use crate::oci::Seen;
use crate::{Error, Result};

/// What is to be seen at every path, from everything that asks for something.
///
/// # Errors
///
/// Malformed, or a container or source that is not there, in Docker's words.
pub(super) fn plan(shared: &Shared, config: &Config, host: &HostConfig) -> Result<Vec<Wanted>> {
    let mut from = Vec::new();
    for text in &host.volumes_from {
        let (name, change) = mounts::parse_volumes_from(text)?;
        let other = shared.table().find(name).map_err(|error| match error {
            // It is the request that is wrong: with 404 clients would look for the image.
            Error::NoSuchContainer { key } => Error::invalid(format!("No such container: {key}")),
            other => other,
        })?;
        from.extend(other.container().points.iter().cloned().map(change));
    }
    let mut wanted = mounts::plan(Sources {
        host,
        volumes: &config.volumes,
        from,
    })?;
    for point in wanted.iter_mut().map(|wanted| &mut wanted.point) {
        mounts::follow_data(point, host, &shared.config.data_root)?;
        let missing = || std::fs::metadata(&point.source).is_err();
        if point.kind == Kind::Bind && !point.create_source && missing() {
            return Err(missing_source(&point.source));
        }
        if point.kind == Kind::Image {
            shared.store.find(&point.name)?;
        }
    }
    Ok(wanted)
}

/// What a creation made for its mount points.
#[derive(Debug)]
pub(super) struct Made {
    /// The points, volumes named.
    pub(super) points: Vec<Point>,
    /// Until the container is in the table, nothing else says that its volumes are used.
    _holds: Vec<Hold>,
    new: Vec<VolumeName>,
}

/// Makes or finds the volumes; on failure those that were made are gone again.
pub(super) fn make(shared: &Shared, wanted: Vec<Wanted>) -> Result<Made> {
    let mut made = Made {
        points: Vec::new(),
        _holds: Vec::new(),
        new: Vec::new(),
    };
    for mut wanted in wanted {
        if wanted.point.kind == Kind::Volume
            && let Err(error) = volume_for(shared, &mut made, &mut wanted)
        {
            made.undo(shared);
            return Err(error);
        }
        made.points.push(wanted.point);
    }
    Ok(made)
}

fn volume_for(shared: &Shared, made: &mut Made, wanted: &mut Wanted) -> Result<()> {
    let point = &mut wanted.point;
    let created = shared.volumes.create(NewVolume {
        name: match point.name.as_str() {
            "" => None,
            text => Some(crate::volumes::name(text)?),
        },
        driver: point.driver.clone(),
        labels: wanted.volume.labels.clone(),
        options: wanted.volume.options.clone(),
    })?;
    point.name = created.volume.name.to_string();
    point.driver.clone_from(&created.volume.driver);
    point.remote = point.driver == volume::LOCAL && created.volume.may_wait();
    if point.driver != volume::LOCAL && point.mode == mounts::DEFAULT_MODE {
        // Docker shows its default for its own driver only.
        point.mode.clear();
    }
    if created.is_new {
        crate::volumes::emit(&shared.events, &created.volume, "create");
        made.new.push(created.volume.name);
    }
    made._holds.push(created.hold);
    Ok(())
}

impl Made {
    /// Removes the volumes that were made.
    pub(super) fn undo(self, shared: &Shared) {
        drop(self._holds);
        for name in self.new {
            if let Err(error) = shared.volumes.remove(name.as_str(), &|_| Vec::new()) {
                let error = spec::error::chain(&error);
                tracing::warn!(volume = %name, error, "failed to take a volume back");
            }
        }
    }
}

/// Whether making the volumes may have to wait for plugins.
pub(super) fn asks_plugins(shared: &Shared, wanted: &[Wanted]) -> bool {
    let mut points = wanted.iter().map(|wanted| &wanted.point);
    points.any(|point| {
        point.kind == Kind::Volume && shared.volumes.may_ask_plugins(&point.name, &point.driver)
    })
}

/// Whether a container has volumes of plugins or of other machines, which may keep us waiting.
pub(super) fn has_plugged(record: &Record) -> bool {
    volumes_of(record)
        .any(|point| point.remote || !matches!(point.driver.as_str(), "" | volume::LOCAL))
}

/// Fills empty volumes with what the image has at their paths.
///
/// # Errors
///
/// A declared volume over a file, in Docker's words, or the disk failed.
pub(super) fn fill(
    shared: &Shared,
    id: ContainerId,
    rootfs: &Rootfs,
    points: &[Point],
) -> Result<()> {
    // Layers are unpacked with every driver, also those that a container sees as images.
    let layers = match rootfs {
        Rootfs::Directory { path } => std::slice::from_ref(path),
        Rootfs::Overlay { lowers, .. } => lowers,
    };
    let mut image: Option<Root> = None;
    let copied =
        |point: &&Point| point.kind == Kind::Volume && !point.no_copy && point.subpath.is_empty();
    for point in points.iter().filter(copied) {
        if !may_hold(layers, Path::new(&point.target)) {
            continue;
        }
        let root = match &image {
            Some(root) => root,
            None => {
                let mounted = sys::mount::overlay_read_only(layers)
                    .map_err(system("failed to look into the image"))?;
                image.insert(Root::from_fd(mounted))
            }
        };
        fill_one(shared, id, root, point)?;
    }
    Ok(())
}

fn fill_one(shared: &Shared, id: ContainerId, image: &Root, point: &Point) -> Result<()> {
    let path = GuestPath::new(&point.target)
        .map_err(|error| Error::invalid(format!("invalid mount path: {error}")))?;
    let Ok(source) = image.resolve(&path) else {
        return Ok(());
    };
    let metadata =
        sys::root::metadata(source.as_fd()).map_err(system("failed to look into the image"))?;
    if metadata.kind != Object::Directory {
        if point.anonymous {
            return Err(Error::invalid(format!(
                "cannot mount volume over existing file, file exists {}",
                point.target
            )));
        }
        return Ok(());
    }
    let name = crate::volumes::name(&point.name)?;
    let user = format!("creation of {id}");
    let target = shared.volumes.mount(&name, &user)?;
    let filled = (|| {
        if volume::tree::is_empty(target.as_fd())? {
            let done = volume::tree::copy(source.as_fd(), target.as_fd())?;
            tracing::debug!(volume = %name, ?done, "filled from the image");
        }
        Ok(())
    })();
    shared.volumes.unmount(&name, &user)?;
    filled
}

/// Whether any layer has something at a path, or a link or file on the way to it, in which case
/// only the kernel can tell. Most paths are in no layer, and then nothing has to be mounted.
fn may_hold(lowers: &[PathBuf], target: &Path) -> bool {
    let parts: Vec<_> = target.components().skip(1).collect();
    lowers.iter().any(|lower| {
        let mut path = lower.clone();
        for (index, part) in parts.iter().enumerate() {
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Err(_) => return false,
                Ok(metadata) if !metadata.is_dir() => return true,
                Ok(_) if index + 1 == parts.len() => return true,
                Ok(_) => {}
            }
        }
        false
    })
}

/// Key of the snapshot that keeps the layers of a mounted image.
fn image_key(id: ContainerId, index: usize) -> String {
    format!("{id}-{index}")
}

/// The container that a snapshot of a mounted image belongs to.
pub(super) fn owner_of(key: &str) -> Option<ContainerId> {
    key.split('-').next()?.parse().ok()
}

/// Keeps the layers of the images that are mounted, for as long as the container is there.
pub(super) fn keep_images(
    shared: &Shared,
    lease: &Lease,
    id: ContainerId,
    points: &[Point],
    volatile: bool,
) -> Result<()> {
    let options = PrepareOptions {
        volatile,
        view: true,
        ..PrepareOptions::default()
    };
    for (index, point) in points.iter().enumerate() {
        if point.kind == Kind::Image {
            let image = shared.store.find(&point.name)?.id;
            shared
                .store
                .prepare(lease, &image_key(id, index), image, &options)?;
        }
    }
    Ok(())
}

/// Makes everything available that a container is to see.
///
/// # Errors
///
/// A source is missing, or a volume cannot be mounted; what was mounted is let go by [`release`].
pub(super) fn place(shared: &Shared, record: &Record) -> Result<Vec<Seen>> {
    let mut seen = place_for(shared, record, &record.id.to_string())?;
    if let Err(error) = settle(shared, record, &mut seen) {
        release_for(shared, record, &record.id.to_string());
        return Err(error);
    }
    for point in volumes_of(record) {
        crate::volumes::emit_use(&shared.events, "mount", record.id, point);
    }
    Ok(seen)
}

/// What is looked at and done once the sources are there.
fn settle(shared: &Shared, record: &Record, seen: &mut [Seen]) -> Result<()> {
    let mut table = None;
    for seen in seen {
        let point = &mut seen.point;
        if mounts::needs_check(point) {
            let table: &String = match &table {
                Some(table) => table,
                None => table.insert(
                    std::fs::read_to_string("/proc/self/mountinfo")
                        .map_err(|e| Error::io("failed to read the table of mounts", e))?,
                ),
            };
            let real = Path::new(&point.source)
                .canonicalize()
                .map_err(|e| Error::io(format!("failed to find '{}'", point.source), e))?;
            let fits = mounts::check_propagation(point, &real.to_string_lossy(), table);
            match fits {
                Err(error)
                    if mounts::follows_data(point, &record.host, &shared.config.data_root) =>
                {
                    tracing::warn!(container = %record.id, %error, "a bind does not follow the host");
                    "rprivate".clone_into(&mut point.propagation);
                }
                fits => fits?,
            }
        }
        if matches!(point.kind, Kind::Bind | Kind::Volume) {
            labels::apply(record.id, &record.host, point, &seen.source)?;
        }
    }
    Ok(())
}

/// Like [`place`], for somebody else who looks at the container's files; on failure nothing is kept.
pub(super) fn place_for(shared: &Shared, record: &Record, user: &str) -> Result<Vec<Seen>> {
    let seen = look_up(shared, record, user);
    if seen.is_err() {
        release_for(shared, record, user);
    }
    seen
}

fn look_up(shared: &Shared, record: &Record, user: &str) -> Result<Vec<Seen>> {
    let points = record.points().iter().enumerate();
    points
        .map(|(index, point)| {
            let mut seen = Seen {
                point: point.clone(),
                source: point.source.clone(),
                layers: Vec::new(),
                ids: None,
            };
            match point.kind {
                Kind::Bind => {
                    bind_source(point)?;
                    seen.ids = owners(shared, record, point)?;
                }
                Kind::Volume => {
                    let name = crate::volumes::name(&point.name)?;
                    // Mounted by path in the runtime: `_data` is a name that only root can change.
                    let mounted = shared.volumes.mount(&name, user)?;
                    seen.source = text(&shared.volumes.mountpoint(&name));
                    check_subpath(mounted, point, &seen.source)?;
                }
                Kind::Image => {
                    let layers = shared.store.image_layers(&image_key(record.id, index))?;
                    seen.layers = layers.iter().map(|path| text(path)).collect();
                }
                Kind::Tmpfs => {}
            }
            Ok(seen)
        })
        .collect()
}

/// Refuses a path in a volume that is not there. Only for the words: whoever mounts it looks again.
fn check_subpath(volume: OwnedFd, point: &Point, source: &str) -> Result<()> {
    let missing = || {
        let path = format!("{source}/{}", point.subpath);
        Error::invalid(format!(
            "cannot access path {path}: lstat {path}: no such file or directory"
        ))
    };
    if !point.subpath.is_empty() {
        let path = GuestPath::new(&point.subpath).map_err(|_| missing())?;
        Root::from_fd(volume)
            .resolve(&path)
            .map_err(|_| missing())?;
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Makes a missing source of a bind, as `-v` does, and refuses it where `--mount` must not.
fn bind_source(point: &Point) -> Result<()> {
    let source = &point.source;
    if std::fs::metadata(source).is_ok() {
        return Ok(());
    }
    if !point.create_source {
        return Err(missing_source(source));
    }
    std::fs::create_dir_all(source).map_err(|e| {
        Error::io(
            format!("error while creating mount source path '{source}'"),
            e,
        )
    })
}

/// As whom the owners of a bind's files are seen, if not as themselves.
fn owners(shared: &Shared, record: &Record, point: &Point) -> Result<Option<IdMap>> {
    Ok(match &point.owners {
        None => None,
        Some(Owners::Map(map)) => Some(map.clone()),
        Some(Owners::Match) => {
            let owner = std::fs::metadata(&point.source)
                .map_err(|e| Error::io(format!("failed to look at '{}'", point.source), e))?;
            let user = super::files::user(shared, record)?;
            Some(IdMap::one((owner.uid(), owner.gid()), user))
        }
    })
}

/// Lets go of the volumes of a container that has ended.
pub(super) fn release(shared: &Shared, record: &Record) {
    release_for(shared, record, &record.id.to_string());
    for point in volumes_of(record) {
        crate::volumes::emit_use(&shared.events, "unmount", record.id, point);
    }
}

/// Lets go of what [`place_for`] took.
pub(super) fn release_for(shared: &Shared, record: &Record, user: &str) {
    for point in volumes_of(record) {
        let let_go = crate::volumes::name(&point.name)
            .and_then(|name| Ok(shared.volumes.unmount(&name, user)?));
        if let Err(error) = let_go {
            let error = spec::error::chain(&error);
            tracing::warn!(volume = point.name, error, "failed to let a volume go");
        }
    }
}

fn volumes_of(record: &Record) -> impl Iterator<Item = &Point> {
    let points = record.points().iter();
    points.filter(|point| point.kind == Kind::Volume)
}

/// Removes the snapshots of mounted images.
pub(super) fn forget_images(shared: &Shared, id: ContainerId) -> Result<()> {
    let own = |key: &String| key.contains('-') && owner_of(key) == Some(id);
    for key in shared.store.snapshots().into_iter().filter(own) {
        shared.store.remove_snapshot(&key)?;
    }
    Ok(())
}

/// Removes the anonymous volumes of a container that is gone, where nobody else uses them.
pub(super) fn remove_anonymous(shared: &Shared, record: &Record) {
    for point in volumes_of(record).filter(|point| point.anonymous) {
        let users = |name: &VolumeName| shared.volume_users(name, Some(record.id));
        match shared.volumes.remove(&point.name, &users) {
            Ok(volume) => crate::volumes::emit(&shared.events, &volume, "destroy"),
            Err(volume::Error::InUse { .. } | volume::Error::NoSuchVolume { .. }) => {}
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(volume = point.name, error, "failed to remove a volume");
            }
        }
    }
}

fn system(what: &'static str) -> impl FnOnce(sys::Error) -> Error {
    move |source| Error::System {
        what: what.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_a_layer_may_have_are_looked_up() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("layer");
        std::fs::create_dir_all(layer.join("var/lib")).unwrap();
        std::os::unix::fs::symlink("/var", layer.join("link")).unwrap();
        let lowers = [layer];
        for (path, want) in [
            ("/var/lib", true),
            ("/var/lib/data", false),
            ("/new", false),
            ("/link/data", true),
        ] {
            assert_eq!(may_hold(&lowers, Path::new(path)), want, "{path}");
        }
    }

    #[test]
    fn snapshots_of_images_tell_their_container() {
        let id = ContainerId::from_bytes([7; 32]);
        assert_eq!(owner_of(&image_key(id, 3)), Some(id));
        assert_eq!(owner_of(&id.to_string()), Some(id));
        assert_eq!(owner_of("x-1"), None);
    }
}
