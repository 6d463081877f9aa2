//! Archives made by hand, byte for byte, so that they can lie; and image archives of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use spec::{Digest, ImageId};
use store::{Error, ImportOptions, Limits, LoadOptions, Loaded, Store};

/// A tar archive under construction.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

/// One entry, with usual values for what a test does not care about.
#[derive(Clone)]
pub struct Entry<'a> {
    pub kind: u8,
    pub path: &'a [u8],
    pub link: &'a [u8],
    pub data: &'a [u8],
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub device: (u32, u32),
    pub pax: Vec<(String, Vec<u8>)>,
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            kind: b'0',
            path: b"",
            link: b"",
            data: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            device: (0, 0),
            pax: Vec::new(),
        }
    }
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(Entry {
            path: path.as_bytes(),
            data,
            ..Entry::default()
        })
    }

    pub fn dir(self, path: &str) -> Self {
        self.entry(Entry {
            kind: b'5',
            path: path.as_bytes(),
            mode: 0o755,
            ..Entry::default()
        })
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        let (path, link) = (path.as_bytes(), target.as_bytes());
        self.entry(Entry {
            kind: b'2',
            path,
            link,
            ..Entry::default()
        })
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        let (path, link) = (path.as_bytes(), target.as_bytes());
        self.entry(Entry {
            kind: b'1',
            path,
            link,
            ..Entry::default()
        })
    }

    pub fn entry(mut self, entry: Entry<'_>) -> Self {
        let mut pax = entry.pax.clone();
        if entry.path.len() > 100 {
            pax.push(("path".into(), entry.path.to_vec()));
        }
        if entry.link.len() > 100 {
            pax.push(("linkpath".into(), entry.link.to_vec()));
        }
        if !pax.is_empty() {
            let data: Vec<u8> = pax
                .iter()
                .flat_map(|(key, value)| record(key, value))
                .collect();
            let plain = Entry {
                kind: b'x',
                path: b"pax",
                ..Entry::default()
            };
            self.block(&plain, data.len() as u64);
            self.data(&data);
        }
        self.block(&entry, entry.data.len() as u64);
        self.data(entry.data);
        self
    }

    fn block(&mut self, entry: &Entry<'_>, size: u64) {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &entry.path[..entry.path.len().min(100)]);
        put(100, format!("{:07o}", entry.mode).as_bytes());
        for (at, id) in [(108, entry.uid), (116, entry.gid)] {
            match id {
                0..=0o7777777 => put(at, format!("{id:07o}").as_bytes()),
                _ => put(at, &(id | 1 << 63).to_be_bytes()),
            }
        }
        put(124, format!("{size:011o}").as_bytes());
        put(136, b"14524770040");
        put(148, b"        ");
        put(156, &[entry.kind]);
        put(157, &entry.link[..entry.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", entry.device.0).as_bytes());
        put(337, format!("{:07o}", entry.device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
    }

    fn data(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    /// The archive with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [
        len.to_string().as_bytes(),
        b" ",
        key.as_bytes(),
        b"=",
        value,
        b"\n",
    ]
    .concat()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// A config for layers, lowest first; `name` makes it differ from others.
pub fn config(layers: &[&[u8]], name: &str) -> Vec<u8> {
    let diffs: Vec<String> = layers
        .iter()
        .map(|layer| Digest::of(layer).to_string())
        .collect();
    let steps: Vec<Value> = (0..layers.len())
        .map(|n| json!({ "created_by": format!("step {n}") }))
        .collect();
    json!({
        "architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
        "config": { "Cmd": ["/bin/sh"], "Labels": { "name": name } },
        "rootfs": { "type": "layers", "diff_ids": diffs },
        "history": steps,
    })
    .to_string()
    .into_bytes()
}

pub fn id_of(config: &[u8]) -> ImageId {
    ImageId::new(Digest::of(config))
}

/// An archive as `docker save` makes it: layers plain, lowest first.
pub fn docker_save(layers: &[&[u8]], config: &[u8], tags: &[&str]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut paths = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        let path = format!("{n:064}/layer.tar");
        tar = tar.file(&path, layer);
        paths.push(path);
    }
    let name = format!("{}.json", Digest::of(config).hex());
    let manifest = json!([{ "Config": name, "RepoTags": tags, "Layers": paths }]);
    tar.file(&name, config)
        .file("manifest.json", manifest.to_string().as_bytes())
        .finish()
}

/// An OCI layout under construction.
#[derive(Default)]
pub struct Oci {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Oci {
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs
            .insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Adds config, layers and manifest; returns the manifest's descriptor.
    pub fn image(&mut self, config: &[u8], layers: &[&[u8]]) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", config);
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar+gzip", layer))
            .collect();
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let bytes = manifest.to_string().into_bytes();
        self.blob("application/vnd.oci.image.manifest.v1+json", &bytes)
    }

    pub fn add(&mut self, descriptor: Value) -> &mut Self {
        self.manifests.push(descriptor);
        self
    }

    pub fn finish(&self) -> Vec<u8> {
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests }).to_string();
        let mut tar = Tar::new().file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
        for (path, bytes) in &self.blobs {
            tar = tar.file(path, bytes);
        }
        tar.file("index.json", index.as_bytes()).finish()
    }
}

/// A store in a temporary directory, with a canary beside it that nothing may touch.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("canary");
        std::fs::create_dir(&canary).unwrap();
        let file = std::fs::File::create(canary.join("file")).unwrap();
        std::io::Write::write_all(&mut &file, b"untouched").unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7))
            .unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Closes the store and opens it again, as a new daemon does.
    pub fn reopen(self) -> Self {
        let Self { dir, store } = self;
        drop(store);
        let store = open_free(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub fn load(&self, archive: &[u8]) -> Result<Loaded, Error> {
        let lease = self.store.lease("test");
        self.store
            .load(&lease, &mut &archive[..], &LoadOptions::default(), &|_| ())
    }

    pub fn import(&self, archive: &[u8]) -> Result<ImageId, Error> {
        self.import_within(archive, Limits::default())
    }

    pub fn import_within(&self, archive: &[u8], limits: Limits) -> Result<ImageId, Error> {
        let lease = self.store.lease("test");
        let options = ImportOptions {
            limits,
            ..ImportOptions::default()
        };
        self.store
            .import(&lease, &mut &archive[..], &options, &|_| ())
    }

    /// Imports an archive and gives the directory it was unpacked to.
    pub fn unpacked(&self, archive: &[u8]) -> PathBuf {
        let id = self
            .import(archive)
            .unwrap_or_else(|e| panic!("{}", spec::error::chain(&e)));
        let image = self.store.image(id).unwrap();
        let hex = image.config.rootfs.diff_ids[0].digest().hex();
        self.root().join("layers").join(hex).join("diff")
    }

    /// Removes all images.
    pub fn clear(&self) {
        for image in self.store.images() {
            self.store.remove_image(image.id).unwrap();
        }
    }

    /// Asserts that nothing is left of a failed operation, and nothing outside was touched.
    #[track_caller]
    pub fn assert_clean(&self) {
        for name in [
            "ingest",
            "partial",
            "trash",
            "layers",
            "images",
            "names",
            "blobs/sha256",
        ] {
            let left: Vec<_> = std::fs::read_dir(self.root().join(name)).unwrap().collect();
            assert!(left.is_empty(), "{name}: {left:?}");
        }
        self.assert_canary();
    }

    #[track_caller]
    pub fn assert_canary(&self) {
        use std::os::unix::fs::MetadataExt;
        let canary = self.dir.path().join("canary");
        let names: Vec<_> = std::fs::read_dir(&canary)
            .unwrap()
            .map(|e| e.unwrap())
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let file = canary.join("file");
        assert_eq!(std::fs::read(&file).unwrap(), b"untouched");
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!(
            (metadata.nlink(), metadata.uid(), metadata.mode() & 0o7777),
            (1, 0, 0o644)
        );
        assert_eq!(metadata.mtime(), 7);
    }

    #[track_caller]
    pub fn assert_sound(&self) {
        let problems = self.store.fsck().unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// Opens a store that was closed a moment ago: a test beside this one may be starting a program,
/// which has the lock until it runs.
pub fn open_free(root: &Path) -> Result<Store, Error> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match Store::open(root) {
            Err(Error::InUse { .. }) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

pub fn canary_of(place: &Place) -> String {
    place.dir.path().join("canary").to_str().unwrap().to_owned()
}

pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
