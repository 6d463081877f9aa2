//! Reading the records when the store is opened, and putting aside what is damaged.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spec::image::ImageConfig;
use spec::manifest::{Index, media};
use spec::{DiffId, Digest, ImageId};

use crate::layout::{Layout, VERSION};
use crate::record::{
    self, ImageRecord, LayerRecord, MAX_CONFIG, ManifestRecord, NameRecord, SnapshotRecord,
};
use crate::store::{ImageEntry, NameEntry, Problem, State, io};
use crate::{Result, snapshots, tarmap, trash};

struct Recovery<'l> {
    layout: &'l Layout,
    state: State,
    problems: Vec<Problem>,
}

/// Reads all records; what was wrong is in the list.
pub(crate) fn recover(layout: &Layout) -> Result<(State, Vec<Problem>)> {
    for swept in ["ingest", "trash"] {
        trash::empty(&layout.dir(swept))?;
    }
    let mut recovery = Recovery {
        layout,
        state: State::default(),
        problems: Vec::new(),
    };
    recovery.blobs()?;
    recovery.layers()?;
    recovery.images()?;
    recovery.names()?;
    recovery.indexes();
    recovery.partials()?;
    recovery.snapshots()?;
    recovery.inits()?;
    recovery.bases()?;
    Ok((recovery.state, recovery.problems))
}

