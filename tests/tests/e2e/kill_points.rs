//! The daemon killed while it runs a container: at chosen system calls by `strace`, and at times.
//!
//! Wherever it dies: the next daemon starts, every container it tells of can be removed, and the
//! audit is clean. `strace` is attached to the running daemon, so its start is not disturbed.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::{Daemon, IMAGE, Tracer, audit, http, image, poll, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// The calls that change something outside the process. `strace` counts them by thread, so small
/// numbers reach far.
const POINTS: &[&str] = &[
    "renameat,renameat2,rename", "mkdir,mkdirat", "openat,openat2", "sendmsg,sendto",
    "unlinkat,unlink,rmdir", "write,pwrite64,writev", "close", "mount,move_mount,setns,unshare",
    "fsync,fdatasync,syncfs", "clone3,clone,vfork,fork",
];

/// How often a call is let pass.
const DEPTH: u32 = 4;

/// Runs one container over the API; false when the daemon died on the way.
fn one_life(socket: &Path) -> bool {
    let body = json!({"Image": IMAGE, "Cmd": ["true"]});
    let Ok(created) = http::request(socket, "POST", "/containers/create", Some(&body)) else {
        return false;
    };
    let Some(id) = created.json()["Id"].as_str().map(str::to_owned) else {
        return false;
    };
    [
        ("POST", format!("/containers/{id}/start")),
        ("POST", format!("/containers/{id}/wait")),
        ("DELETE", format!("/containers/{id}?force=1")),
    ]
    .iter()
    .all(|(method, path)| http::request(socket, method, path, None).is_ok())
}

fn daemon() -> Option<Daemon> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket())
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log_tail()));
    daemon.warm_up();
    Some(daemon)
}

/// Starts the daemon again after it was killed at `point` and looks for what is left.
#[track_caller]
fn recover(daemon: &mut Daemon, point: &str) {
    daemon.kill9();
    daemon.launch().unwrap_or_else(|error| panic!("killed at {point}: {error:#}"));
    daemon.remove_containers().unwrap_or_else(|error| panic!("killed at {point}: {error:#}"));
    let leaks = audit::settled(|| audit::of_idle_daemon(daemon));
    assert!(leaks.is_empty(), "killed at {point}: {leaks:#?}\n{}", daemon.log_tail());
}

#[track_caller]
fn retire(mut daemon: Daemon) {
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
}

#[test]
fn a_daemon_killed_at_a_call_leaves_nothing() {
    if !Tracer::is_there() {
        return;
    }
    let Some(mut daemon) = daemon() else { return };
    let mut reached = 0;
    for calls in POINTS {
        for nth in 1..=DEPTH {
            let point = format!("{calls} {nth}");
            let tracer = Tracer::attach(&daemon, calls, &format!("signal=KILL:when={nth}"));
            if !one_life(&daemon.socket()) {
                wait_for("the daemon is dead", SOON, || daemon.has_ended());
                reached += 1;
            }
            // When the call was not made so often, the daemon lives: it dies in the recovery.
            drop(tracer);
            recover(&mut daemon, &point);
        }
    }
    assert!(reached >= 5, "only {reached} of the points were ever reached");
    retire(daemon);
}

#[test]
fn a_daemon_killed_at_any_moment_leaves_nothing() {
    let Some(mut daemon) = daemon() else { return };
    for moment in 0..30 {
        let socket = daemon.socket();
        let life = std::thread::spawn(move || one_life(&socket));
        // Here the time itself is what is tried: nothing is waited for.
        poll(Duration::from_millis(moment), || None::<()>);
        recover(&mut daemon, &format!("{moment} ms"));
        let _ = life.join();
    }
    retire(daemon);
}
