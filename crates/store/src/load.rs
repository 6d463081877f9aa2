//! Taking images out of archives: Docker's `save` format and the OCI layout.

mod archive;
mod legacy;
mod manifest;
mod oci;
mod queue;
mod spool;

use std::io::Read;
use std::sync::{Arc, Mutex};

use spec::image::ImageConfig;
use spec::{Classify, DiffId, Digest, ErrorKind, ImageId, Platform, Reference, WireError};

pub(crate) use archive::{Reporting, unpack_into};
pub(crate) use spool::{Keeping, spool};

use crate::forms::FormRecord;
use crate::layout::VERSION;
use crate::publish::{Staged, StagedBlob, StagedImage, StagedLayer};
use crate::record::LayerRecord;
use crate::trash::Scratch;
use crate::unpack::{Limits, Unpacked};
use crate::{Error, Lease, Result, Store};
use archive::{ArchiveLayer, Contents, LayerContent};
use manifest::{Described, DescribedLayer};

/// What `load` may be told.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Which image of an index; all that are in the archive by default, the name going to the
    /// host's.
    pub platform: Option<Platform>,
    /// Bounds against hostile archives.
    pub limits: Limits,
}

/// What an archive held, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The images.
    pub images: Vec<LoadedImage>,
    /// Other platforms of those images: they are reached through the index of the same name.
    pub companions: Vec<ImageId>,
}

/// An image taken out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: ImageId,
    /// Its names; empty where the archive gave none (`Loaded image ID: …`).
    pub references: Vec<Reference>,
    /// Names that pointed to another image before, and to which one.
    pub replaced: Vec<(Reference, ImageId)>,
}

/// How far a load or import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The layer: first 12 hex digits of its digest, or of its blob's.
    pub id: String,
    /// What is done with it, as Docker words it: `Loading layer`.
    pub action: &'static str,
    /// Bytes done.
    pub current: u64,
    /// Bytes in all, 0 where unknown.
    pub total: u64,
}

