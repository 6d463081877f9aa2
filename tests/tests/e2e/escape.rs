//! Ways out of a container that once worked somewhere, each as its inventor would try it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::image::Image;
use tests::tarball::Kind;
use tests::{Case, Daemon, IMAGE, api, clients, image};

/// Enough to leave any directory of a container.
const UP: &str = "../../../../../../../../../../../..";

/// A directory of the host with a secret in it, which nobody may read, change or add to.
struct Canary(PathBuf);

impl Canary {
    const SECRET: &'static str = "only the host may read this";

    fn new(case: &Case) -> Self {
        let dir = case.dir().join("canary");
        fs::create_dir(&dir)
            .and_then(|()| fs::write(dir.join("file"), Self::SECRET))
            .expect("ours");
        Self(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// The path from the root, without its slash.
    fn relative(&self) -> String {
        self.0.display().to_string().trim_start_matches('/').to_owned()
    }

    #[track_caller]
    fn check(&self) {
        let names: Vec<_> = fs::read_dir(&self.0).expect("it exists").flatten().collect();
        assert_eq!(names.len(), 1, "the canary was changed: {names:?}");
        assert_eq!(fs::read_to_string(self.0.join("file")).expect("it exists"), Self::SECRET);
    }
}

/// What a container that was asked for over the API did.
#[derive(Debug)]
struct Outcome {
    /// Why it did not start.
    refused: Option<String>,
    code: i64,
    output: String,
}

/// Runs a shell script in a container to its end.
#[track_caller]
fn attempt(case: &Case, image: &str, script: &str, mut body: Value) -> Outcome {
    body["Image"] = image.into();
    body["Cmd"] = json!(["sh", "-c", script]);
    let id = case.create(body);
    let started = case.api("POST", &format!("/containers/{id}/start"), None);
    if started.status != 204 {
        case.api("DELETE", &format!("/containers/{id}?force=1"), None);
        return Outcome {
            refused: Some(started.message()),
            code: -1,
            output: String::new(),
        };
    }
    let ended = case.api("POST", &format!("/containers/{id}/wait"), None).json();
    let logs = case.api("GET", &format!("/containers/{id}/logs?stdout=1&stderr=1"), None);
    // An image of the test's own can be removed then.
    case.api("DELETE", &format!("/containers/{id}?force=1"), None);
    Outcome {
        refused: None,
        code: ended["StatusCode"].as_i64().unwrap_or(-1),
        output: logs.text(),
    }
}

/// A daemon of ours that the shared ones need not suffer from; none where another is under test.
fn own_daemon(wrapper: &[&str]) -> Option<Daemon> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    if !wrapper.is_empty() {
        assert!(daemon.stop(), "{}", daemon.log_tail());
        daemon.wrap(wrapper);
        daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
    }
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    Some(daemon)
}

fn digests_of_our_programs() -> Vec<(PathBuf, String)> {
    let dir = tests::command::bin_dir();
    ["corten", "cortend", "corten-shim", "corten-runtime", "corten-init"]
        .iter()
        .map(|name| dir.join(name))
        .filter_map(|path| {
            let bytes = fs::read(&path).ok()?;
            Some((path, spec::Digest::of(&bytes).hex()))
        })
        .collect()
}

/// Tries to write into every program of this container's processes that is not its own.
const OVERWRITE: &str = "while [ ! -e /stop ]; do for p in /proc/[0-9]*; do \
    case \"$(readlink $p/exe)\" in ''|/bin/*|/sbin/docker-init) ;; *) \
    printf x | dd of=$p/exe bs=1 conv=notrunc 2>/dev/null && echo WRITTEN;; esac; done; done; echo END";

clients! {
    // CVE-2019-5736: the runtime executes itself in the container and is overwritten there.
    fn the_runtime_cannot_be_overwritten_through_proc_self_exe(case) {
        let before = digests_of_our_programs();
        let image = Image::with(case, "self", |tar| {
            tar.file("bin/again", 0o755, b"#!/proc/self/exe\n").symlink("bin/other", "/proc/self/exe")
        });
        let name = case.name("a");
        let args = ["run", "-d", "--init", "--name", &name, image.tag(), "sh", "-c", OVERWRITE];
        let args = if case.is_reference() { [&args[..2], &args[3..]].concat() } else { args.to_vec() };
        case.cmd(&args).ok();
        for program in ["/bin/again", "/bin/other"].repeat(5) {
            let tried = case.cmd(&["exec", &name, program]);
            assert_ne!(tried.code, 0, "{tried:?}");
            let tried = case.cmd(&["run", "--rm", "--entrypoint", program, image.tag()]);
            assert_ne!(tried.code, 0, "{tried:?}");
        }
        case.cmd(&["exec", &name, "touch", "/stop"]).ok();
        case.cmd(&["wait", &name]).ok();
        case.cmd(&["logs", &name]).ok().hides("WRITTEN").shows("END");
        case.cmd(&["rm", &name]).ok();
        assert_eq!(digests_of_our_programs(), before);
    }

    // CVE-2016-3697, CVE-2024-40635, CVE-2026-46680: numbers that become root.
    fn numbers_out_of_range_are_no_names_and_never_root(case) {
        let names = ["-1", "2147483648", "4294967296", "99999999999"];
        let lines: String = names.iter().map(|n| format!("{n}:x:0:0::/root:/bin/sh\n")).collect();
        let lines = lines + "7:x:0:0::/root:/bin/sh\n";
        let image = Image::of(case, "names", image::base(&lines).expect("there is a busybox"));
        let sleeper = case.name("a");
        case.cmd(&["run", "-d", "--name", &sleeper, image.tag(), "sleep", "1000"]).ok();
        for name in names {
            let user = format!("--user={name}");
            for args in [
                ["run", "--rm", &user, image.tag(), "id", "-u"],
                ["exec", &user, &sleeper, "id", "-u", "-r"],
            ] {
                let tried = case.cmd(&args);
                // dockerd of this version still takes "-1" for a name, as of the flaws above.
                if name == "-1" && case.is_reference() {
                    continue;
                }
                assert_ne!(tried.code, 0, "{tried:?}");
                assert_ne!(tried.text(), "0");
            }
        }
        case.cmd(&["run", "--rm", "-u", "7", image.tag(), "id", "-u"]).ok().prints("7");
        case.cmd(&["rm", "-f", &sleeper]).ok();
    }

    fn a_working_directory_behind_a_link_to_nothing_is_made_inside(case) {
        let canary = Canary::new(case);
        let inside = format!("/{UP}/{}/new", canary.relative());
        let image = Image::with(case, "cwd", |tar| {
            tar.symlink("var/run", "/run").symlink("out", &inside)
        });
        let args = ["run", "--rm", "-w", "/var/run/app", image.tag(), "pwd", "-P"];
        case.cmd(&args).ok().prints("/run/app");
        case.cmd(&["run", "--rm", "-w", "/out/deep", image.tag(), "pwd"]);
        canary.check();
    }

    // RUN-06: what covers a masked file comes from the container's own /dev.
    fn masks_hold_when_the_null_device_is_replaced(case) {
        let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").expect("it exists");
        let before = pattern();
        let dev = case.dir().join("dev");
        fs::create_dir(&dev).expect("ours");
        for name in ["null", "console", "ptmx"] {
            std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", dev.join(name)).expect("ours");
        }
        let bind = format!("{}:/dev", dev.display());
        let script = "cat /proc/keys /proc/timer_list 2>/dev/null | wc -c; \
            (echo x > /proc/keys) 2>/dev/null; echo x > /proc/sys/kernel/core_pattern || echo closed";
        for terminal in [false, true] {
            let flag = format!("--tty={terminal}");
            let args = ["run", "--rm", &flag, "-v", &bind, IMAGE, "sh", "-c", script];
            let output = case.cmd(&args);
            // To refuse such a container is as good.
            if output.code == 0 {
                let lines: Vec<&str> = output.stdout.lines().map(str::trim).collect();
                assert_eq!((lines.first(), lines.last()), (Some(&"0"), Some(&"closed")), "{output:?}");
            }
            assert_eq!(pattern(), before);
        }
        for name in ["null", "console", "ptmx"] {
            let target = fs::read_link(dev.join(name)).expect("it is still a link");
            assert_eq!(target, Path::new("/proc/sys/kernel/core_pattern"));
        }
    }

    // CVE-2021-30465: a mount point that turns into a link while the container starts.
    fn mount_points_that_become_links_stay_inside(case) {
        // CVE-2024-45310 in older versions of the reference's runtime: it makes the directory.
        if case.is_reference() {
            return;
        }
        let canary = Canary::new(case);
        let (shared, data) = (case.dir().join("shared"), case.dir().join("data"));
        fs::create_dir(&shared).and_then(|()| fs::create_dir(&data)).expect("ours");
        let volume = format!("{}:/v", shared.display());
        let target = format!("/{UP}/{}", canary.relative());
        let script = format!(
            "while [ ! -e /v/stop ]; do rm -rf /v/a; ln -s {target} /v/a; rm -f /v/a; mkdir /v/a; done"
        );
        let name = case.name("a");
        case.cmd(&["run", "-d", "--name", &name, "-v", &volume, IMAGE, "sh", "-c", &script]).ok();
        let bind = format!("{}:/v/a/b", data.display());
        for _ in 0..15 {
            let args = ["run", "--rm", "-v", &volume, "-v", &bind, IMAGE, "true"];
            case.cmd(&args);
            canary.check();
        }
        fs::write(shared.join("stop"), "").expect("ours");
        case.cmd(&["wait", &name]).ok();
        canary.check();
    }

    fn links_of_the_image_do_not_move_mounts_outside(case) {
        let canary = Canary::new(case);
        let data = case.dir().join("data");
        fs::create_dir(&data).and_then(|()| fs::write(data.join("here"), "")).expect("ours");
        let out = format!("{UP}/{}", canary.relative());
        let image = Image::with(case, "links", |tar| {
            tar.symlink("rel", &out).symlink("abs", &format!("/{}", canary.relative()))
        });
        for target in ["/rel", "/abs", "/rel/new", "/abs/new"] {
            let bind = format!("{}:{target}", data.display());
            let args = ["run", "--rm", "-v", &bind, image.tag(), "ls", target];
            case.cmd(&args).ok().prints("here");
            canary.check();
        }
        assert!(!canary.path().join("new").exists());
    }
}

api! {
    // CVE-2024-21626: a descriptor of the host as working directory.
    fn no_descriptor_leads_to_the_host_as_working_directory(case) {
        let canary = Canary::new(case);
        let script = format!("cat {UP}/{}/file {UP}/proc/self/cwd/etc/passwd; pwd", canary.relative());
        let links = (3..=64).fold(image::base("").expect("there is a busybox"), |tar, n| {
            tar.symlink(&format!("fd{n}"), &format!("/proc/self/fd/{n}"))
        });
        let image = Image::of(case, "fds", links);
        let sleeper = case.sleeper(&case.name("a"));
        for n in 3..=64 {
            // Every second through a link of the image, to be done in reasonable time.
            let dir = if n % 2 == 0 { format!("/proc/self/fd/{n}") } else { format!("/fd{n}") };
            let outcome = attempt(case, image.tag(), &script, json!({"WorkingDir": dir}));
            assert!(!outcome.output.contains(Canary::SECRET), "{dir}: {outcome:?}");
            assert!(outcome.refused.is_some() || outcome.code != 0, "{dir}: {outcome:?}");
            let dir = format!("/proc/self/fd/{n}");
            let output = case.cmd(&["exec", "-w", &dir, &sleeper, "sh", "-c", &script]);
            assert_ne!(output.code, 0, "{output:?}");
            output.hides(Canary::SECRET);
        }
        canary.check();
    }

    // CVE-2019-19921, CVE-2023-27561, CVE-2026-41579: kernel file systems mounted elsewhere.
    fn links_in_place_of_dev_proc_and_sys_lead_nothing_elsewhere(case) {
        let canary = Canary::new(case);
        let script = "echo x > /proc/sys/kernel/hostname && echo OPEN; \
            cat /proc/keys /proc/timer_list | wc -c; grep -c ' - proc ' /proc/self/mountinfo; \
            touch /sys/x && echo OPEN; ls /dev/null && echo fine";
        for name in ["dev", "proc", "sys"] {
            for target in ["tmp".to_owned(), format!("{UP}/{}", canary.relative())] {
                let image = Image::with(case, name, |tar| tar.symlink(name, &target));
                let outcome = attempt(case, image.tag(), script, json!({}));
                canary.check();
                assert!(!outcome.output.contains("OPEN"), "{name} -> {target}: {outcome:?}");
                assert!(
                    outcome.refused.is_some() || outcome.output.contains("fine"),
                    "{name} -> {target}: {outcome:?}"
                );
            }
        }
    }

    // CVE-2026-47262 and what else an image can put in the place of small files.
    fn lists_of_users_that_never_end_delay_nothing(case) {
        // The reference waits for a writer of the pipe, holding the container's lock.
        let Some(daemon) = case.target().daemon() else {
            return;
        };
        let limit = Duration::from_secs(5);
        for (name, kind, target) in [
            ("fifo", Kind::Fifo, ""),
            ("zero", Kind::SymLink, "/dev/zero"),
            ("tty", Kind::CharDevice(5, 0), ""),
            ("dir", Kind::Directory, ""),
        ] {
            for file in ["etc/passwd", "etc/group"] {
                let image = Image::with(case, name, |tar| tar.entry(file, kind, 0o755, target, b""));
                for user in ["", "user", "1000:wheel"] {
                    let begin = Instant::now();
                    attempt(case, image.tag(), "true", json!({"User": user}));
                    assert!(begin.elapsed() < limit, "{name} {file} {user}: {:?}", begin.elapsed());
                }
            }
        }
        let make = "rm /etc/passwd; truncate -s 1G /etc/passwd; echo ready; sleep 1000";
        let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", make]});
        let id = case.create(body);
        case.api("POST", &format!("/containers/{id}/start"), None);
        tests::wait_for("the file is made", limit, || case.cmd(&["logs", &id]).text() == "ready");
        for user in ["user", "1000", "root", "0:wheel"] {
            let begin = Instant::now();
            case.cmd(&["exec", "-u", user, &id, "true"]);
            assert!(begin.elapsed() < limit, "{user}: {:?}", begin.elapsed());
        }
        for process in daemon.processes() {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid));
            let peak = status.unwrap_or_default().lines().find_map(|line| {
                line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
            });
            assert!(peak.unwrap_or(0) < 192 * 1024, "{} took {peak:?} kB", process.command);
        }
    }

    fn the_mount_table_holds_the_container_and_nothing_else(case) {
        let known = |point: &str| {
            let (own, kernel) = (
                ["/", "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm", "/sys",
                    "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"],
                ["/sys/fs/cgroup", "/proc/", "/sys/firmware", "/sys/devices/"],
            );
            own.contains(&point) || kernel.iter().any(|start| point.starts_with(start))
        };
        let outcome = attempt(case, IMAGE, "cat /proc/self/mountinfo", json!({}));
        let lines: Vec<&str> = outcome.output.lines().filter(|line| line.contains(" - ")).collect();
        assert!(lines.len() > 10, "{outcome:?}");
        for line in lines {
            let point = line.split(' ').nth(4).unwrap_or_default();
            assert!(known(point), "{line}");
            assert!(!line.contains("shared:"), "what is mounted there is seen outside: {line}");
        }
    }
}

#[test]
fn descriptors_that_the_daemon_inherited_reach_no_container() {
    let words = ["sh", "-c", "exec 7</ 8</proc 9<>/dev/null; exec \"$@\"", "sh"];
    let Some(mut daemon) = own_daemon(&words) else {
        return;
    };
    let body = json!({"Image": IMAGE, "Cmd": ["sleep", "1000"]});
    let id = daemon.api("POST", "/containers/create", Some(&body)).json()["Id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    assert_eq!(daemon.api("POST", &format!("/containers/{id}/start"), None).status, 204);
    let look = ["ls", "-l", "/proc/1/fd", "/proc/self/fd"];
    let body = json!({"Cmd": look, "AttachStdout": true});
    let exec = daemon.api("POST", &format!("/containers/{id}/exec"), Some(&body)).json();
    let exec = exec["Id"].as_str().expect("an id").to_owned();
    let body = json!({"Detach": false, "Tty": false});
    let output = daemon.api("POST", &format!("/exec/{exec}/start"), Some(&body)).text();
    // Three each; the directory that is being read is gone when it is asked for.
    assert_eq!(output.matches(" -> ").count(), 6, "{output}");
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
}
