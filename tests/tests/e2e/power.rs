//! Power cuts: what was acknowledged is there afterwards and whole, the rest is not there at all.
//!
//! The data root lies on an ext4 of its own that seldom writes back. The power is cut by shutting
//! that file system down without its journal; then every process dies, and what lives in memory
//! (the exec root) is lost, as on a host that went down.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spec::Digest;
use tests::http::{self, Connection};
use tests::tarball::Tarball;
use tests::{Daemon, Disk, IMAGE, audit, host, image, poll, wait_for};

const SOON: Duration = Duration::from_secs(15);

/// The image that is loaded, and one made with `import`.
const LOADED: &str = "power/loaded:latest";
const IMPORTED: &str = "power/imported:latest";

/// Reads every file of the payload in a fixed order.
const READ_ALL: &str = "cd /payload && find . -type f | sort | xargs sha256sum";

fn machine(megabytes: u64) -> Option<(Disk, Daemon)> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let disk = Disk::new(megabytes).unwrap_or_else(|error| panic!("{error:#}"));
    let daemon = Daemon::start_on(&disk.path()).unwrap_or_else(|error| panic!("{error:#}"));
    Some((disk, daemon))
}

/// The content of a file of the payload: the same at every run, hardly compressible.
fn content(seed: usize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        let block = Digest::of(format!("{seed} {}", bytes.len()).as_bytes());
        bytes.extend_from_slice(block.hex().as_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A layer with some files, and what [`READ_ALL`] prints of them.
fn payload(seed: usize, files: usize) -> (Vec<u8>, String) {
    let mut tar = Tarball::default().dir("payload/", 0o755);
    let mut lines = Vec::new();
    for number in 0..files {
        if number % 10 == 0 {
            tar = tar.dir(&format!("payload/{}/", number / 10), 0o755);
        }
        let path = format!("{}/{number:03}", number / 10);
        let bytes = content(seed + number, 1 + number * 997 % 90_000);
        lines.push((format!("./{path}"), Digest::of(&bytes).hex()));
        tar = tar.file(&format!("payload/{path}"), 0o644, &bytes);
    }
    lines.sort();
    let text = lines.iter().map(|(path, hex)| format!("{hex}  {path}\n")).collect();
    (tar.finish(), text)
}

fn base() -> Vec<u8> {
    image::rootfs().unwrap_or_else(|error| panic!("{error:#}"))
}

fn loadable(seed: usize) -> (Vec<u8>, String) {
    let (layer, expected) = payload(seed, 60);
    (image::saved(LOADED, &[base(), layer]), expected)
}

fn send(socket: &Path, path: &str, archive: &[u8]) -> std::io::Result<http::Response> {
    Connection::open(socket)?.upload("POST", path, archive)
}

fn succeeded(answer: &http::Response) -> bool {
    answer.status == 200 && !answer.text().contains("\"error\"")
}

#[track_caller]
fn load(daemon: &Daemon, archive: &[u8]) {
    let answer = send(&daemon.socket(), "/images/load", archive).expect("an answer");
    assert!(succeeded(&answer), "{}\n{}", answer.text(), daemon.log_tail());
}

#[track_caller]
fn create(daemon: &Daemon, name: &str, mut body: Value) -> String {
    if body["Image"].is_null() {
        body["Image"] = LOADED.into();
    }
    let path = format!("/containers/create?name={name}");
    let created = daemon.api("POST", &path, Some(&body));
    assert_eq!(created.status, 201, "{}", created.text());
    created.json()["Id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn start(daemon: &Daemon, id: &str) {
    let started = daemon.api("POST", &format!("/containers/{id}/start"), None);
    assert_eq!(started.status, 204, "{}\n{}", started.text(), daemon.log_tail());
}

/// Runs a created container to its end and returns what it printed.
#[track_caller]
fn output(daemon: &Daemon, id: &str) -> String {
    start(daemon, id);
    daemon.api("POST", &format!("/containers/{id}/wait"), None);
    let bytes = daemon.api("GET", &format!("/containers/{id}/logs?stdout=1&stderr=1"), None).body;
    let (mut text, mut rest) = (Vec::new(), bytes.as_slice());
    while let [_, 0, 0, 0, a, b, c, d, tail @ ..] = rest {
        let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        text.extend_from_slice(&tail[..size]);
        rest = &tail[size..];
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The files of the loaded image as a container sees them.
#[track_caller]
fn read_all(daemon: &Daemon, image: &str) -> String {
    let body = json!({"Image": image, "Cmd": ["sh", "-c", READ_ALL]});
    let id = create(daemon, "reader", body);
    let text = output(daemon, &id);
    daemon.api("DELETE", &format!("/containers/{id}?force=1"), None);
    text
}

fn status_of(daemon: &Daemon, image: &str) -> u16 {
    daemon.api("GET", &format!("/images/{image}/json"), None).status
}

/// The host goes down: the disk stops, every process dies, memory is lost.
#[track_caller]
fn go_down(disk: &Disk, daemon: &mut Daemon) {
    disk.cut_power();
    let processes = daemon.processes();
    daemon.kill9();
    processes.iter().for_each(host::Process::kill);
    wait_for("all have ended", SOON, || daemon.processes().is_empty());
    // Volumes with a size are mounted on the host, which went down too.
    let table = host::mounts_below("self", &daemon.data_root());
    let places = table.iter().filter_map(|line| line.split(' ').nth(4));
    for place in places.filter(|place| Path::new(place) != disk.path()) {
        let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
    }
    disk.unmount().unwrap_or_else(|error| panic!("{error:#}"));
    // It was never there when nothing was started.
    let _ = std::fs::remove_dir_all(daemon.exec_root());
}

/// The host comes up again.
#[track_caller]
fn come_up(disk: &Disk, daemon: &mut Daemon) {
    disk.mount().unwrap_or_else(|error| panic!("{error:#}"));
    daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
}

/// Files that hold the daemon's own state and are empty.
fn empty_records(daemon: &Daemon) -> Vec<String> {
    let root = daemon.data_root();
    let is_record = |path: &&String| path.ends_with(".json") && !path.contains("/diff/");
    let is_empty = |path: &&String| root.join(path).metadata().is_ok_and(|meta| meta.len() == 0);
    let is_log = |path: &&String| path.ends_with("-json.log");
    let tree = host::tree(&root);
    let blobs = tree.iter().filter(|path| path.contains("store/blobs/sha256/"));
    let records = tree.iter().filter(is_record).filter(|path| !is_log(path));
    records.chain(blobs).filter(is_empty).cloned().collect()
}

/// Ends the daemon in order, checks store and file system.
#[track_caller]
fn retire(disk: &Disk, mut daemon: Daemon) {
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
    assert!(!daemon.log().contains("is damaged"), "{}", daemon.log());
    let store = store::Store::open(&daemon.data_root().join("store")).expect("a store");
    assert_eq!(store.fsck().expect("it can be read"), []);
    drop(store);
    disk.unmount().and_then(|()| disk.check()).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn what_was_acknowledged_survives() {
    let Some((disk, mut daemon)) = machine(256) else {
        return;
    };
    let (archive, expected) = loadable(1);
    load(&daemon, &archive);
    let import = format!("/images/create?fromSrc=-&repo={}", IMPORTED.replace(':', "&tag="));
    let (layer, _) = payload(1, 60);
    // An archive may end in zeros; the second one goes on where the first ended.
    let first = base();
    let both = Tarball::default().raw(&first[..first.len() - 1024]).raw(&layer).finish();
    let imported = send(&daemon.socket(), &import, &both).expect("an answer");
    assert!(succeeded(&imported), "{}", imported.text());
    for tag in ["kept", "dropped"] {
        let path = format!("/images/{LOADED}/tag?repo=power/tag&tag={tag}");
        assert_eq!(daemon.api("POST", &path, None).status, 201);
    }
    assert_eq!(daemon.api("DELETE", "/images/power/tag:dropped", None).status, 200);
    let ids =
        ["one", "two"].map(|name| create(&daemon, name, json!({"Cmd": ["sh", "-c", READ_ALL]})));
    let renamed = daemon.api("POST", "/containers/two/rename?name=three", None);
    assert_eq!(renamed.status, 204, "{}", renamed.text());

    go_down(&disk, &mut daemon);
    come_up(&disk, &mut daemon);

    assert_eq!(empty_records(&daemon), Vec::<String>::new());
    for (image, status) in
        [(LOADED, 200), (IMPORTED, 200), ("power/tag:kept", 200), ("power/tag:dropped", 404)]
    {
        assert_eq!(status_of(&daemon, image), status, "{image}\n{}", daemon.log_tail());
    }
    for (name, id) in ["one", "three"].iter().zip(&ids) {
        let there = daemon.api("GET", &format!("/containers/{name}/json"), None);
        assert_eq!(there.json()["Id"], id.as_str(), "{}", daemon.log_tail());
        assert_eq!(output(&daemon, name), expected);
    }
    for image in [LOADED, IMPORTED] {
        assert_eq!(read_all(&daemon, image), expected, "{image}");
    }
    retire(&disk, daemon);
}

#[test]
fn data_in_volumes_survives_once_it_is_synced() {
    let Some((disk, mut daemon)) = machine(256) else {
        return;
    };
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    let volumes = [("plain", Value::Null), ("sized", json!({"size": "32M"}))];
    for (name, options) in &volumes {
        let body = json!({"Name": name, "Labels": {"of": name}, "DriverOpts": options});
        assert_eq!(daemon.api("POST", "/volumes/create", Some(&body)).status, 201);
    }
    let binds: Vec<String> = volumes.iter().map(|(name, _)| format!("{name}:/{name}")).collect();
    let sync = "for d in plain sized; do mkdir -p /$d/sub; \
        echo kept in $d | dd of=/$d/sub/f conv=fsync 2>/dev/null; done; echo synced; sleep 1000";
    let host = json!({"Binds": binds});
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", sync], "HostConfig": host});
    let writer = create(&daemon, "writer", body);
    start(&daemon, &writer);
    wait_for("everything is synced", SOON, || {
        let path = format!("/containers/{writer}/logs?stdout=1");
        daemon.api("GET", &path, None).body.ends_with(b"synced\n")
    });
    assert_eq!(daemon.api("POST", "/volumes/plain/protect", None).status, 200);

    go_down(&disk, &mut daemon);
    come_up(&disk, &mut daemon);

    for (name, options) in &volumes {
        let there = daemon.api("GET", &format!("/volumes/{name}"), None).json();
        assert_eq!((&there["Labels"]["of"], &there["Options"]), (&json!(name), options));
    }
    assert_eq!(daemon.api("DELETE", "/volumes/plain?force=1", None).status, 409);
    let read = "cat /plain/sub/f /sized/sub/f";
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", read], "HostConfig": host});
    let reader = create(&daemon, "reader", body);
    assert_eq!(output(&daemon, &reader), "kept in plain\nkept in sized\n");
    assert_eq!(daemon.api("POST", "/volumes/plain/unprotect", None).status, 200);
    for name in ["writer", "reader"] {
        daemon.api("DELETE", &format!("/containers/{name}?force=1"), None);
    }
    for (name, _) in &volumes {
        let removed = daemon.api("DELETE", &format!("/volumes/{name}"), None);
        assert_eq!(removed.status, 204, "{}", removed.text());
    }
    retire(&disk, daemon);
}

#[test]
fn what_ran_or_was_to_be_removed_is_at_rest_or_gone() {
    let Some((disk, mut daemon)) = machine(256) else {
        return;
    };
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    let body = |script: &str, extra: Value| json!({"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": extra});
    let ended = create(&daemon, "ended", body("exit 3", json!({})));
    let removed = create(&daemon, "removed", body("true", json!({})));
    // Its end syncs the disk: the kernel does that when it unmounts an overlay.
    output(&daemon, &ended);
    let running = create(&daemon, "running", body("sleep 1000", json!({})));
    let created = create(&daemon, "created", body("echo here", json!({})));
    create(&daemon, "briefer", body("true", json!({"AutoRemove": true})));
    create(&daemon, "brief", body("sleep 1000", json!({"AutoRemove": true})));
    start(&daemon, &running);
    start(&daemon, "brief");
    assert_eq!(daemon.api("DELETE", &format!("/containers/{removed}"), None).status, 204);
    go_down(&disk, &mut daemon);
    come_up(&disk, &mut daemon);
    assert_eq!(empty_records(&daemon), Vec::<String>::new(), "{}", daemon.log_tail());
    for id in [&running, &ended] {
        let state = daemon.api("GET", &format!("/containers/{id}/json"), None).json();
        assert_eq!(state["State"]["Running"], false, "{state}");
        start(&daemon, id);
    }
    assert_eq!(output(&daemon, &created), "here\n");
    let gone = |name: &str| daemon.api("GET", &format!("/containers/{name}/json"), None).status;
    wait_for("the container with --rm is gone", SOON, || gone("brief") == 404);
    assert_eq!(gone(&removed), 404);
    // Their names are free again.
    for name in ["brief", "briefer"] {
        daemon.api("DELETE", &format!("/containers/{name}?force=1"), None);
        let id = create(&daemon, name, body("echo again", json!({})));
        assert_eq!(output(&daemon, &id), "again\n");
    }
    retire(&disk, daemon);
}

#[test]
fn a_load_that_the_power_cut_interrupts_is_whole_or_absent() {
    let Some((disk, mut daemon)) = machine(256) else {
        return;
    };
    let (archive, expected) = loadable(1);
    let begin = Instant::now();
    load(&daemon, &archive);
    let whole = begin.elapsed();
    daemon.api("DELETE", &format!("/images/{LOADED}?force=1"), None);
    let used = disk.used();
    const MOMENTS: u32 = 10;
    for moment in 0..MOMENTS {
        let (socket, sent) = (daemon.socket(), archive.clone());
        let sender = std::thread::spawn(move || {
            send(&socket, "/images/load", &sent).is_ok_and(|answer| succeeded(&answer))
        });
        // Here the time itself is what is tried: nothing is waited for.
        poll(whole * moment / (MOMENTS - 1), || None::<()>);
        go_down(&disk, &mut daemon);
        let acknowledged = sender.join().expect("no panic");
        come_up(&disk, &mut daemon);
        assert_eq!(empty_records(&daemon), Vec::<String>::new());
        let there = status_of(&daemon, LOADED) == 200;
        assert!(there || !acknowledged, "an acknowledged image is lost at moment {moment}");
        if there {
            assert_eq!(read_all(&daemon, LOADED), expected, "moment {moment}");
        }
        load(&daemon, &archive);
        assert_eq!(read_all(&daemon, LOADED), expected, "moment {moment}");
        daemon.api("DELETE", &format!("/images/{LOADED}?force=1"), None);
        let space = audit::settled(|| {
            let now = disk.used();
            let more = now.saturating_sub(used);
            if more < 512 << 10 {
                Vec::new()
            } else {
                vec![format!("{more} more bytes in use")]
            }
        });
        assert!(space.is_empty(), "moment {moment}: {space:?}");
    }
    retire(&disk, daemon);
}

/// Names that were made, and those of them that were removed, each once acknowledged; last what
/// was being done when the power went.
#[derive(Debug, Default)]
struct Ledger {
    made: Vec<String>,
    removed: Vec<String>,
    open: String,
}

impl Ledger {
    /// Makes and removes containers and tags until the daemon is gone.
    fn keep(socket: &Path) -> Self {
        let mut ledger = Self::default();
        let body = json!({"Image": IMAGE, "Cmd": ["echo", "here"]});
        // No name can be taken for the beginning of an id.
        for number in 0.. {
            let (container, tag) = (format!("name{number}"), format!("power/t{number}"));
            let create = format!("/containers/create?name={container}");
            let tagging = format!("/images/{IMAGE}/tag?repo={tag}&tag=latest");
            let steps = [
                ("POST", create, Some(&body), container.clone()),
                ("POST", tagging, None, tag.clone()),
                ("DELETE", format!("/containers/{container}"), None, container),
                ("DELETE", format!("/images/{tag}:latest"), None, tag),
            ];
            // Every other number stays.
            for (method, path, body, name) in steps.into_iter().take(2 + number % 2 * 2) {
                ledger.open.clone_from(&name);
                match http::request(socket, method, &path, body) {
                    Ok(answer) if answer.status >= 300 => return ledger,
                    Err(_) => return ledger,
                    Ok(_) if method == "POST" => ledger.made.push(name),
                    Ok(_) => ledger.removed.push(name),
                }
            }
        }
        ledger
    }

    #[track_caller]
    fn check(&self, daemon: &Daemon) {
        for name in self.made.iter().filter(|name| **name != self.open) {
            let path = if name.contains('/') {
                format!("/images/{name}:latest/json")
            } else {
                format!("/containers/{name}/json")
            };
            let status = daemon.api("GET", &path, None).status;
            let expected = if self.removed.contains(name) {
                404
            } else {
                200
            };
            assert_eq!(status, expected, "{name} of {self:#?}\n{}", daemon.log_tail());
        }
    }
}

#[test]
fn small_changes_that_the_power_cut_interrupts_happened_or_not() {
    let Some((disk, mut daemon)) = machine(256) else {
        return;
    };
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    for moment in 0..8 {
        let socket = daemon.socket();
        let keeper = std::thread::spawn(move || Ledger::keep(&socket));
        // Here the time itself is what is tried: nothing is waited for.
        poll(Duration::from_millis(7 + moment * 29), || None::<()>);
        go_down(&disk, &mut daemon);
        let ledger = keeper.join().expect("no panic");
        come_up(&disk, &mut daemon);
        assert_eq!(empty_records(&daemon), Vec::<String>::new());
        ledger.check(&daemon);
        let last = ledger.made.iter().rfind(|name| {
            !name.contains('/') && **name != ledger.open && !ledger.removed.contains(name)
        });
        if let Some(last) = last {
            assert_eq!(output(&daemon, last), "here\n");
        }
        daemon.remove_containers().unwrap_or_else(|error| panic!("{error:#}"));
        for name in ledger.made.iter().chain([&ledger.open]).filter(|name| name.contains('/')) {
            daemon.api("DELETE", &format!("/images/{name}:latest"), None);
        }
    }
    retire(&disk, daemon);
}
