//! Images read by the kernel and by `fsck.erofs`, where that is installed. Assumes root.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sys::root::{Dir, GuestPath, Kind, Metadata, Root};

fn make(tree: &Path, image: &Path) -> erofs::Written {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(image)
        .unwrap();
    let written = erofs::write(&Root::open(tree).unwrap(), &file, *b"0123456789abcdef").unwrap();
    assert_eq!(file.metadata().unwrap().len(), written.bytes);
    check(image);
    written
}

fn check(image: &Path) {
    let Ok(output) = Command::new("fsck.erofs").arg("-d3").arg(image).output() else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("No errors"),
        "{said}"
    );
}

/// Mounts an image both ways that the kernel has and hands its root over.
fn mounted(image: &Path, look: impl Fn(Dir) + Send + Sync) {
    let place = tempfile::tempdir().unwrap();
    sys::mntns::private(|| {
        sys::mount::cover_with_erofs(image, place.path())?;
        look(Root::open(place.path())?.open_dir(&GuestPath::root())?);
        Ok::<(), sys::Error>(())
    })
    .unwrap();
    let detached: OwnedFd = sys::mount::erofs_from_device(image).unwrap();
    look(
        Root::from_fd(detached)
            .open_dir(&GuestPath::root())
            .unwrap(),
    );
}

type Seen = (PathBuf, String);

/// Everything about a tree but numbers of inodes and what they take.
fn seen(dir: &Dir, path: &Path, all: &mut Vec<Seen>, links: &mut Vec<(u64, PathBuf)>) {
    let names = {
        let mut names = dir.names().unwrap();
        names.sort();
        names
    };
    for name in names {
        let path = path.join(&name);
        let found = dir.stat(&name).unwrap();
        let Metadata {
            kind,
            mode,
            uid,
            gid,
            rdev,
            mtime,
            mtime_nanos,
            ..
        } = found;
        let mut attributes: Vec<(String, Vec<u8>)> = sys::xattr::list_at(dir, &name)
            .unwrap()
            .into_iter()
            .map(|attribute| {
                let value = sys::xattr::get_at(dir, &name, &attribute).unwrap();
                (attribute.into_string().unwrap(), value.unwrap_or_default())
            })
            .collect();
        attributes.sort();
        let what = match kind {
            Kind::Directory => format!("{}", found.links),
            Kind::Symlink => format!("{:?}", dir.readlink(&name).unwrap()),
            Kind::File => {
                let first = links.iter().find(|(inode, _)| *inode == found.inode);
                let first = first.map(|(_, path)| path.clone());
                if first.is_none() {
                    links.push((found.inode, path.clone()));
                }
                let flags = rustix::fs::OFlags::RDONLY;
                let mut file =
                    File::from(dir.open(&name, flags, rustix::fs::Mode::empty()).unwrap());
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
                let sum = bytes.iter().fold(7u64, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
                });
                format!("{first:?} {} {} {sum}", found.links, bytes.len())
            }
            _ => String::new(),
        };
        let line = format!(
            "{kind:?} {mode:o} {uid} {gid} {rdev} {mtime}.{mtime_nanos} {attributes:?} {what}"
        );
        all.push((path.clone(), line));
        if kind == Kind::Directory {
            seen(&dir.open_dir(&name).unwrap(), &path, all, links);
        }
    }
}

fn listed(dir: &Dir) -> Vec<Seen> {
    let (mut all, mut links) = (Vec::new(), Vec::new());
    seen(dir, Path::new("/"), &mut all, &mut links);
    all
}

fn tree_of(path: &Path) -> Vec<Seen> {
    listed(
        &Root::open(path)
            .unwrap()
            .open_dir(&GuestPath::root())
            .unwrap(),
    )
}