impl Store {
    /// Takes the images out of an archive (plain, gzip or zstd, read once from front to back).
    ///
    /// Durable when it returns. `progress` may be called from several threads.
    ///
    /// # Errors
    ///
    /// [`Error::BadArchive`] names the entry or the digest, [`Error::LimitExceeded`] the limit;
    /// nothing is left behind then.
    pub fn load(
        &self,
        lease: &Lease,
        source: &mut (dyn Read + Send),
        options: &LoadOptions,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Loaded> {
        let scratch = Scratch::create(self.layout())?;
        let known = |digest: Digest| self.known_layer(lease, digest);
        let request = archive::Request {
            scratch: &scratch,
            limits: &options.limits,
            progress,
            known: &known,
        };
        let contents = archive::read(source, &request)?;
        let described = manifest::describe(&contents, options.platform.as_ref())?;
        let mut images = Vec::new();
        let mut companions = Vec::new();
        let mut layers = Vec::new();
        for image in described {
            let config = check_config(&image.config)?;
            self.check_layers(lease, &contents, &image, &config, &mut layers)?;
            companions.push(image.is_companion);
            images.push(StagedImage {
                config: Arc::new(config),
                config_bytes: image.config,
                manifest: image
                    .manifest
                    .map(|manifest| (manifest.media_type, manifest.bytes)),
                index: image.index,
                target: image.target,
                references: image.references,
                parent: None,
            });
        }
        let published = self.publish(lease, &scratch, layers, images)?;
        let mut loaded = Loaded::default();
        for (image, is_companion) in published.into_iter().zip(companions) {
            match is_companion {
                true => loaded.companions.push(image.id),
                false => loaded.images.push(LoadedImage {
                    id: image.id,
                    references: image.references,
                    replaced: image.replaced,
                }),
            }
        }
        Ok(loaded)
    }

    /// The layer of which the store has a form of this digest already; the lease holds it.
    fn known_layer(&self, lease: &Lease, digest: Digest) -> Option<DiffId> {
        let plain = DiffId::new(digest);
        let found = {
            let state = self.inner.state();
            match state.layers.contains_key(&plain) {
                true => Some(plain),
                false => state.layers.values().find_map(|layer| {
                    let has = layer.forms.iter().any(|form| form.digest == digest);
                    let readable = || state.forms(layer).iter().any(|form| form.digest == digest);
                    (has && readable()).then_some(layer.diff_id)
                }),
            }
        };
        found.filter(|diff| match *diff == plain {
            true => self.hold_layers(lease, &[*diff])[0],
            false => self.has_form(lease, *diff, digest),
        })
    }

    /// Compares the layers of an image with its config, and stages those that are new.
    fn check_layers(
        &self,
        lease: &Lease,
        contents: &Contents,
        image: &Described,
        config: &ImageConfig,
        staged: &mut Vec<StagedLayer>,
    ) -> Result<()> {
        let diffs = &config.rootfs.diff_ids;
        if diffs.len() != image.layers.len() {
            return Err(bad(format!(
                "invalid manifest, layers length mismatch: expected {}, got {}",
                image.layers.len(),
                diffs.len()
            )));
        }
        let known = self.hold_layers(lease, diffs);
        for (number, (layer, diff)) in image.layers.iter().zip(diffs).enumerate() {
            let found = match contents.layer(&layer.path) {
                Ok(found) => found,
                // Archives may leave out what the reader has.
                Err(_) if known[number] => continue,
                Err(what) => return Err(bad(what)),
            };
            check_blob(layer, found)?;
            let got = match &found.content {
                LayerContent::Unpacked(..) | LayerContent::Known(_) => {
                    found.diff_id().expect("an unpacked layer has an identity")
                }
                LayerContent::Failed(error) => return Err(failed_layer(&layer.path, error)),
            };
            if got != *diff {
                return Err(bad(format!(
                    "invalid diffID for layer {number}: expected \"{diff}\", got \"{got}\""
                )));
            }
            let keeps_form = image.manifest.is_some();
            stage_layer(layer, found, known[number], keeps_form, staged);
        }
        Ok(())
    }
}

/// Adds a layer to those that are to be published, unless the store or the list has it already.
fn stage_layer(
    layer: &DescribedLayer,
    found: &ArchiveLayer,
    is_known: bool,
    keeps_form: bool,
    staged: &mut Vec<StagedLayer>,
) {
    let LayerContent::Unpacked(dir, unpacked) = &found.content else {
        return;
    };
    let diff = found.diff_id().expect("an unpacked layer has an identity");
    // The compressed form is of use only to a manifest that names it.
    let form = match (&layer.blob, &found.spooled) {
        (Some(blob), Some(path)) if keeps_form && blob.digest != diff.digest() => {
            Some((blob, path))
        }
        _ => None,
    };
    let here = |staged: &StagedLayer| {
        let same_form = form.is_none_or(|(blob, _)| {
            let forms = &staged.inner.record.forms;
            forms.iter().any(|known| known.digest == blob.digest)
        });
        staged.diff_id() == diff && same_form
    };
    if (is_known && form.is_none()) || staged.iter().any(here) {
        return;
    }
    let mut record = layer_record(diff, unpacked, Some(found.blob));
    record.forms = form
        .iter()
        .map(|(blob, _)| FormRecord::new(&blob.media_type, blob.digest, blob.size))
        .collect();
    staged.push(StagedLayer::from(Staged {
        dir: dir.clone(),
        record,
        blob: form.map(|(blob, path)| StagedBlob {
            digest: blob.digest,
            path: path.clone(),
            size: blob.size,
        }),
        lease: None,
        recorded: Mutex::default(),
        _scratch: None,
        _claim: None,
    }));
}

pub(crate) fn layer_record(
    diff_id: DiffId,
    unpacked: &Unpacked,
    blob: Option<Digest>,
) -> LayerRecord {
    LayerRecord {
        version: VERSION,
        diff_id,
        size: unpacked.size,
        entries: unpacked.entries,
        opaque_root: unpacked.opaque_root,
        root: unpacked.root,
        tree: unpacked.tree,
        // The digest of a layer that is not compressed tells nothing new.
        blob: blob.filter(|blob| *blob != diff_id.digest()),
        archive: unpacked.archive,
        forms: Vec::new(),
    }
}

fn check_config(bytes: &[u8]) -> Result<ImageConfig> {
    let config = ImageConfig::from_json(bytes).map_err(|error| Error::BadArchive {
        what: "the config of an image cannot be read".to_owned(),
        source: Some(Box::new(error)),
    })?;
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    if value.get("rootfs").is_none_or(serde_json::Value::is_null) {
        return Err(bad("invalid image JSON, no RootFS key".to_owned()));
    }
    if !matches!(config.os.as_str(), "" | "linux") {
        return Err(Error::Unsupported {
            what: format!("cannot load {} image on linux", config.os),
        });
    }
    Ok(config)
}

fn check_blob(layer: &DescribedLayer, found: &ArchiveLayer) -> Result<()> {
    let named = layer.path.strip_prefix("blobs/sha256/");
    if named.is_some_and(|hex| found.blob.hex() != hex) {
        return Err(manifest::mismatch(&layer.path, found.blob));
    }
    match &layer.blob {
        Some(blob) if blob.size != found.size => Err(bad(format!(
            "blob {} has {} bytes, its descriptor says {}",
            blob.digest, found.size, blob.size
        ))),
        _ => Ok(()),
    }
}

/// A layer's failure as the failure of the load; the class is kept.
fn failed_layer(path: &str, error: &Error) -> Error {
    let what = format!("layer `{path}`: {}", spec::error::chain(error));
    match error.kind() {
        _ if matches!(error, Error::LimitExceeded { .. }) => Error::LimitExceeded { what },
        ErrorKind::InvalidArgument => bad(what),
        ErrorKind::Unsupported => Error::Unsupported { what },
        kind => Error::Layer {
            path: path.to_owned(),
            source: WireError::from_error(kind, error),
        },
    }
}

fn bad(what: String) -> Error {
    Error::BadArchive { what, source: None }
}
