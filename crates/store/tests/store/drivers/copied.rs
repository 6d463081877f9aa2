//! Archives copied into a container at rest: the same whether the overlay is asked for each name
//! or what the archive made is filled in the upper directory.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use spec::{ImageId, Rootfs};
use store::Driver;
use store::copy::{CopyPath, Extract, extract};
use sys::root::Root;

use super::ground::{Ground, layers, lines, within};
use crate::archive::{Entry, Tar};

/// Archives that are tried; each has up to [`ENTRIES`] entries.
const ROUNDS: u64 = 200;
const ENTRIES: u64 = 12;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of(&mut self, all: &[&'static str]) -> &'static str {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// Entries that get in each other's way: few names, all kinds, links to one another.
fn quarrel(dice: &mut Dice) -> Vec<u8> {
    let names = [
        "d",
        "d/x",
        "d/x/y",
        "d/f",
        "d/l",
        "d/l/f",
        "d/x/l",
        "d/x/l/f",
        "e",
        "e/f",
        "e/x",
        "l",
        "l/f",
        "l/x",
        "l/x/f",
        "merged",
        "merged/n",
        "merged/n/f",
        "opaque",
        "opaque/n/f",
    ];
    let targets = [
        ".",
        "d",
        "/d",
        "/merged/d",
        "x",
        "..",
        "e",
        "/merged",
        "nowhere",
    ];
    let mut tar = Tar::new();
    let mut files = vec!["changed"];
    for number in 0..3 + dice.below(ENTRIES - 3) {
        let path = dice.one_of(&names);
        let special = |kind| Entry {
            kind,
            path: path.as_bytes(),
            mode: 0o640,
            ..Entry::default()
        };
        tar = match dice.below(16) {
            0..6 => tar.dir(&format!("{path}/")),
            6..12 => {
                files.push(path);
                tar.file(path, format!("{number}").as_bytes())
            }
            12..14 => tar.symlink(path, dice.one_of(&targets)),
            14 => tar.hard_link(path, dice.one_of(&files)),
            // A device 0:0 is how an overlay marks what is gone.
            _ if dice.below(4) == 0 => tar.entry(special(b'3')),
            _ => tar.entry(special(b'6')),
        };
    }
    tar.finish()
}

/// Unpacks an archive in a container; with `short`, in the upper directory where that is the same.
fn put(rootfs: &Rootfs, place: &str, archive: &[u8], short: bool) -> Result<(), String> {
    let Rootfs::Overlay { upper, .. } = rootfs else {
        panic!("{rootfs:?}")
    };
    let upper = Root::open(upper).unwrap();
    within(rootfs, |root: &Path| {
        let options = Extract {
            upper: short.then_some(&upper),
            ..Extract::default()
        };
        let pieces = archive.chunks(512).map(|piece| Ok(piece.to_vec().into()));
        let place = CopyPath::parse(place).unwrap();
        extract(&Root::open(root).unwrap(), &place, pieces, &options)
    })
    .map_err(|error| error.to_string())
}

/// What came of two archives copied into a new container: their ends, its tree, its changes.
fn outcome(
    ground: &Ground,
    image: ImageId,
    place: &str,
    archives: &[Vec<u8>],
    short: bool,
) -> Seen {
    let rootfs = ground.prepare("c", image);
    ground.script("c", "ln -s merged link-to-merged");
    let put = |archive: &Vec<u8>| put(&rootfs, place, archive, short);
    let ends = archives.iter().map(put).collect();
    let seen = (ends, ground.tree("c"), lines(ground, "c"));
    ground.store().remove_snapshot("c").unwrap();
    seen
}

type Seen = (
    Vec<Result<(), String>>,
    BTreeMap<String, String>,
    Vec<String>,
);

#[test]
fn the_short_way_into_a_container_leads_to_the_same() {
    let [lower, upper] = layers();
    for driver in [Driver::Overlay2, Driver::Erofs] {
        let ground = Ground::new(driver, None);
        let image = ground.load(&[&lower, &upper], "app");
        let mut good = 0;
        for round in 1..=ROUNDS {
            let mut dice = Dice(round << 20 | 0x9E37_79B9);
            let place = dice.one_of(&["/", "/merged", "/merged", "/link-to-merged"]);
            // Two, because the second copy finds what the first one made.
            let archives = [quarrel(&mut dice), quarrel(&mut dice)];
            let [long, short] =
                [false, true].map(|short| outcome(&ground, image, place, &archives, short));
            good += long.0.iter().filter(|end| end.is_ok()).count();
            assert_eq!(short, long, "{driver}, round {round}, at {place}");
        }
        assert!(good > 30, "{driver}: only {good} archives were good");
        ground.assert_nothing_left();
    }
}

/// Each asks the overlay for what is below a directory that the archive made, between changes
/// there that it is not told of.
fn traps() -> [(&'static str, Tar); 5] {
    let made = || Tar::new().dir("d/").file("d/f", b"first");
    [
        (
            "by a link",
            made()
                .symlink("l", "d")
                .file("l/f", b"2")
                .file("d/f", b"third")
                .file("l/f", b"fourth."),
        ),
        (
            "by a hard link across",
            made()
                .hard_link("h", "d/f")
                .file("d/f", b"second")
                .hard_link("i", "d/f"),
        ),
        (
            "where nothing was found before",
            made()
                .hard_link("d/h", "changed")
                .symlink("l", "d")
                .file("d/g", b"1")
                .hard_link("j", "l/g"),
        ),
        (
            "after what was made is gone",
            made()
                .dir("d/x/")
                .dir("e/")
                .dir("e/x/")
                .symlink("d", "e")
                .file("d/x/f", b"in e"),
        ),
        (
            "for what is taken for granted",
            made()
                .file("d/x/f", b"1")
                .file("d/x", b"no directory")
                .file("d/x", b"again")
                .dir("d/x/")
                .file("d/x/y/f", b"2"),
        ),
    ]
}

#[test]
fn the_overlay_is_never_asked_for_what_it_was_not_told() {
    let [lower, upper] = layers();
    let ground = Ground::new(Driver::Overlay2, None);
    let image = ground.load(&[&lower, &upper], "app");
    for (what, archive) in traps() {
        let archives = [archive.finish()];
        let [long, short] =
            [false, true].map(|short| outcome(&ground, image, "/", &archives, short));
        assert_eq!(long.0, [Ok(())], "{what}");
        assert_eq!(short, long, "{what}");
    }
    ground.assert_nothing_left();
}

#[test]
fn directories_made_the_short_way_get_their_attributes() {
    let [lower, upper] = layers();
    let ground = Ground::new(Driver::Overlay2, None);
    let image = ground.load(&[&lower, &upper], "app");
    let rootfs = ground.prepare("c", image);
    let made = |path: &'static [u8]| Entry {
        kind: b'5',
        path,
        mode: 0o3751,
        uid: 3,
        gid: 4,
        ..Entry::default()
    };
    let archive = Tar::new()
        .entry(made(b"top/"))
        .entry(made(b"top/below/"))
        .file("top/below/file", b"1")
        .hard_link("top/too", "top/below/file")
        .file("top/after", b"2")
        .finish();
    put(&rootfs, "/merged", &archive, true).unwrap();
    within(&rootfs, |root| {
        for path in ["merged/top", "merged/top/below"] {
            let found = std::fs::metadata(root.join(path)).unwrap();
            let told = (
                found.uid(),
                found.gid(),
                found.mode() & 0o7777,
                found.mtime(),
            );
            assert_eq!(told, (3, 4, 0o3751, 0o14524770040), "{path}");
        }
        let linked = std::fs::metadata(root.join("merged/top/too")).unwrap();
        assert_eq!((linked.nlink(), linked.len()), (2, 1));
    });
    // There it would hide what is below, so it is left to the overlay, which refuses it.
    let whiteout = Entry {
        kind: b'3',
        path: b"new/none",
        ..Entry::default()
    };
    let archive = Tar::new().dir("new/").entry(whiteout).finish();
    put(&rootfs, "/merged", &archive, true).unwrap_err();
    // Another upper directory is not the tree's: what would be made short is then made there.
    let decoy = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(decoy.path().join("merged/other")).unwrap();
    let archive = Tar::new().dir("other/").file("other/file", b"3").finish();
    let options = Extract {
        upper: Some(&Root::open(decoy.path()).unwrap()),
        ..Extract::default()
    };
    within(&rootfs, |root| {
        let (root, place) = (
            Root::open(root).unwrap(),
            CopyPath::parse("/merged").unwrap(),
        );
        extract(&root, &place, std::iter::once(Ok(archive.into())), &options).unwrap();
    });
    assert!(decoy.path().join("merged/other/file").exists());
    ground.store().remove_snapshot("c").unwrap();
    ground.assert_nothing_left();
}
