//! What registries hold, made by hand: layers, images, indexes, in every form and with every lie.
//!
//! Everything here is a value: blobs with their descriptors. [`Content`] collects what belongs
//! together, so that it can be put on a registry ([`crate::registry`]), served by the hostile one
//! ([`crate::hostile`]) or written as an OCI layout ([`Content::layout`]).

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use spec::Digest;

use crate::tarball::Tarball;

/// Media types of both families.
pub mod media {
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
}

/// Some bytes and what they are called.
#[derive(Debug, Clone)]
pub struct Blob {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Bytes of a media type.
    pub fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
        }
    }

    /// A JSON document.
    pub fn json(media_type: &str, value: &Value) -> Self {
        Self::new(media_type, value.to_string())
    }

    /// `sha256:…`.
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    /// What a manifest says of it.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }

    /// The document; panics when it is none.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a JSON document")
    }
}

/// The digest of some bytes, as text.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::of(bytes).hex())
}

/// The architecture of this machine, as images name it.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    }
}

/// Another architecture.
pub fn foreign_architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "arm64"
    } else {
        "amd64"
    }
}

/// Bytes that hardly compress, the same at every run.
pub fn noise(seed: usize, size: usize) -> Vec<u8> {
    let mut state =
        0x9e37_79b9_7f4a_7c15_u64 ^ (seed as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Text that compresses about as programs do (3:1), the same at every run.
pub fn prose(seed: usize, size: usize) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "layer ", "manifest ", "digest\n", "the ", "of ", "snapshot ", "0x7f", "registry ", "and ",
        "\0\0\0\0\0\0\0\0", "return ", "static ", "blob ", "=", "; ", "}\n",
    ];
    let random = noise(seed, size / 3 + 8);
    let mut bytes = Vec::with_capacity(size + 16);
    for byte in random.iter().cycle() {
        if bytes.len() >= size {
            break;
        }
        bytes.extend_from_slice(WORDS[usize::from(byte & 15)].as_bytes());
        if byte & 0x30 == 0 {
            bytes.push(*byte);
        }
    }
    bytes.truncate(size);
    bytes
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    /// By a library that nobody else uses: what cannot be made again.
    Gzip(u32),
    /// As Docker, containerd and BuildKit write it.
    Go,
    Zstd,
}

impl Compression {
    fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip(_) | Compression::Go => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

/// Compresses.
pub fn compress(bytes: &[u8], how: Compression) -> Vec<u8> {
    match how {
        Compression::None => bytes.to_vec(),
        Compression::Gzip(level) => {
            let level = flate2::Compression::new(level);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).expect("memory takes everything");
            encoder.finish().expect("memory takes everything")
        }
        Compression::Go => {
            let mut encoder = deflate::Encoder::new(Vec::new(), &deflate::GZIP_DEFAULT);
            encoder.write_all(bytes).expect("memory takes everything");
            encoder.finish().expect("memory takes everything")
        }
        Compression::Zstd => zstd::encode_all(bytes, 3).expect("memory takes everything"),
    }
}

/// Which family of media types an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Oci,
    Docker,
}

/// A layer: its archive's digest and the compressed form.
#[derive(Debug, Clone)]
pub struct Layer {
    pub diff_id: String,
    pub blob: Blob,
    pub unpacked: usize,
}

impl Layer {
    /// A layer of this archive.
    pub fn new(archive: &[u8], how: Compression, family: Family) -> Self {
        let media_type = match (family, how.suffix()) {
            (Family::Oci, "") => media::OCI_LAYER.to_owned(),
            (Family::Oci, suffix) => format!("{}+{suffix}", media::OCI_LAYER),
            (Family::Docker, "") => media::DOCKER_LAYER.to_owned(),
            (Family::Docker, suffix) => format!("{}.{suffix}", media::DOCKER_LAYER),
        };
        Self {
            diff_id: digest(archive),
            blob: Blob::new(&media_type, compress(archive, how)),
            unpacked: archive.len(),
        }
    }
}

/// One image: a manifest and what it names.
#[derive(Debug, Clone)]
pub struct Image {
    pub manifest: Blob,
    pub config: Blob,
    pub layers: Vec<Layer>,
}

