//! Writable layers, and what the kernel shows when they are mounted.

use std::path::Path;
use std::process::Command;

use spec::{ImageId, Rootfs};
use store::{Error, PrepareOptions};

use crate::archive::{Entry, Place, Tar, config, docker_save, exists, id_of};

fn load(place: &Place, layers: &[&[u8]], tag: &str) -> ImageId {
    let config = config(layers, tag);
    place.load(&docker_save(layers, &config, &[tag])).unwrap();
    id_of(&config)
}

pub fn prepare(place: &Place, key: &str, image: ImageId) -> Rootfs {
    let lease = place.store.lease("test");
    place
        .store
        .prepare(&lease, key, image, &PrepareOptions::default())
        .unwrap()
}

/// Runs a script in a mount namespace of its own where the rootfs is mounted at `$1`.
pub fn mounted(rootfs: &Rootfs, script: &str) -> String {
    mounted_with(rootfs, "", script)
}

/// The same with further options of the overlay.
pub fn mounted_with(rootfs: &Rootfs, more: &str, script: &str) -> String {
    let Rootfs::Overlay {
        lowers,
        upper,
        work,
        ..
    } = rootfs
    else {
        panic!("{rootfs:?}")
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let lowers: Vec<String> = lowers.iter().map(|path| text(path)).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{}{more}",
        lowers.join(":"),
        text(upper),
        text(work),
        if more.is_empty() { "" } else { "," },
    );
    let mountpoint = tempfile::tempdir().unwrap();
    let script = format!("mount -t overlay -o \"$2\" overlay \"$1\" && cd \"$1\" && {script}");
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", &script, "sh"])
        .arg(mountpoint.path())
        .arg(options)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_kernel_shows_what_the_image_means() {
    let place = Place::new();
    let lower = Tar::new()
        .file("gone", b"x")
        .file("changed", b"old")
        .file("opaque/hidden", b"x")
        .file("merged/lower", b"x")
        .file("dir-to-file/x", b"x")
        .file("file-to-dir", b"x")
        .file("etc/hosts", b"from the image")
        .finish();
    let upper = Tar::new()
        .file(".wh.gone", b"")
        .file("changed", b"new")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/shown", b"x")
        .file("merged/upper", b"x")
        .file("dir-to-file", b"x")
        .file("file-to-dir/x", b"x")
        .finish();
    let image = load(&place, &[&lower, &upper], "app");
    let rootfs = prepare(&place, "c1", image);
    let shown = mounted(
        &rootfs,
        "find . | LC_ALL=C sort; cat changed etc/hosts; echo w > written",
    );
    let expected = "\
.
./.dockerenv
./changed
./dev
./dev/console
./dev/pts
./dev/shm
./dir-to-file
./etc
./etc/hostname
./etc/hosts
./etc/mtab
./etc/resolv.conf
./file-to-dir
./file-to-dir/x
./merged
./merged/lower
./merged/upper
./opaque
./opaque/shown
./proc
./sys
newfrom the image";
    assert_eq!(shown, expected);
    assert_eq!(place.store.usage("c1").unwrap(), 2);
    // The next container of the image sees nothing of the first.
    let rootfs = prepare(&place, "c2", image);
    assert_eq!(
        mounted(&rootfs, "ls written 2>/dev/null || echo none"),
        "none\n"
    );
    place.assert_sound();
}

#[test]
fn the_root_and_covered_directories_keep_the_images_attributes() {
    let place = Place::new();
    let dir = |path, mode, uid| Entry {
        kind: b'5',
        path,
        mode,
        uid,
        ..Entry::default()
    };
    let lower = Tar::new()
        .entry(dir(b"./", 0o1711, 42))
        .entry(dir(b"etc", 0o2750, 43))
        .symlink("dev", "/elsewhere")
        .finish();
    let upper = Tar::new().file("x", b"").finish();
    let image = load(&place, &[&lower, &upper], "app");
    let rootfs = prepare(&place, "c", image);
    let shown = mounted(
        &rootfs,
        "stat -c '%n %a %u %Y' . etc | grep -v ^x; readlink dev",
    );
    assert_eq!(
        shown.lines().next().unwrap().rsplit_once(' ').unwrap().0,
        ". 1711 42"
    );
    assert_eq!(
        shown.lines().nth(1).unwrap(),
        format!("etc 2750 43 {}", 0o14524770040u64)
    );
    assert_eq!(shown.lines().nth(2).unwrap(), "/elsewhere");
}

#[test]
fn images_without_layers_and_layers_given_twice_can_be_mounted() {
    let place = Place::new();
    let none = load(&place, &[], "none");
    assert!(mounted(&prepare(&place, "n", none), "ls -a").contains("proc"));
    let layer = Tar::new().file("a", b"x").finish();
    let other = Tar::new().file(".wh.a", b"").finish();
    let twice = load(&place, &[&layer, &other, &layer], "twice");
    assert_eq!(mounted(&prepare(&place, "t", twice), "cat a"), "x");
    let opaque = Tar::new()
        .file(".wh..wh..opq", b"")
        .file("b", b"y")
        .finish();
    let hidden = load(&place, &[&layer, &opaque], "opaque");
    assert_eq!(
        mounted(&prepare(&place, "o", hidden), "ls a 2>/dev/null || cat b"),
        "y"
    );
}

#[test]
fn keys_are_unique_and_safe() {
    let place = Place::new();
    let image = load(&place, &[], "none");
    let lease = place.store.lease("test");
    let options = PrepareOptions {
        volatile: true,
        ..PrepareOptions::default()
    };
    let prepare = |key: &str| place.store.prepare(&lease, key, image, &options);
    let Rootfs::Overlay { volatile, .. } = prepare("k").unwrap() else {
        panic!()
    };
    assert!(volatile);
    assert!(matches!(prepare("k"), Err(Error::SnapshotExists { .. })));
    for key in ["", "../x", "a/b", ".", "..", "a\0", &"k".repeat(129)] {
        assert!(
            matches!(prepare(key), Err(Error::InvalidKey { .. })),
            "{key}"
        );
    }
    assert!(matches!(
        place.store.remove_snapshot("../images"),
        Err(Error::InvalidKey { .. })
    ));
    let missing = id_of(b"missing");
    let outcome = place.store.prepare(&lease, "m", missing, &options);
    assert!(matches!(outcome, Err(Error::NoSuchImage { .. })));
    assert_eq!(place.store.snapshots(), ["k"]);
}

#[test]
fn a_volatile_snapshot_can_be_mounted_again() {
    let place = Place::new();
    let image = load(&place, &[], "none");
    let lease = place.store.lease("test");
    place
        .store
        .prepare(
            &lease,
            "k",
            image,
            &PrepareOptions {
                volatile: true,
                ..PrepareOptions::default()
            },
        )
        .unwrap();
    // What the kernel leaves after a volatile mount.
    let mark = place.root().join("snapshots/k/work/work/incompat/volatile");
    std::fs::create_dir_all(&mark).unwrap();
    place.store.snapshot("k").unwrap();
    assert!(!exists(mark.parent().unwrap()));
}

#[test]
fn snapshots_outlive_their_image_and_the_daemon() {
    let place = Place::new();
    let layer = Tar::new().file("a", b"x").finish();
    let image = load(&place, &[&layer], "app");
    let rootfs = prepare(&place, "c", image);
    let removed = place.store.remove_image(image).unwrap();
    assert_eq!(
        removed.deleted,
        [image.digest()],
        "its layer is needed by the snapshot"
    );
    let place = place.reopen();
    let found = place.store.snapshot("c").unwrap();
    assert_eq!((found.rootfs, found.image), (rootfs.clone(), image));
    assert_eq!(mounted(&rootfs, "cat a"), "x");
    place.assert_sound();
    place.store.remove_snapshot("c").unwrap();
    place.store.remove_snapshot("c").unwrap();
    assert!(matches!(
        place.store.snapshot("c"),
        Err(Error::NoSuchSnapshot { .. })
    ));
    place.store.gc().unwrap();
    place.assert_clean();
    assert_eq!(
        std::fs::read_dir(place.root().join("init"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn removing_a_snapshot_removes_any_tree_and_follows_nothing() {
    let place = Place::new();
    let image = load(&place, &[], "none");
    let Rootfs::Overlay { upper, .. } = prepare(&place, "c", image) else {
        panic!()
    };
    let canary = crate::archive::canary_of(&place);
    std::os::unix::fs::symlink(&canary, upper.join("link")).unwrap();
    // Deeper than a path can name in one call.
    let root = sys::root::Root::open(&upper).unwrap();
    let mut dir = root.open_dir(&sys::root::GuestPath::root()).unwrap();
    let name = std::ffi::OsStr::new("ddddddddd");
    for _ in 0..600 {
        dir.mkdir(name, rustix::fs::Mode::RWXU).unwrap();
        dir = dir.open_dir(name).unwrap();
    }
    dir.symlink(std::ffi::OsStr::new(&canary), std::ffi::OsStr::new("deep"))
        .unwrap();
    for n in 0..200 {
        std::fs::create_dir_all(upper.join(format!("wide/{n}/below"))).unwrap();
    }
    assert!(place.store.usage("c").unwrap() >= canary.len() as u64);
    place.store.remove_snapshot("c").unwrap();
    place.assert_canary();
    assert_eq!(
        std::fs::read_dir(place.root().join("trash"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn directories_are_told_topmost_first() {
    let place = Place::new();
    let layer = |name: &str| Tar::new().file(name, b"x").finish();
    let (a, b) = (layer("a"), layer("b"));
    let image = load(&place, &[&a, &b], "app");
    let Rootfs::Overlay {
        lowers,
        upper,
        work,
        ..
    } = prepare(&place, "key", image)
    else {
        panic!("an overlay")
    };
    let told = place.store.snapshot_directories("key").unwrap();
    assert_eq!((told.upper, told.work), (Some(upper), Some(work)));
    assert_eq!(told.lowers, lowers);
    let told = place.store.image_directories(image);
    let top = told.upper.unwrap();
    assert!(top.join("b").exists() && told.lowers[0].join("a").exists());
    assert_eq!((told.lowers.len(), told.work), (1, None));
    assert!(place.store.snapshot_directories("nope").is_err());
}
