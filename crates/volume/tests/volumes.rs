//! Volumes on a real disk: what is kept, what is swept, what is mounted.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use spec::{Classify, ErrorKind};
use volume::{NewVolume, VolumeName, Volumes};

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn named(text: &str) -> NewVolume {
    NewVolume {
        name: Some(name(text)),
        ..NewVolume::default()
    }
}

fn nobody(_: &VolumeName) -> Vec<String> {
    Vec::new()
}

fn options(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    let map = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Some(map.collect())
}

/// Names below the directory of all volumes.
fn entries(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_volume_is_found_again_and_gone_once_removed() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes
        .create(NewVolume {
            labels: BTreeMap::from([("a".into(), "b".into())]),
            ..named("data")
        })
        .unwrap();
    assert!(made.is_new);
    std::fs::write(made.volume.mountpoint.join("x"), b"y").unwrap();
    assert!(!volumes.create(named("data")).unwrap().is_new);
    drop(made);

    let volumes = Volumes::open(dir.path()).unwrap();
    assert_eq!(volumes.problems(), []);
    let found = volumes.get("data").unwrap();
    assert_eq!(found.labels["a"], "b");
    assert_eq!(std::fs::read(found.mountpoint.join("x")).unwrap(), b"y");
    volumes.remove("data", &nobody).unwrap();
    assert_eq!(entries(dir.path()), Vec::<String>::new());
    let gone = volumes.get("data").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(gone.to_string(), "get data: no such volume");
}

#[test]
fn anonymous_volumes_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes.create(NewVolume::default()).unwrap();
    assert!(made.volume.is_anonymous());
    assert_eq!(made.volume.name.as_str().len(), 64);
    assert!(!volumes.create(named("mine")).unwrap().volume.is_anonymous());
}

#[test]
fn what_is_used_held_or_protected_stays() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes.create(named("data")).unwrap();
    let held = volumes.remove("data", &nobody).unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Conflict);
    drop(made);
    let used = volumes
        .remove("data", &|_| vec!["abc".to_owned()])
        .unwrap_err();
    assert_eq!(used.to_string(), "remove data: volume is in use - [abc]");
    volumes.protect("data", true).unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let protected = volumes.remove("data", &nobody).unwrap_err();
    assert_eq!(protected.kind(), ErrorKind::Conflict);
    volumes.protect("data", false).unwrap();
    volumes.remove("data", &nobody).unwrap();
}

#[test]
fn others_can_pass_but_not_list() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("volumes");
    let volumes = Volumes::open(&root).unwrap();
    let made = volumes.create(named("data")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o711);
    assert_eq!(mode(&root.join("data")), 0o711);
    assert_eq!(mode(&root.join("data/volume.json")), 0o600);
    assert_eq!(mode(&made.volume.mountpoint), 0o755);
}

#[test]
fn half_made_volumes_are_swept_and_damaged_ones_left() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(".tmp-0123/_data")).unwrap();
    std::fs::create_dir_all(dir.path().join("lost/_data")).unwrap();
    std::fs::write(dir.path().join("lost/_data/precious"), b"1").unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    assert_eq!(entries(dir.path()), ["lost"]);
    assert_eq!(volumes.problems().len(), 1);
    assert!(volumes.problems()[0].what.contains("left alone"));
    // Its name is taken: nothing may be put over somebody's data.
    let taken = volumes.create(named("lost")).unwrap_err();
    assert!(taken.to_string().contains("no volume"), "{taken}");
    assert!(dir.path().join("lost/_data/precious").exists());
}

#[test]
fn a_file_system_is_there_while_somebody_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes
        .create(NewVolume {
            options: options(&[
                ("type", "tmpfs"),
                ("device", "tmpfs"),
                ("o", "size=1m,mode=700"),
            ]),
            ..named("mem")
        })
        .unwrap();
    let data = made.volume.mountpoint.clone();
    let device = || std::fs::metadata(&data).unwrap().dev();
    let before = device();
    let first = volumes.mount(&made.volume.name, "a").unwrap();
    let second = volumes.mount(&made.volume.name, "b").unwrap();
    assert_ne!(device(), before);
    assert_eq!(
        std::fs::metadata(&data).unwrap().permissions().mode() & 0o777,
        0o700
    );
    std::fs::write(data.join("x"), vec![0u8; 2 << 20]).unwrap_err();
    drop((first, second, made));

    // A new daemon finds it mounted: it stays for who runs, and goes with the last one.
    let volumes = Volumes::open(dir.path()).unwrap();
    volumes.reconcile(&|_| vec!["b".to_owned()]).unwrap();
    assert_ne!(device(), before);
    volumes.unmount(&name("mem"), "b").unwrap();
    assert_eq!(device(), before);
    volumes.remove("mem", &nobody).unwrap();
}

