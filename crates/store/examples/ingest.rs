//! Measures how fast layers are taken in and given back: `ingest STORE THREADS BLOB…`.
//!
//! The blobs are files of layers, compressed or not; they come from memory, as from a network that
//! costs nothing. The store is made anew.
#![expect(
    clippy::unwrap_used,
    reason = "a tool for developers stops at the first failure"
)]

use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use spec::{DiffId, Digest};
use store::{LayerSource, Limits, Store};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(&arguments[0]);
    let threads: usize = arguments[1].parse().unwrap();
    let layers: Vec<(LayerSource, Vec<u8>)> = arguments[2..].iter().map(|p| read(p)).collect();
    drop(std::fs::remove_dir_all(root));
    let store = Store::open(root).unwrap();
    let lease = store.lease("measure");
    let todo = Mutex::new(layers.iter());
    let (files, plain) = (AtomicU64::new(0), AtomicU64::new(0));
    let staged = Mutex::new(Vec::new());
    let before = ticks();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some((source, blob)) = todo.lock().unwrap().next() else {
                        break;
                    };
                    let limits = Limits::default();
                    let mut ingest = store.begin_layer(&lease, source.clone(), limits).unwrap();
                    for piece in blob.chunks(64 * 1024) {
                        ingest.write(piece).unwrap();
                    }
                    let layer = ingest.finish().unwrap();
                    files.fetch_add(layer.size(), Ordering::Relaxed);
                    staged.lock().unwrap().push(layer);
                }
            });
        }
    });
    let took = begun.elapsed();
    println!(
        "{} MB of files, {threads} at once: {took:?}, {:.0} MB/s; {} of processor; peak memory {}",
        files.load(Ordering::Relaxed) >> 20,
        files.load(Ordering::Relaxed) as f64 / took.as_secs_f64() / 1e6,
        processor(before),
        peak(),
    );
    publish(&store, &layers, staged.into_inner().unwrap());
    let begun = Instant::now();
    for (source, _) in &layers {
        let mut archive = store.layer_archive(source.diff_id).unwrap();
        let len = std::io::copy(&mut archive, &mut std::io::sink()).unwrap();
        plain.fetch_add(len, Ordering::Relaxed);
    }
    let took = begun.elapsed();
    println!(
        "rebuilt: {took:?}, {:.0} MB/s",
        plain.load(Ordering::Relaxed) as f64 / took.as_secs_f64() / 1e6
    );
    let begun = Instant::now();
    let settled = store.settle(store::BlobPolicy::Auto, &|| false).unwrap();
    println!(
        "settled in {:?}: {settled:?}; peak memory {}",
        begun.elapsed(),
        peak()
    );
}

fn read(path: &str) -> (LayerSource, Vec<u8>) {
    let blob = std::fs::read(path).unwrap();
    let mut plain: Box<dyn Read> = match blob.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(blob.as_slice())),
        [0x28, 0xb5, ..] => Box::new(zstd::Decoder::new(blob.as_slice()).unwrap()),
        _ => Box::new(blob.as_slice()),
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match plain.read(&mut buffer).unwrap() {
            0 => break,
            len => hasher.update(&buffer[..len]),
        }
    }
    drop(plain);
    let source = LayerSource {
        diff_id: DiffId::new(Digest::from_sha256(hasher.finalize().into())),
        media_type: spec::manifest::media::DOCKER_LAYER_GZIP.to_owned(),
        digest: Digest::of(&blob),
        size: blob.len() as u64,
        origin: None,
    };
    (source, blob)
}

fn publish(store: &Store, layers: &[(LayerSource, Vec<u8>)], staged: Vec<store::StagedLayer>) {
    let diffs: Vec<String> = layers.iter().map(|(l, _)| l.diff_id.to_string()).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":{diffs:?}}}}}"#
    );
    let config = config.into_bytes();
    let described = spec::manifest::Descriptor::new(
        spec::manifest::media::DOCKER_CONFIG,
        Digest::of(&config),
        config.len() as u64,
    );
    let blobs: Vec<_> = layers
        .iter()
        .map(|(l, _)| spec::manifest::Descriptor::new(&*l.media_type, l.digest, l.size))
        .collect();
    let manifest = spec::manifest::docker_manifest(&described, &blobs);
    let lease = store.lease("publish");
    let begun = Instant::now();
    let image = store::NewImage {
        config,
        target: manifest.descriptor(),
        manifest,
        index: None,
        layers: staged,
        names: vec!["measured".parse().unwrap()],
    };
    store.publish_image(&lease, image).unwrap();
    println!("published: {:?}", begun.elapsed());
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or_default().to_owned()
}

/// Processor time of user and system, in hundredths of a second.
fn ticks() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (fields[11].parse().unwrap(), fields[12].parse().unwrap())
}

fn processor(before: (u64, u64)) -> String {
    let now = ticks();
    let (user, system) = (now.0 - before.0, now.1 - before.1);
    format!("{user}0 ms + {system}0 ms")
}
