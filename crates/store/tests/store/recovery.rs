//! What a crash leaves, and what a bad disk does (PWR-04).

use std::path::PathBuf;

use store::{PrepareOptions, Store};

use crate::archive::{Place, Tar, config, docker_save, id_of, open_free};

fn two_images() -> (Place, Vec<u8>, Vec<u8>) {
    let place = Place::new();
    let (a, b) = (
        Tar::new().file("a", b"a").finish(),
        Tar::new().file("b", b"bb").finish(),
    );
    let (one, two) = (config(&[&a], "one"), config(&[&b], "two"));
    place.load(&docker_save(&[&a], &one, &["one"])).unwrap();
    place.load(&docker_save(&[&b], &two, &["two"])).unwrap();
    (place, one, two)
}

#[test]
fn left_overs_of_a_crash_are_swept() {
    let (place, one, _) = two_images();
    let lease = place.store.lease("test");
    place
        .store
        .prepare(&lease, "kept", id_of(&one), &PrepareOptions::default())
        .unwrap();
    drop(lease);
    let root = place.root();
    std::fs::create_dir_all(root.join("ingest/half/diff/deep")).unwrap();
    std::fs::write(root.join("ingest/spool"), "x").unwrap();
    std::fs::create_dir_all(root.join("trash/half/deleted")).unwrap();
    std::fs::create_dir_all(root.join("snapshots/half/upper")).unwrap();
    std::fs::write(root.join("names/.tmp-0123-x.json"), "half").unwrap();
    let hex = "e".repeat(64);
    let orphan = root.join("layers").join(&hex);
    std::fs::create_dir_all(orphan.join("diff")).unwrap();
    std::fs::write(
        orphan.join("meta.json"),
        format!(r#"{{"version":1,"diff_id":"sha256:{hex}","size":1,"entries":1}}"#),
    )
    .unwrap();
    let place = place.reopen();
    assert_eq!(place.store.problems(), []);
    for gone in [
        "ingest/half",
        "ingest/spool",
        "trash/half",
        "snapshots/half",
    ] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    assert!(!orphan.exists());
    assert_eq!(place.store.snapshots(), ["kept"]);
    place.assert_sound();
}

#[test]
fn one_process_owns_a_store() {
    let place = Place::new();
    let error = Store::open(&place.root()).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
}

/// All files of a store's records and configs.
fn records(place: &Place) -> Vec<PathBuf> {
    let root = place.root();
    let mut found = Vec::new();
    for directory in ["names", "images", "blobs/sha256", "layers", "snapshots"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            found.push(if path.is_dir() {
                path.join("meta.json")
            } else {
                path
            });
        }
    }
    found.sort();
    found
        .iter()
        .map(|path| path.strip_prefix(&root).unwrap().to_owned())
        .collect()
}

#[test]
fn any_damaged_file_costs_its_object_alone() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 6] = [
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("cut", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("noise", |path| std::fs::write(path, [0xfe; 300]).unwrap()),
        ("delete", |path| std::fs::remove_file(path).unwrap()),
        ("directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("link", |path| {
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        }),
    ];
    let (pristine, one, two) = two_images();
    let lease = pristine.store.lease("test");
    pristine
        .store
        .prepare(&lease, "snap", id_of(&one), &PrepareOptions::default())
        .unwrap();
    drop(lease);
    let all = records(&pristine);
    assert_eq!(all.len(), 2 + 2 + 2 + 2 + 1);
    for (what, damage) in damages {
        for file in &all {
            let (place, ..) = two_images();
            let lease = place.store.lease("test");
            place
                .store
                .prepare(&lease, "snap", id_of(&one), &PrepareOptions::default())
                .unwrap();
            drop(lease);
            drop(place.store);
            damage(&place.dir.path().join("store").join(file));
            let store = open_free(&place.dir.path().join("store"))
                .unwrap_or_else(|error| panic!("{what} {}: {error}", file.display()));
            let whole = [&one, &two]
                .iter()
                .filter(|config| {
                    let id = id_of(config);
                    let lease = store.lease("test");
                    store.image(id).is_some()
                        && store.references_of(id).len() == 1
                        && store
                            .prepare(&lease, "probe", id, &PrepareOptions::default())
                            .and_then(|_| store.remove_snapshot("probe"))
                            .is_ok()
                })
                .count();
            assert!(
                whole >= 1,
                "{what} {}: both images are lost",
                file.display()
            );
            // A half-made snapshot and a deleted name are no finding; all else is told.
            let silent = what == "delete"
                && (file.starts_with("names")
                    || file.starts_with("snapshots")
                    || file.starts_with("images"));
            assert!(
                !store.problems().is_empty() || silent,
                "{what} {}: nothing was reported",
                file.display()
            );
        }
    }
}

