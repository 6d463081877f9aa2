//! Bounds on real file systems.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use bound::{Bound, Purpose};
use spec::{Classify, ErrorKind};

/// Writes until the disk is full; returns what fitted.
fn fill(path: &Path) -> u64 {
    let mut file = std::fs::File::create(path).expect("the directory is ours");
    let chunk = vec![7u8; 64 * 1024];
    let mut written = 0;
    loop {
        match file.write(&chunk) {
            Ok(len) => written += len as u64,
            Err(error) => {
                let full = [libc_enospc(), libc_edquot()];
                assert!(full.contains(&error.raw_os_error().unwrap_or(0)), "{error}");
                return written;
            }
        }
        assert!(written < 1 << 30, "nothing stops it");
    }
}

fn libc_enospc() -> i32 {
    rustix::io::Errno::NOSPC.raw_os_error()
}

fn libc_edquot() -> i32 {
    rustix::io::Errno::DQUOT.raw_os_error()
}

#[test]
fn a_directory_without_quotas_becomes_a_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("data");
    std::fs::create_dir(&place).unwrap();
    let bound = bound::set(&place, 32 << 20, Purpose::Discard).unwrap();
    assert_eq!(bound, Bound::Image { bytes: 32 << 20 });
    assert!(std::fs::read_dir(&place).unwrap().next().is_none());
    let before = bound::allocated(&place, &bound).unwrap();
    assert!(before < 4 << 20, "{before}");
    let written = fill(&place.join("big"));
    assert!((24 << 20..=32 << 20).contains(&written), "{written}");
    // As after a restart of the host.
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(!place.join("big").exists());
    bound::resume(&place, &bound).unwrap();
    bound::resume(&place, &bound).unwrap();
    assert_eq!(std::fs::metadata(place.join("big")).unwrap().len(), written);
    bound::remove(&place, &bound).unwrap();
    bound::remove(&place, &bound).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn ext4_keeps_the_bound_itself_where_it_has_quotas() {
    let dir = tempfile::tempdir().unwrap();
    let (image, root) = (dir.path().join("ext4"), dir.path().join("root"));
    let file = std::fs::File::create_new(&image).unwrap();
    file.set_len(400 << 20).unwrap();
    std::fs::create_dir(&root).unwrap();
    let run = |program: &str, args: &[&str]| Command::new(program).args(args).output().unwrap();
    let (image, at) = (image.to_str().unwrap(), root.to_str().unwrap());
    let made = run(
        "mkfs.ext4",
        &[
            "-q",
            "-F",
            "-O",
            "quota,project",
            "-E",
            "quotatype=prjquota",
            image,
        ],
    );
    assert!(made.status.success(), "{made:?}");
    let mounted = run("mount", &["-o", "loop,prjquota", image, at]);
    if !mounted.status.success() {
        eprintln!("not run: this kernel has no project quotas: {mounted:?}");
        return;
    }
    let tried = std::panic::catch_unwind(|| {
        let place = root.join("data");
        std::fs::create_dir(&place).unwrap();
        let bound = bound::set(&place, 16 << 20, Purpose::Keep).unwrap();
        assert!(matches!(bound, Bound::Project { .. }), "{bound:?}");
        let written = fill(&place.join("big"));
        assert!((15 << 20..=16 << 20).contains(&written), "{written}");
        std::fs::write(root.join("beside"), vec![1u8; 1 << 20]).unwrap();
        std::fs::remove_file(place.join("big")).unwrap();
        bound::remove(&place, &bound).unwrap();
    });
    let gone = run("umount", &[at]);
    tried.unwrap();
    assert!(gone.status.success(), "{gone:?}");
}

#[test]
fn too_small_a_bound_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("data");
    std::fs::create_dir(&place).unwrap();
    let error = bound::set(&place, 1000, Purpose::Keep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