impl Image {
    /// The image id.
    pub fn id(&self) -> String {
        self.config.digest()
    }

    /// The manifest with a change.
    pub fn with_manifest(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value = self.manifest.value();
        change(&mut value);
        self.manifest.bytes = value.to_string().into_bytes();
        self
    }

    /// The configuration with a change; the manifest follows.
    pub fn with_config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value = self.config.value();
        change(&mut value);
        self.config.bytes = value.to_string().into_bytes();
        let config = self.config.descriptor();
        self.with_manifest(|manifest| manifest["config"] = config)
    }

    /// Everything of it, to be put somewhere.
    pub fn content(&self) -> Content {
        let mut content = Content::default();
        content.add(self);
        content.top = Some(self.manifest.clone());
        content
    }

    /// Bytes of all its layers as they travel.
    pub fn transfer_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.blob.bytes.len() as u64).sum()
    }
}

/// Makes an image.
#[derive(Debug, Clone)]
pub struct Builder {
    family: Family,
    platform: Value,
    config: Value,
    layers: Vec<Layer>,
}

impl Builder {
    /// An image for this machine without layers, whose id is that of no other.
    pub fn new(family: Family) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let own = format!("{} {number}", std::process::id());
        Self {
            family,
            platform: json!({"architecture": architecture(), "os": "linux"}),
            config: json!({
                "Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin"], "Labels": {"own": own},
            }),
            layers: Vec::new(),
        }
    }

    /// For another platform, `os`, `architecture` and perhaps `variant`.
    pub fn platform(mut self, platform: &Value) -> Self {
        self.platform = platform.clone();
        self
    }

    /// Changes the part of the configuration that containers get.
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Adds a layer.
    pub fn layer(mut self, archive: &[u8], how: Compression) -> Self {
        self.layers.push(Layer::new(archive, how, self.family));
        self
    }

    /// Adds the usual root file system.
    pub fn base(self, how: Compression) -> Self {
        let rootfs = crate::image::rootfs().unwrap_or_else(|error| panic!("{error:#}"));
        self.layer(&rootfs, how)
    }

    /// Adds a layer of one file.
    pub fn file(self, path: &str, data: &[u8], how: Compression) -> Self {
        let tar = Tarball::default().file(path, 0o644, data).finish();
        self.layer(&tar, how)
    }

    /// The image.
    pub fn build(self) -> Image {
        let (config_type, manifest_type) = match self.family {
            Family::Oci => (media::OCI_CONFIG, media::OCI_MANIFEST),
            Family::Docker => (media::DOCKER_CONFIG, media::DOCKER_MANIFEST),
        };
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let mut config = json!({
            "created": "2024-01-02T03:04:05Z", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|id| json!({
                "created": "2024-01-02T03:04:05Z", "created_by": format!("layer {id}"),
            })).collect::<Vec<_>>(),
        });
        for (key, value) in self.platform.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let config = Blob::json(config_type, &config);
        let layers: Vec<Value> = self.layers.iter().map(|layer| layer.blob.descriptor()).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": config.descriptor(), "layers": layers,
        });
        Image {
            manifest: Blob::json(manifest_type, &manifest),
            config,
            layers: self.layers,
        }
    }
}

/// An image of the usual root file system and a marker of its own.
pub fn simple(marker: &str) -> Image {
    Builder::new(Family::Oci)
        .base(Compression::Gzip(1))
        .file("etc/marker", marker.as_bytes(), Compression::Gzip(6))
        .build()
}

/// An image without a program in it, of layers that do not compress.
pub fn bulky(seed: usize, layers: usize, size: usize) -> Image {
    let mut builder = Builder::new(Family::Oci);
    for number in 0..layers {
        let data = noise(seed * 1000 + number, size);
        let path = format!("bulk/{seed}/{number}");
        builder = builder.file(&path, &data, Compression::Gzip(1));
    }
    builder.build()
}

/// Documents and blobs that belong together.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Layers and configurations.
    pub blobs: Vec<Blob>,
    /// Manifests and indexes, those named by others first.
    pub manifests: Vec<Blob>,
    /// What a tag points to; the last manifest otherwise.
    pub top: Option<Blob>,
}

