//! What is removed, when, and what is not; where the bytes are.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use spec::{DiffId, Digest, ImageId};
use store::{Collector, Floor, Policy, PrepareOptions, PruneRequest};

use crate::archive::{Oci, Place, Tar, config, docker_save, gzip, id_of};
use crate::snapshots::prepare;

fn layer(name: &str, size: usize) -> Vec<u8> {
    Tar::new()
        .dir("dir/")
        .file(&format!("dir/{name}"), &vec![b'x'; size])
        .finish()
}

fn load(place: &Place, layers: &[&[u8]], tag: &str) -> ImageId {
    let config = config(layers, tag);
    place.load(&docker_save(layers, &config, &[tag])).unwrap();
    id_of(&config)
}

fn has(place: &Place, layer: &[u8]) -> bool {
    let hex = Digest::of(layer).hex();
    place.root().join("layers").join(hex).exists()
}

const ALL: Policy = Policy {
    unreferenced_age: Duration::ZERO,
    partial_age: Duration::ZERO,
    floor: Floor::None,
};

const NOTHING: Policy = Policy {
    unreferenced_age: Duration::MAX,
    partial_age: Duration::MAX,
    floor: Floor::None,
};

#[test]
fn a_container_gives_the_layers_of_a_removed_image_back_when_it_goes() {
    let place = Place::new();
    let (shared, own) = (layer("shared", 10), layer("own", 20));
    let image = load(&place, &[&shared, &own], "app");
    let other = load(&place, &[&shared], "other");
    prepare(&place, "one", image);
    prepare(&place, "two", image);
    let removed = place.store.remove_image(image).unwrap();
    assert_eq!(removed.deleted, [image.digest()]);
    assert!(has(&place, &own));
    place.store.remove_snapshot("one").unwrap();
    assert!(has(&place, &own));
    place.store.remove_snapshot("two").unwrap();
    assert!(!has(&place, &own) && has(&place, &shared));
    assert!(place.store.snapshot("two").is_err());
    place.store.remove_image(other).unwrap();
    place.assert_clean();
    assert_eq!(
        std::fs::read_dir(place.root().join("init"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_dry_run_tells_what_a_removal_does() {
    let place = Place::new();
    let (a, b, c) = (layer("a", 1000), layer("b", 2000), layer("c", 3000));
    let images = [
        load(&place, &[&a, &b], "one"),
        load(&place, &[&a, &c], "two"),
        load(&place, &[&a, &b, &c], "three"),
        load(&place, &[&a], "four"),
    ];
    prepare(&place, "key", images[2]);
    for count in 0..=images.len() {
        let request = PruneRequest {
            images: images[..count].to_vec(),
        };
        let plan = place.store.plan_prune(&request).unwrap();
        assert_eq!(plan.removed.len(), count);
        assert_eq!(
            plan.bytes,
            plan.removed.iter().map(|one| one.bytes).sum::<u64>()
        );
    }
    place.store.remove_snapshot("key").unwrap();
    let request = PruneRequest {
        images: images.to_vec(),
    };
    let plan = place.store.plan_prune(&request).unwrap();
    assert_eq!(place.store.images().len(), 4);
    let done = images.map(|id| place.store.remove_image(id).unwrap());
    assert_eq!(plan.removed, done);
    assert!(place.store.plan_prune(&request).is_err());
    place.assert_clean();
}

/// Layers that nothing refers to but a lease.
fn leased(place: &Place, layer: &[u8]) -> store::Lease {
    let id = load(place, &[layer], "passing");
    let lease = place.store.lease("test");
    assert!(
        place
            .store
            .has_layer(&lease, DiffId::new(Digest::of(layer)))
    );
    place.store.remove_image(id).unwrap();
    lease
}

#[test]
fn the_collector_keeps_what_is_held_and_what_is_young() {
    let place = Place::new();
    let (used, held) = (layer("used", 100), layer("held", 100));
    let image = load(&place, &[&used], "app");
    let lease = leased(&place, &held);
    let mut collector = Collector::new(&place.store);
    assert_eq!(collector.run(&ALL).unwrap(), store::Collected::default());
    assert!(has(&place, &held));
    drop(lease);
    assert_eq!(
        collector.run(&NOTHING).unwrap(),
        store::Collected::default()
    );
    assert!(has(&place, &held));
    let collected = collector.run(&ALL).unwrap();
    assert_eq!((collected.swept.layers, collected.swept.bytes), (1, 100));
    assert!(!has(&place, &held) && has(&place, &used));
    assert!(place.store.image(image).is_some());
    place.assert_sound();
}

#[test]
fn below_the_floor_young_content_goes_too() {
    let place = Place::new();
    let held = layer("held", 100);
    drop(leased(&place, &held));
    let mut collector = Collector::new(&place.store);
    let policy = Policy {
        floor: Floor::Percent(100),
        ..NOTHING
    };
    assert_eq!(collector.run(&policy).unwrap().swept.layers, 1);
    assert!(!has(&place, &held));
}

fn partial(place: &Place, bytes: &[u8], age: Duration) -> std::path::PathBuf {
    let path = place.root().join("partial").join(Digest::of(bytes).hex());
    std::fs::write(&path, bytes).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
    path
}

#[test]
fn interrupted_downloads_go_by_age() {
    let place = Place::new();
    let hour = Duration::from_secs(3600);
    let old = partial(&place, b"old one", 3 * hour);
    let young = partial(&place, b"young", Duration::ZERO);
    let future = partial(&place, b"future", Duration::ZERO);
    let file = std::fs::File::options().write(true).open(&future).unwrap();
    file.set_modified(SystemTime::now() + 5 * hour).unwrap();
    let foreign = place.root().join("partial/notes");
    std::fs::write(&foreign, b"x").unwrap();
    let policy = Policy {
        partial_age: 2 * hour,
        ..NOTHING
    };
    let collected = Collector::new(&place.store).run(&policy).unwrap();
    assert_eq!((collected.partials, collected.partial_bytes), (1, 7));
    assert!(!old.exists() && young.exists() && future.exists() && foreign.exists());
}

#[test]
fn a_download_that_goes_on_is_not_collected() {
    let place = Place::new();
    let bytes = layer("x", 10);
    let path = partial(&place, &bytes, Duration::from_secs(1_000_000));
    let lease = place.store.lease("test");
    let source = store::LayerSource {
        diff_id: DiffId::new(Digest::of(&bytes)),
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        origin: None,
    };
    let ingest = place
        .store
        .begin_layer(&lease, source, store::Limits::default())
        .unwrap();
    let mut collector = Collector::new(&place.store);
    assert_eq!(collector.run(&ALL).unwrap().partials, 0);
    assert!(path.exists());
    ingest.suspend();
    assert_eq!(collector.run(&ALL).unwrap().partials, 1);
    assert!(!path.exists());
}

fn du(path: &Path) -> u64 {
    let mut sum = std::fs::symlink_metadata(path).unwrap().blocks() * 512;
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            sum += du(&entry.unwrap().path());
        }
    }
    sum
}

#[test]
fn disk_usage_is_what_du_says() {
    let place = Place::new();
    let many = (0..300).fold(Tar::new(), |tar, n| {
        tar.file(&format!("d{}/f{n}", n % 7), &vec![b'x'; n * 10])
    });
    let (shared, own) = (many.finish(), layer("own", 100_000));
    load(&place, &[&shared], "base");
    let image = load(&place, &[&shared, &own], "app");
    // One whose compressed layer is kept.
    let third = layer("third", 70_000);
    let config = config(&[&third], "third");
    let mut oci = Oci::default();
    let mut manifest = oci.image(&config, &[&gzip(&third)]);
    manifest["annotations"] = serde_json::json!({ "io.containerd.image.name": "third:1" });
    oci.add(manifest);
    place.load(&oci.finish()).unwrap();
    prepare(&place, "key", image);
    for _ in 0..2 {
        let usage = place.store.disk_usage().unwrap();
        let parts = ["layers", "blobs", "images", "names", "init"];
        let du: u64 = parts.iter().map(|name| du(&place.root().join(name))).sum();
        let difference = usage.allocated.abs_diff(du);
        assert!(difference * 100 <= du, "{} {du}", usage.allocated);
        let sum_of_files: u64 = (0..300).map(|n| n * 10).sum();
        assert_eq!(usage.layers_size, sum_of_files + 170_000);
        let app = usage.images.iter().find(|one| one.id == image).unwrap();
        assert_eq!((app.size, app.unique), (sum_of_files + 100_000, 100_000));
        assert_eq!(app.shared, sum_of_files);
        assert_eq!(
            app.allocated.size,
            app.allocated.shared + app.allocated.unique
        );
        assert!(app.allocated.unique >= 100_000 && app.allocated.unique < 130_000);
        let all_unique: u64 = usage.images.iter().map(|one| one.allocated.unique).sum();
        let shared = app.allocated.shared;
        let records: u64 = du - all_unique - shared;
        assert!(records * 10 < du, "{records} {du}");
    }
    let upper = place.root().join("snapshots/key/upper");
    std::fs::write(upper.join("written"), vec![1; 500_000]).unwrap();
    let on_disk = place.store.usage_on_disk("key").unwrap();
    assert_eq!(on_disk, du(&place.root().join("snapshots/key")));
    assert_eq!(place.store.usage("key").unwrap(), 500_000);
}

#[test]
fn loading_committing_saving_and_pruning_at_once_is_safe() {
    let place = Place::new();
    let (base, top) = (layer("base", 50_000), layer("top", 1000));
    let image = load(&place, &[&base], "kept");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            let mut collector = Collector::new(&place.store);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for image in place.store.dangling() {
                    // Another thread may have removed it or given it a name since.
                    let removed = place.store.remove_dangling(image.id);
                    drop(removed);
                }
                collector.run(&ALL).unwrap();
            }
        });
        let work = || {
            for round in 0..20 {
                let tag = format!("app{round}");
                let config = config(&[&base, &top], &tag);
                place
                    .load(&docker_save(&[&base, &top], &config, &[&tag]))
                    .unwrap();
                let id = id_of(&config);
                let lease = place.store.lease("test");
                let key = format!("key{round}");
                let made = place
                    .store
                    .prepare(&lease, &key, id, &PrepareOptions::default());
                made.unwrap();
                place.store.remove_image(id).unwrap();
                let upper = place.root().join("snapshots").join(&key).join("upper");
                std::fs::write(upper.join("new"), tag.as_bytes()).unwrap();
                let options = store::CommitOptions {
                    reference: Some(format!("made{round}").parse().unwrap()),
                    ..store::CommitOptions::default()
                };
                let made = place.store.commit(&lease, &key, &options).unwrap().id;
                place.store.remove_snapshot(&key).unwrap();
                drop(lease);
                let lease = place.store.lease("test");
                let options = store::SaveOptions {
                    names: vec![made.to_string()],
                    ..store::SaveOptions::default()
                };
                let plan = place.store.plan_save(&lease, &options).unwrap();
                place.store.remove_image(made).unwrap();
                place.store.save(&plan, &mut std::io::sink()).unwrap();
            }
        };
        let worker = scope.spawn(work);
        let result = worker.join();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        pruning.join().unwrap();
        result.unwrap();
    });
    Collector::new(&place.store).run(&ALL).unwrap();
    assert_eq!(place.store.images().len(), 1);
    assert!(has(&place, &base) && !has(&place, &top));
    place.assert_sound();
    place.store.remove_image(image).unwrap();
    place.assert_clean();
}
