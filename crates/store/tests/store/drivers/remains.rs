//! What drivers bound, forget, make anew, and leave when they are killed: nothing that counts.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use spec::{Classify, ErrorKind, Rootfs};
use store::{Driver, PrepareOptions};

use super::ground::{Ground, layers, lines, run};
use crate::archive::{Place, Tar, open_free};

#[test]
fn what_a_container_leaves_in_a_subvolume_goes_with_it() {
    let [lower, upper] = layers();
    let ground = Ground::new(Driver::Btrfs, Some("btrfs"));
    let image = ground.load(&[&lower, &upper], "app");
    ground.prepare("c", image);
    ground.script(
        "c",
        "btrfs subvolume create own; btrfs subvolume create own/inner; echo x > own/inner/f
         mkdir -p d/e; btrfs subvolume snapshot -r own/inner d/e/frozen",
    );
    ground.store().remove_snapshot("c").unwrap();
    ground.assert_nothing_left();
}

#[test]
fn a_layer_in_memory_is_gone_when_it_is_forgotten() {
    let [lower, upper] = layers();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        let options = PrepareOptions {
            memory: true,
            size: Some(8 << 20),
            ..PrepareOptions::default()
        };
        let prepared = ground.try_prepare("c", image, &options);
        if ground.driver.has_whole_trees() {
            let error = prepared.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("overlay2 or erofs"), "{error}");
            ground.assert_nothing_left();
            continue;
        }
        let fresh = ground.tree("c");
        ground.script("c", "echo x > kept; rm big; if head -c 9000000 /dev/zero > full; then exit 1; fi 2> /dev/null; rm full");
        assert_eq!(ground.store().usage("c").unwrap(), 2, "{}", ground.driver);
        let written = ground.tree("c");
        assert_eq!(lines(&ground, "c"), ["A /kept", "D /big"]);
        let ground = ground.reopen();
        assert_eq!(ground.tree("c"), written, "{}", ground.driver);
        ground.store().forget_memory("c").unwrap();
        assert_eq!(ground.tree("c"), fresh, "{}", ground.driver);
        assert_eq!(ground.script("c", "stat -c '%a %u' ."), "751 5\n");
        // As after a restart of the host.
        let disk = ground.place.root().join("snapshots/c/disk");
        run(Command::new("umount").arg("-l").arg(disk));
        let ground = ground.reopen();
        assert_eq!(ground.tree("c"), fresh, "{}", ground.driver);
        ground.store().remove_snapshot("c").unwrap();
        ground.assert_nothing_left();
    }
}

#[test]
fn what_a_container_may_write_is_bounded() {
    let [lower, upper] = layers();
    let fill = "if head -c 64000000 /dev/urandom > full && sync full; then exit 1; fi 2> /dev/null; rm -f full; echo done";
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        let options = PrepareOptions {
            size: Some(32 << 20),
            ..PrepareOptions::default()
        };
        if ground.driver == Driver::Btrfs {
            let error = ground.try_prepare("c", image, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("btrfs quota enable"), "{error}");
            let disk = ground.disk.as_ref().unwrap().path();
            run(Command::new("btrfs").args(["quota", "enable"]).arg(&disk));
        }
        ground.try_prepare("c", image, &options).unwrap();
        assert_eq!(ground.script("c", fill), "done\n", "{}", ground.driver);
        ground.store().remove_snapshot("c").unwrap();
        ground.assert_nothing_left();
    }
}

/// Where the other process works; set for it alone.
const CHILD: &str = "CORTEN_TEST_DRIVER_CHILD";

/// Not a test: what the one below runs and kills.
#[test]
fn child_that_prepares_until_it_is_killed() {
    let Ok(text) = std::env::var(CHILD) else {
        return;
    };
    let (driver, root) = text.split_once(' ').unwrap();
    let store = open_free(Path::new(root)).unwrap();
    store.choose_driver(Some(driver.parse().unwrap())).unwrap();
    let image = store.images()[0].id;
    for number in 0..10_000 {
        let lease = store.lease("test");
        let options = PrepareOptions::default();
        store
            .prepare(&lease, &format!("k{number}"), image, &options)
            .unwrap();
    }
}

#[test]
fn a_kill_while_preparing_leaves_whole_snapshots_and_nothing_else() {
    let many = (0..400).fold(Tar::new(), |tar, number| {
        tar.file(&format!("d{}/f{number}", number % 20), b"content")
    });
    let many = many.finish();
    for mut ground in Ground::all() {
        let image = ground.load(&[&many], "app");
        for round in 0..4u64 {
            let (root, driver) = (ground.place.root(), ground.driver);
            let Ground { place, disk, .. } = ground;
            let Place { dir, store } = place;
            drop(store);
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "drivers::remains::child_that_prepares_until_it_is_killed",
                ])
                .env(CHILD, format!("{driver} {}", root.display()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // In the first round while what containers share is made, later between snapshots.
            let begun = |name: &str| std::fs::read_dir(root.join(name)).unwrap().count() as u64;
            let deadline = Instant::now() + Duration::from_secs(60);
            let already = begun("snapshots");
            while match round {
                0 => begun("ingest") == 0 && begun("snapshots") == 0,
                round => begun("snapshots") < already + round,
            } {
                assert!(Instant::now() < deadline, "{driver}: nothing happens");
                assert!(
                    child.try_wait().unwrap().is_none() || round > 0,
                    "{driver}: it ended"
                );
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let store = open_free(&root).unwrap();
            ground = Ground {
                driver,
                place: Place { dir, store },
                disk,
            };
            ground.choose();
            ground.place.assert_sound();
            let whole = ground.store().snapshots();
            let there = std::fs::read_dir(root.join("snapshots")).unwrap().count();
            assert_eq!(there, whole.len(), "{driver}");
            for key in whole {
                let seen = ground.tree(&key);
                let files = seen
                    .keys()
                    .filter(|path| path.starts_with("/d") && path.contains("/f"));
                assert_eq!(files.count(), 400, "{driver}");
                ground.store().remove_snapshot(&key).unwrap();
            }
        }
        ground.prepare("after", image);
        ground.store().remove_snapshot("after").unwrap();
        ground.assert_nothing_left();
    }
}

#[test]
fn a_layer_whose_image_is_gone_gets_it_again() {
    let [lower, upper] = layers();
    let ground = Ground::new(Driver::Erofs, None);
    let image = ground.load(&[&lower, &upper], "app");
    ground.prepare("c", image);
    let seen = ground.tree("c");
    let Rootfs::Overlay { images, .. } = ground.store().snapshot("c").unwrap().rootfs else {
        panic!("an overlay")
    };
    assert_eq!(images.len(), 2);
    for image in &images {
        assert!(
            sys::mount::erofs_from_device(&image.file)
                .unwrap()
                .as_fd()
                .try_clone_to_owned()
                .is_ok()
        );
        std::fs::remove_file(&image.file).unwrap();
    }
    assert_eq!(ground.tree("c"), seen);
    assert!(images.iter().all(|image| image.file.exists()));
    ground.store().remove_snapshot("c").unwrap();
    ground.assert_nothing_left();
}
