//! `cp` and the archive calls: where things go, what they look like, and that nothing leads out.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tests::http::Connection;
use tests::tarball::{Kind, Tarball};
use tests::{Case, IMAGE, api, clients};

/// Rounds of every race.
const ROUNDS: usize = 200;
const SECRET: &str = "only the host may read this";

/// Files of the test's directory to copy.
fn files(case: &Case) {
    let at = |name: &str| case.dir().join(name);
    fs::create_dir_all(at("d/e")).expect("ours");
    fs::write(at("f"), "a file").expect("ours");
    fs::write(at("d/e/g"), "deep").expect("ours");
    symlink("d", at("dl")).expect("ours");
    symlink("f", at("fl")).expect("ours");
    fs::set_permissions(at("f"), fs::Permissions::from_mode(0o4711)).expect("ours");
}

#[track_caller]
fn put(case: &Case, container: &str, path: &str, archive: &[u8]) -> tests::http::Response {
    let path = format!("/containers/{container}/archive?path={path}");
    let mut connection = Connection::open(case.target().socket()).expect("it listens");
    connection.upload("PUT", &path, archive).expect("an answer")
}

/// Starts a container that makes `/ready`, and begins a copy out of it that nobody reads on.
fn slow_copy(case: &Case, name: &str, path: &str) -> Connection {
    case.api("POST", &format!("/containers/{name}/start"), None);
    let ready = format!("/containers/{name}/archive?path=/ready");
    tests::wait_for("it is ready", std::time::Duration::from_secs(20), || {
        case.api("GET", &ready, None).status == 200
    });
    let mut reading = Connection::open(case.target().socket()).expect("it listens");
    let request = format!("GET /containers/{name}/archive?path={path} HTTP/1.1\r\nHost: x\r\n\r\n");
    reading.send(request.as_bytes()).expect("sent");
    assert_eq!(reading.read_head().expect("an answer").0, 200);
    reading
}

