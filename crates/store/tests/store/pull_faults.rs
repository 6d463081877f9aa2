//! Pulls on disks that are full, and pulls that are killed (DISK-01, DISK-04, PWR-03).

use std::path::{Path, PathBuf};
use std::process::Command;

use spec::{Classify, ErrorKind};
use store::Store;

use crate::archive::{Place, Tar, open_free};
use crate::pulled::{Layer, Pulled};

/// A small file system of its own, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(done.success());
        Self(at.to_owned())
    }

    /// Blocks and inodes that are taken.
    fn used(&self) -> (u64, u64) {
        let found = rustix::fs::statvfs(&self.0).unwrap();
        (
            found.f_blocks - found.f_bfree,
            found.f_files - found.f_ffree,
        )
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a failed test may have something open in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes that do not compress and differ by seed.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn image(seed: u32, name: &str) -> Pulled {
    let layers = (0..2).map(|layer| {
        let seed = seed * 2 + layer;
        let files = (0..40).fold(Tar::new(), |tar, n| {
            tar.file(&format!("d{n}/f"), &noise(seed + n, 2000))
        });
        Layer::gzip(files.file("big", &noise(seed, 200_000)).finish())
    });
    Pulled::new(layers.collect(), name)
}

/// Pulls on disks of growing size until one is large enough.
fn until_it_fits(options: impl Fn(u64) -> String) {
    let dir = tempfile::tempdir().unwrap();
    let pulled = image(1, "app");
    let mut refused = 0;
    for step in 1.. {
        let disk = Disk::mount(&dir.path().join("disk"), &options(step));
        let root = dir.path().join("disk/store");
        let store = match Store::open(&root) {
            Ok(store) => store,
            // Not even the store's own directories fit.
            Err(error) => {
                assert!(step < 40, "{}", spec::error::chain(&error));
                continue;
            }
        };
        let before = disk.used();
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
            store,
        };
        let Err(error) = pulled.pull(&place) else {
            assert!(refused > 3, "only {refused} sizes were too small");
            let problems = place.store.fsck().unwrap();
            assert!(problems.is_empty(), "{problems:#?}");
            return;
        };
        refused += 1;
        let text = spec::error::chain(&error);
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{text}");
        assert!(place.store.images().is_empty());
        // Layers that were published are garbage; all else is gone, complete downloads too.
        place.store.gc().unwrap();
        // A test beside this one may be starting a program, which has our files for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while disk.used() != before {
            let now = disk.used();
            let late = std::time::Instant::now() > deadline;
            assert!(!late, "step {step}: {now:?}, not {before:?}: {text}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn disk_01_a_full_disk_is_told_and_comes_back() {
    until_it_fits(|step| format!("size={}k", step * 120));
}

#[test]
fn disk_04_exhausted_inodes_are_told_and_come_back() {
    until_it_fits(|step| format!("size=64m,nr_inodes={}", step * 13));
}

/// Where the killed child keeps its store; only set for that child.
const CHILD: &str = "CORTEN_PULL_KILLED_CHILD";

/// Pulls one image after another, until it is killed.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let first: u32 = std::fs::read_to_string(dir.join("first"))
        .unwrap()
        .parse()
        .unwrap();
    let place = Place {
        store: open_free(&dir.join("store")).unwrap(),
        dir: tempfile::tempdir().unwrap(),
    };
    for round in first.. {
        let write = |name: &str| {
            std::fs::write(dir.join("new"), round.to_string()).unwrap();
            std::fs::rename(dir.join("new"), dir.join(name)).unwrap();
        };
        write("begun");
        image(round, "app").pull(&place).unwrap();
        if let Some(old) = place.store.dangling().first() {
            place.store.remove_image(old.id).unwrap();
        }
        // Whoever reads this knows that the image is acknowledged.
        write("acknowledged");
    }
}

#[test]
fn killed_at_any_moment_of_a_pull_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| -> u32 {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        text.parse().unwrap()
    };
    let (mut first, mut resumed) = (1, 0);
    for round in 0..12u64 {
        drop(std::fs::remove_file(dir.path().join("acknowledged")));
        std::fs::write(dir.path().join("first"), first.to_string()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "pull_faults::child_that_is_killed",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !dir.path().join("acknowledged").exists() {
            assert!(
                std::time::Instant::now() < deadline,
                "the child pulls nothing"
            );
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the child ended by itself");
            std::thread::yield_now();
        }
        // Different moments of the following rounds: the work itself is the clock.
        for _ in 0..round * 300_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let place = Place {
            store: open_free(&dir.path().join("store")).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        assert_eq!(place.store.problems(), []);
        let problems = place.store.fsck().unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
        assert!(place.store.find("app").is_ok());
        let next = read("begun");
        assert!(next >= read("acknowledged"));
        let partial = dir.path().join("store/partial");
        let left = std::fs::read_dir(&partial).unwrap().count();
        assert!(left <= 2, "{left} partial files");
        resumed += left;
        // What was begun is finished from where it ended.
        let pulled = image(next, "app");
        let published = pulled.pull(&place).unwrap();
        assert_eq!(place.store.find("app").unwrap().id, published.id);
        assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0);
        first = next + 1;
    }
    assert!(resumed > 0, "no kill hit a download");
}
