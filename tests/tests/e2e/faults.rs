//! Failing disks and a daemon killed inside a load: never acknowledged, never half there.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use spec::Digest;
use tests::http::{self, Connection};
use tests::tarball::Tarball;
use tests::{Daemon, IMAGE, Tracer, audit, host, image, wait_for};

const SOON: Duration = Duration::from_secs(10);

const LOADED: &str = "faults/loaded:latest";

/// Calls that a load makes and that may fail, and those at which the daemon is killed.
const SYNC: &str = "fsync,fdatasync,syncfs";
const RENAME: &str = "rename,renameat,renameat2";
const MAKE: &str = "mkdir,mkdirat";

fn daemon() -> Option<Daemon> {
    if tests::target::reference_socket().is_some() || !Tracer::is_there() {
        return None;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket())
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log_tail()));
    daemon.warm_up();
    Some(daemon)
}

/// An archive of two layers of its own, and what `sha256sum` prints of a file in it.
fn archive(number: usize) -> (Vec<u8>, String) {
    let data = format!("file of {number}\n").repeat(5000);
    let mut layer = Tarball::default().dir("faults/", 0o755);
    for name in 0..20 {
        layer = layer.dir(&format!("faults/{name}/"), 0o700);
        layer = layer.file(&format!("faults/{name}/f"), 0o600, data.as_bytes());
    }
    let base = image::rootfs().unwrap_or_else(|error| panic!("{error:#}"));
    let hex = Digest::of(data.as_bytes()).hex();
    (image::saved(LOADED, &[base, layer.finish()]), format!("{hex}  /faults/19/f"))
}

/// Loads; nothing when the daemon went away meanwhile.
fn load(socket: &Path, archive: &[u8]) -> Option<http::Response> {
    Connection::open(socket).ok()?.upload("POST", "/images/load", archive).ok()
}

fn refused(answer: &http::Response) -> bool {
    answer.status >= 400 || answer.text().contains("\"error\"")
}

fn is_there(daemon: &Daemon) -> bool {
    daemon.api("GET", &format!("/images/{LOADED}/json"), None).status == 200
}

/// Runs a container of the loaded image and looks at a file of it.
#[track_caller]
fn is_whole(daemon: &Daemon, expected: &str, what: &str) {
    let body = json!({"Image": LOADED, "Cmd": ["sha256sum", "/faults/19/f"]});
    let created = daemon.api("POST", "/containers/create", Some(&body));
    assert_eq!(created.status, 201, "{what}: {}", created.text());
    let id = created.json()["Id"].as_str().expect("an id").to_owned();
    let started = daemon.api("POST", &format!("/containers/{id}/start"), None);
    assert_eq!(started.status, 204, "{what}: {}\n{}", started.text(), daemon.log_tail());
    daemon.api("POST", &format!("/containers/{id}/wait"), None);
    let log = daemon.api("GET", &format!("/containers/{id}/logs?stdout=1"), None);
    assert!(log.text().contains(expected), "{what}: {}", log.text());
    daemon.api("DELETE", &format!("/containers/{id}?force=1"), None);
}

/// A load that works, its image whole, and gone afterwards with all its files.
#[track_caller]
fn heals(daemon: &Daemon, (archive, expected): &(Vec<u8>, String), what: &str) {
    let answer = load(&daemon.socket(), archive).expect("an answer");
    assert!(!refused(&answer), "{what}: {}\n{}", answer.text(), daemon.log_tail());
    is_whole(daemon, expected, what);
    let removed = daemon.api("DELETE", &format!("/images/{LOADED}"), None);
    assert_eq!(removed.status, 200, "{what}: {}", removed.text());
    let leaks = audit::settled(|| audit::of_idle_daemon(daemon));
    assert!(leaks.is_empty(), "{what}: {leaks:#?}\n{}", daemon.log_tail());
}

#[track_caller]
fn retire(mut daemon: Daemon) {
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
    let store = store::Store::open(&daemon.data_root().join("store")).expect("a store");
    assert_eq!(store.fsck().expect("it can be read"), []);
}

/// One request while calls fail: what it is, where its effect is to be seen, and its answer.
struct Tried {
    verb: &'static str,
    /// What answers 200 from then on.
    effect: String,
    /// What its `Id` is from then on, where something was there before.
    id: Option<String>,
    answer: http::Response,
}

impl Tried {
    fn has_happened(&self, daemon: &Daemon) -> bool {
        let found = daemon.api("GET", &self.effect, None);
        let is_it = |id: &String| found.json()["Id"] == id.as_str();
        found.status == 200 && self.id.as_ref().is_none_or(is_it)
    }
}

/// A name that leads to one image and is to lead to another.
const MOVED: &str = "faults/moved:latest";

/// Makes the image that [`MOVED`] is to lead to; gives its id.
fn second_image(daemon: &Daemon) -> String {
    let body = json!({"Image": IMAGE, "Cmd": ["true"]});
    let made = daemon.api("POST", "/containers/create?name=second", Some(&body));
    assert_eq!(made.status, 201, "{}", made.text());
    let commit = "/commit?container=second&repo=faults/second&tag=latest&comment=second";
    let made = daemon.api("POST", commit, None);
    assert_eq!(made.status, 201, "{}", made.text());
    daemon.remove_containers().unwrap_or_else(|error| panic!("{error:#}"));
    made.json()["Id"].as_str().expect("an id").to_owned()
}