clients! {
    fn copies_go_where_docker_puts_them(case) {
        files(case);
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let cp = |from: &str, to: &str| {
            case.cmd(&["cp", &from.replace("C:", &format!("{name}:")), &to.replace("C:", &format!("{name}:"))])
        };
        for (from, to) in [
            ("f", "C:/etc"), ("f", "C:/file"), ("d", "C:/new"), ("d", "C:/new"), ("d/.", "C:/new"),
            ("d", "C:/slash/"), ("dl", "C:/link"), ("dl/", "C:/followed"), ("fl", "C:/file"),
        ] {
            cp(from, to).ok();
        }
        case.cmd(&["cp", "-L", "fl", &format!("{name}:/resolved")]).ok();
        case.cmd(&["cp", "-L", "dl", &format!("{name}:/new")]).ok();
        case.cmd(&["start", &name]).ok();
        let script = "cd /; cat etc/f resolved new/e/g new/d/e/g slash/e/g followed/e/g new/dl/e/g; \
            readlink link; readlink file; stat -c %a resolved";
        case.cmd(&["exec", &name, "sh", "-c", script])
            .ok()
            .prints("a filea filedeepdeepdeepdeepdeepd\nf\n4711");
        for (from, to, path) in [
            ("C:/new", "out", "out/e/g"), ("C:/new", "out", "out/new/e/g"), ("C:/new/.", "flat", "flat/e/g"),
            ("C:/new/e/g", "g2", "g2"), ("C:/followed/e", "t/", "t/g"),
        ] {
            cp(from, to).ok();
            assert_eq!(fs::read_to_string(case.dir().join(path)).expect("copied"), "deep", "{from} {to}");
        }
        let copied = fs::metadata(case.dir().join("flat")).expect("copied");
        assert!(copied.is_dir());
        cp("C:/resolved", "r2").ok();
        assert_eq!(fs::metadata(case.dir().join("r2")).expect("copied").mode() & 0o7777, 0o4711);
    }

    fn copies_that_do_not_fit_are_refused(case) {
        files(case);
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let here = case.dir().display().to_string();
        for (from, to, text) in [
            ("a", "b", "must specify at least one container source".to_owned()),
            ("C:/a", "C:/b", "copying between containers is not supported".to_owned()),
            ("", "x", "source can not be empty".to_owned()),
            ("x", "", "destination can not be empty".to_owned()),
            ("C:/nope", ".", format!("Could not find the file /nope in container {name}")),
            ("C:nope/x", ".", format!("Could not find the file nope/x in container {name}")),
            ("no-such-one:/x", ".", "No such container: no-such-one".to_owned()),
            ("nope", "C:/", format!("lstat {here}/nope: no such file or directory")),
            ("f", "C:/nodir/", "no such directory".to_owned()),
            ("f", "C:/nodir/x", format!("Could not find the file /nodir in container {name}")),
            ("d", "C:/etc/passwd", "cannot copy directory".to_owned()),
            ("d", "C:/etc/passwd/", "cannot overwrite non-directory \"passwd\" with directory \"/etc\"".to_owned()),
            ("f/", "C:/new", "not a directory".to_owned()),
            ("C:/etc/passwd/", ".", "lstat /etc/passwd/: not a directory".to_owned()),
            ("C:/etc/passwd", "nodir/x", format!("invalid output path: directory \"{here}/nodir\" does not exist")),
            ("C:/etc/passwd", "nodir/", "no such directory".to_owned()),
            ("C:/etc", "f", "cannot copy directory".to_owned()),
            ("-", "C:/etc/passwd", format!("destination \"{name}:/etc/passwd\" must be a directory")),
            ("C:/etc/passwd", "/dev/null", "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device".to_owned()),
            ("C:", ".", "bad parameter: pathcannot be empty".to_owned()),
        ] {
            let place = |text: &str| text.replace("C:", &format!("{name}:"));
            let output = case.cmd(&["cp", &place(from), &place(to)]);
            if text.starts_with("cannot overwrite") && from == "d" {
                // Which check speaks first depends on the client.
                assert!(output.code != 0, "{output:?}");
                continue;
            }
            output.exits(1).complains(&text);
        }
    }

    fn archives_on_standard_streams(case) {
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let archive = Tarball::default().dir("in/", 0o700).file("in/f", 0o640, b"streamed").finish();
        case.cmd_with_input(&["cp", "-", &format!("{name}:/tmp")], &archive).ok();
        let output = case.cmd(&["cp", &format!("{name}:/tmp/in/f"), "-"]).ok();
        assert!(output.stdout.starts_with('f') && output.stdout.contains("streamed"), "{output:?}");
        case.cmd_with_input(&["cp", "-", &format!("{name}:/tmp")], b"no archive at all").exits(1);
        case.cmd(&["start", &name]).ok();
        case.cmd(&["exec", &name, "stat", "-c", "%a", "/tmp/in", "/tmp/in/f"]).ok().prints("700\n640");
    }

    fn the_directory_that_is_copied_into_stays_as_it_is(case) {
        files(case);
        let dir = case.dir().join("d");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).expect("ours");
        std::os::unix::fs::chown(&dir, Some(1234), Some(4321)).expect("root");
        let (made, running) = (case.name("c"), case.name("r"));
        case.cmd(&["create", "--name", &made, IMAGE, "stat", "-c", "%a %u:%g", "/tmp"]).ok();
        case.sleeper(&running);
        for name in [&made, &running] {
            case.cmd(&["cp", "d/.", &format!("{name}:/tmp")]).ok();
        }
        let archive = Tarball::default().dir("./", 0o700).file("./f", 0o640, b"x").finish();
        case.cmd_with_input(&["cp", "-", &format!("{made}:/tmp")], &archive).ok();
        case.cmd(&["start", "-a", &made]).ok().prints("1777 0:0");
        case.cmd(&["exec", &running, "stat", "-c", "%a %u:%g", "/tmp"]).ok().prints("1777 0:0");
    }

    fn copies_reach_what_is_mounted(case) {
        files(case);
        let (name, volume) = (case.name("c"), case.name("v"));
        let host = case.dir().join("bound");
        fs::create_dir(&host).expect("ours");
        let mounts = ["-v", &format!("{volume}:/vol"), "-v", &format!("{}:/bind", host.display()), "-v", &format!("{}:/ro:ro", host.display()), "--tmpfs", "/tmpfs"];
        let args = [&["create", "--name", &name], &mounts[..], &[IMAGE, "sleep", "1000"]].concat();
        case.cmd(&args).ok();
        for state in ["created", "running", "exited"] {
            match state {
                "running" => drop(case.cmd(&["start", &name]).ok()),
                "exited" => drop(case.cmd(&["stop", "-t", "0", &name]).ok()),
                _ => {}
            }
            for place in ["/vol", "/bind"] {
                case.cmd(&["cp", "f", &format!("{name}:{place}/{state}")]).ok();
                let back = format!("{}{state}", place.trim_start_matches('/'));
                case.cmd(&["cp", &format!("{name}:{place}/{state}"), &back]).ok();
                assert_eq!(fs::read_to_string(case.dir().join(&back)).expect("copied"), "a file");
            }
            assert_eq!(fs::read_to_string(host.join(state)).expect("through the bind"), "a file");
            case.cmd(&["cp", "f", &format!("{name}:/ro/x")]).exits(1).complains("mounted volume is marked read-only");
        }
        case.cmd(&["start", &name]).ok();
        case.cmd(&["cp", &format!("{name}:/vol/."), "whole"]).ok();
        let mut names: Vec<_> = fs::read_dir(case.dir().join("whole")).expect("copied").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["created", "exited", "running"]);
    }

    fn owners_of_copies(case) {
        files(case);
        let name = case.name("c");
        let id = rustix::process::getuid().as_raw();
        fs::write(case.dir().join("theirs"), "x").expect("ours");
        std::os::unix::fs::chown(case.dir().join("theirs"), Some(1234), Some(4321)).expect("root");
        case.cmd(&["run", "-d", "--name", &name, "--user", "user", IMAGE, "sleep", "1000"]).ok();
        case.cmd(&["cp", "theirs", &format!("{name}:/tmp/kept")]).ok();
        case.cmd(&["cp", "-a", "theirs", &format!("{name}:/tmp/users")]).ok();
        case.cmd(&["exec", &name, "stat", "-c", "%u:%g", "/tmp/kept", "/tmp/users"])
            .ok()
            .prints("1234:4321\n1000:1000");
        case.cmd(&["cp", &format!("{name}:/tmp/kept"), "back"]).ok();
        assert_eq!(fs::metadata(case.dir().join("back")).expect("copied").uid(), id);
    }

    fn read_only_containers_take_no_copies(case) {
        files(case);
        let (name, volume) = (case.name("c"), case.name("v"));
        case.cmd(&["create", "--name", &name, "--read-only", "-v", &format!("{volume}:/v"), "-v", &format!("{volume}:/ro:ro"), IMAGE]).ok();
        case.cmd(&["cp", "f", &format!("{name}:/tmp/f")]).exits(1).complains("container rootfs is marked read-only");
        case.cmd(&["cp", "f", &format!("{name}:/ro/f")]).exits(1).complains("mounted volume is marked read-only");
        case.cmd(&["cp", "f", &format!("{name}:/v/f")]).ok();
        case.cmd(&["cp", &format!("{name}:/v/f"), "back"]).ok();
    }

    fn a_large_copy_that_is_refused_is_told_why(case) {
        let dir = case.dir().join("large");
        fs::create_dir(&dir).expect("ours");
        for number in 0..64 {
            fs::write(dir.join(number.to_string()), vec![7; 1 << 20]).expect("ours");
        }
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, "--read-only", IMAGE]).ok();
        case.cmd(&["cp", "large", &format!("{name}:/x")]).exits(1).complains("container rootfs is marked read-only");
        case.cmd(&["cp", "large", "no-such-one:/x"]).exits(1).complains("No such container: no-such-one");
    }

    fn what_is_mounted_is_not_replaced(case) {
        files(case);
        let name = case.name("c");
        let bind = format!("{}:/etc/group", case.dir().join("f").display());
        case.cmd(&["run", "-d", "--name", &name, "-v", &bind, IMAGE, "sleep", "1000"]).ok();
        fs::write(case.dir().join("new"), "new").expect("ours");
        for place in ["/etc/group", "/etc/hostname"] {
            case.cmd(&["cp", "new", &format!("{name}:{place}")]).exits(1).complains("device or resource busy");
        }
        case.cmd(&["exec", &name, "cat", "/etc/group"]).ok().prints("a file");
    }

    fn differences_are_told(case) {
        let name = case.name("c");
        let script = "rm /etc/group; echo x >> /etc/passwd; mkdir /new; touch /new/f";
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let output = case.cmd(&["diff", &name]).ok();
        let mut lines = output.lines();
        lines.sort_unstable();
        assert_eq!(lines, ["A /new", "A /new/f", "C /etc", "C /etc/passwd", "D /etc/group"]);
        case.cmd(&["diff", "no-such-one"]).exits(1).complains("No such container: no-such-one");
    }
}

