//! Damaged files: the daemon starts, tells what is damaged, and everything else is there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tests::tarball::Tarball;
use tests::{Daemon, IMAGE, host, http, image};

/// How long a daemon may take to start with a damaged file.
const START: Duration = Duration::from_secs(10);

/// What can become of a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Emptied,
    Cut,
    Zeroed,
    Garbled,
    Gone,
    Directory,
    Link,
}

const ALL: [Damage; 7] = [
    Damage::Emptied,
    Damage::Cut,
    Damage::Zeroed,
    Damage::Garbled,
    Damage::Gone,
    Damage::Directory,
    Damage::Link,
];

impl Damage {
    fn apply(self, path: &Path) {
        let bytes = fs::read(path).expect("it is a file");
        fs::remove_file(path).expect("it is ours");
        match self {
            Damage::Emptied => fs::write(path, b""),
            Damage::Cut => fs::write(path, &bytes[..bytes.len() / 2]),
            Damage::Zeroed => fs::write(path, vec![0; bytes.len()]),
            Damage::Garbled => {
                let garbled: Vec<u8> = bytes.iter().map(|byte| byte ^ 0xa5).collect();
                fs::write(path, garbled)
            }
            Damage::Gone => Ok(()),
            Damage::Directory => fs::create_dir(path),
            Damage::Link => std::os::unix::fs::symlink("/etc/hostname", path),
        }
        .expect("it is ours");
    }
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("it is ours");
    }
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("there is cp");
    assert!(status.success());
}

/// The daemon's own files: neither what images hold nor what containers wrote.
fn own_files(root: &Path) -> Vec<String> {
    let foreign = ["/diff/", "/upper/", "/work/", "store/init/"];
    let own = |path: &String| {
        root.join(path).is_file() && !foreign.iter().any(|part| path.contains(part))
    };
    host::tree(root).into_iter().filter(own).collect()
}

/// Files that hold nothing: there is nothing to damage.
fn is_lock(path: &str) -> bool {
    path == "cortend.lock" || path == "store/lock"
}

/// How many images and containers it tells of.
fn objects(daemon: &Daemon) -> Result<usize> {
    let mut all = 0;
    for path in ["/images/json", "/containers/json?all=1"] {
        let answer = http::request(&daemon.socket(), "GET", path, None)?;
        ensure!(answer.status == 200, "{path}: {}", answer.text());
        all += answer.json().as_array().map_or(0, Vec::len);
    }
    Ok(all)
}

/// Starts the daemon with a damaged file, looks at what is left, and ends it.
fn survives(daemon: &mut Daemon, file: &Path, damage: Damage) -> Result<()> {
    damage.apply(file);
    let begin = Instant::now();
    daemon.launch()?;
    ensure!(begin.elapsed() < START, "it took {:?} to start", begin.elapsed());
    let found = objects(daemon)?;
    ensure!(found >= 3, "only {found} objects are left");
    // Whatever it is now: it can be removed, and the daemon goes on.
    daemon.remove_containers()?;
    ensure!(daemon.pings(), "it does not answer any more");
    ensure!(daemon.stop(), "it does not end");
    Ok(())
}

#[test]
fn one_damaged_file_costs_one_object() {
    if tests::target::reference_socket().is_some() {
        return;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    let small = Tarball::default().file("f", 0o644, b"small").finish();
    let archive = image::saved("damage/small:latest", &[small]);
    let mut connection = http::Connection::open(&daemon.socket()).expect("it listens");
    let loaded = connection.upload("POST", "/images/load", archive.as_slice()).expect("an answer");
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    for name in ["one", "two"] {
        let body = json!({"Image": IMAGE, "Cmd": ["true"]});
        let path = format!("/containers/create?name={name}");
        assert_eq!(daemon.api("POST", &path, Some(&body)).status, 201);
        daemon.api("POST", &format!("/containers/{name}/start"), None);
        daemon.api("POST", &format!("/containers/{name}/wait"), None);
    }
    assert_eq!(objects(&daemon).expect("it answers"), 4);
    assert!(daemon.stop(), "{}", daemon.log_tail());
    let (data, kept) = (daemon.data_root(), daemon.roots().join("kept"));
    copy(&data, &kept);
    let files = own_files(&kept);
    assert!(files.len() > 12, "{files:?}");
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| !is_lock(file)) {
        for damage in ALL {
            copy(&kept, &data);
            if let Err(problem) = survives(&mut daemon, &data.join(file), damage) {
                problems.push(format!("{file} {damage:?}: {problem}\n{}", daemon.log_tail()));
                daemon.kill9();
            }
        }
    }
    fs::remove_dir_all(&kept).expect("it is ours");
    assert!(problems.is_empty(), "{} problems: {}", problems.len(), problems.join("\n\n"));
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn fsck_tells_what_is_damaged_and_only_that() {
    if tests::target::reference_socket().is_some() {
        return;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    let fsck = |root: &Path| {
        let cortend = tests::command::bin_dir().join("cortend");
        let root = root.to_str().expect("a plain path");
        let output = Command::new(cortend).args(["--fsck", "--data-root", root]).output();
        let output = output.expect("it starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let root = daemon.data_root();
    let (sound, text) = fsck(&root);
    assert!(!sound && text.contains("in use"), "a daemon uses it: {text}");
    daemon.kill9();
    assert_eq!(fsck(&root), (true, "no problems found\n".to_owned()));
    let blobs = root.join("store/blobs/sha256");
    let blob = fs::read_dir(&blobs).expect("blobs").next().expect("one").expect("one").path();
    Damage::Garbled.apply(&blob);
    let (sound, text) = fsck(&root);
    let name = blob.file_name().and_then(|n| n.to_str()).expect("a digest");
    assert!(!sound && text.contains(name), "{text}");
}
