//! Overlays on the real kernel, each test in a mount namespace of its own. Needs root.

// Helpers fail a test as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::os::fd::AsFd as _;

use rustix::io::Errno;
use sys::mount::{Attributes, Overlay};

#[test]
fn an_overlay_without_room_for_its_work_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lower = dir.path().join("lower");
    let disk = dir.path().join("disk");
    std::fs::create_dir(&lower).unwrap();
    std::fs::create_dir(&disk).unwrap();
    sys::mntns::private(|| {
        let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        let options = [option("size", "1m"), option("nr_inodes", "32")];
        let mount = sys::mount::create("tmpfs", &options, Attributes::empty())?;
        sys::mount::attach(mount.as_fd(), sys::mount::open_path(&disk)?.as_fd())?;
        let (upper, work) = (disk.join("upper"), disk.join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        let layers = Overlay {
            lowers: std::slice::from_ref(&lower),
            upper: &upper,
            work: &work,
            volatile: false,
        };
        let made = |n: &u32| std::fs::write(upper.join(n.to_string()), "").is_ok();
        let files = (0..).take_while(made).count();
        let full = sys::mount::overlay(&layers).unwrap_err();
        assert_eq!(full.errno(), Errno::NOSPC, "{full}");
        for n in 0..files {
            std::fs::remove_file(upper.join(n.to_string())).unwrap();
        }
        sys::mount::overlay(&layers)?;
        Ok::<_, sys::Error>(())
    })
    .unwrap();
}
