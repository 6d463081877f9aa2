//! Pulls into the worst moments: killed at calls, power cut, disk full. Whole or absent, and the
//! space comes back.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use spec::Digest;
use tests::content::{self, Builder, Compression, Family, Image};
use tests::http::{self, Connection};
use tests::tarball::Tarball;
use tests::{Client, Disk, Hostile, Own, Reply, Tracer, audit, host, wait_for};

const SOON: Duration = Duration::from_secs(15);

/// Difference of the space in use that is nobody's: directories that have grown do not shrink.
const SLACK: u64 = 640 << 10;

/// Calls by which a pull makes its changes, and how many of each are tried.
const POINTS: &[(&str, u32)] = &[
    ("fsync,fdatasync,syncfs", 4),
    ("rename,renameat,renameat2", 6),
    ("mkdir,mkdirat", 4),
    ("openat,openat2", 4),
    ("unlinkat,unlink,rmdir", 3),
    ("linkat,link", 2),
    ("write,pwrite64,writev", 4),
    ("close", 3),
    ("recvfrom,recvmsg,readv", 3),
];

/// An image of two layers, and what `sha256sum` prints of a file in it.
fn image(seed: usize) -> (Image, String) {
    let data = content::prose(seed, 70_000);
    let mut layer = Tarball::default().dir("faults/", 0o755);
    for name in 0..20 {
        layer = layer.dir(&format!("faults/{name}/"), 0o700);
        layer = layer.file(&format!("faults/{name}/f"), 0o600, &data);
    }
    let how = Compression::Gzip(6);
    let image = Builder::new(Family::Oci).base(how).layer(&layer.finish(), how).build();
    (image, format!("{}  /faults/19/f", Digest::of(&data).hex()))
}

/// Asks for a pull; nothing when the daemon went away meanwhile.
fn pull(socket: &Path, reference: &str) -> Option<http::Response> {
    let (name, tag) = reference.rsplit_once(':').expect("a tag");
    let path = format!("/images/create?fromImage={name}&tag={tag}");
    Connection::open(socket).ok()?.exchange("POST", &path, &[], b"").ok()
}

fn refused(answer: &http::Response) -> bool {
    answer.status >= 400 || answer.text().contains("\"error\"")
}

fn is_there(own: &Own, reference: &str) -> bool {
    own.api("GET", &format!("/images/{reference}/json"), None).status == 200
}

/// Runs a container of the image and looks at a file of it.
#[track_caller]
fn is_whole(own: &Own, reference: &str, expected: &str, what: &str) {
    let body = json!({"Image": reference, "Cmd": ["sha256sum", "/faults/19/f"]});
    let created = own.api("POST", "/containers/create", Some(&body));
    assert_eq!(created.status, 201, "{what}: {}", created.text());
    let id = created.json()["Id"].as_str().expect("an id").to_owned();
    let started = own.api("POST", &format!("/containers/{id}/start"), None);
    let log = own.daemon().log_tail();
    assert_eq!(started.status, 204, "{what}: {}\n{log}", started.text());
    own.api("POST", &format!("/containers/{id}/wait"), None);
    let log = own.api("GET", &format!("/containers/{id}/logs?stdout=1"), None);
    assert!(log.text().contains(expected), "{what}: {}", log.text());
    own.api("DELETE", &format!("/containers/{id}?force=1"), None);
}

/// A pull that works, its image whole, and gone afterwards with all its files.
#[track_caller]
fn heals(own: &Own, hostile: &Hostile, reference: &str, expected: &str, what: &str) {
    let answer = pull(&own.daemon().socket(), reference).expect("an answer");
    let log = own.daemon().log_tail();
    assert!(!refused(&answer), "{what}: {}\n{log}", answer.text());
    is_whole(own, reference, expected, what);
    let removed = own.api("DELETE", &format!("/images/{reference}"), None);
    assert_eq!(removed.status, 200, "{what}: {}", removed.text());
    // Connections that are kept for the next request are no leak.
    hostile.hang_up();
    let leaks = audit::settled(|| audit::of_idle_daemon(own.daemon()));
    assert!(leaks.is_empty(), "{what}: {leaks:#?}\n{}", own.daemon().log_tail());
}

