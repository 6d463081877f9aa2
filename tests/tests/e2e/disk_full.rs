//! A full disk: a clear refusal, the space back, and no container that waits for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use spec::Digest;
use tests::http::{self, Connection};
use tests::tarball::Tarball;
use tests::{Daemon, Disk, IMAGE, audit, image, wait_for};

const SOON: Duration = Duration::from_secs(15);

/// What is tried with more and more room; all of it needs more than the last but one.
const FREE: &[u64] = &[0, 64 << 10, 1 << 20, 4 << 20, 9 << 20, 15 << 20];

/// Difference of the space in use that is nobody's: directories that have grown do not shrink.
const SLACK: u64 = 512 << 10;

fn machine() -> Option<(Disk, Daemon)> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let disk = Disk::new(96).unwrap_or_else(|error| panic!("{error:#}"));
    let mut daemon = Daemon::start_on(&disk.path()).unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    daemon.warm_up();
    Some((disk, daemon))
}

/// A layer of 9 MB in 40 files that does not compress.
fn layer() -> Vec<u8> {
    let mut tar = Tarball::default().dir("d/", 0o755);
    for number in 0..40 {
        let mut bytes = Vec::with_capacity(225 << 10);
        while bytes.len() < 225 << 10 {
            let block = Digest::of(format!("{number} {}", bytes.len()).as_bytes());
            bytes.extend_from_slice(block.hex().as_bytes());
        }
        tar = tar.file(&format!("d/{number}"), 0o644, &bytes);
    }
    tar.finish()
}

fn send(socket: &Path, path: &str, archive: &[u8]) -> http::Response {
    let connection = Connection::open(socket);
    connection.and_then(|mut c| c.upload("POST", path, archive)).expect("an answer")
}

fn refused(answer: &http::Response) -> bool {
    answer.status >= 400 || answer.text().contains("\"error\"")
}

#[track_caller]
fn says_why(answer: &http::Response, what: &str) {
    let text = answer.text();
    assert!(refused(answer), "{what}: {text}");
    assert!(text.contains("o space left on device"), "{what}: {text}");
}

#[track_caller]
fn space_is_back(disk: &Disk, used: (u64, u64), what: &str) {
    let found = audit::settled(|| {
        let more = disk.used().saturating_sub(used.0);
        let files = disk.inodes().saturating_sub(used.1);
        if more <= SLACK && files == 0 {
            return Vec::new();
        }
        vec![format!("{more} more bytes and {files} more files")]
    });
    assert!(found.is_empty(), "{what}: {found:?}");
}

