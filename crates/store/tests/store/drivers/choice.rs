//! Which driver is chosen, which is refused, and that containers keep theirs.

use std::process::Command;

use spec::{Classify, ErrorKind, Rootfs};
use store::{Driver, PrepareOptions, Store};

use super::ground::{Ground, layers, run, tree, within};
use crate::archive::Place;

#[test]
fn containers_keep_their_driver_when_another_is_chosen() {
    let [lower, upper] = layers();
    let ground = Ground::new(Driver::Btrfs, Some("btrfs"));
    let image = ground.load(&[&lower, &upper], "app");
    let mut place = ground.place;
    for driver in Driver::ALL {
        place.store.choose_driver(Some(driver)).unwrap();
        let lease = place.store.lease("test");
        let key = driver.as_str();
        place
            .store
            .prepare(&lease, key, image, &PrepareOptions::default())
            .unwrap();
        drop(lease);
        place = place.reopen();
    }
    // Nothing is asked for any more: what is there stays what it is.
    assert_eq!(
        place.store.choose_driver(None).unwrap().driver,
        Driver::Overlay2
    );
    let mut shown = Vec::new();
    for driver in Driver::ALL {
        assert_eq!(place.store.driver_of(driver.as_str()).unwrap(), driver);
        let rootfs = place.store.snapshot(driver.as_str()).unwrap().rootfs;
        assert_eq!(
            matches!(rootfs, Rootfs::Directory { .. }),
            driver.has_whole_trees()
        );
        shown.push(within(&rootfs, |root| tree(root).len()));
        place.store.remove_snapshot(driver.as_str()).unwrap();
    }
    shown.dedup();
    assert_eq!(shown.len(), 1);
    let ground = Ground { place, ..ground };
    ground.assert_nothing_left();
}

#[test]
fn drivers_that_do_not_work_here_are_refused_with_the_reason() {
    let place = Place::new();
    let error = place.store.choose_driver(Some(Driver::Btrfs)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .contains("the data root is not on a btrfs"),
        "{error}"
    );
    let choice = place.store.choose_driver(None).unwrap();
    assert_eq!(
        (choice.driver, choice.second_best),
        (Driver::Overlay2, false)
    );
    assert_eq!(place.store.driver(), Driver::Overlay2);
    assert_eq!(
        std::fs::read_dir(place.root().join("ingest"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn where_overlays_do_not_work_images_are_copied() {
    // An overlay on an overlay has no place for its marks.
    let dir = tempfile::tempdir().unwrap();
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let path = |name: &str| dir.path().join(name).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        path("lower"),
        path("upper"),
        path("work")
    );
    run(Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay", &path("merged")]));
    let tried = std::panic::catch_unwind(|| {
        let store = Store::open(&dir.path().join("merged/store")).unwrap();
        let choice = store.choose_driver(None).unwrap();
        assert_eq!((choice.driver, choice.second_best), (Driver::Vfs, true));
        assert!(
            choice.reason.contains("overlayfs does not work"),
            "{}",
            choice.reason
        );
    });
    run(Command::new("umount")
        .arg("-l")
        .arg(dir.path().join("merged")));
    tried.unwrap();
}
