//! Archives that come out of the store as they went in, whatever they are like.

use std::io::Read;

use crate::archive::{Entry, Place, Tar, gzip};

#[track_caller]
fn same(archive: &[u8]) -> Place {
    let place = Place::new();
    let id = place
        .import(&gzip(archive))
        .unwrap_or_else(|e| panic!("{}", spec::error::chain(&e)));
    check(&place, id, archive);
    let place = place.reopen();
    place.assert_sound();
    check(&place, id, archive);
    place
}

#[track_caller]
fn check(place: &Place, id: spec::ImageId, archive: &[u8]) {
    let diff = place.store.image(id).unwrap().config.rootfs.diff_ids[0];
    let mut rebuilt = place.store.layer_archive(diff).unwrap();
    assert_eq!(rebuilt.len(), archive.len() as u64);
    let mut bytes = Vec::new();
    rebuilt.read_to_end(&mut bytes).unwrap();
    assert!(bytes == archive, "{} bytes differ", archive.len());
}

fn data(n: usize) -> Vec<u8> {
    (0..n).map(|i| ((i / 3) ^ n) as u8).collect()
}

#[test]
fn usual_archives() {
    same(
        &Tar::new()
            .entry(Entry {
                kind: b'5',
                path: b"./",
                mode: 0o755,
                ..Entry::default()
            })
            .dir("./bin/")
            .file("./bin/sh", &data(100_000))
            .file("./bin/small", &data(12))
            .file("./empty", b"")
            .hard_link("./bin/bash", "bin/sh")
            .symlink("./sbin", "bin")
            .file("etc/.wh.gone", b"")
            .file("opt/.wh..wh..opq", b"")
            .finish(),
    );
}

#[test]
fn what_the_unpacker_drops_is_kept_in_the_map() {
    let long = "d/".repeat(60) + "f";
    same(
        &Tar::new()
            .file(".wh..wh.plnk", &data(3000))
            .file("x/.wh.with-content", &data(700))
            .entry(Entry {
                kind: b'3',
                path: b"white",
                device: (0, 0),
                ..Entry::default()
            })
            .entry(Entry {
                kind: b'g',
                path: b"pax_global_header",
                data: b"19 comment=nothing\n",
                ..Entry::default()
            })
            .entry(Entry {
                path: long.as_bytes(),
                data: &data(900),
                pax: vec![
                    ("SCHILY.xattr.security.selinux".into(), b"label".to_vec()),
                    ("trusted.overlay.opaque".into(), b"y".to_vec()),
                    ("mtime".into(), b"1.123456789".to_vec()),
                ],
                ..Entry::default()
            })
            .finish(),
    );
}

#[test]
fn ends_of_all_kinds() {
    let whole = Tar::new().file("a", &data(1000)).finish();
    let end = whole.len() - 1024;
    // Without an end, with one block of it, with the filler of a tape, with something behind.
    same(&whole[..end]);
    same(&whole[..end + 512]);
    let mut tape = whole.clone();
    tape.resize(10_240 * 3, 0);
    same(&tape);
    same(&[&whole[..], &data(5000)].concat());
    same(&[0; 1024]);
    // Padding that is not zero.
    let mut odd = whole.clone();
    let at = 512 + 1000;
    odd[at..1536].copy_from_slice(&data(1536 - at));
    same(&odd);
}

#[test]
fn what_an_archive_replaces_itself_comes_back() {
    let place = same(
        &Tar::new()
            .file("twice", &data(4000))
            .file("dir/one", &data(2000))
            .file("dir/deep/two", &data(2001))
            .file("twice", &data(4001))
            .symlink("dir", "elsewhere")
            .file("twice", &data(300))
            .file("linked", &data(600))
            .hard_link("other", "linked")
            .file("linked", &data(601))
            .file("other", &data(602))
            .dir("twice")
            .file("twice/again", &data(1234))
            .file("twice", b"small")
            .finish(),
    );
    // And the layer has what came last.
    let layers = std::fs::read_dir(place.root().join("layers")).unwrap();
    let diff = layers.last().unwrap().unwrap().path().join("diff");
    assert_eq!(std::fs::read(diff.join("twice")).unwrap(), b"small");
    assert_eq!(std::fs::read(diff.join("linked")).unwrap(), data(601));
}

#[test]
fn content_below_links_is_found_where_it_is() {
    same(
        &Tar::new()
            .dir("usr/lib")
            .symlink("lib", "usr/lib")
            .file("lib/a", &data(1000))
            .file("usr/lib/b", &data(1001))
            .symlink("lib", "nowhere")
            .file("usr/lib/a", &data(1002))
            .file("lib64/a", &data(1003))
            .finish(),
    );
}

#[test]
fn names_of_all_bytes_and_great_depth() {
    let name: Vec<u8> = (1..=255u8).filter(|c| *c != b'/').collect();
    let deep = "n".repeat(200) + "/";
    let deep = deep.repeat(20) + "file";
    same(
        &Tar::new()
            .entry(Entry {
                path: &name[..120],
                data: &data(500),
                ..Entry::default()
            })
            .entry(Entry {
                path: deep.as_bytes(),
                data: &data(5000),
                ..Entry::default()
            })
            .finish(),
    );
}

#[test]
fn sparse_files_of_all_dialects() {
    let sparse = |pax: &[(&str, &str)], payload: &[u8]| {
        Tar::new()
            .entry(Entry {
                path: b"sparse",
                data: payload,
                pax: pax
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                ..Entry::default()
            })
            .file("after", &data(200))
            .finish()
    };
    // PAX 0.1: the map is in a record.
    same(&sparse(
        &[
            ("GNU.sparse.size", "100000"),
            ("GNU.sparse.map", "0,1000,50000,2000,99990,10"),
        ],
        &data(3010),
    ));
    // PAX 1.0: the map stands before the payload.
    let mut payload = b"2\n4096\n600\n90000\n700\n".to_vec();
    payload.resize(512, 0);
    payload.extend(data(1300));
    same(&sparse(
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "real-name"),
            ("GNU.sparse.realsize", "100000"),
        ],
        &payload,
    ));
}

/// The archives that real programs write, where they are installed.
#[test]
fn archives_of_gnu_tar() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("a/file"), data(70_000)).unwrap();
    std::fs::write(tree.join("a").join("long-".repeat(40)), data(400)).unwrap();
    std::fs::hard_link(tree.join("a/file"), tree.join("a/b/link")).unwrap();
    std::os::unix::fs::symlink("file".repeat(40), tree.join("a/symlink")).unwrap();
    let holes = std::fs::File::create(tree.join("holes")).unwrap();
    for at in [0u64, 1 << 20, 9 << 20] {
        std::os::unix::fs::FileExt::write_all_at(&holes, &data(5000), at).unwrap();
    }
    for (format, sparse) in [
        ("v7", false),
        ("ustar", false),
        ("oldgnu", true),
        ("gnu", true),
        ("posix", true),
    ] {
        for sparse in [&[][..], &["--sparse"]]
            .into_iter()
            .take(1 + usize::from(sparse))
        {
            let output = std::process::Command::new("tar")
                .args(["--format", format])
                .args(sparse)
                .args(["--ignore-failed-read", "-cf", "-", "-C"])
                .arg(&tree)
                .arg(".")
                .output()
                .unwrap();
            // What v7 and ustar cannot hold is left out, and the archive is whole.
            assert!(output.stdout.len() > 70_000, "{format}");
            same(&output.stdout);
        }
    }
}