/// A file of the host that nobody may read, change or replace.
struct Canary(std::path::PathBuf);

impl Canary {
    fn new(case: &Case) -> Self {
        let dir = case.dir().join("canary");
        fs::create_dir(&dir).and_then(|()| fs::write(dir.join("file"), SECRET)).expect("ours");
        Self(dir)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    #[track_caller]
    fn check(&self) {
        let names: Vec<_> = fs::read_dir(&self.0).expect("it exists").flatten().collect();
        assert_eq!(names.len(), 1, "the canary was changed: {names:?}");
        assert_eq!(fs::read_to_string(self.0.join("file")).expect("it exists"), SECRET);
    }
}

api! {
    fn copies_into_a_container_at_rest_at_the_same_time(case) {
        const COPIES: usize = 16;
        let container = &case.create(serde_json::json!({ "Image": IMAGE, "Cmd": ["true"] }));
        let archive = |number| {
            let (dir, file) = (format!("one/d{number}"), format!("one/d{number}/f"));
            let archive = Tarball::default().dir("one", 0o755).dir(&dir, 0o755);
            archive.file(&file, 0o644, b"deep").finish()
        };
        std::thread::scope(|scope| {
            for number in 0..COPIES {
                let archive = archive(number);
                scope.spawn(move || {
                    let done = put(case, container, "/etc", &archive);
                    assert_eq!(done.status, 200, "{}", done.text());
                });
            }
        });
        let path = format!("/containers/{container}/archive?path=/etc/one");
        let seen = case.api("GET", &path, None).text();
        for number in 0..COPIES {
            assert!(seen.contains(&format!("one/d{number}/f")), "{number}");
        }
    }

    fn a_container_that_ends_meanwhile_is_copied_whole(case) {
        // A dockerd lets the end wait for the copy.
        if case.is_reference() {
            return;
        }
        let volume = format!("{}:/d/z", case.name("v"));
        let script = "mkdir /d/a; head -c 8388608 /dev/zero >/d/a/large; echo x >/d/z/f; touch /ready; sleep 1000";
        let name = case.create(serde_json::json!({
            "Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": { "Binds": [volume] },
        }));
        let mut reading = slow_copy(case, &name, "/d");
        case.api("POST", &format!("/containers/{name}/kill"), None);
        case.wait_for_status(&name, "exited");
        let mut body = Vec::new();
        while reading.read_chunk(&mut body).expect("more") {}
        assert!(String::from_utf8_lossy(&body).contains("d/z/f"), "{} bytes", body.len());
    }

    fn a_removal_ends_the_copy_of_a_container_that_ran(case) {
        // A dockerd lets the removal wait for the copy.
        if case.is_reference() {
            return;
        }
        let script = "head -c 33554432 /dev/zero >/large; touch /ready; sleep 1000";
        let name = case.create(serde_json::json!({ "Image": IMAGE, "Cmd": ["sh", "-c", script] }));
        let mut reading = slow_copy(case, &name, "/large");
        // Nobody reads on: the copy would hold the container's mounts for ever.
        let gone = case.api("DELETE", &format!("/containers/{name}?force=1"), None);
        assert_eq!(gone.status, 204, "{}", gone.text());
        let mut body = Vec::new();
        let ended = loop {
            match reading.read_chunk(&mut body) {
                Ok(true) => {}
                ended => break ended,
            }
        };
        assert!(ended.is_err(), "all {} bytes came", body.len());
    }

    fn a_container_that_has_just_ended_is_copied(case) {
        let name = case.create(serde_json::json!({ "Image": IMAGE, "Cmd": ["true"] }));
        for _ in 0..ROUNDS / 4 {
            let started = case.api("POST", &format!("/containers/{name}/start"), None);
            assert!(started.status < 400, "{}", started.text());
            for _ in 0..8 {
                let done = case.api("GET", &format!("/containers/{name}/archive?path=/etc/passwd"), None);
                assert_eq!(done.status, 200, "{}", done.text());
            }
        }
    }

    fn a_copy_out_of_a_container_at_rest_feeds_a_copy_into_it(case) {
        // A dockerd makes the second wait for the first.
        if case.is_reference() {
            return;
        }
        let name = case.create(serde_json::json!({ "Image": IMAGE, "Cmd": ["true"] }));
        let large = Tarball::default().file("large", 0o644, &vec![7; 8 << 20]).finish();
        assert_eq!(put(case, &name, "/tmp", &large).status, 200);
        let mut reading = Connection::open(case.target().socket()).expect("it listens");
        let request = format!("GET /containers/{name}/archive?path=/tmp/large HTTP/1.1\r\nHost: x\r\n\r\n");
        reading.send(request.as_bytes()).expect("sent");
        let (status, _) = reading.read_head().expect("an answer");
        assert_eq!(status, 200);
        let small = Tarball::default().dir("new", 0o755).file("new/f", 0o644, b"x").finish();
        assert_eq!(put(case, &name, "/etc", &small).status, 200);
        let mut body = Vec::new();
        while reading.read_chunk(&mut body).expect("more") {}
        assert!(body.len() > 8 << 20, "{} bytes", body.len());
    }

    // TAR-12: what an archive must not do, at rest and while the container runs.
    fn hostile_archives_stay_inside(case) {
        let canary = Canary::new(case);
        let path = canary.path();
        let up = format!("{}{}", "../".repeat(20), path.trim_start_matches('/'));
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        for running in [false, true] {
            if running {
                case.cmd(&["start", &name]).ok();
            }
            let archives = [
                Tarball::default().file(&format!("{up}/file"), 0o644, b"evil"),
                Tarball::default().file(&format!("a/{up}/new"), 0o644, b"evil"),
                Tarball::default().symlink("l", &path).file("l/file", 0o644, b"evil"),
                Tarball::default().symlink("l", &up).file("l/new", 0o644, b"evil"),
                Tarball::default().symlink("l", &format!("{path}/file")).file("l", 0o644, b"evil"),
                Tarball::default().hardlink("h", &format!("{up}/file")).file("h", 0o644, b"evil"),
                Tarball::default().symlink("l", &path).hardlink("h", "l/file").file("h", 0o644, b"evil"),
                Tarball::default().symlink("l", "/proc/1/root").file(&format!("l{path}/file"), 0o644, b"evil"),
                Tarball::default().symlink("l", &format!("/proc/self/cwd{path}")).file("l/new", 0o644, b"evil"),
                Tarball::default().entry("l", Kind::SymLink, 0o777, &path, b"").dir("l/", 0o777).file("l/new", 0o644, b"evil"),
            ]
            .map(Tarball::finish);
            // What one leaves is what the next one meets.
            for archive in archives.iter().cycle().take(ROUNDS / 2) {
                let answer = put(case, &name, "/tmp", archive);
                assert!(matches!(answer.status, 200 | 400 | 404 | 500), "{} {}", answer.status, answer.text());
                canary.check();
            }
        }
        assert_eq!(case.api("GET", "/_ping", None).status, 200);
        // Links that were left behind lead nowhere when something is copied through them.
        case.cmd(&["exec", &name, "sh", "-c", &format!("rm -rf /tmp/l; ln -s {path} /tmp/l")]).ok();
        let through = put(case, &name, "/tmp/l", &Tarball::default().file("new", 0o644, b"evil").finish());
        assert_eq!(through.status, 404, "{}", through.text());
        let read = case.api("GET", &format!("/containers/{name}/archive?path=/tmp/l/file"), None);
        assert_eq!(read.status, 404, "{}", read.text());
        canary.check();
    }

    // RUN-07: a process that swaps a directory and a link while files are copied through it.
    fn links_that_change_meanwhile_lead_nowhere(case) {
        let canary = Canary::new(case);
        let path = canary.path();
        let name = case.name("c");
        let script = format!(
            "mkdir -p /a/dir {path} /b; echo inside > /a/dir/file; echo inside > {path}/file; ln -s {path} /b/link; \
             while :; do mv -T /a/dir /a/d2; mv -T /b/link /a/dir; mv -T /a/dir /b/link; mv -T /a/d2 /a/dir; done"
        );
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", &script]).ok();
        tests::wait_for("it swaps", std::time::Duration::from_secs(20), || {
            case.cmd(&["exec", &name, "test", "-e", "/b/link"]).code == 0
                || case.cmd(&["exec", &name, "test", "-L", "/a/dir"]).code == 0
        });
        let archive = Tarball::default().file("file", 0o644, b"copied in").finish();
        let rounds = if case.is_reference() { 10 } else { ROUNDS };
        let mut answered = 0;
        for _ in 0..rounds {
            let answer = put(case, &name, "/a/dir", &archive);
            answered += usize::from(answer.status == 200);
            canary.check();
            let answer = case.api("GET", &format!("/containers/{name}/archive?path=/a/dir/file"), None);
            assert!(!answer.text().contains(SECRET), "a file of the host was read");
            answered += usize::from(answer.status == 200);
        }
        assert!(answered > 0, "not one of {rounds} rounds copied anything");
        canary.check();
    }

    // Nothing of a container is run or loaded by a copy, however its files look.
    fn copies_run_nothing_of_the_container(case) {
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let trap = b"#!/bin/sh\necho ran > /ran\n";
        let mut archive = Tarball::default().dir("lib/", 0o755).dir("lib64/", 0o755);
        for file in ["bin/tar", "bin/sh", "bin/gzip", "lib/libnss_files.so.2", "lib64/ld-linux-x86-64.so.2", "etc/nsswitch.conf"] {
            archive = archive.file(file, 0o755, trap);
        }
        assert_eq!(put(case, &name, "/", &archive.finish()).status, 200);
        for _ in 0..2 {
            let answer = case.api("GET", &format!("/containers/{name}/archive?path=/etc"), None);
            assert_eq!(answer.status, 200);
            assert_eq!(put(case, &name, "/etc", &Tarball::default().file("x", 0o644, b"x").finish()).status, 200);
        }
        let answer = case.api("GET", &format!("/containers/{name}/archive?path=/ran"), None);
        assert_eq!(answer.status, 404);
        assert!(!Path::new("/ran").exists());
    }

    fn the_archive_calls_speak_as_docker(case) {
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let get = |path: &str| case.api("GET", &format!("/containers/{name}/archive?path={path}"), None);
        for (path, base) in [("/etc", "etc"), ("/etc/", "etc"), ("/etc/.", "."), ("/", "/"), ("/.", "."), (".", "."), ("etc/passwd", "passwd")] {
            let answer = get(path);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-type"), Some("application/x-tar"));
            let stat = answer.header("x-docker-container-path-stat").expect("a header").to_owned();
            assert!(!stat.is_empty());
            let first = answer.text().split('\0').next().unwrap_or_default().to_owned();
            let expected = match base {
                "/" | "passwd" => base.to_owned(),
                base => format!("{base}/"),
            };
            assert_eq!(first, expected, "{path}");
        }
        assert_eq!(get("/nope").message(), format!("Could not find the file /nope in container {name}"));
        assert_eq!(get("").status, 400);
        assert_eq!(put(case, &name, "/etc/passwd", &[0; 1024]).message(), "extraction point is not a directory");
        let missing = case.api("GET", "/containers/no-such-one/archive?path=/", None);
        assert_eq!((missing.status, missing.message().as_str()), (404, "No such container: no-such-one"));
    }
}
