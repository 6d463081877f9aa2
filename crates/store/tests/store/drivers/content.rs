//! What containers see and change, and what becomes of it: alike with every storage driver.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use store::{Driver, PrepareOptions};
use sys::root::{GuestPath, Root};

use super::ground::{Ground, commit, layers, lines, within};
use crate::archive::Tar;

#[test]
fn a_container_sees_what_its_image_means() {
    let [lower, upper] = layers();
    let mut shown: Vec<(Driver, BTreeMap<String, String>)> = Vec::new();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        ground.prepare("c", image);
        let seen = ground.tree("c");
        for missing in ["/gone", "/opaque/hidden", "/dir-to-file/x", "/three"] {
            assert!(!seen.contains_key(missing), "{}: {missing}", ground.driver);
        }
        assert!(
            seen["/null"].starts_with("CharDevice 660 3:4 259 "),
            "{seen:#?}"
        );
        assert!(seen["/attr"].contains("user.mine"), "{seen:#?}");
        assert!(seen["/cap"].contains("security.capability"), "{seen:#?}");
        let root = ground.script("c", "stat -c '%a %u' .");
        assert_eq!(root, "751 5\n", "{}", ground.driver);
        assert_eq!(ground.store().driver_of("c").unwrap(), ground.driver);
        shown.push((ground.driver, seen));
        ground.store().remove_snapshot("c").unwrap();
        ground.place.assert_sound();
        ground.assert_nothing_left();
    }
    // A deleted third name still counts as a link below an overlay, but not in a copy.
    let comparable = |seen: &BTreeMap<String, String>| {
        let mut seen = seen.clone();
        seen.retain(|path, _| !matches!(path.as_str(), "/one" | "/deep/two"));
        seen
    };
    for (driver, seen) in &shown[1..] {
        assert_eq!(comparable(seen), comparable(&shown[0].1), "{driver}");
        assert!(
            seen["/one"].contains(" = /deep/two "),
            "{driver}: {seen:#?}"
        );
    }
}

#[test]
fn two_containers_of_an_image_do_not_see_each_other() {
    let [lower, upper] = layers();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        ground.prepare("a", image);
        let before = ground.tree("a");
        ground.prepare("b", image);
        ground.script(
            "a",
            "echo more >> changed; rm big; mkdir -p made/of; chmod 700 merged; mv one uno",
        );
        assert_eq!(ground.tree("b"), before, "{}", ground.driver);
        assert_eq!(
            ground.script("a", "cat changed; ls -d made/of uno"),
            "newmore\nmade/of\nuno\n"
        );
        ground.prepare("c", image);
        assert_eq!(ground.tree("c"), before, "{}", ground.driver);
        // What was written is there after a restart.
        let after = ground.tree("a");
        let ground = ground.reopen();
        assert_eq!(ground.tree("a"), after);
        for key in ["a", "b", "c"] {
            ground.store().remove_snapshot(key).unwrap();
        }
        ground.assert_nothing_left();
    }
}

/// What a container does in the two tests below.
const DEEDS: &str = "
    echo more >> changed
    rm -r merged big
    mkdir merged; echo again > merged/lower
    rm file-to-dir/x; rmdir file-to-dir; echo file > file-to-dir
    rm dir-to-file; mkdir dir-to-file; echo x > dir-to-file/y
    chmod 600 attr
    ln cap cap-too
    mv opaque moved
    mkfifo tube; mknod zero c 1 5; ln -s nowhere dangling
    : > 'with
newline'
    mkdir -p new/a/b; echo deep > new/a/b/c; echo n > empty/n
    chown 9:8 null
";

#[test]
fn changes_are_told_exactly() {
    let [lower, upper] = layers();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        ground.prepare("c", image);
        assert_eq!(
            lines(&ground, "c"),
            Vec::<String>::new(),
            "{}",
            ground.driver
        );
        ground.script("c", DEEDS);
        let expected = [
            "C /attr",
            "D /big",
            "A /cap-too",
            "C /changed",
            "A /dangling",
            "C /dir-to-file",
            "A /dir-to-file/y",
            "C /empty",
            "A /empty/n",
            "C /file-to-dir",
            "C /merged",
            "C /merged/lower",
            "D /merged/upper",
            "A /moved",
            "A /moved/shown",
            "A /new",
            "A /new/a",
            "A /new/a/b",
            "A /new/a/b/c",
            "C /null",
            "D /opaque",
            "A /tube",
            "A /with\nnewline",
            "A /zero",
        ];
        let mut told = lines(&ground, "c");
        told.sort_by(|a, b| a[2..].cmp(&b[2..]));
        assert_eq!(told, expected, "{}", ground.driver);
        ground.store().remove_snapshot("c").unwrap();
        ground.assert_nothing_left();
    }
}