/// Tries everything that changes records.
fn try_all(daemon: &Daemon, archive: &[u8], second: &str) -> Vec<Tried> {
    let body = json!({"Image": IMAGE, "Cmd": ["true"]});
    let tried = |verb, effect: &str, answer| Tried {
        verb,
        effect: effect.to_owned(),
        id: None,
        answer,
    };
    let load = || load(&daemon.socket(), archive).expect("an answer");
    let tag = format!("/images/{IMAGE}/tag?repo=faults/tag&tag=latest");
    let post = |path: &str, body| daemon.api("POST", path, body);
    vec![
        Tried {
            id: Some(second.to_owned()),
            ..tried(
                "move",
                &format!("/images/{MOVED}/json"),
                post("/images/faults/second:latest/tag?repo=faults/moved&tag=latest", None),
            )
        },
        tried("tag", "/images/faults/tag:latest/json", post(&tag, None)),
        tried("load", &format!("/images/{LOADED}/json"), load()),
        tried(
            "create",
            "/containers/during/json",
            post("/containers/create?name=during", Some(&body)),
        ),
        tried(
            "rename",
            "/containers/after/json",
            post("/containers/before/rename?name=after", None),
        ),
    ]
}

#[test]
fn what_a_failing_disk_refuses_is_not_acknowledged() {
    let Some(mut daemon) = daemon() else { return };
    let body = json!({"Image": IMAGE, "Cmd": ["true"]});
    let second = second_image(&daemon);
    // The last number: how many of the five must fail. Calls are counted by thread.
    for (number, (calls, error, failures)) in [
        (SYNC, "EIO", 5),
        (SYNC, "EIO:when=2+", 1),
        (SYNC, "EIO:when=3+", 0),
        (SYNC, "EIO:when=4+", 0),
        (RENAME, "EIO", 5),
        (RENAME, "ENOSPC", 5),
        (RENAME, "EIO:when=2+", 0),
        (MAKE, "ENOSPC", 2),
        (MAKE, "EDQUOT", 2),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{calls}: {error}");
        let made = daemon.api("POST", "/containers/create?name=before", Some(&body));
        assert_eq!(made.status, 201, "{what}: {}", made.text());
        let before = format!("/images/{IMAGE}/tag?repo=faults/moved&tag=latest");
        assert_eq!(daemon.api("POST", &before, None).status, 201, "{what}");
        let image = archive(number);
        let tracer = Tracer::attach(&daemon, calls, &format!("error={error}"));
        let all = try_all(&daemon, &image.0, &second);
        drop(tracer);
        let failed: Vec<&Tried> = all.iter().filter(|tried| refused(&tried.answer)).collect();
        assert!(failed.len() >= failures, "{what}: only {} were refused", failed.len());
        for tried in failed {
            let text = tried.answer.text().to_lowercase();
            let cause = ["input/output", "no space", "quota"].iter().any(|c| text.contains(c));
            assert!(cause, "{what}: {} does not say why: {text}", tried.verb);
        }
        for moment in ["at once", "after a crash"] {
            if moment != "at once" {
                daemon.crash().unwrap_or_else(|error| panic!("{what}: {error:#}"));
            }
            for tried in &all {
                let there = tried.has_happened(&daemon);
                let (verb, answer) = (tried.verb, tried.answer.text());
                assert_eq!(there, !refused(&tried.answer), "{what}: {verb} {moment}: {answer}");
            }
        }
        assert_eq!(half_made(&daemon), Vec::<String>::new(), "{what}");
        daemon.remove_containers().unwrap_or_else(|error| panic!("{what}: {error:#}"));
        daemon.api("DELETE", "/images/faults/tag:latest", None);
        let answer = load(&daemon.socket(), &image.0).expect("an answer");
        assert!(!refused(&answer), "{what}: {}", answer.text());
        is_whole(&daemon, &image.1, &what);
        assert_eq!(daemon.api("DELETE", &format!("/images/{LOADED}"), None).status, 200);
    }
    for name in [MOVED, "faults/second:latest"] {
        assert_eq!(daemon.api("DELETE", &format!("/images/{name}"), None).status, 200, "{name}");
    }
    retire(daemon);
}

/// What lies in the store's directories for what is being written or deleted.
fn half_made(daemon: &Daemon) -> Vec<String> {
    let store = daemon.data_root().join("store");
    ["ingest", "trash"].iter().flat_map(|name| host::tree(&store.join(name))).collect()
}

#[test]
fn a_daemon_killed_in_a_load_leaves_it_whole_or_absent() {
    let Some(mut daemon) = daemon() else { return };
    let mut reached = 0;
    let points = [(SYNC, 4), (RENAME, 6), (MAKE, 4), ("openat,openat2", 4), ("close", 3)];
    let image = archive(0);
    for (calls, depth) in points {
        for nth in 1..=depth {
            let what = format!("killed at {calls} {nth}");
            let tracer = Tracer::attach(&daemon, calls, &format!("signal=KILL:when={nth}"));
            let answer = load(&daemon.socket(), &image.0);
            if answer.is_none() {
                wait_for("the daemon is dead", SOON, || daemon.has_ended());
                reached += 1;
            }
            drop(tracer);
            daemon.crash().unwrap_or_else(|error| panic!("{what}: {error:#}"));
            let there = is_there(&daemon);
            assert!(there || answer.is_none(), "{what}: an acknowledged image is lost");
            if there {
                is_whole(&daemon, &image.1, &what);
            }
            assert_eq!(half_made(&daemon), Vec::<String>::new(), "{what}");
            heals(&daemon, &image, &what);
        }
    }
    assert!(reached >= 8, "only {reached} of the points were ever reached");
    retire(daemon);
}
