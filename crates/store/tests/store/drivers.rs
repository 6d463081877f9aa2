//! What every storage driver must do alike, on real file systems.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use spec::{Classify, ErrorKind, ImageId, Rootfs};
use store::{ChangeKind, CommitOptions, Driver, Error, PrepareOptions, Store};
use sys::root::{Dir, GuestPath, Kind, Root};

use crate::archive::{Entry, Place, Tar, config, docker_save, id_of, open_free};

/// A file system in a file, mounted for a test.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new(kind: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if kind == "tmpfs" {
            let place = dir.path().join("mounted");
            std::fs::create_dir(&place).unwrap();
            run(Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=512m", "tmpfs"])
                .arg(&place));
            return Self { dir };
        }
        let image = dir.path().join("image");
        std::fs::File::create(&image)
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        let place = dir.path().join("mounted");
        std::fs::create_dir(&place).unwrap();
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&place));
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let place = self.path();
        if !Command::new("umount")
            .arg(&place)
            .status()
            .is_ok_and(|s| s.success())
        {
            drop(Command::new("umount").arg("-l").arg(&place).status());
        }
    }
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A store with a driver.
struct Ground {
    driver: Driver,
    place: Place,
    // After the place, which is in it.
    disk: Option<Disk>,
}

impl Ground {
    fn new(driver: Driver, file_system: Option<&str>) -> Self {
        let disk = file_system.map(Disk::new);
        let mut place = Place::new();
        if let Some(disk) = &disk {
            let dir = tempfile::tempdir_in(disk.path()).unwrap();
            let store = Store::open(&dir.path().join("store")).unwrap();
            place = Place { dir, store };
        }
        let ground = Self {
            driver,
            place,
            disk,
        };
        ground.choose();
        ground
    }

    fn all() -> Vec<Self> {
        vec![
            Self::new(Driver::Overlay2, None),
            Self::new(Driver::Erofs, None),
            Self::new(Driver::Vfs, None),
            Self::new(Driver::Vfs, Some("xfs")),
            Self::new(Driver::Btrfs, Some("btrfs")),
            // The layers' images are made of shared bytes there.
            Self::new(Driver::Erofs, Some("btrfs")),
            // Its files cannot be mounted, but devices that are made of them.
            Self::new(Driver::Erofs, Some("tmpfs")),
        ]
    }

    fn choose(&self) {
        let choice = self.place.store.choose_driver(Some(self.driver)).unwrap();
        assert_eq!(choice.driver, self.driver);
    }

    fn store(&self) -> &Store {
        &self.place.store
    }

    fn reopen(self) -> Self {
        let Self {
            driver,
            place,
            disk,
        } = self;
        let ground = Self {
            driver,
            place: place.reopen(),
            disk,
        };
        ground.choose();
        ground
    }

    fn load(&self, layers: &[&[u8]], tag: &str) -> ImageId {
        let config = config(layers, tag);
        self.place
            .load(&docker_save(layers, &config, &[tag]))
            .unwrap();
        id_of(&config)
    }

    fn try_prepare(
        &self,
        key: &str,
        image: ImageId,
        options: &PrepareOptions,
    ) -> Result<Rootfs, Error> {
        self.store()
            .prepare(&self.store().lease("test"), key, image, options)
    }

    fn prepare(&self, key: &str, image: ImageId) -> Rootfs {
        self.try_prepare(key, image, &PrepareOptions::default())
            .unwrap_or_else(|error| panic!("{}: {}", self.driver, spec::error::chain(&error)))
    }

    /// Runs a script in a container's root, as the first process of a container would see it.
    fn script(&self, key: &str, script: &str) -> String {
        let rootfs = self.store().snapshot(key).unwrap().rootfs;
        within(&rootfs, |root| {
            run(Command::new("sh").args(["-euc", script]).current_dir(root))
        })
    }

    fn tree(&self, key: &str) -> BTreeMap<String, String> {
        let rootfs = self.store().snapshot(key).unwrap().rootfs;
        within(&rootfs, tree)
    }

    /// Asserts that nothing at all is left, on disk or in the kernel.
    fn assert_nothing_left(&self) {
        self.place.clear();
        self.store().gc().unwrap();
        let root = self.place.root();
        for name in ["snapshots", "trash", "ingest", "layers", "init", "btrfs"] {
            let left: Vec<_> = std::fs::read_dir(root.join(name)).unwrap().collect();
            assert!(left.is_empty(), "{}: {name}: {left:?}", self.driver);
        }
        if let Some(disk) = self.disk.as_ref().filter(|_| self.driver == Driver::Btrfs) {
            let volumes = run(Command::new("btrfs")
                .args(["subvolume", "list"])
                .arg(disk.path()));
            assert_eq!(volumes, "");
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = root.to_str().unwrap();
        assert!(!mounts.contains(root), "{mounts}");
        let deadline = Instant::now() + Duration::from_secs(10);
        while loops_of(root) > 0 {
            assert!(Instant::now() < deadline, "a loop device is left");
            std::thread::yield_now();
        }
    }
}

fn loops_of(root: &str) -> usize {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    devices
        .filter(|device| {
            std::fs::read_to_string(device.path().join("loop/backing_file"))
                .is_ok_and(|text| text.starts_with(root))
        })
        .count()
}

/// Mounts a root file system where nobody sees it, and looks at it.
fn within<T: Send>(rootfs: &Rootfs, look: impl FnOnce(&Path) -> T + Send) -> T {
    let looked = sys::mntns::private(|| {
        let path = match rootfs {
            Rootfs::Directory { path } => path.clone(),
            Rootfs::Overlay {
                lowers,
                upper,
                work,
                volatile,
                images,
            } => {
                for image in images {
                    sys::mount::cover_with_erofs(&image.file, &image.place)?;
                }
                sys::mount::overlay(&sys::mount::Overlay {
                    lowers,
                    upper,
                    work,
                    volatile: *volatile,
                })?;
                upper.clone()
            }
        };
        Ok::<T, sys::Error>(look(&path))
    });
    looked.unwrap()
}

/// Everything that can be seen of a tree, times to the second.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut links = Vec::new();
    let root = Root::open(root)
        .unwrap()
        .open_dir(&GuestPath::root())
        .unwrap();
    walk(&root, "", &mut all, &mut links);
    all
}

