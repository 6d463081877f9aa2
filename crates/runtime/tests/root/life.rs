//! The commands from create to delete.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use super::bundle::{Bundle, wait_for};

fn sleeping() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.env("PROBE_SLEEP=600");
    bundle.write();
    bundle
}

fn create(bundle: &Bundle) {
    let mut command = bundle.command(&["create", "--pid-file", "pid", &bundle.id]);
    // The container keeps these: pipes would keep `output` waiting.
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn ok(bundle: &Bundle, args: &[&str]) {
    let output = bundle.call(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
}

fn refused(bundle: &Bundle, args: &[&str]) -> String {
    let output = bundle.call(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn every_state_in_turn() {
    let bundle = sleeping();
    let id = bundle.id.as_str();
    assert!(refused(&bundle, &["state", id]).contains("does not exist"));
    create(&bundle);
    assert_eq!(bundle.status(), "created");
    let pid: i32 = std::fs::read_to_string(bundle.dir.path().join("pid"))
        .unwrap()
        .parse()
        .unwrap();
    // What the image could reach through /proc/self/exe is not the file on the host.
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(exe.to_str().unwrap().starts_with("/memfd:"), "{exe:?}");
    assert!(refused(&bundle, &["create", id]).contains("already exists"));
    ok(&bundle, &["start", id]);
    assert_eq!(bundle.status(), "running");
    assert!(refused(&bundle, &["start", id]).contains("already running"));
    assert!(refused(&bundle, &["delete", id]).contains("not stopped: running"));
    ok(&bundle, &["pause", id]);
    assert_eq!(bundle.status(), "paused");
    ok(&bundle, &["resume", id]);
    let pids = String::from_utf8(bundle.call(&["ps", id]).stdout).unwrap();
    assert!(pids.contains(&pid.to_string()), "{pids}");
    ok(&bundle, &["kill", id, "SIGKILL"]);
    wait_for("the container to stop", || bundle.status() == "stopped");
    assert!(refused(&bundle, &["kill", id]).contains("not running"));
    ok(&bundle, &["delete", id]);
    bundle.assert_nothing_left();
}

#[test]
fn a_program_that_is_missing_is_told_at_the_end_of_create() {
    let mut bundle = Bundle::new();
    bundle.spec.process.as_mut().unwrap().args = vec!["nosuch".to_owned()];
    let message = bundle.fails();
    assert!(
        message.contains(
            "unable to start container process: error during container init: \
             exec: \"nosuch\": executable file not found in $PATH"
        ),
        "{message}"
    );
}

#[test]
fn a_paused_container_can_be_deleted_by_force() {
    let bundle = sleeping();
    create(&bundle);
    ok(&bundle, &["start", &bundle.id]);
    ok(&bundle, &["pause", &bundle.id]);
    ok(&bundle, &["delete", "--force", &bundle.id]);
    bundle.assert_nothing_left();
}

#[test]
fn limits_reach_the_control_group() {
    let mut bundle = sleeping();
    let resources = bundle
        .spec
        .linux
        .as_mut()
        .unwrap()
        .resources
        .as_mut()
        .unwrap();
    resources.memory = Some(spec::runtime::Memory {
        limit: Some(64 << 20),
        swap: Some(64 << 20),
        ..Default::default()
    });
    resources.cpu = Some(spec::runtime::Cpu {
        shares: Some(512),
        quota: Some(50_000),
        period: Some(100_000),
        ..Default::default()
    });
    resources.pids = Some(spec::runtime::Pids { limit: 17 });
    bundle.write();
    create(&bundle);
    let path = format!("/corten-tests/{}", bundle.id);
    let group = sys::cgroup::Cgroups::detect()
        .unwrap()
        .open(&path)
        .unwrap()
        .unwrap();
    let stats = group.stats().unwrap();
    assert_eq!(stats.memory.limit, Some(64 << 20));
    assert_eq!(stats.pids.limit, Some(17));
    assert_eq!(stats.pids.current, 1);
    let update = sys::cgroup::Limits {
        memory: Some(128 << 20),
        memory_swap: Some(128 << 20),
        pids: Some(-1),
        ..Default::default()
    };
    group.set_limits(&update).unwrap();
    let stats = group.stats().unwrap();
    assert_eq!(
        (stats.memory.limit, stats.pids.limit),
        (Some(128 << 20), None)
    );
    let shrink = sys::cgroup::Limits {
        memory: Some(32 << 20),
        memory_swap: Some(32 << 20),
        ..Default::default()
    };
    group.set_limits(&shrink).unwrap();
    assert_eq!(group.stats().unwrap().memory.limit, Some(32 << 20));
    group.kill().unwrap();
    wait_for("the container to stop", || bundle.status() == "stopped");
    ok(&bundle, &["delete", &bundle.id]);
}

#[test]
fn the_terminal_is_handed_to_the_console_socket() {
    let mut bundle = Bundle::new();
    bundle.spec.process.as_mut().unwrap().terminal = true;
    bundle.write();
    let path = bundle.dir.path().join("console");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    ok(&bundle, &["create", "--console-socket", socket, &bundle.id]);
    let (peer, _) = listener.accept().unwrap();
    let mut name = [0u8; 64];
    let received = sys::fdpass::recv(peer.as_fd(), &mut name).unwrap();
    let console = std::fs::File::from(received.fds.into_iter().next().unwrap());
    ok(&bundle, &["start", &bundle.id]);
    let mut text = String::new();
    let mut buffer = [0u8; 4096];
    // The other end answers EIO when its last process has closed it.
    while let Ok(length @ 1..) = std::io::Read::read(&mut &console, &mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    assert!(text.contains("\"tty\":true"), "{text}");
    assert!(text.contains("/dev/console"), "{text}");
    wait_for("the container to stop", || bundle.status() == "stopped");
    ok(&bundle, &["delete", &bundle.id]);
}

#[test]
fn nothing_is_made_of_a_wrong_specification() {
    let mut bundle = Bundle::new();
    bundle.spec.linux.as_mut().unwrap().cgroups_path = "a:b:c".to_owned();
    assert!(bundle.fails().contains("not supported"));
    bundle.spec.linux.as_mut().unwrap().cgroups_path = "/x/../../y".to_owned();
    bundle.fails();
    bundle.spec.linux.as_mut().unwrap().cgroups_path = format!("/corten-tests/{}", bundle.id);
    let hook = spec::runtime::Hook {
        path: "/bin/true".into(),
        ..Default::default()
    };
    bundle.spec.hooks = Some(spec::runtime::Hooks {
        prestart: vec![hook],
        ..Default::default()
    });
    assert!(bundle.fails().contains("hooks"));
    bundle.spec.hooks = None;
    bundle.spec.process.as_mut().unwrap().args.clear();
    assert!(bundle.fails().contains("no command specified"));
}

#[test]
fn a_signal_to_the_runtime_in_the_foreground_reaches_the_container() {
    let bundle = sleeping();
    let mut run = bundle
        .command(&["run", &bundle.id])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let record = bundle
        .dir
        .path()
        .join("state")
        .join(&bundle.id)
        .join("state.json");
    wait_for("the container to be recorded", || record.exists());
    wait_for("the container to run", || bundle.status() == "running");
    // The default action of a signal does not end a first process; an unhandled one is not lost.
    let pid = i32::try_from(run.id()).unwrap();
    let first = || -> Option<i32> {
        let record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        i32::try_from(record["pid"].as_i64()?).ok()
    };
    let program = format!("/proc/{}/exe", first().unwrap());
    wait_for("execve", || {
        std::fs::read_link(&program).is_ok_and(|exe| exe.ends_with("bin/probe"))
    });
    sys::process::signal(pid, 15).unwrap();
    sys::process::signal(first().unwrap(), 9).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(137));
    bundle.assert_nothing_left();
}