#[track_caller]
fn retire(disk: &Disk, mut daemon: Daemon) {
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
    let store = store::Store::open(&daemon.data_root().join("store")).expect("a store");
    assert_eq!(store.fsck().expect("it can be read"), []);
    drop(store);
    disk.unmount().and_then(|()| disk.check()).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Sends an archive at every level, then with room enough.
#[track_caller]
fn at_every_level(path: &str, reference: &str, archive: &[u8]) {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    let pid = daemon.pid();
    let used = (disk.used(), disk.inodes());
    let image = format!("/images/{reference}");
    let mut refusals = 0;
    for &free in FREE {
        disk.fill(free);
        let answer = send(&daemon.socket(), path, archive);
        if refused(&answer) {
            says_why(&answer, &format!("{free} bytes free"));
            assert_eq!(daemon.api("GET", &format!("{image}/json"), None).status, 404);
            refusals += 1;
        } else {
            assert_eq!(daemon.api("DELETE", &image, None).status, 200);
        }
        disk.empty();
        space_is_back(&disk, used, &format!("{free} bytes free"));
        assert_eq!(daemon.api("GET", "/_ping", None).status, 200);
    }
    assert!(refusals >= 4, "only {refusals} levels were too low");
    let answer = send(&daemon.socket(), path, archive);
    assert!(!refused(&answer), "{}", answer.text());
    assert_eq!(daemon.api("GET", &format!("{image}/json"), None).status, 200);
    assert_eq!(daemon.api("DELETE", &image, None).status, 200);
    assert_eq!(daemon.pid(), pid);
    retire(&disk, daemon);
}

#[test]
fn load_is_refused_and_leaves_nothing() {
    let archive = image::saved("full/loaded:latest", &[layer()]);
    at_every_level("/images/load", "full/loaded:latest", &archive);
}

#[test]
fn import_is_refused_and_leaves_nothing() {
    let path = "/images/create?fromSrc=-&repo=full/imported&tag=latest";
    at_every_level(path, "full/imported:latest", &layer());
}

fn create(daemon: &Daemon, name: &str, body: &Value) -> http::Response {
    daemon.api("POST", &format!("/containers/create?name={name}"), Some(body))
}

/// Uses up single blocks, until not even a small file fits: what failed may have freed some.
#[track_caller]
fn exhaust(disk: &Disk, made: &mut Vec<PathBuf>) {
    for _ in 0..1000 {
        let path = disk.path().join(format!("block{}", made.len()));
        made.push(path.clone());
        if std::fs::write(path, "1").is_err() {
            return;
        }
    }
    panic!("a full disk takes 1000 blocks");
}

#[test]
fn small_changes_are_refused_and_change_nothing() {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    let body = json!({"Image": IMAGE, "Cmd": ["echo", "here"]});
    assert_eq!(create(&daemon, "before", &body).status, 201);
    let used = (disk.used(), disk.inodes());
    disk.fill(0);
    let mut made = Vec::new();
    exhaust(&disk, &mut made);
    says_why(&create(&daemon, "during", &body), "create");
    let tag = format!("/images/{IMAGE}/tag?repo=full/tag&tag=latest");
    exhaust(&disk, &mut made);
    says_why(&daemon.api("POST", &tag, None), "tag");
    exhaust(&disk, &mut made);
    says_why(&daemon.api("POST", "/containers/before/rename?name=after", None), "rename");
    assert_eq!(daemon.api("GET", "/containers/during/json", None).status, 404);
    assert_eq!(daemon.api("GET", "/containers/after/json", None).status, 404);
    assert_eq!(daemon.api("GET", "/containers/before/json", None).status, 200);
    assert_eq!(daemon.api("GET", "/images/full/tag:latest/json", None).status, 404);
    // What frees space must be possible without any.
    assert_eq!(daemon.api("DELETE", "/containers/before", None).status, 204);
    disk.empty();
    made.iter().for_each(|path| std::fs::remove_file(path).expect("it was made"));
    assert_eq!(create(&daemon, "before", &body).status, 201);
    assert_eq!(create(&daemon, "during", &body).status, 201);
    assert_eq!(daemon.api("DELETE", "/containers/during", None).status, 204);
    assert_eq!(daemon.api("POST", "/containers/before/rename?name=after", None).status, 204);
    space_is_back(&disk, used, "after all");
    retire(&disk, daemon);
}

/// Bytes that a process has written so far.
fn written(pid: i64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("a counter");
    line.parse().expect("a number")
}

#[test]
fn a_container_that_logs_is_neither_blocked_nor_killed() {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    let script = "while :; do echo 0123456789012345678901234567890123456789; done";
    let config = json!({"max-size": "4m", "max-file": "2"});
    let body = json!({
        "Image": IMAGE, "Cmd": ["sh", "-c", script],
        "HostConfig": {"LogConfig": {"Type": "json-file", "Config": config}},
    });
    assert_eq!(create(&daemon, "writer", &body).status, 201);
    disk.fill(128 << 10);
    assert_eq!(daemon.api("POST", "/containers/writer/start", None).status, 204);
    let state = || daemon.api("GET", "/containers/writer/json", None).json()["State"].clone();
    let pid = state()["Pid"].as_i64().expect("a pid");
    wait_for("the disk is full", SOON, || disk.free() < 4096);
    let before = written(pid);
    wait_for("it writes on", SOON, || written(pid) > before + (2 << 20));
    assert_eq!(state()["Running"], true);
    // Another one can be started and ended meanwhile, or is told why not.
    let other = create(&daemon, "other", &json!({"Image": IMAGE, "Cmd": ["true"]}));
    if refused(&other) {
        says_why(&other, "create");
    }
    disk.empty();
    let logged = || {
        let log = daemon.api("GET", "/containers/writer/logs?stdout=1&tail=1", None);
        assert_eq!(log.status, 200, "{}", log.text());
        log.body
    };
    logged();
    let log = state_of_log(&daemon);
    wait_for("logging goes on", SOON, || state_of_log(&daemon) != log);
    assert_eq!(state()["Pid"], pid);
    assert_eq!(daemon.api("POST", "/containers/writer/kill", None).status, 204);
    daemon.api("POST", "/containers/writer/wait", None);
    // The place where lines were lost is between lines.
    let last = logged();
    assert!(last.ends_with(b"0123456789\n"), "{}", String::from_utf8_lossy(&last));
    let all = daemon.api("GET", "/containers/writer/logs?stdout=1", None);
    assert_eq!(all.status, 200);
    assert!(all.body.chunks(49).all(|chunk| chunk.len() == 49 && chunk[48] == b'\n'));
    retire(&disk, daemon);
}

/// Size and time of the newest log file.
fn state_of_log(daemon: &Daemon) -> Option<(u64, std::time::SystemTime)> {
    let inspected = daemon.api("GET", "/containers/writer/json", None).json();
    let meta = std::fs::metadata(inspected["LogPath"].as_str()?).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}