impl Recovery<'_> {
    fn blobs(&mut self) -> Result<()> {
        for (path, name) in entries(&self.layout.dir("blobs/sha256"))? {
            match hex(&name) {
                Some(digest) => {
                    // Configs are verified where they are read, all others by fsck.
                    let size = std::fs::symlink_metadata(&path).map_or(0, |found| found.len());
                    self.state.blobs.insert(digest, size);
                }
                None => self.quarantine(&path, "is not named by a digest"),
            }
        }
        Ok(())
    }

    fn layers(&mut self) -> Result<()> {
        for (path, name) in entries(&self.layout.dir("layers"))? {
            let Some(diff) = hex(&name).map(DiffId::new) else {
                self.quarantine(&path, "is not named by a digest");
                continue;
            };
            if path.is_dir() {
                // Its record is replaced when it settles, and that may have been cut short.
                drop(entries(&path)?);
            }
            match record::read::<LayerRecord>(&path.join("meta.json")) {
                Ok(record) if record.diff_id != diff => {
                    self.quarantine(&path, "belongs to another layer");
                }
                Ok(_) if !path.join("diff").is_dir() => self.quarantine(&path, "has no content"),
                Ok(mut record) if record.is_mapped() && !path.join(tarmap::MAP).is_file() => {
                    self.report(
                        &path,
                        "lost its tar map: it cannot be pushed or saved".to_owned(),
                    );
                    // A blob that was kept has the archive still.
                    if let Some(archive) = &mut record.archive {
                        archive.unmapped = true;
                    }
                    self.state.layers.insert(diff, record);
                }
                Ok(record) => {
                    self.state.layers.insert(diff, record);
                }
                Err(what) => self.quarantine(&path, &what),
            }
        }
        Ok(())
    }

    fn images(&mut self) -> Result<()> {
        for (path, name) in entries(&self.layout.dir("images"))? {
            let Some(id) = stem(&name).map(ImageId::new) else {
                self.quarantine(&path, "is not named by a digest");
                continue;
            };
            let bytes = match record::read_small(&self.layout.blob(id.digest()), MAX_CONFIG) {
                Ok(bytes) if Digest::of(&bytes) == id.digest() => bytes,
                Ok(_) => {
                    let blob = self.layout.blob(id.digest());
                    self.state.blobs.remove(&id.digest());
                    self.quarantine(&blob, "does not have the bytes of its digest");
                    self.quarantine(&path, "lost its config");
                    continue;
                }
                Err(what) => {
                    self.quarantine(&path, &format!("lost its config, which {what}"));
                    continue;
                }
            };
            let config = match ImageConfig::from_json(&bytes) {
                Ok(config) => config,
                Err(error) => {
                    self.quarantine(&path, &format!("has a config that is none: {error}"));
                    continue;
                }
            };
            let record = match record::read::<ImageRecord>(&path) {
                Ok(record) if record.id == id => record,
                // Its name and its config tell all that is needed.
                found => {
                    let what = found
                        .err()
                        .unwrap_or_else(|| "names another image".to_owned());
                    self.quarantine(&path, &format!("{what}; made anew"));
                    let record = ImageRecord {
                        version: VERSION,
                        id,
                        manifest: None,
                        manifests: Vec::new(),
                        parent: None,
                    };
                    record::write(&path, &record, sys::fs::Durability::Synced)?;
                    record
                }
            };
            for diff in &config.rootfs.diff_ids {
                if !self.state.layers.contains_key(diff) {
                    self.report(
                        &path,
                        format!("layer {diff} is missing: load the image again"),
                    );
                }
            }
            let entry = ImageEntry {
                config: Arc::new(config),
                manifest: record.manifest,
                manifests: record.manifests,
                parent: record.parent,
            };
            self.state.images.insert(id, entry);
        }
        Ok(())
    }

    fn names(&mut self) -> Result<()> {
        for (path, _) in entries(&self.layout.dir("names"))? {
            match record::read::<NameRecord>(&path) {
                Ok(record) if self.layout.name(&record.reference) != path => {
                    self.quarantine(&path, "belongs to another name");
                }
                Ok(record) if !self.state.images.contains_key(&record.image) => {
                    let what = format!(
                        "`{}` points to image {}, which is not there",
                        record.reference.familiar(),
                        record.image
                    );
                    self.quarantine(&path, &what);
                }
                Ok(record) => {
                    let entry = NameEntry {
                        image: record.image,
                        tagged: record.tagged,
                        target: record.target,
                    };
                    self.state.names.insert(record.reference, entry);
                }
                Err(what) => self.quarantine(&path, &what),
            }
        }
        Ok(())
    }

    /// Reads the indexes that names stand for: a damaged one costs its other platforms only.
    fn indexes(&mut self) {
        let names = self.state.names.values();
        let targets: Vec<ManifestRecord> = names.filter_map(|name| name.target.clone()).collect();
        for target in targets
            .iter()
            .filter(|target| media::is_index(&target.media_type))
        {
            if self.state.indexes.contains_key(&target.digest) {
                continue;
            }
            let path = self.layout.blob(target.digest);
            let found = record::read_small(&path, MAX_CONFIG).and_then(|bytes| {
                if Digest::of(&bytes) != target.digest {
                    return Err("does not have the bytes of its digest".to_owned());
                }
                Index::parse(&target.media_type, &bytes).map_err(|error| error.to_string())
            });
            match found {
                Ok(index) => {
                    let index = Arc::new(index);
                    self.state.indexes.insert(target.digest, index);
                }
                Err(what) => {
                    let known = self.state.blobs.remove(&target.digest).is_some();
                    match known {
                        true => self.quarantine(&path, &format!("is an index that {what}")),
                        false => self.report(&path, "is an index that is missing".to_owned()),
                    }
                }
            }
        }
    }

    /// Downloads that were interrupted stay; what is no download goes.
    fn partials(&mut self) -> Result<()> {
        for (path, name) in entries(&self.layout.dir("partial"))? {
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
            if hex(&name).is_none() || !is_file {
                self.quarantine(&path, "is no interrupted download");
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<()> {
        for (path, name) in entries(&self.layout.dir("snapshots"))? {
            if !path.join("meta.json").exists() {
                // Half-made: the record is written last.
                unbound(&path)?;
                trash::discard(self.layout, &path)?;
                continue;
            }
            match record::read::<SnapshotRecord>(&path.join("meta.json")) {
                Ok(record) if name != *record.key => {
                    self.report(&path, "belongs to another snapshot".to_owned());
                }
                Ok(record) => {
                    if let Some(bound) = &record.bound
                        && let Err(error) = bound::resume(&path.join(snapshots::BOUNDED), bound)
                    {
                        let what = spec::error::chain(&error);
                        self.report(
                            &path,
                            format!("its writable layer cannot be mounted: {what}"),
                        );
                    }
                    self.state.snapshots.insert(record.key.clone(), record);
                }
                // Its record was never synced, and it is not meant to outlive the host's going down.
                Err(_) if snapshots::is_volatile(&path) => {
                    unbound(&path)?;
                    trash::discard(self.layout, &path)?;
                }
                // It holds what a container wrote: nothing here may move it away.
                Err(what) => self.report(&path, format!("its record {what}")),
            }
        }
        Ok(())
    }

    fn inits(&mut self) -> Result<()> {
        for (_, name) in entries(&self.layout.dir("init"))? {
            if let Some(name) = name.to_str() {
                self.state.inits.insert(name.to_owned());
            }
        }
        Ok(())
    }

    fn bases(&mut self) -> Result<()> {
        for (_, name) in entries(&self.layout.dir("btrfs"))? {
            if let Some(name) = name.to_str() {
                self.state.bases.insert(name.to_owned());
            }
        }
        Ok(())
    }

    fn report(&mut self, path: &Path, what: String) {
        tracing::warn!(path = %path.display(), what, "store is damaged");
        self.problems.push(Problem {
            path: path.to_owned(),
            what,
        });
    }

    fn quarantine(&mut self, path: &Path, what: &str) {
        let name = path.file_name().unwrap_or_default();
        let parent = path.parent().and_then(Path::file_name).unwrap_or_default();
        let mut target = parent.to_owned();
        target.push("-");
        target.push(name);
        target.push(format!("-{}", sys::fs::random_hex().unwrap_or_default()));
        let target = self.layout.dir("quarantine").join(target);
        let what = match std::fs::rename(path, &target) {
            Ok(()) => format!("{what}; moved to `{}`", target.display()),
            Err(error) => format!("{what}; could not be moved away: {error}"),
        };
        self.report(path, what);
    }
}

/// Names in a directory, sorted; left-overs of replacements are removed.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, OsString)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io("list", directory))? {
        let entry = entry.map_err(io("list", directory))?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(sys::fs::TEMPORARY))
        {
            // A replacement that a crash interrupted; the old file is whole.
            drop(std::fs::remove_file(entry.path()));
            continue;
        }
        found.push((entry.path(), name));
    }
    found.sort();
    Ok(found)
}

fn hex(name: &std::ffi::OsStr) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?).parse().ok()
}

fn stem(name: &std::ffi::OsStr) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?.strip_suffix(".json")?)
        .parse()
        .ok()
}

/// Unmounts what bounds the writable layer of a snapshot that is swept.
fn unbound(path: &Path) -> Result<()> {
    let bounded = path.join(snapshots::BOUNDED);
    if !bounded.is_dir() {
        return Ok(());
    }
    Ok(bound::remove(&bounded, &bound::Bound::Image { bytes: 0 })?)
}
