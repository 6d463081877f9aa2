//! Checking everything on disk against the records, changing nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use spec::{DiffId, Digest};

use crate::record::{self, ImageRecord, LayerRecord, NameRecord, SnapshotRecord};
use crate::store::{Problem, io};
use crate::stream::CHUNK;
use crate::{Result, Store};

impl Store {
    /// Reads everything: digests of blobs, records, layers, snapshots, orphans. Changes nothing.
    ///
    /// Meant for a store at rest; what is being written meanwhile can look like an orphan.
    ///
    /// # Errors
    ///
    /// The disk cannot be read; what is wrong with the content is the answer, not an error.
    pub fn fsck(&self) -> Result<Vec<Problem>> {
        let _writer = self.inner.writer();
        let mut check = Check {
            store: self,
            problems: self.problems(),
        };
        check.blobs()?;
        check.layers()?;
        check.images()?;
        check.names()?;
        check.snapshots()?;
        for name in ["ingest", "trash"] {
            for path in list(&self.layout().dir(name))? {
                check.report(path, "is a left-over that the next open sweeps");
            }
        }
        Ok(check.problems)
    }
}

struct Check<'s> {
    store: &'s Store,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, path: PathBuf, what: impl Into<String>) {
        self.problems.push(Problem {
            path,
            what: what.into(),
        });
    }

    fn blobs(&mut self) -> Result<()> {
        for path in list(&self.store.layout().dir("blobs/sha256"))? {
            let Some(named) = digest_of_name(&path) else {
                self.report(path, "is not named by a digest");
                continue;
            };
            let actual = hash(&path)?;
            if actual != named {
                self.report(path, format!("has the bytes of {actual}"));
            } else if !self.store.inner.state().blobs.contains_key(&named) {
                self.report(path, "is a blob that nothing knows of");
            }
        }
        Ok(())
    }

    fn layers(&mut self) -> Result<()> {
        for path in list(&self.store.layout().dir("layers"))? {
            let Some(diff) = digest_of_name(&path).map(DiffId::new) else {
                self.report(path, "is not named by a digest");
                continue;
            };
            let known = self.store.inner.state().layers.get(&diff).cloned();
            match (known, record::read::<LayerRecord>(&path.join("meta.json"))) {
                (None, _) => self.report(path, "is a layer that nothing knows of"),
                (Some(_), Err(what)) => self.report(path.join("meta.json"), what),
                (Some(known), Ok(found)) if known != found => {
                    self.report(path.join("meta.json"), "was changed on disk");
                }
                (Some(known), Ok(_)) => {
                    self.layer_tree(&path.join("diff"), &known);
                    self.layer_content(&path, &known);
                }
            }
        }
        let layers: Vec<DiffId> = self.store.inner.state().layers.keys().copied().collect();
        for diff in layers {
            let path = self.store.layout().layer(diff);
            if !path.exists() {
                self.report(path, "is gone");
            }
        }
        Ok(())
    }

    fn layer_tree(&mut self, path: &Path, known: &LayerRecord) {
        match crate::snapshots::tree_size(path) {
            Err(error) => self.report(path.to_owned(), spec::error::chain(&error)),
            Ok(found) => {
                if let Some(tree) = known.tree
                    && (found.bytes, found.objects) != (tree.bytes, tree.objects)
                {
                    let what = format!(
                        "has {} objects of {} bytes, it was unpacked with {} of {}",
                        found.objects, found.bytes, tree.objects, tree.bytes
                    );
                    self.report(path.to_owned(), what);
                }
            }
        }
    }

    /// Reads all of a layer, which is compared with its digest on the way.
    fn layer_content(&mut self, path: &Path, known: &LayerRecord) {
        let read = |source: &mut dyn Read| match std::io::copy(source, &mut std::io::sink()) {
            Ok(_) => None,
            Err(error) => Some(spec::error::chain(&error)),
        };
        if known.is_mapped() {
            let wrong = match self.store.layer_archive(known.diff_id) {
                Ok(mut archive) => read(&mut archive),
                Err(error) => Some(spec::error::chain(&error)),
            };
            if let Some(what) = wrong {
                self.report(path.to_owned(), what);
            }
        }
        // Its own bytes were compared with its digest already.
        for blob in known.kept_blobs() {
            let plain = blob == known.diff_id.digest() && known.is_mapped();
            if !plain && !self.store.inner.state().blobs.contains_key(&blob) {
                self.report(path.to_owned(), format!("blob {blob} is missing"));
            }
        }
    }

    fn images(&mut self) -> Result<()> {
        let layout = self.store.layout().clone();
        for path in list(&layout.dir("images"))? {
            match record::read::<ImageRecord>(&path) {
                Err(what) => self.report(path, what),
                Ok(found) if layout.image(found.id) != path => {
                    self.report(path, "belongs to another image");
                }
                Ok(found) if self.store.image(found.id).is_none() => {
                    self.report(path, "is an image that nothing knows of");
                }
                Ok(found) => {
                    if let Err(error) = self.store.config_bytes(found.id) {
                        self.report(path.clone(), spec::error::chain(&error));
                    }
                    for manifest in found.manifest.iter().chain(&found.manifests) {
                        if !layout.blob(manifest.digest).exists() {
                            let what = format!("manifest {} is missing", manifest.digest);
                            self.report(path.clone(), what);
                        }
                    }
                }
            }
        }
        for image in self.store.images() {
            let path = layout.image(image.id);
            if !path.exists() {
                self.report(path.clone(), "is gone");
            }
            for diff in &image.config.rootfs.diff_ids {
                if !layout.layer_diff(*diff).is_dir() {
                    self.report(path.clone(), format!("layer {diff} is missing"));
                }
            }
        }
        Ok(())
    }

    fn names(&mut self) -> Result<()> {
        let layout = self.store.layout().clone();
        for path in list(&layout.dir("names"))? {
            match record::read::<NameRecord>(&path) {
                Err(what) => self.report(path, what),
                Ok(found) if layout.name(&found.reference) != path => {
                    self.report(path, "belongs to another name");
                }
                Ok(found) if self.store.image_of(&found.reference) != Some(found.image) => {
                    self.report(path, "is not what memory knows");
                }
                Ok(found) if self.store.image(found.image).is_none() => {
                    self.report(
                        path,
                        format!("points to image {}, which is gone", found.image),
                    );
                }
                Ok(found) => {
                    if let Some(target) = found.target
                        && !layout.blob(target.digest).exists()
                    {
                        self.report(path, format!("document {} is missing", target.digest));
                    }
                }
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<()> {
        let layout = self.store.layout().clone();
        for path in list(&layout.dir("snapshots"))? {
            let found = match record::read::<SnapshotRecord>(&path.join("meta.json")) {
                Ok(found) => found,
                Err(what) => {
                    self.report(path.join("meta.json"), what);
                    continue;
                }
            };
            if !self.store.inner.state().snapshots.contains_key(&found.key) {
                self.report(path.clone(), "is a snapshot that nothing knows of");
            }
            let writable = match found.bound {
                Some(_) => path.join(crate::snapshots::BOUNDED),
                None => path.clone(),
            };
            let parts: &[&str] = match found.driver.has_whole_trees() {
                true => &[crate::drivers::TREE],
                false => &["upper", "work"],
            };
            for part in parts {
                if !writable.join(part).is_dir() {
                    self.report(writable.join(part), "is missing");
                }
            }
            for diff in &found.layers {
                if !layout.layer_diff(*diff).is_dir() {
                    self.report(path.clone(), format!("layer {diff} is missing"));
                }
            }
            if !layout.init(&found.init).is_dir() {
                self.report(path, "its init layer is missing");
            }
        }
        Ok(())
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).map_err(io("list", directory))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(io("list", directory))?;
    paths.sort();
    Ok(paths)
}

fn digest_of_name(path: &Path) -> Option<Digest> {
    format!("sha256:{}", path.file_name()?.to_str()?)
        .parse()
        .ok()
}

fn hash(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer).map_err(io("read", path))? {
            0 => return Ok(Digest::from_sha256(hasher.finalize().into())),
            len => hasher.update(&buffer[..len]),
        }
    }
}
