//! Archives unpacked into directories that have something already.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000_000);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
        let data: &[u8] = if is_link { b"" } else { content.as_bytes() };
        if is_link {
            header.set_link_name_literal(content).unwrap();
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn into(dir: &Path, place: &str, bytes: &[u8], options: &Extract<'_>) -> Result<()> {
    let root = Root::open(dir).unwrap();
    let place = CopyPath::parse(place).unwrap();
    let pieces = bytes
        .chunks(700)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    extract(&root, &place, pieces, options)
}

const FILE: tar::EntryType = tar::EntryType::Regular;
const DIR: tar::EntryType = tar::EntryType::Directory;
const LINK: tar::EntryType = tar::EntryType::Symlink;
const HARD: tar::EntryType = tar::EntryType::Link;

#[test]
fn files_arrive_and_directories_merge() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("d/old")).unwrap();
    std::fs::write(dir.path().join("d/old/kept"), b"1").unwrap();
    let bytes = archive(&[
        ("old", DIR, ""),
        ("old/new", FILE, "two"),
        ("again", HARD, "old/new"),
        ("deep/er/x", FILE, "3"),
    ]);
    into(dir.path(), "/d", &bytes, &Extract::default()).unwrap();
    let at = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap();
    assert_eq!(std::fs::read(dir.path().join("d/old/kept")).unwrap(), b"1");
    let new = at("d/old/new");
    assert_eq!((new.uid(), new.gid(), new.mode() & 0o7777), (7, 8, 0o640));
    assert_eq!((new.mtime(), new.nlink()), (1_000_000_000, 2));
    assert_eq!(at("d/old").mtime(), 1_000_000_000);
    assert_eq!(
        (
            at("d/deep").uid(),
            at("d/deep").permissions().mode() & 0o777
        ),
        (0, 0o755)
    );
    let owner = Extract {
        owner: Some((1, 2)),
        ..Extract::default()
    };
    into(dir.path(), "/d/", &bytes, &owner).unwrap();
    assert_eq!((at("d/again").uid(), at("d/again").gid()), (1, 2));
}

#[test]
fn the_place_itself_is_kept_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let before = std::fs::metadata(dir.path().join("d")).unwrap();
    let keep = Extract {
        keep_place: true,
        ..Extract::default()
    };
    let bytes = archive(&[(".", DIR, ""), ("./x", FILE, "1"), ("./", LINK, "/etc")]);
    into(dir.path(), "/d", &bytes, &keep).unwrap();
    let after = std::fs::metadata(dir.path().join("d")).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode()),
        (before.uid(), before.gid(), before.mode())
    );
    assert_ne!(after.mtime(), 1_000_000_000);
    assert!(dir.path().join("d/x").is_file());
    let bytes = archive(&[("./", DIR, "")]);
    into(dir.path(), "/d", &bytes, &Extract::default()).unwrap();
    let after = std::fs::metadata(dir.path().join("d")).unwrap();
    assert_eq!((after.uid(), after.mode() & 0o777), (7, 0o640));
    assert_eq!(after.mtime(), 1_000_000_000);
}

#[test]
fn a_directory_that_is_named_twice_gets_what_was_said_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut early = archive(&[("d", DIR, ""), ("d/e", DIR, "")]);
    early.truncate(2 * 512);
    for header in early.chunks_mut(512) {
        let mut changed = tar::Header::new_ustar();
        changed.as_mut_bytes().copy_from_slice(header);
        changed.set_mtime(5);
        changed.set_cksum();
        header.copy_from_slice(changed.as_bytes());
    }
    early.extend(archive(&[("d", DIR, ""), ("d/e", DIR, "")]));
    into(dir.path(), "/", &early, &Extract::default()).unwrap();
    let mtime = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().mtime();
    assert_eq!((mtime("d"), mtime("d/e")), (1_000_000_000, 1_000_000_000));
}

#[test]
fn nothing_leads_out_of_the_tree() {
    let canary = tempfile::tempdir().unwrap();
    let out = canary.path().to_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let bytes = archive(&[("l", LINK, out), ("l/x", FILE, "1")]);
    into(dir.path(), "/d", &bytes, &Extract::default()).unwrap_or_default();
    assert!(std::fs::read_dir(canary.path()).unwrap().next().is_none());
    for bytes in [
        archive(&[("../../x", FILE, "1")]),
        archive(&[("a", HARD, "../../etc/passwd")]),
        archive(&[("a", HARD, "nope")]),
        archive(&[(".", LINK, "/etc")]),
    ] {
        assert!(into(dir.path(), "/d", &bytes, &Extract::default()).is_err());
    }
    assert!(!dir.path().join("x").exists());
}

#[test]
fn kinds_are_kept_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("x/y")).unwrap();
    std::fs::write(dir.path().join("f"), b"1").unwrap();
    let keep = Extract {
        keep_kinds: true,
        ..Extract::default()
    };
    let error = into(dir.path(), "/", &archive(&[("x", FILE, "1")]), &keep).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot overwrite directory \"x\" with non-directory \"/\""
    );
    let error = into(dir.path(), "/", &archive(&[("f/", DIR, "")]), &keep).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot overwrite non-directory")
    );
    into(
        dir.path(),
        "/",
        &archive(&[("x", FILE, "1")]),
        &Extract::default(),
    )
    .unwrap();
    assert!(dir.path().join("x").is_file());
    let file = into(dir.path(), "/f", &archive(&[]), &keep).unwrap_err();
    assert_eq!(file.to_string(), "extraction point is not a directory");
    assert!(matches!(
        into(dir.path(), "/nope", &archive(&[]), &keep).unwrap_err(),
        Error::NoSuchPath { .. }
    ));
}