#[test]
fn a_damaged_image_is_healed_by_loading_it_again() {
    let (place, one, _) = two_images();
    let diff = place
        .store
        .image(id_of(&one))
        .unwrap()
        .config
        .rootfs
        .diff_ids[0];
    let root = place.root();
    let layer = root.join("layers").join(diff.digest().hex());
    std::fs::write(layer.join("meta.json"), "{").unwrap();
    let place = place.reopen();
    assert_eq!(
        place.store.problems().len(),
        2,
        "{:?}",
        place.store.problems()
    );
    let lease = place.store.lease("test");
    let prepare = || {
        place
            .store
            .prepare(&lease, "c", id_of(&one), &PrepareOptions::default())
    };
    let error = prepare().unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    let a = Tar::new().file("a", b"a").finish();
    place.load(&docker_save(&[&a], &one, &["one"])).unwrap();
    prepare().unwrap();
}

#[test]
fn fsck_finds_what_was_changed() {
    let (place, one, _) = two_images();
    place.assert_sound();
    let root = place.root();
    let image = place.store.image(id_of(&one)).unwrap();
    let hex = image.config.rootfs.diff_ids[0].digest().hex();
    let check = |what: &str| {
        let problems = place.store.fsck().unwrap();
        assert!(
            problems.iter().any(|problem| problem.what.contains(what)),
            "{problems:#?}"
        );
    };
    std::fs::write(root.join("layers").join(&hex).join("diff/a"), "longer").unwrap();
    check("it was unpacked with");
    std::fs::create_dir(root.join("layers").join("f".repeat(64))).unwrap();
    check("nothing knows of");
    let blob = root.join("blobs/sha256").join(image.id.digest().hex());
    std::fs::write(&blob, "other").unwrap();
    check("has the bytes of");
    std::fs::remove_dir_all(root.join("layers").join(&hex)).unwrap();
    check("is gone");
}

/// Where the killed child keeps its store; only set for that child.
const CHILD: &str = "CORTEN_STORE_KILLED_CHILD";

/// Loads, tags, removes and prepares without end, until it is killed.
#[test]
fn child_that_is_killed() {
    let Some(root) = std::env::var_os(CHILD) else {
        return;
    };
    // A test that started a program in this moment may hold the lock until it is executed.
    let store = open_free(std::path::Path::new(&root)).unwrap();
    for round in 0u64.. {
        let lease = store.lease("child");
        let files = (0..50).fold(Tar::new(), |tar, n| tar.file(&format!("d{n}/f"), b"data"));
        let base = files.clone().finish();
        let own = files.file("round", &round.to_le_bytes()).finish();
        let config = config(&[&base, &own], &round.to_string());
        let archive = docker_save(&[&base, &own], &config, &["app:latest", "app:other"]);
        store
            .load(&lease, &mut &archive[..], &Default::default(), &|_| ())
            .unwrap();
        let id = id_of(&config);
        let key = format!("c{round}");
        store
            .prepare(&lease, &key, id, &PrepareOptions::default())
            .unwrap();
        if let Some(image) = store.dangling().first() {
            store.remove_image(image.id).unwrap();
        }
        store.remove_snapshot(&key).unwrap();
        // Whoever reads this knows that the image is acknowledged.
        std::fs::write(
            std::path::Path::new(&root).join("../acknowledged"),
            id.to_string(),
        )
        .unwrap();
    }
}

#[test]
fn killed_at_any_moment_the_store_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let acknowledged = dir.path().join("acknowledged");
    for round in 0..15u64 {
        drop(std::fs::remove_file(&acknowledged));
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recovery::child_that_is_killed", "--nocapture"])
            .env(CHILD, &root)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !acknowledged.exists() {
            assert!(
                std::time::Instant::now() < deadline,
                "the child loads nothing"
            );
            assert!(
                child.try_wait().unwrap().is_none(),
                "the child ended by itself"
            );
            std::thread::yield_now();
        }
        // Different moments of the following rounds: the work itself is the clock.
        for _ in 0..round * 40_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open_free(&root).unwrap();
        assert_eq!(store.problems(), []);
        let problems = store.fsck().unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
        let image = store.find("app").unwrap();
        assert_eq!(image.config.rootfs.diff_ids.len(), 2);
        for key in store.snapshots() {
            store.snapshot(&key).unwrap();
            store.remove_snapshot(&key).unwrap();
        }
        let layers = std::fs::read_dir(root.join("layers")).unwrap().count();
        assert!(layers <= 1 + store.images().len(), "{layers} layers");
    }
}
