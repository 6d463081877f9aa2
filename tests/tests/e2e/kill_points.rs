//! The daemon killed at the n-th call of a system call, by `strace`, while it runs a container.
//!
//! Wherever it dies: the next daemon starts, every container it tells of can be removed, and the
//! audit is clean. `strace` is attached to the running daemon, so its start is not disturbed.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tests::{Daemon, IMAGE, http, image, wait_for};

/// The calls that change something outside the process, and how deep each is searched.
const POINTS: &[(&str, u32)] = &[
    ("renameat,renameat2,rename", 4),
    ("mkdir,mkdirat", 4),
    ("openat", 6),
    ("sendmsg,sendto", 6),
    ("unlinkat,unlink,rmdir", 4),
    ("clone,clone3,execve", 2),
];

/// Runs one container over the API; every step may fail, since the daemon dies at one of them.
fn one_life(daemon: &Daemon) {
    let socket = daemon.socket();
    let body = json!({"Image": IMAGE, "Cmd": ["true"]});
    let Ok(created) = http::request(&socket, "POST", "/containers/create", Some(&body)) else {
        return;
    };
    let Some(id) = created.json()["Id"].as_str().map(str::to_owned) else {
        return;
    };
    for (method, path) in [
        ("POST", format!("/containers/{id}/start")),
        ("POST", format!("/containers/{id}/wait")),
        ("DELETE", format!("/containers/{id}?force=1")),
    ] {
        if http::request(&socket, method, &path, None).is_err() {
            return;
        }
    }
}

#[test]
fn a_daemon_killed_at_any_call_leaves_nothing() {
    let strace =
        Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if tests::target::reference_socket().is_some() || strace.is_err() {
        eprintln!("not run: it needs our daemon and strace");
        return;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket())
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log_tail()));
    one_life(&daemon);
    let mut killed = 0;
    for (calls, depth) in POINTS {
        for nth in 1..=*depth {
            let pid = daemon.pid().expect("it runs").to_string();
            let inject = format!("inject={calls}:signal=KILL:when={nth}");
            let trace = format!("trace={calls}");
            let mut tracer = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid, "-e", &trace, "-e", &inject])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("strace is installed");
            let attached = || {
                let status =
                    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            };
            wait_for("the tracer is attached", Duration::from_secs(10), || {
                attached() || daemon.has_ended()
            });
            one_life(&daemon);
            killed += u32::from(daemon.has_ended());
            // When the call was not made so often, the daemon lives: it dies now.
            let _ = tracer.kill();
            let _ = tracer.wait();
            daemon.kill9();
            daemon.launch().unwrap_or_else(|error| panic!("killed at {calls} {nth}: {error:#}"));
            daemon
                .remove_containers()
                .unwrap_or_else(|error| panic!("killed at {calls} {nth}: {error:#}"));
            let leaks = tests::audit::settled(|| tests::audit::of_idle_daemon(&daemon));
            assert!(leaks.is_empty(), "killed at {calls} {nth}: {leaks:#?}\n{}", daemon.log_tail());
        }
    }
    assert!(killed >= 5, "only {killed} of the points were ever reached");
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
}
