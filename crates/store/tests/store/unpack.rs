//! What a layer becomes on disk.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sys::root::{GuestPath, Root};

use crate::archive::{Entry, Place, Tar, exists, gzip, zstd};

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let parent = Root::open(path.parent().unwrap()).unwrap();
    let dir = parent.open_dir(&GuestPath::root()).unwrap();
    sys::xattr::get_at(&dir, path.file_name().unwrap(), OsStr::new(name)).unwrap()
}

#[test]
fn every_kind_of_entry_comes_out_as_it_went_in() {
    let place = Place::new();
    let long = "directory-with-a-name/".repeat(10) + "file";
    let archive = Tar::new()
        .entry(Entry {
            kind: b'5',
            path: b"d/",
            mode: 0o2751,
            gid: 5,
            ..Entry::default()
        })
        .entry(Entry {
            path: b"d/f",
            data: b"text",
            mode: 0o4711,
            uid: 1,
            ..Entry::default()
        })
        .hard_link("h", "d/f")
        .symlink("s", "/d/f")
        .file(&long, b"long")
        .file("implied/parent/f", b"")
        .finish();
    for packed in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let tree = place.unpacked(&packed);
        let d = std::fs::metadata(tree.join("d")).unwrap();
        assert_eq!((d.mode() & 0o7777, d.gid()), (0o2751, 5));
        assert_eq!(
            d.mtime(),
            0o14524770040,
            "made files must not change a directory's time"
        );
        let f = std::fs::metadata(tree.join("d/f")).unwrap();
        assert_eq!(
            (f.mode() & 0o7777, f.uid(), f.gid(), f.nlink()),
            (0o4711, 1, 0, 2)
        );
        assert_eq!(f.ino(), std::fs::metadata(tree.join("h")).unwrap().ino());
        assert_eq!(
            std::fs::read_link(tree.join("s")).unwrap(),
            Path::new("/d/f")
        );
        assert_eq!(std::fs::read(tree.join(&long)).unwrap(), b"long");
        let implied = std::fs::metadata(tree.join("implied")).unwrap();
        assert_eq!((implied.mode() & 0o7777, implied.uid()), (0o755, 0));
    }
    // One layer, whatever it was compressed with.
    assert_eq!(
        std::fs::read_dir(place.root().join("layers"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(place.store.images()[0].size, 8);
    place.assert_sound();
}

#[test]
fn whiteouts_become_overlays_own() {
    let place = Place::new();
    let archive = Tar::new()
        .file("d/.wh.gone", b"")
        .file("d/.wh..wh..opq", b"")
        .file(".wh.file-again", b"")
        .file("file-again", b"new")
        .file(".wh.dir-again", b"")
        .file("dir-again/x", b"")
        .file(".wh.implied-again", b"")
        .dir("implied-again")
        .file("kept/x", b"")
        .file(".wh.kept", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .finish();
    let tree = place.unpacked(&archive);
    let gone = std::fs::symlink_metadata(tree.join("d/gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    assert_eq!(
        xattr(&tree.join("d"), "trusted.overlay.opaque").as_deref(),
        Some(&b"y"[..])
    );
    assert_eq!(std::fs::read(tree.join("file-again")).unwrap(), b"new");
    for name in ["dir-again", "implied-again", "kept"] {
        let opaque = xattr(&tree.join(name), "trusted.overlay.opaque");
        assert_eq!(opaque.as_deref(), Some(&b"y"[..]), "{name}");
    }
    assert!(
        exists(&tree.join("kept/x")),
        "a whiteout hides what is below, not beside it"
    );
    place.assert_sound();
}

#[test]
fn overlays_attributes_are_dropped_and_the_users_kept() {
    let place = Place::new();
    let pax = |name: &str, value: &[u8]| (format!("SCHILY.xattr.{name}"), value.to_vec());
    let archive = Tar::new()
        .entry(Entry {
            path: b"f",
            pax: vec![
                pax("user.kept", b"\0v"),
                pax("trusted.overlay.redirect", b"/etc"),
                pax("trusted.overlay.metacopy", b""),
                pax("user.overlay.opaque", b"y"),
                pax("security.selinux", b"system_u:object_r:x:s0"),
            ],
            ..Entry::default()
        })
        .entry(Entry {
            kind: b'5',
            path: b"d",
            pax: vec![pax("trusted.overlay.opaque", b"y"), pax("user.kept", b"d")],
            mode: 0o755,
            ..Entry::default()
        })
        .finish();
    let tree = place.unpacked(&archive);
    assert_eq!(
        xattr(&tree.join("f"), "user.kept").as_deref(),
        Some(&b"\0v"[..])
    );
    assert_eq!(
        xattr(&tree.join("d"), "user.kept").as_deref(),
        Some(&b"d"[..])
    );
    for (file, name) in [
        ("f", "trusted.overlay.redirect"),
        ("f", "trusted.overlay.metacopy"),
        ("f", "user.overlay.opaque"),
        ("d", "trusted.overlay.opaque"),
    ] {
        assert_eq!(xattr(&tree.join(file), name), None, "{name}");
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = Place::new();
    let archive = Tar::new()
        .file("a", b"one")
        .file("a", b"second")
        .file("tree/x/y", b"")
        .file("tree", b"file now")
        .symlink("link", "a")
        .dir("link")
        .file("link/x", b"in a directory")
        .dir("d")
        .entry(Entry {
            kind: b'5',
            path: b"d",
            mode: 0o700,
            ..Entry::default()
        })
        .finish();
    let tree = place.unpacked(&archive);
    assert_eq!(std::fs::read(tree.join("a")).unwrap(), b"second");
    assert_eq!(std::fs::read(tree.join("tree")).unwrap(), b"file now");
    assert_eq!(
        std::fs::read(tree.join("link/x")).unwrap(),
        b"in a directory"
    );
    assert_eq!(
        std::fs::metadata(tree.join("d")).unwrap().mode() & 0o7777,
        0o700
    );
    place.assert_sound();
}

#[test]
fn sparse_files_stay_sparse() {
    let place = Place::new();
    let archive = Tar::new()
        .entry(Entry {
            path: b"x",
            data: b"islands",
            pax: vec![
                ("GNU.sparse.size".into(), b"1073741824".to_vec()),
                ("GNU.sparse.map".into(), b"4096,3,536870912,4".to_vec()),
            ],
            ..Entry::default()
        })
        .finish();
    let tree = place.unpacked(&archive);
    let metadata = std::fs::metadata(tree.join("x")).unwrap();
    assert_eq!(metadata.len(), 1 << 30);
    assert!(
        metadata.blocks() * 512 < 1 << 20,
        "{} blocks",
        metadata.blocks()
    );
    let mut part = [0; 9];
    let file = std::fs::File::open(tree.join("x")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, 4094).unwrap();
    assert_eq!(&part, b"\0\0isl\0\0\0\0");
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, 536_870_910).unwrap();
    assert_eq!(&part, b"\0\0ands\0\0\0");
}

#[test]
fn thousands_of_files_in_many_directories() {
    let place = Place::new();
    let mut tar = Tar::new();
    for n in 0..3000 {
        tar = tar.file(&format!("d{}/e{}/f{n}", n % 300, n % 7), &[b'x'; 100]);
    }
    let tree = place.unpacked(&gzip(&tar.finish()));
    assert_eq!(std::fs::read_dir(&tree).unwrap().count(), 300);
    assert_eq!(place.store.images()[0].size, 300_000);
    place.assert_sound();
}
