//! Making an image of a container.
//!
//! Only the writable layer is read, once: one thread packs it, another unpacks and hashes what
//! comes, so the new layer is made in the same way as one that was pulled.
//!
//! ```text
//! upper/ ─► pack ══ bounded channel ══► hash, tar map, diff/ ─► publish with the config
//! ```

use std::sync::Arc;

use serde_json::{Map, Value, json};
use spec::image::ImageConfig;
use spec::{DiffId, Digest, ImageId, Platform, Reference, Timestamp};
use sys::root::{Dir, GuestPath, Root};

use crate::diff::{FeedWriter, Packer, Way, Xattrs, feed, pack};
use crate::drivers::whole;
use crate::load::{layer_record, unpack_into};
use crate::merged::MergedDir;
use crate::publish::{StagedImage, StagedLayer};
use crate::record::SnapshotRecord;
use crate::stream::Hashing;
use crate::trash::Scratch;
use crate::{Error, Lease, Limits, Result, Store};

/// What `commit` writes into the new image beside the layer.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// `config` of the new image, as Docker writes it: see [`crate::docker_config`].
    pub config: Value,
    /// `container_config`: the config of the container itself.
    pub container_config: Value,
    /// Who made it.
    pub author: String,
    /// A note for the history.
    pub comment: String,
    /// Id of the container.
    pub container: String,
    /// The container's command, joined by spaces: `created_by` of the history.
    pub created_by: String,
    /// When; now by default.
    pub created: Option<Timestamp>,
    /// `docker_version`.
    pub docker_version: String,
    /// Name for the image.
    pub reference: Option<Reference>,
}

/// What a commit made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The new image.
    pub id: ImageId,
    /// The image that its name pointed to before, if another.
    pub replaced: Option<ImageId>,
}

impl Store {
    /// Makes an image of a container's writable layer on top of the image below it.
    ///
    /// The container should be paused or stopped. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSnapshot`], [`Error::Damaged`], or the disk failed; nothing is left behind
    /// then.
    pub fn commit(&self, lease: &Lease, key: &str, options: &CommitOptions) -> Result<Committed> {
        let snapshot = self.snapshot_record(key)?;
        let known = self.hold_layers(lease, &snapshot.layers);
        if let Some(missing) = known.iter().position(|known| !known) {
            return Err(Error::Damaged {
                id: snapshot.image,
                what: format!("layer {} is missing", snapshot.layers[missing]),
            });
        }
        let scratch = Scratch::create(self.layout())?;
        let dir = scratch.path().join("layer");
        let (writer, reader) = feed();
        let limits = Limits {
            entries: u64::MAX,
            bytes: u64::MAX,
            ..Limits::default()
        };
        let unpacked = std::thread::scope(|scope| {
            let packing = scope.spawn(|| self.pack_layer(&snapshot, writer));
            let unpacked = unpack_into(&dir, reader, Hashing::Hash, &limits);
            match (packing.join(), unpacked) {
                // The one that failed first has the cause; the other end only noticed.
                (Ok(Err(Error::Cancelled)), Err(error)) | (Ok(Err(error)), _) => Err(error),
                (_, unpacked) => unpacked,
            }
        })?;
        let diff = unpacked.diff_id.expect("it was asked to hash");
        let layer = (diff != empty_layer()).then_some(diff);
        let config_bytes = self.child_config(&snapshot, layer, options)?;
        let config = ImageConfig::from_json(&config_bytes).expect("it was written a moment ago");
        let layers = match layer {
            Some(_) => vec![StagedLayer::new(dir, layer_record(diff, &unpacked, None))],
            None => Vec::new(),
        };
        let image = StagedImage {
            config: Arc::new(config),
            config_bytes,
            manifest: None,
            index: None,
            target: None,
            references: options.reference.iter().cloned().collect(),
            parent: Some(snapshot.image),
        };
        let published = self.publish(lease, &scratch, layers, vec![image])?;
        Ok(Committed {
            id: published[0].id,
            replaced: published[0].replaced.first().map(|(_, old)| *old),
        })
    }

