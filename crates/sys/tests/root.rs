//! Paths in a tree that wants out, on a real kernel.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, symlink};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::root::{GuestPath, Kind, Root, Times};

/// A tree and, beside it, a file that must not be reached.
fn place() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let outside = dir.path().to_str().unwrap();
    symlink(format!("{outside}/secret"), tree.join("absolute")).unwrap();
    symlink("../secret", tree.join("relative")).unwrap();
    symlink("/", tree.join("top")).unwrap();
    symlink("loop", tree.join("loop")).unwrap();
    let root = Root::open(&tree).unwrap();
    (dir, root)
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

#[test]
fn links_end_at_the_root() {
    let (dir, root) = place();
    std::fs::write(dir.path().join("tree/secret"), "inside").unwrap();
    for name in ["absolute", "top/absolute"] {
        assert_eq!(
            root.resolve(&path(name)).unwrap_err().errno(),
            Errno::NOENT,
            "{name}"
        );
    }
    for name in [
        "relative",
        "top/top/relative",
        "../../secret",
        "top/../../secret",
    ] {
        let fd = root
            .open_at(&path(name), OFlags::RDONLY, Mode::empty())
            .unwrap();
        assert_eq!(
            std::io::read_to_string(std::fs::File::from(fd)).unwrap(),
            "inside",
            "{name}"
        );
    }
    assert_eq!(
        root.resolve(&path("loop")).unwrap_err().errno(),
        Errno::LOOP
    );
    assert!(root.resolve_no_follow(&path("loop")).is_ok());
    let new = path("top/new");
    let (parent, name) = root.parent(&new).unwrap();
    parent.create_file(name, Mode::RUSR).unwrap();
    assert!(dir.path().join("tree/new").exists());
    assert_eq!(
        root.parent(&GuestPath::root()).unwrap_err().errno(),
        Errno::ISDIR
    );
}

#[test]
fn links_of_proc_are_refused() {
    let root = Root::open(std::path::Path::new("/proc")).unwrap();
    let own = format!("{}/root/etc", std::process::id());
    assert_eq!(root.resolve(&path(&own)).unwrap_err().errno(), Errno::LOOP);
}

#[test]
fn directories_are_made_inside() {
    let (dir, root) = place();
    symlink("made/by/link", dir.path().join("tree/dangling")).unwrap();
    root.mkdir_all(&path("a/b/../b/c"), Mode::RWXU).unwrap();
    assert!(dir.path().join("tree/a/b/c").is_dir());
    root.mkdir_all(&path("top/d"), Mode::RWXU).unwrap();
    assert!(dir.path().join("tree/d").is_dir());
    assert!(root.mkdir_all(&path("dangling/x"), Mode::RWXU).is_err());
    assert!(root.mkdir_all(&path("absolute/x"), Mode::RWXU).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn names_are_single_and_links_are_the_object() {
    let (dir, root) = place();
    let top = root.open_dir(&GuestPath::root()).unwrap();
    for name in ["", ".", "..", "a/b", "../secret"] {
        let name = OsStr::new(name);
        let errno = |result: sys::Result<()>| result.unwrap_err().errno();
        assert_eq!(errno(top.mkdir(name, Mode::RWXU)), Errno::INVAL);
        assert_eq!(errno(top.unlink(name)), Errno::INVAL);
        assert_eq!(errno(top.remove_all(name)), Errno::INVAL);
        assert_eq!(errno(top.chown(name, 1, 1)), Errno::INVAL);
        assert_eq!(errno(top.rename(name, &top, OsStr::new("x"))), Errno::INVAL);
    }
    let link = OsStr::new("absolute");
    let times = Times {
        accessed: (1, 2),
        modified: (3, 4),
    };
    top.chown(link, 7, 8).unwrap();
    top.set_times(link, times).unwrap();
    assert_eq!(
        top.chmod(link, Mode::RWXU).unwrap_err().errno(),
        Errno::OPNOTSUPP
    );
    assert_eq!(
        top.open(link, OFlags::RDONLY, Mode::empty())
            .unwrap_err()
            .errno(),
        Errno::LOOP
    );
    assert!(top.open_dir(OsStr::new("top")).is_err());
    let found = top.stat(link).unwrap();
    assert_eq!((found.kind, found.uid, found.gid), (Kind::Symlink, 7, 8));
    assert_eq!((found.mtime, found.mtime_nanos), (3, 4));
    let attribute = OsStr::new("trusted.test");
    sys::xattr::set_at(&top, link, attribute, b"v").unwrap();
    assert_eq!(
        sys::xattr::get_at(&top, link, attribute)
            .unwrap()
            .as_deref(),
        Some(&b"v"[..])
    );
    assert_eq!(sys::xattr::list_at(&top, link).unwrap(), [attribute]);
    assert_eq!(
        top.chown(link, u32::MAX, 0).unwrap_err().errno(),
        Errno::INVAL
    );
    let secret = std::fs::metadata(dir.path().join("secret")).unwrap();
    assert_eq!((secret.uid(), secret.mode() & 0o777), (0, 0o644));
    top.remove_all(link).unwrap();
    assert!(dir.path().join("secret").exists());
}

#[test]
fn files_are_replaced_whole() {
    use sys::fs::{Durability, replace};
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("n".repeat(255));
    for (content, durability) in [("one", Durability::Synced), ("two", Durability::Unsynced)] {
        replace(&file, content.as_bytes(), 0o640, durability).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    }
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
    let directory = dir.path().join("d");
    std::fs::create_dir_all(directory.join("x")).unwrap();
    assert!(replace(&directory, b"x", 0o600, Durability::Synced).is_err());
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "no temporary file is left"
    );
}
