//! Making an image of a root file system tarball.

use std::io::Read;
use std::sync::Arc;

use serde_json::{Value, json};
use spec::image::{ImageConfig, RunConfig};
use spec::{ImageId, Platform, Reference, Timestamp};

use crate::load::{Reporting, layer_record, unpack_into};
use crate::publish::{StagedImage, StagedLayer};
use crate::stream::Hashing;
use crate::trash::Scratch;
use crate::unpack::Limits;
use crate::{Error, Lease, Progress, Result, Store, changes};

/// What `import` may be told.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Dockerfile instructions: `CMD ["sh"]`, `ENV A=b`, ….
    pub changes: Vec<String>,
    /// Note in the history; Docker's default is `Imported from -`.
    pub message: String,
    /// What the image runs on; the host's by default.
    pub platform: Option<Platform>,
    /// Name for the image.
    pub reference: Option<Reference>,
    /// Bounds against hostile archives.
    pub limits: Limits,
}

impl Store {
    /// Makes an image with one layer of a tarball (plain, gzip or zstd).
    ///
    /// Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::BadArchive`], [`Error::LimitExceeded`], [`Error::InvalidOption`] for a change that
    /// is not understood, [`Error::Unsupported`] for another compression; nothing is left behind.
    pub fn import(
        &self,
        lease: &Lease,
        source: &mut (dyn Read + Send),
        options: &ImportOptions,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<ImageId> {
        let mut config = RunConfig::default();
        changes::apply(&mut config, &options.changes).map_err(|error| Error::InvalidOption {
            what: error.to_string(),
        })?;
        let scratch = Scratch::create(self.layout())?;
        let dir = scratch.path().join("layer");
        let source = Reporting {
            source,
            progress,
            id: "import".into(),
            current: 0,
            told: 0,
            total: 0,
        };
        let unpacked = unpack_into(&dir, source, Hashing::Hash, &options.limits)?;
        let diff_id = unpacked.diff_id.expect("it was asked to hash");
        let created = Timestamp::from(std::time::SystemTime::now());
        let host = Platform::host();
        let platform = options.platform.as_ref().unwrap_or(&host);
        let message = match options.message.as_str() {
            "" => "Imported from -",
            given => given,
        };
        let mut value = json!({
            "architecture": platform.architecture,
            "comment": message,
            "config": docker_config(&config),
            "created": created,
            "history": [{ "created": created, "comment": message }],
            "os": platform.os,
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        });
        if !platform.variant.is_empty() {
            value["variant"] = Value::from(platform.variant.clone());
        }
        let config_bytes = value.to_string().into_bytes();
        let config = ImageConfig::from_json(&config_bytes).expect("it was written a moment ago");
        let image = StagedImage {
            config: Arc::new(config),
            config_bytes,
            manifest: None,
            index: None,
            target: None,
            references: options.reference.iter().cloned().collect(),
            parent: None,
        };
        let layer = StagedLayer::new(dir, layer_record(diff_id, &unpacked, None));
        let published = self.publish(lease, &scratch, vec![layer], vec![image])?;
        Ok(published[0].id)
    }
}

/// The `config` of an image as Docker's daemon writes it, with all its zero values.
pub fn docker_config(config: &RunConfig) -> Value {
    let mut value = json!({
        "Hostname": "",
        "Domainname": "",
        "User": config.user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
    });
    let null_if = |empty: bool, value: Value| if empty { Value::Null } else { value };
    let mut set = |name: &str, given: Value| value[name] = given;
    if !config.exposed_ports.is_empty() {
        set("ExposedPorts", json!(config.exposed_ports));
    }
    for name in ["Tty", "OpenStdin", "StdinOnce"] {
        set(name, Value::from(false));
    }
    set("Env", null_if(config.env.is_empty(), json!(config.env)));
    set("Cmd", json!(config.cmd));
    if let Some(healthcheck) = &config.healthcheck {
        set("Healthcheck", json!(healthcheck));
    }
    set("Image", Value::from(""));
    set(
        "Volumes",
        null_if(config.volumes.is_empty(), json!(config.volumes)),
    );
    set("WorkingDir", Value::from(config.working_dir.clone()));
    set("Entrypoint", json!(config.entrypoint));
    set(
        "OnBuild",
        null_if(config.on_build.is_empty(), json!(config.on_build)),
    );
    set(
        "Labels",
        null_if(config.labels.is_empty(), json!(config.labels)),
    );
    if !config.stop_signal.is_empty() {
        set("StopSignal", Value::from(config.stop_signal.clone()));
    }
    if !config.shell.is_empty() {
        set("Shell", json!(config.shell));
    }
    value
}