    fn pack_layer(&self, snapshot: &SnapshotRecord, out: FeedWriter) -> Result<()> {
        let stack = self.stack_of(&snapshot.key)?;
        let failed = |source| Error::Sys {
            action: format!("open the layers of `{}`", snapshot.key),
            source,
        };
        let root = MergedDir::root(&stack.layers).map_err(failed)?;
        let mut packer = Packer::new(out, Xattrs::Layer);
        let upper = Root::open(&stack.layers[0]).and_then(|root| root.open_dir(&GuestPath::root()));
        let upper: Dir = upper.map_err(failed)?;
        let now = upper.metadata().map_err(failed)?;
        if (now.uid, now.gid, now.mode) != self.root_attributes(&snapshot.layers) {
            packer.directory(&upper, b"./")?;
        }
        match stack.since {
            None => pack(&mut packer, root, Way::Upper)?,
            Some(since) => {
                let image = MergedDir::root(&stack.below).map_err(failed)?;
                whole::pack(&mut packer, root, image, since)?;
            }
        }
        let done = packer.finish()?.finish();
        // A reader that is gone has an error of its own to tell.
        done.map_err(|_| Error::Cancelled)
    }

    /// The config of the new image: that of the image below, with one step and one layer more.
    fn child_config(
        &self,
        snapshot: &SnapshotRecord,
        layer: Option<DiffId>,
        options: &CommitOptions,
    ) -> Result<Vec<u8>> {
        let now = || Timestamp::from(std::time::SystemTime::now());
        let created = options.created.unwrap_or_else(now);
        let mut config = match self.config_bytes(snapshot.image) {
            Ok(bytes) => inherited(&serde_json::from_slice(&bytes).unwrap_or_default()),
            // The image was removed by force; its layers are here, how it was made is not known.
            Err(Error::NoSuchImage { .. }) => orphaned(snapshot),
            Err(error) => return Err(error),
        };
        let mut step = Map::new();
        step.insert("created".to_owned(), json!(created));
        let texts = [
            ("created_by", &options.created_by),
            ("author", &options.author),
            ("comment", &options.comment),
        ];
        for (name, text) in texts {
            if !text.is_empty() {
                step.insert(name.to_owned(), json!(text));
            }
        }
        if layer.is_none() {
            step.insert("empty_layer".to_owned(), json!(true));
        }
        match &mut config["history"] {
            Value::Array(history) => history.push(Value::Object(step)),
            other => *other = json!([step]),
        }
        let diffs: Vec<DiffId> = snapshot.layers.iter().copied().chain(layer).collect();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diffs });
        config["created"] = json!(created);
        config["config"] = options.config.clone();
        config["container_config"] = options.container_config.clone();
        for (name, text) in [
            ("author", &options.author),
            ("container", &options.container),
            ("docker_version", &options.docker_version),
        ] {
            if !text.is_empty() {
                config[name] = json!(text);
            }
        }
        Ok(sorted(config).to_string().into_bytes())
    }
}

/// The outermost keys in order, as Docker writes them.
fn sorted(config: Value) -> Value {
    match config {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        other => other,
    }
}

/// What a child takes over from its parent's config.
fn inherited(parent: &Value) -> Value {
    let mut config = json!({ "architecture": Platform::host().architecture, "os": "linux" });
    for name in [
        "architecture",
        "variant",
        "os",
        "os.version",
        "os.features",
        "history",
    ] {
        if let Some(value) = parent.get(name).filter(|value| !value.is_null()) {
            config[name] = value.clone();
        }
    }
    config
}

fn orphaned(snapshot: &SnapshotRecord) -> Value {
    let step = json!({ "created": snapshot.created, "comment": "of an image that was removed" });
    let steps: Vec<Value> = snapshot.layers.iter().map(|_| step.clone()).collect();
    let mut config = inherited(&Value::Null);
    config["history"] = Value::Array(steps);
    config
}

/// The layer that changes nothing: an archive without entries.
fn empty_layer() -> DiffId {
    DiffId::new(Digest::of(&[0; 1024]))
}
