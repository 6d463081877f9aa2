//! Control groups on the real kernel. Needs root.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::{Command, Stdio};

use rustix::process::Pid;
use sys::cgroup::{Cgroup, Cgroups, DeviceKind, DeviceRule, Version};

fn detect() -> Cgroups {
    Cgroups::detect().unwrap()
}

/// A group that is killed and removed on drop.
struct Group(Cgroup);

impl Group {
    fn new(found: &Cgroups, name: &str) -> Self {
        let path = format!("/corten-sys-tests/{}-{name}", std::process::id());
        Self(found.create(&path).unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
        let _ = detect()
            .group("/corten-sys-tests")
            .map(|parent| parent.remove_if_empty());
    }
}

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

#[test]
fn a_group_from_make_to_remove() {
    let found = detect();
    let group = Group::new(&found, "life");
    let path = group.0.path().to_owned();
    assert!(found.open(&path).unwrap().is_some());
    let name = path.rsplit_once('/').unwrap().1.to_owned();
    assert!(found.children("/corten-sys-tests").unwrap().contains(&name));
    let mut child = sleeper();
    group.0.add_pid(pid(&child)).unwrap();
    assert_eq!(
        group.0.pids().unwrap(),
        [i32::try_from(child.id()).unwrap()]
    );
    assert_eq!(group.0.stats().unwrap().pids.current, 1);
    // A populated group is not replaced.
    assert!(found.create(&path).is_err());
    group.0.freeze().unwrap();
    assert!(group.0.is_frozen().unwrap());
    assert_eq!(group.0.oom_kills(), 0);
    // Frozen processes can be killed, too; the kernel waits for its parent to collect the status.
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.0.kill().unwrap();
    assert!(!reaper.join().unwrap().success());
    group.0.remove().unwrap();
    assert!(!group.0.exists());
    group.0.remove().unwrap();
    assert!(found.open(&path).unwrap().is_none());
}

#[test]
fn an_empty_left_over_is_replaced() {
    let found = detect();
    let group = Group::new(&found, "again");
    let limits = sys::cgroup::Limits {
        pids: Some(3),
        ..Default::default()
    };
    group.0.set_limits(&limits).unwrap();
    let again = found.create(group.0.path()).unwrap();
    assert_eq!(again.stats().unwrap().pids.limit, None);
}

#[test]
fn groups_below_are_killed_and_removed() {
    let found = detect();
    let group = Group::new(&found, "tree");
    let below = found.create(&format!("{}/below", group.0.path())).unwrap();
    let mut child = sleeper();
    below.add_pid(pid(&child)).unwrap();
    assert_eq!(group.0.pids().unwrap().len(), 1);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.0.kill().unwrap();
    reaper.join().unwrap();
    group.0.remove().unwrap();
    assert!(!below.exists());
}

/// The program for v2 is tried wherever a v2 hierarchy is mounted, also beside v1.
#[test]
fn device_programs_are_accepted_and_obeyed() {
    let found = detect();
    let Some(unified) = found
        .hierarchies()
        .iter()
        .find(|h| h.version == Version::V2)
    else {
        println!("skipped: no v2 hierarchy is mounted");
        return;
    };
    let line = format!(
        "30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n",
        unified.mountpoint.display()
    );
    let only = Cgroups::from_mountinfo(&line);
    let group = Group::new(&only, "devices");
    let null = DeviceRule {
        allow: true,
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(3),
        read: true,
        write: true,
        mknod: false,
    };
    group.0.set_devices(&[null]).unwrap();
    let procs = unified
        .mountpoint
        .join(group.0.path().trim_start_matches('/'))
        .join("cgroup.procs");
    let script = format!(
        "echo 0 > {} && head -c 1 /dev/null && ! head -c 1 /dev/zero",
        procs.display()
    );
    let status = Command::new("sh")
        .arg("-c")
        .arg(script)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn groups_made_at_once_below_a_new_parent_can_all_be_joined() {
    let found = detect();
    for round in 0..10 {
        let parent = format!("/corten-sys-tests-{}-{round}", std::process::id());
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (found, parent) = (&found, &parent);
                scope.spawn(move || {
                    let group = Group(found.create(&format!("{parent}/{number}")).unwrap());
                    let mut child = sleeper();
                    let joined = group.0.add_pid(pid(&child));
                    child.kill().unwrap();
                    child.wait().unwrap();
                    joined.unwrap();
                });
            }
        });
        found.group(&parent).unwrap().remove().unwrap();
    }
}
