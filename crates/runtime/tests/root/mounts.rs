//! Mounts, and images that try to make them land elsewhere.

use std::os::unix::fs::symlink;

use spec::runtime::Mount;

use super::bundle::{Bundle, file};

const EROFS: i32 = 30;

fn mount(kind: &str, source: &str, destination: &str, options: &[&str]) -> Mount {
    Mount {
        kind: kind.to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        ..Mount::default()
    }
}

#[test]
fn binds_of_files_and_directories() {
    let mut bundle = Bundle::new();
    let host = tempfile::tempdir().unwrap();
    let config = file(host.path(), "hosts", "127.0.0.1 x\n");
    let data = host.path().join("data");
    file(&data, "inside", "");
    bundle.spec.mounts.extend([
        mount(
            "bind",
            config.to_str().unwrap(),
            "/etc/hosts",
            &["rbind", "ro", "rprivate"],
        ),
        mount("bind", data.to_str().unwrap(), "/new/deep/dir", &["rbind"]),
        mount(
            "bind",
            data.to_str().unwrap(),
            "/closed",
            &["rbind", "rro", "noexec"],
        ),
        mount(
            "tmpfs",
            "tmpfs",
            "/scratch",
            &["nosuid", "size=64k", "mode=1777"],
        ),
    ]);
    bundle.env("PROBE_PATHS=/etc/hosts:/new/deep/dir:/closed:/scratch");
    let seen = bundle.run();
    assert_eq!(seen.paths["/etc/hosts"].content, "127.0.0.1 x\n");
    assert_eq!(seen.paths["/etc/hosts"].write, EROFS);
    assert_eq!(
        (
            seen.paths["/new/deep/dir"].content.as_str(),
            seen.paths["/new/deep/dir"].write
        ),
        ("inside", 0)
    );
    assert_eq!(seen.paths["/closed"].write, EROFS);
    assert_eq!(seen.paths["/scratch"].write, 0);
    assert!(
        seen.mounts
            .lines()
            .any(|l| l.contains(" /scratch ") && l.contains("size=64k"))
    );
    assert!(
        seen.mounts
            .lines()
            .any(|l| l.contains(" /closed ") && l.contains("noexec"))
    );
}

#[test]
fn a_missing_source_is_named() {
    let mut bundle = Bundle::new();
    bundle
        .spec
        .mounts
        .push(mount("bind", "/no/such/source", "/x", &["bind"]));
    let message = bundle.fails();
    assert!(
        message.contains("/no/such/source") && message.contains("No such file"),
        "{message}"
    );
}

#[test]
fn a_read_only_root_with_a_new_working_directory() {
    let mut bundle = Bundle::new();
    bundle.spec.root.as_mut().unwrap().readonly = true;
    bundle.spec.process.as_mut().unwrap().cwd = "/made/here".to_owned();
    bundle.env("PROBE_PATHS=/tmp:/dev");
    let seen = bundle.run();
    assert_eq!(seen.cwd, "/made/here");
    assert_eq!(seen.paths["/tmp"].write, EROFS);
    assert_eq!(seen.paths["/dev"].write, 0);
}

#[test]
fn a_link_in_place_of_proc_or_sys_is_refused() {
    for name in ["proc", "sys"] {
        let bundle = Bundle::new();
        std::fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        symlink("/elsewhere", bundle.rootfs().join(name)).unwrap();
        let message = bundle.fails();
        assert!(message.contains("is not a directory"), "{name}: {message}");
    }
}

#[test]
fn links_of_the_image_lead_nowhere_on_the_host() {
    let canary = tempfile::tempdir().unwrap();
    file(canary.path(), "ptmx", "mine");
    let mut bundle = Bundle::new();
    // /dev, a mount point, a parent of one, and the working directory all point at the host.
    for name in ["dev", "data", "parent", "cwd"] {
        symlink(canary.path(), bundle.rootfs().join(name)).unwrap();
    }
    bundle
        .spec
        .mounts
        .retain(|m| !m.destination.starts_with("/dev/") || m.kind == "devpts");
    bundle.spec.mounts.retain(|m| m.destination != "/dev");
    bundle
        .spec
        .mounts
        .push(mount("tmpfs", "tmpfs", "/data", &[]));
    bundle
        .spec
        .mounts
        .push(mount("bind", "/etc/hostname", "/parent/a/b", &["bind"]));
    bundle.spec.process.as_mut().unwrap().cwd = "/cwd/new".to_owned();
    bundle.write();
    // Whether it starts is not the question.
    let _ = bundle.call(&["run", &bundle.id]);
    let names: Vec<_> = std::fs::read_dir(canary.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["ptmx"]);
    assert_eq!(
        std::fs::read_to_string(canary.path().join("ptmx")).unwrap(),
        "mine"
    );
}

#[test]
fn masks_hold_when_the_image_brings_its_own_dev() {
    let dev = tempfile::tempdir().unwrap();
    // A /dev bound from elsewhere, whose null is a link to what must not be opened.
    symlink("/proc/sys/kernel/core_pattern", dev.path().join("null")).unwrap();
    for name in ["pts", "shm", "mqueue"] {
        std::fs::create_dir(dev.path().join(name)).unwrap();
    }
    let mut bundle = Bundle::new();
    for entry in &mut bundle.spec.mounts {
        if entry.destination == "/dev" {
            *entry = mount("bind", dev.path().to_str().unwrap(), "/dev", &["rbind"]);
        }
    }
    bundle.env("PROBE_PATHS=/proc/timer_list:/proc/sys/kernel/core_pattern");
    let before = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let seen = bundle.run();
    assert_eq!(seen.paths["/proc/timer_list"].read, 0);
    assert_eq!(seen.paths["/proc/sys/kernel/core_pattern"].write, EROFS);
    assert_eq!(
        std::fs::read("/proc/sys/kernel/core_pattern").unwrap(),
        before
    );
}

#[test]
fn a_mount_option_that_cannot_be_honoured_is_an_error() {
    let mut bundle = Bundle::new();
    bundle
        .spec
        .mounts
        .push(mount("bind", "/etc", "/x", &["rbind", "idmap"]));
    assert!(bundle.fails().contains("idmap"));
    bundle.spec.mounts.pop();
    bundle
        .spec
        .mounts
        .push(mount("tmpfs", "tmpfs", "/x", &["colour=red"]));
    assert!(bundle.fails().contains("colour"));
}

#[test]
fn a_copied_up_tmpfs_begins_with_what_it_hides() {
    let mut bundle = Bundle::new();
    file(&bundle.rootfs().join("var/lib"), "state/one", "1");
    bundle
        .spec
        .mounts
        .push(mount("tmpfs", "tmpfs", "/var/lib", &["tmpcopyup"]));
    bundle.env("PROBE_PATHS=/var/lib/state/one");
    let seen = bundle.run();
    assert_eq!(seen.paths["/var/lib/state/one"].content, "1");
}