#[test]
fn a_commit_is_what_the_container_was() {
    let [lower, upper] = layers();
    let mut sizes = Vec::new();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        ground.prepare("c", image);
        ground.script("c", DEEDS);
        let expected = ground.tree("c");
        let made = commit(&ground, "c", "made");
        // Only what was changed is in the new layer.
        let layers = ground
            .store()
            .image(made)
            .unwrap()
            .config
            .rootfs
            .diff_ids
            .clone();
        assert_eq!(layers.len(), 3);
        sizes.push((ground.driver, ground.store().find("made").unwrap().size));
        ground.prepare("of-it", made);
        let seen = ground.tree("of-it");
        for (path, line) in &expected {
            let linked = ["/cap", "/cap-too", "/one", "/deep/two"];
            if !linked.contains(&path.as_str()) {
                assert_eq!(seen.get(path), Some(line), "{}: {path}", ground.driver);
            }
        }
        assert_eq!(seen.len(), expected.len(), "{}", ground.driver);
        assert!(seen["/cap-too"].ends_with(" = /cap") || seen["/cap-too"].contains("= /cap "));
        // Nothing was written: nothing to commit.
        ground.prepare("idle", image);
        let same = commit(&ground, "idle", "same");
        assert_eq!(
            ground
                .store()
                .image(same)
                .unwrap()
                .config
                .rootfs
                .diff_ids
                .len(),
            2
        );
        // A change that leaves size and time as they were is a change all the same.
        ground.prepare("sly", image);
        ground.script("sly", "touch -r changed /tmp/ref.$$; printf sly > changed; touch -r /tmp/ref.$$ changed; rm /tmp/ref.$$");
        let sly = commit(&ground, "sly", "sly");
        ground.prepare("of-sly", sly);
        assert_eq!(
            ground.script("of-sly", "cat changed"),
            "sly",
            "{}",
            ground.driver
        );
        ground.place.assert_sound();
        for key in ["c", "of-it", "idle", "sly", "of-sly"] {
            ground.store().remove_snapshot(key).unwrap();
        }
        ground.assert_nothing_left();
    }
    let first = sizes[0].1;
    for (driver, size) in sizes {
        assert_eq!(size, first, "{driver}");
    }
}

#[test]
fn files_are_copied_in_and_out() {
    use store::copy::{CopyPath, Extract, extract, pack};
    let [lower, upper] = layers();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        ground.prepare("c", image);
        let archive = Tar::new()
            .file("in/file", b"copied")
            .hard_link("in/too", "in/file")
            .finish();
        let rootfs = ground.store().snapshot("c").unwrap().rootfs;
        let out = within(&rootfs, |root| {
            let root = Root::open(root).unwrap();
            let to = CopyPath::parse("/merged").unwrap();
            extract(
                &root,
                &to,
                std::iter::once(Ok(archive.into())),
                &Extract::default(),
            )
            .unwrap();
            let mut out = Vec::new();
            pack(&root, &CopyPath::parse("/merged").unwrap(), &mut out).unwrap();
            out
        });
        let names: Vec<String> = tar::Archive::new(&out[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let expected = [
            "merged/",
            "merged/in/",
            "merged/in/file",
            "merged/in/too",
            "merged/lower",
            "merged/upper",
        ];
        assert_eq!(names, expected, "{}", ground.driver);
        let told = lines(&ground, "c");
        assert_eq!(
            told,
            [
                "C /merged",
                "A /merged/in",
                "A /merged/in/file",
                "A /merged/in/too"
            ]
        );
        let mut export = Vec::new();
        ground.store().export("c", &mut export).unwrap();
        assert!(export.windows(6).any(|part| part == b"copied"));
        ground.store().remove_snapshot("c").unwrap();
        ground.assert_nothing_left();
    }
}

#[test]
fn what_a_container_wrote_is_measured() {
    let [lower, upper] = layers();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        ground.prepare("c", image);
        assert_eq!(ground.store().usage("c").unwrap(), 0, "{}", ground.driver);
        ground.script(
            "c",
            "head -c 1000000 /dev/urandom > data; ln data data-too; rm big",
        );
        assert_eq!(
            ground.store().usage("c").unwrap(),
            1_000_000,
            "{}",
            ground.driver
        );
        let on_disk = ground.store().usage_on_disk("c").unwrap();
        assert!(on_disk >= 1_000_000, "{}: {on_disk}", ground.driver);
        let usage = ground.store().disk_usage().unwrap();
        assert_eq!(usage.images.len(), 1);
        assert!(usage.allocated >= 3 << 20);
        ground.store().remove_snapshot("c").unwrap();
        ground.assert_nothing_left();
    }
}

#[test]
fn images_are_looked_at_without_what_containers_need() {
    let [lower, upper] = layers();
    for ground in Ground::all() {
        let image = ground.load(&[&lower, &upper], "app");
        let options = PrepareOptions {
            view: true,
            ..PrepareOptions::default()
        };
        ground.try_prepare("view", image, &options).unwrap();
        let layers = ground.store().image_layers("view").unwrap();
        let seen = sys::mntns::private(|| {
            let mounted = sys::mount::overlay_read_only(&layers)?;
            let root = Root::from_fd(mounted).open_dir(&GuestPath::root())?;
            let has = |name: &str| root.find(OsStr::new(name)).map(|found| found.is_some());
            Ok::<_, sys::Error>((has("changed")?, has("gone")?, has(".dockerenv")?))
        });
        assert_eq!(seen.unwrap(), (true, false, false), "{}", ground.driver);
        ground.store().remove_snapshot("view").unwrap();
        ground.assert_nothing_left();
    }
}
