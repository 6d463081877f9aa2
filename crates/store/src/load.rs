//! Taking images out of archives: Docker's `save` format and the OCI layout.

mod archive;
mod manifest;
mod spool;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use spec::image::ImageConfig;
use spec::{Classify, DiffId, Digest, ErrorKind, ImageId, Platform, Reference, WireError};

pub(crate) use archive::{Reporting, unpack_into};

use crate::layout::VERSION;
use crate::publish::{StagedImage, StagedLayer};
use crate::record::LayerRecord;
use crate::trash::Scratch;
use crate::unpack::{Limits, Unpacked};
use crate::{Error, Lease, Result, Store};
use archive::{ArchiveLayer, Contents};
use manifest::{Described, DescribedLayer};

/// What `load` may be told.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Which image of an index; the host's by default.
    pub platform: Option<Platform>,
    /// Bounds against hostile archives.
    pub limits: Limits,
}

/// What an archive held, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The images.
    pub images: Vec<LoadedImage>,
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
        let contents = archive::read(source, &scratch, &options.limits, progress)?;
        let described = manifest::describe(&contents, options.platform.as_ref())?;
        let mut images = Vec::new();
        let mut layers: BTreeMap<DiffId, StagedLayer> = BTreeMap::new();
        for image in described {
            let config = check_config(&image.config)?;
            self.check_layers(lease, &contents, &image, &config, &mut layers)?;
            images.push(StagedImage {
                config: Arc::new(config),
                config_bytes: image.config,
                manifest: image.manifest,
                references: image.references,
            });
        }
        let layers = layers.into_values().collect();
        let published = self.publish(lease, &scratch, layers, images)?;
        let images = published.into_iter().map(|image| LoadedImage {
            id: image.id,
            references: image.references,
            replaced: image.replaced,
        });
        Ok(Loaded {
            images: images.collect(),
        })
    }

    /// Compares the layers of an image with its config, and stages those that are new.
    fn check_layers(
        &self,
        lease: &Lease,
        contents: &Contents,
        image: &Described,
        config: &ImageConfig,
        staged: &mut BTreeMap<DiffId, StagedLayer>,
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
            let (dir, unpacked) = match &found.unpacked {
                Ok(unpacked) => unpacked,
                Err(error) => return Err(failed_layer(&layer.path, error)),
            };
            let got = found.diff_id().expect("an unpacked layer has an identity");
            if got != *diff {
                return Err(bad(format!(
                    "invalid diffID for layer {number}: expected \"{diff}\", got \"{got}\""
                )));
            }
            if known[number] {
                continue;
            }
            staged.entry(got).or_insert_with(|| StagedLayer {
                dir: dir.clone(),
                record: layer_record(got, unpacked, Some(found.blob)),
            });
        }
        Ok(())
    }
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
    match layer.blob {
        Some((digest, size)) if size != found.size => Err(bad(format!(
            "blob {digest} has {} bytes, its descriptor says {size}",
            found.size
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