impl Content {
    /// Adds an image.
    pub fn add(&mut self, image: &Image) {
        self.blobs.push(image.config.clone());
        self.blobs.extend(image.layers.iter().map(|layer| layer.blob.clone()));
        self.manifests.push(image.manifest.clone());
    }

    /// An index of several images: each entry with its descriptor's further fields.
    pub fn index(family: Family, entries: &[(&Image, Value)]) -> Self {
        let mut content = Self::default();
        let mut list = Vec::new();
        for (image, fields) in entries {
            content.add(image);
            let mut descriptor = image.manifest.descriptor();
            for (key, value) in fields.as_object().into_iter().flatten() {
                descriptor[key] = value.clone();
            }
            list.push(descriptor);
        }
        let media_type = match family {
            Family::Oci => media::OCI_INDEX,
            Family::Docker => media::DOCKER_LIST,
        };
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": list});
        let index = Blob::json(media_type, &index);
        content.manifests.push(index.clone());
        content.top = Some(index);
        content
    }

    /// What a tag points to.
    pub fn top(&self) -> &Blob {
        self.top.as_ref().or(self.manifests.last()).expect("something was added")
    }

    /// An OCI image layout as an archive; the top is called `tag`.
    pub fn layout(&self, tag: &str) -> Vec<u8> {
        let mut tar = Tarball::default()
            .file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)
            .dir("blobs/", 0o755)
            .dir("blobs/sha256/", 0o755);
        let mut seen = std::collections::BTreeSet::new();
        for blob in self.blobs.iter().chain(&self.manifests) {
            let digest = blob.digest();
            let path = format!("blobs/{}", digest.replace(':', "/"));
            if seen.insert(digest) {
                tar = tar.file(&path, 0o644, &blob.bytes);
            }
        }
        let mut descriptor = self.top().descriptor();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        tar.file("index.json", 0o644, index.to_string().as_bytes()).finish()
    }
}

/// An attestation manifest for an image, as BuildKit adds them to an index.
pub fn attestation(of: &Image) -> (Image, Value) {
    let statement =
        Blob::new("application/vnd.in-toto+json", b"{\"_type\":\"statement\"}".as_slice());
    let mut image = Builder::new(Family::Oci)
        .platform(&json!({"architecture": "unknown", "os": "unknown"}))
        .build();
    image.layers = vec![Layer {
        diff_id: statement.digest(),
        unpacked: statement.bytes.len(),
        blob: statement,
    }];
    let ids = vec![image.layers[0].diff_id.clone()];
    let layer = image.layers[0].blob.descriptor();
    let image = image
        .with_config(|config| config["rootfs"]["diff_ids"] = json!(ids))
        .with_manifest(|manifest| manifest["layers"] = json!([layer]));
    let fields = json!({
        "platform": {"architecture": "unknown", "os": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": of.manifest.digest(),
        },
    });
    (image, fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_what_it_has() {
        let image = Builder::new(Family::Docker).file("a", b"1", Compression::Gzip(6)).build();
        let manifest = image.manifest.value();
        assert_eq!(manifest["config"]["digest"], image.id());
        assert_eq!(manifest["layers"][0]["digest"], image.layers[0].blob.digest());
        assert_eq!(manifest["layers"][0]["mediaType"], format!("{}.gzip", media::DOCKER_LAYER));
        assert_eq!(image.config.value()["rootfs"]["diff_ids"][0], image.layers[0].diff_id);
    }

    #[test]
    fn changes_of_the_configuration_reach_the_manifest() {
        let image = simple("x").with_config(|config| config["os"] = "plan9".into());
        assert_eq!(image.manifest.value()["config"]["digest"], image.config.digest());
    }

    #[test]
    fn prose_compresses_and_noise_does_not() {
        let (prose, noise) = (prose(1, 100_000), noise(1, 100_000));
        assert!(compress(&noise, Compression::Gzip(6)).len() > 99_000);
        let packed = compress(&prose, Compression::Gzip(6)).len();
        assert!(packed > 15_000 && packed < 60_000, "{packed}");
    }
}