#[test]
fn a_bind_shows_a_host_directory_and_removal_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("x"), b"1").unwrap();
    let volumes = Volumes::open(&dir.path().join("volumes")).unwrap();
    let bind = options(&[
        ("type", "none"),
        ("device", host.to_str().unwrap()),
        ("o", "bind,ro"),
    ]);
    let made = volumes
        .create(NewVolume {
            options: bind,
            ..named("seen")
        })
        .unwrap();
    let data = made.volume.mountpoint.clone();
    volumes.mount(&made.volume.name, "a").unwrap();
    assert!(data.join("x").exists());
    assert!(std::fs::write(data.join("y"), b"").is_err());
    drop(made);
    volumes.remove("seen", &nobody).unwrap();
    assert!(host.join("x").exists());
}

#[test]
fn a_device_that_is_not_there_says_so_and_leaves_nothing_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes
        .create(NewVolume {
            options: options(&[("type", "none"), ("device", "/no/such"), ("o", "bind")]),
            ..named("gone")
        })
        .unwrap();
    let error = volumes.mount(&made.volume.name, "a").unwrap_err();
    let text = spec::error::chain(&error);
    assert!(
        text.starts_with("error while mounting volume '") && text.contains("/no/such"),
        "{text}"
    );
    drop(made);
    volumes.remove("gone", &nobody).unwrap();
}

#[test]
fn renaming_and_copying_keep_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes.create(named("one")).unwrap();
    std::fs::write(made.volume.mountpoint.join("x"), b"1").unwrap();
    let busy = volumes.rename("one", &name("two"), &nobody).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Conflict);
    drop(made);
    volumes.rename("one", &name("two"), &nobody).unwrap();
    let copy = volumes.duplicate("two", &name("three")).unwrap();
    assert_eq!(
        volumes.duplicate("two", &name("three")).unwrap_err().kind(),
        ErrorKind::Conflict
    );
    std::fs::write(copy.mountpoint.join("x"), b"2").unwrap();

    let volumes = Volumes::open(dir.path()).unwrap();
    assert_eq!(entries(dir.path()), ["three", "two"]);
    let read = |name: &str| std::fs::read(volumes.get(name).unwrap().mountpoint.join("x")).unwrap();
    assert_eq!((read("two"), read("three")), (b"1".to_vec(), b"2".to_vec()));
    assert!(volumes.get("one").is_err());
}

#[test]
fn a_size_is_a_bound_that_outlives_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let made = volumes
        .create(NewVolume {
            options: options(&[("size", "16m")]),
            ..named("small")
        })
        .unwrap();
    let file = made.volume.mountpoint.join("big");
    let error = std::fs::write(&file, vec![7u8; 32 << 20]).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ),
        "{error}"
    );
    std::fs::write(&file, b"fits").unwrap();
    let users = |_: &VolumeName| vec!["a".to_owned()];
    drop(made);
    let volumes = Volumes::open(dir.path()).unwrap();
    volumes.reconcile(&nobody).unwrap();
    volumes.remove("small", &users).unwrap_err();
    assert_eq!(std::fs::read(&file).unwrap(), b"fits");
    volumes.remove("small", &nobody).unwrap();
    assert_eq!(entries(dir.path()), Vec::<String>::new());
    let tiny = volumes
        .create(NewVolume {
            options: options(&[("size", "1k")]),
            ..named("tiny")
        })
        .unwrap_err();
    assert_eq!(tiny.kind(), ErrorKind::InvalidArgument);
    assert_eq!(entries(dir.path()), Vec::<String>::new());
}