/// What lies where things are made and deleted.
fn half_made(own: &Own) -> Vec<String> {
    ["ingest", "trash"].iter().flat_map(|name| host::tree(&own.store().join(name))).collect()
}

#[track_caller]
fn sound(own: Own) {
    own.daemon().remove_containers().unwrap_or_else(|error| panic!("{error:#}"));
    own.remove_images();
    let store = own.store();
    let mut own = own;
    let leaks = own.daemon_mut().retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
    let store = store::Store::open(&store).expect("a store");
    assert_eq!(store.fsck().expect("it can be read"), []);
}

#[test]
fn a_daemon_killed_in_a_pull_leaves_it_whole_or_absent() {
    if !Tracer::is_there() {
        return;
    }
    let Some(mut own) = Own::start(Client::Docker, &[]) else {
        return;
    };
    own.warm_up();
    let hostile = Hostile::start();
    let (image, expected) = image(1);
    hostile.serve("e2e/points", "one", &image.content());
    let reference = hostile.reference("e2e/points:one");
    let mut reached = 0;
    for (calls, depth) in POINTS {
        for nth in 1..=*depth {
            let what = format!("killed at {calls} {nth}");
            let tracer = Tracer::attach(own.daemon(), calls, &format!("signal=KILL:when={nth}"));
            let answer = pull(&own.daemon().socket(), &reference);
            if answer.is_none() {
                wait_for("the daemon is dead", SOON, || own.daemon_mut().has_ended());
                reached += 1;
            }
            drop(tracer);
            own.daemon_mut().crash().unwrap_or_else(|error| panic!("{what}: {error:#}"));
            let there = is_there(&own, &reference);
            assert!(there || answer.is_none(), "{what}: an acknowledged image is lost");
            if there {
                is_whole(&own, &reference, &expected, &what);
            }
            assert_eq!(half_made(&own), Vec::<String>::new(), "{what}");
            heals(&own, &hostile, &reference, &expected, &what);
        }
    }
    assert!(reached >= 12, "only {reached} of the points were ever reached");
    drop(hostile);
    sound(own);
}

