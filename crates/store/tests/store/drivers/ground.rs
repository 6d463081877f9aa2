//! Stores with each driver on the file systems that it works on, and what is to be seen there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use spec::{ImageId, Rootfs};
use store::{ChangeKind, CommitOptions, Driver, Error, PrepareOptions, Store};
use sys::root::{Dir, GuestPath, Kind, Root};

use crate::archive::{Entry, Place, Tar, config, docker_save, id_of};

/// A file system in a file, mounted for a test.
pub struct Disk {
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

    pub fn path(&self) -> PathBuf {
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
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A store with a driver.
pub struct Ground {
    pub driver: Driver,
    pub place: Place,
    // After the place, which is in it.
    pub disk: Option<Disk>,
}

impl Ground {
    pub fn new(driver: Driver, file_system: Option<&str>) -> Self {
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

    pub fn all() -> Vec<Self> {
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

    pub fn choose(&self) {
        let choice = self.place.store.choose_driver(Some(self.driver)).unwrap();
        assert_eq!(choice.driver, self.driver);
    }

    pub fn store(&self) -> &Store {
        &self.place.store
    }

    pub fn reopen(self) -> Self {
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

    pub fn load(&self, layers: &[&[u8]], tag: &str) -> ImageId {
        let config = config(layers, tag);
        self.place
            .load(&docker_save(layers, &config, &[tag]))
            .unwrap();
        id_of(&config)
    }

    pub fn try_prepare(
        &self,
        key: &str,
        image: ImageId,
        options: &PrepareOptions,
    ) -> Result<Rootfs, Error> {
        self.store()
            .prepare(&self.store().lease("test"), key, image, options)
    }

    pub fn prepare(&self, key: &str, image: ImageId) -> Rootfs {
        self.try_prepare(key, image, &PrepareOptions::default())
            .unwrap_or_else(|error| panic!("{}: {}", self.driver, spec::error::chain(&error)))
    }

    /// Runs a script in a container's root, as the first process of a container would see it.
    pub fn script(&self, key: &str, script: &str) -> String {
        let rootfs = self.store().snapshot(key).unwrap().rootfs;
        within(&rootfs, |root| {
            run(Command::new("sh").args(["-euc", script]).current_dir(root))
        })
    }

    pub fn tree(&self, key: &str) -> BTreeMap<String, String> {
        let rootfs = self.store().snapshot(key).unwrap().rootfs;
        within(&rootfs, tree)
    }

    /// Asserts that nothing at all is left, on disk or in the kernel.
    pub fn assert_nothing_left(&self) {
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
pub fn within<T: Send>(rootfs: &Rootfs, look: impl FnOnce(&Path) -> T + Send) -> T {
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
pub fn tree(root: &Path) -> BTreeMap<String, String> {
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
pub fn layers() -> [Vec<u8>; 2] {
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

pub fn lines(ground: &Ground, key: &str) -> Vec<String> {
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

pub fn commit(ground: &Ground, key: &str, tag: &str) -> ImageId {
    let options = CommitOptions {
        config: serde_json::json!({}),
        reference: Some(tag.parse().unwrap()),
        ..CommitOptions::default()
    };
    let lease = ground.store().lease("commit");
    ground.store().commit(&lease, key, &options).unwrap().id
}