fn run(script: &str, at: &Path) {
    let output = Command::new("sh")
        .args(["-euc", script])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Compares a tree with what the kernel shows of its image.
fn same(script: &str) -> (tempfile::TempDir, erofs::Written) {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    std::fs::create_dir(&tree).unwrap();
    run(script, &tree);
    let written = make(&tree, &image);
    let expected = tree_of(&tree);
    mounted(&image, |root| assert_eq!(listed(&root), expected));
    (dir, written)
}

#[test]
fn every_kind_of_object_comes_back_as_it_was() {
    same(
        r#"
        echo hello > file; ln file second; mkdir -p a/b/c; ln file a/b/third
        ln -s /etc/passwd link; ln -s "$(printf %04000d 7)" long-link
        mkfifo pipe; mknod whiteout c 0 0; mknod null c 1 3; mknod disk b 8 17; mknod big c 300 70000
        chmod 4755 file; chmod 1777 a; chmod 600 a/b; chown 1000:2000 a/b file
        chown 4000000000:4000000001 pipe
        touch -d '1969-12-31T23:00:00.5Z' link -h; touch -d '2100-01-01T00:00:00.123456789Z' a/b/c
        printf 'x' > "$(printf 'n\\353m\n')"; printf x > '!first'; printf x > '-dash'; printf x > '.hidden'
        printf x > "$(printf %0255d 1)"; : > empty
        "#,
    );
}

#[test]
fn lengths_around_blocks_and_inodes_come_back() {
    same(
        r#"
        for n in 1 31 32 4031 4032 4033 4095 4096 4097 8128 8191 8192 8193 100000; do
            head -c $n /dev/urandom > f$n
        done
        "#,
    );
}

#[test]
fn large_directories_come_back_and_are_searched() {
    let (dir, written) = same(
        r#"
        mkdir d; cd d
        seq -f 'name-%08g-of-a-file-with-a-longish-name' 1 3000 | xargs touch
        mkdir e; cd e; seq 1 1000 | xargs mkdir
        "#,
    );
    assert_eq!(written.inodes, 4003);
    mounted(&dir.path().join("image"), |root| {
        let d = root.open_dir(OsStr::new("d")).unwrap();
        for number in 1..=3000 {
            let name = format!("name-{number:08}-of-a-file-with-a-longish-name");
            assert!(d.find(OsStr::new(&name)).unwrap().is_some(), "{name}");
        }
        assert!(d.find(OsStr::new("name-")).unwrap().is_none());
    });
}

#[test]
fn attributes_come_back_whatever_their_length() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    std::fs::create_dir_all(tree.join("opaque")).unwrap();
    for name in ["cap", "acl", "many", "large"] {
        std::fs::write(tree.join(name), name).unwrap();
    }
    let set = |name: &str, attribute: &str, value: &[u8]| {
        let file = File::open(tree.join(name)).unwrap();
        sys::xattr::set(file.as_fd(), OsStr::new(attribute), value).unwrap();
    };
    set("opaque", "trusted.overlay.opaque", b"y");
    let mut capability = [0; 20];
    capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    set("cap", "security.capability", &capability);
    // Version 2: user rwx, user 7 r, group r, mask r, others none.
    let entries: [(u16, u16, u32); 5] = [
        (1, 7, u32::MAX),
        (2, 4, 7),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    set("acl", "system.posix_acl_access", &acl);
    for number in 0..40 {
        set("many", &format!("user.number-{number}"), &[b'v'; 40]);
    }
    set("large", "user.large", &[b'w'; 3500]);
    set("large", "trusted.empty", b"");
    make(&tree, &image);
    let expected = tree_of(&tree);
    mounted(&image, |root| assert_eq!(listed(&root), expected));
}

#[test]
fn holes_take_no_space_and_the_same_tree_is_the_same_image() {
    let (dir, written) = same("truncate -s 64M sparse; printf end >> sparse; printf x > small");
    assert!(written.bytes > 64 << 20);
    let image = dir.path().join("image");
    let blocks = image.metadata().unwrap().blocks();
    assert!(blocks < 2048, "{blocks} blocks");
    let small = tempfile::tempdir().unwrap();
    run("mkdir -p a/b; printf x > a/b/c; ln a/b/c d", small.path());
    let images = [dir.path().join("one"), dir.path().join("two")];
    for image in &images {
        make(small.path(), image);
    }
    let [one, two] = images.map(|image| std::fs::read(image).unwrap());
    assert_eq!(one, two);
}

#[test]
fn a_damaged_superblock_is_refused_by_the_kernel() {
    let (dir, _) = same("printf x > file");
    let image = dir.path().join("image");
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[1024 + 36] ^= 1;
    std::fs::write(&image, bytes).unwrap();
    let place = tempfile::tempdir().unwrap();
    let refused = sys::mntns::private(|| sys::mount::cover_with_erofs(&image, place.path()));
    assert!(refused.is_err());
}