#[test]
fn what_a_failing_disk_refuses_is_not_acknowledged() {
    if !Tracer::is_there() {
        return;
    }
    let Some(mut own) = Own::start(Client::Docker, &[]) else {
        return;
    };
    own.warm_up();
    let hostile = Hostile::start();
    for (number, (calls, error)) in [
        ("fsync,fdatasync,syncfs", "EIO"),
        ("rename,renameat,renameat2", "EIO"),
        ("rename,renameat,renameat2", "ENOSPC"),
        ("mkdir,mkdirat", "ENOSPC"),
        ("mkdir,mkdirat", "EDQUOT"),
        ("fsync,fdatasync,syncfs", "EIO:when=2+"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{calls}: {error}");
        let (image, expected) = image(10 + number);
        hostile.serve("e2e/failing", "one", &image.content());
        let reference = hostile.reference("e2e/failing:one");
        let tracer = Tracer::attach(own.daemon(), calls, &format!("error={error}"));
        let answer = pull(&own.daemon().socket(), &reference).expect("an answer");
        drop(tracer);
        assert!(refused(&answer) || error.contains("when"), "{what}: it was acknowledged");
        if refused(&answer) {
            let text = answer.text().to_lowercase();
            let cause = ["input/output", "no space", "quota"].iter().any(|c| text.contains(c));
            assert!(cause, "{what}: it does not say why: {text}");
        }
        for moment in ["at once", "after a crash"] {
            if moment != "at once" {
                own.daemon_mut().crash().unwrap_or_else(|error| panic!("{what}: {error:#}"));
            }
            assert_eq!(is_there(&own, &reference), !refused(&answer), "{what}: {moment}");
        }
        assert_eq!(half_made(&own), Vec::<String>::new(), "{what}");
        heals(&own, &hostile, &reference, &expected, &what);
    }
    drop(hostile);
    sound(own);
}

/// The host goes down: the disk stops, every process dies, memory is lost.
#[track_caller]
fn go_down(disk: &Disk, own: &mut Own) {
    disk.cut_power();
    let processes = own.daemon().processes();
    own.daemon_mut().kill9();
    processes.iter().for_each(host::Process::kill);
    wait_for("all have ended", SOON, || own.daemon().processes().is_empty());
    disk.unmount().unwrap_or_else(|error| panic!("{error:#}"));
    // It was never there when nothing was started.
    let _ = std::fs::remove_dir_all(own.daemon().exec_root());
}

/// The host comes up again.
#[track_caller]
fn come_up(disk: &Disk, own: &mut Own) {
    disk.mount().unwrap_or_else(|error| panic!("{error:#}"));
    own.daemon_mut().launch().unwrap_or_else(|error| panic!("{error:#}"));
}

#[track_caller]
fn sound_disk(disk: &Disk, own: Own) {
    assert!(!own.daemon().log().contains("is damaged"), "{}", own.daemon().log());
    sound(own);
    disk.unmount().and_then(|()| disk.check()).unwrap_or_else(|error| panic!("{error:#}"));
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

#[test]
fn a_pull_that_was_acknowledged_survives_a_power_cut() {
    if tests::target::reference_socket().is_some() {
        return;
    }
    let disk = Disk::new(256).unwrap_or_else(|error| panic!("{error:#}"));
    let Some(mut own) = Own::start_on(Client::Docker, &disk, &[]) else {
        return;
    };
    let hostile = Hostile::start();
    for round in 0..4 {
        let what = format!("round {round}");
        let (image, expected) = image(20 + round);
        hostile.serve("e2e/kept", "one", &image.content());
        let reference = hostile.reference("e2e/kept:one");
        let answer = pull(&own.daemon().socket(), &reference).expect("an answer");
        assert!(!refused(&answer), "{what}: {}", answer.text());
        // At once, and when the daemon has had time for what it does afterwards.
        if round % 2 == 1 {
            own.cmd(&["history", &reference]).ok();
            tests::poll(Duration::from_millis(400), || None::<()>);
        }
        go_down(&disk, &mut own);
        come_up(&disk, &mut own);
        assert!(is_there(&own, &reference), "{what}: it is lost\n{}", own.daemon().log_tail());
        is_whole(&own, &reference, &expected, &what);
        let archive = own.dir().join("saved.tar").display().to_string();
        own.cmd(&["save", "-o", &archive, &reference]).ok();
        own.cmd(&["rmi", &reference]).ok();
    }
    sound_disk(&disk, own);
}

#[test]
fn power_cut_in_the_middle_of_a_pull() {
    if tests::target::reference_socket().is_some() {
        return;
    }
    let disk = Disk::new(256).unwrap_or_else(|error| panic!("{error:#}"));
    let Some(mut own) = Own::start_on(Client::Docker, &disk, &[]) else {
        return;
    };
    let hostile = Hostile::start();
    let (image, expected) = image(30);
    hostile.serve("e2e/middle", "one", &image.content());
    let reference = hostile.reference("e2e/middle:one");
    // Once through, so that what the daemon makes once is there.
    assert!(!refused(&pull(&own.daemon().socket(), &reference).expect("an answer")));
    own.cmd(&["rmi", &reference]).ok();
    own.daemon_mut().crash().unwrap_or_else(|error| panic!("{error:#}"));
    let used = (disk.used(), disk.inodes());
    let all = image.transfer_size();
    for percent in [5, 30, 55, 80, 95, 99] {
        let what = format!("{percent} %");
        hostile.forget();
        for layer in &image.layers {
            let stop = layer.blob.bytes.len() as u64 * percent / 100;
            hostile.on(&layer.blob.digest(), Reply::real().stall_after(stop));
        }
        let socket = own.daemon().socket();
        let name = reference.clone();
        let pulling = std::thread::spawn(move || pull(&socket, &name));
        hostile.wait_for_bytes(all * percent / 100 - image.layers.len() as u64);
        go_down(&disk, &mut own);
        hostile.behave();
        hostile.hang_up();
        // The disk that is gone may have been noticed first.
        let answer = pulling.join().expect("no panic");
        assert!(answer.is_none_or(|answer| refused(&answer)), "{what}: it was acknowledged");
        come_up(&disk, &mut own);
        assert!(!is_there(&own, &reference), "{what}: it is half there");
        assert_eq!(half_made(&own), Vec::<String>::new(), "{what}");
        let answer = pull(&own.daemon().socket(), &reference).expect("an answer");
        assert!(!refused(&answer), "{what}: {}", answer.text());
        is_whole(&own, &reference, &expected, &what);
        own.cmd(&["rmi", &reference]).ok();
        space_is_back(&disk, used, &what);
    }
    sound_disk(&disk, own);
}

#[test]
fn a_pull_onto_a_full_disk_is_refused_and_leaves_nothing() {
    if tests::target::reference_socket().is_some() {
        return;
    }
    let disk = Disk::new(96).unwrap_or_else(|error| panic!("{error:#}"));
    let Some(mut own) = Own::start_on(Client::Docker, &disk, &[]) else {
        return;
    };
    own.warm_up();
    let hostile = Hostile::start();
    let mut layer = Tarball::default().dir("d/", 0o755);
    for number in 0..40 {
        layer = layer.file(&format!("d/{number}"), 0o644, &content::prose(number, 400 << 10));
    }
    // Three to one: so much fits as it travels that does not fit unpacked.
    let image = Builder::new(Family::Oci).layer(&layer.finish(), Compression::Gzip(6)).build();
    hostile.serve("e2e/full", "one", &image.content());
    let reference = hostile.reference("e2e/full:one");
    let pid = own.daemon().pid();
    let used = (disk.used(), disk.inodes());
    let mut refusals = 0;
    for free in [0, 64 << 10, 1 << 20, 4 << 20, 9 << 20, 15 << 20] {
        let what = format!("{free} bytes free");
        disk.fill(free);
        hostile.forget();
        let answer = pull(&own.daemon().socket(), &reference).expect("an answer");
        if refused(&answer) {
            let text = answer.text().to_lowercase();
            assert!(text.contains("space"), "{what}: {text}");
            assert!(!is_there(&own, &reference), "{what}");
            // What cannot fit as it travels is not begun.
            if free < image.transfer_size() {
                assert!(
                    hostile.sent() < 1 << 20,
                    "{what}: {} bytes were asked for",
                    hostile.sent()
                );
            }
            refusals += 1;
        } else {
            own.cmd(&["rmi", &reference]).ok();
        }
        disk.empty();
        space_is_back(&disk, used, &what);
        assert_eq!(own.api("GET", "/_ping", None).status, 200);
    }
    assert!(refusals >= 4, "only {refusals} levels were too low");
    let answer = pull(&own.daemon().socket(), &reference).expect("an answer");
    assert!(!refused(&answer), "{}", answer.text());
    own.cmd(&["rmi", &reference]).ok();
    assert_eq!(own.daemon().pid(), pid);
    drop(hostile);
    sound_disk(&disk, own);
}

#[test]
fn other_ways_in_and_out_of_a_full_disk() {
    if tests::target::reference_socket().is_some() {
        return;
    }
    let disk = Disk::new(96).unwrap_or_else(|error| panic!("{error:#}"));
    let Some(mut own) = Own::start_on(Client::Docker, &disk, &[]) else {
        return;
    };
    own.warm_up();
    let script = "dd if=/dev/urandom of=/big bs=1M count=12 2>/dev/null";
    own.cmd(&["run", "--name", "grown", tests::IMAGE, "sh", "-c", script]).ok();
    let used = (disk.used(), disk.inodes());
    for free in [0, 1 << 20, 6 << 20] {
        let what = format!("{free} bytes free");
        disk.fill(free);
        let commit = own.cmd(&["commit", "grown", "full/committed"]).exits(1);
        assert!(commit.stderr.to_lowercase().contains("space"), "{what}: {commit:?}");
        // What is only read needs no room.
        let export = own.command(&["export", "grown"]).output().expect("it runs");
        assert!(export.status.success() && export.stdout.len() > 12 << 20, "{what}");
        let save = own.command(&["save", tests::IMAGE]).output().expect("it runs");
        assert!(save.status.success() && save.stdout.len() > 1 << 20, "{what}");
        disk.empty();
        space_is_back(&disk, used, &what);
    }
    own.cmd(&["commit", "grown", "full/committed"]).ok();
    own.cmd(&["rmi", "full/committed"]).ok();
    sound_disk(&disk, own);
}