fn walk(
    dir: &Dir,
    path: &str,
    all: &mut BTreeMap<String, String>,
    links: &mut Vec<((u64, u64), String)>,
) {
    let mut names = dir.names().unwrap();
    names.sort();
    for name in names {
        let path = format!("{path}/{}", name.display());
        let found = dir.stat(&name).unwrap();
        let mut line = format!(
            "{:?} {:o} {}:{} {}",
            found.kind, found.mode, found.uid, found.gid, found.rdev
        );
        for attribute in sys::xattr::list_at(dir, &name).unwrap() {
            if !attribute.to_string_lossy().starts_with("trusted.overlay.") {
                let value = sys::xattr::get_at(dir, &name, &attribute).unwrap();
                line += &format!(" {attribute:?}={value:?}");
            }
        }
        match found.kind {
            Kind::Directory => {}
            Kind::Symlink => line += &format!(" -> {:?}", dir.readlink(&name).unwrap()),
            kind => {
                line += &format!(" {} {} {}", found.size, found.mtime, found.links);
                let first = links
                    .iter()
                    .find(|(inode, _)| *inode == (found.device, found.inode));
                match first {
                    Some((_, first)) => line += &format!(" = {first}"),
                    None => links.push(((found.device, found.inode), path.clone())),
                }
                if kind == Kind::File && found.size < 1 << 20 {
                    let flags = rustix::fs::OFlags::RDONLY;
                    let fd = dir.open(&name, flags, rustix::fs::Mode::empty()).unwrap();
                    let mut text = Vec::new();
                    std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut text).unwrap();
                    line += &format!(" {}", spec::Digest::of(&text));
                }
            }
        }
        let below = (found.kind == Kind::Directory).then(|| dir.open_dir(&name).unwrap());
        // What containers need beside their image is made when it is needed first.
        let own = [
            "/.dockerenv",
            "/dev/console",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
        ];
        if !own.contains(&path.as_str()) {
            all.insert(path.clone(), line);
        }
        if let Some(below) = below {
            walk(&below, &path, all, links);
        }
    }
}

/// Two layers with everything that a layer can have.
fn layers() -> [Vec<u8>; 2] {
    let device = |kind: u8, path: &'static str, device: (u32, u32)| Entry {
        kind,
        path: path.as_bytes(),
        mode: 0o660,
        uid: 3,
        gid: 4,
        device,
        ..Entry::default()
    };
    let attribute = |path: &'static str, key: &str, value: &[u8]| Entry {
        path: path.as_bytes(),
        data: b"x",
        mode: 0o4755,
        pax: vec![(format!("SCHILY.xattr.{key}"), value.to_vec())],
        ..Entry::default()
    };
    let mut capability = [0; 20];
    capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    let big = vec![b'b'; 3 << 20];
    let lower = Tar::new()
        .entry(Entry {
            kind: b'5',
            path: b"./",
            mode: 0o751,
            uid: 5,
            ..Entry::default()
        })
        .file("gone", b"x")
        .file("changed", b"old")
        .file("opaque/hidden", b"x")
        .file("merged/lower", b"x")
        .file("dir-to-file/x", b"x")
        .file("file-to-dir", b"x")
        .file("one", b"linked")
        .hard_link("deep/two", "one")
        .hard_link("three", "one")
        .file("big", &big)
        .entry(device(b'3', "null", (1, 3)))
        .entry(device(b'4', "disk", (8, 1)))
        .entry(device(b'6', "pipe", (0, 0)))
        .entry(attribute("cap", "security.capability", &capability))
        .entry(attribute("attr", "user.mine", b"value"))
        .symlink("link", "/etc/passwd")
        .dir("empty/")
        .finish();
    let upper = Tar::new()
        .file(".wh.gone", b"")
        .file("changed", b"new")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/shown", b"x")
        .file("merged/upper", b"x")
        .file("dir-to-file", b"x")
        .file("file-to-dir/x", b"x")
        .file(".wh.three", b"")
        .finish();
    [lower, upper]
}

fn lines(ground: &Ground, key: &str) -> Vec<String> {
    let letter = |kind| match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    };
    let changes = ground.store().changes(key).unwrap();
    changes
        .iter()
        .map(|change| format!("{} {}", letter(change.kind), change.path.display()))
        .collect()
}

fn commit(ground: &Ground, key: &str, tag: &str) -> ImageId {
    let options = CommitOptions {
        config: serde_json::json!({}),
        reference: Some(tag.parse().unwrap()),
        ..CommitOptions::default()
    };
    let lease = ground.store().lease("commit");
    ground.store().commit(&lease, key, &options).unwrap().id
}

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
            extract(&root, &to, &mut &archive[..], &Extract::default()).unwrap();
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
                .args(["--exact", "drivers::child_that_prepares_until_it_is_killed"])
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
