//! Real supervisors of the real zygote, with busybox in a container. Needs root and a static
//! `/bin/busybox` (Debian's `busybox-static`).

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

#[path = "supervisor/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use harness::{Container, Daemon, STDERR, STDOUT, frames, text, wait_until};
use shim::log::{Options, Reader, Stream};
use shim::protocol::{Event, Reply, Request, Status, StdinPolicy, Streams, read_exit, read_task};
use spec::{ErrorKind, Signal};

const OUT: Streams = Streams {
    stdin: false,
    stdout: true,
    stderr: true,
};
const ALL: Streams = Streams {
    stdin: true,
    stdout: true,
    stderr: true,
};

fn log_text(container: &Container) -> String {
    let mut reader = Reader::open(&container.log_path(), Options::default()).unwrap();
    let mut text = String::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        text.push_str(if entry.stream == Stream::Stdout {
            "o:"
        } else {
            "e:"
        });
        text.push_str(std::str::from_utf8(entry.log).unwrap());
    }
    text
}

#[test]
fn runs_logs_attaches_and_reports_the_exit() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("echo out; echo err >&2; printf tail; exit 3");
    container.create();
    let stream = container.attach(None, OUT);
    container.start();
    let exit = container.wait_exit();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (3, None, false));
    assert!(exit.warnings.is_empty(), "{:?}", exit.warnings);
    let got = frames(&stream);
    assert_eq!(text(&got, STDOUT), "out\ntail");
    assert_eq!(text(&got, STDERR), "err\n");
    let log = log_text(&container);
    for part in ["o:out\n", "e:err\n", "o:tail"] {
        assert!(log.contains(part), "{log}");
    }
    assert_eq!(read_exit(container.run_dir()).unwrap().unwrap(), exit);
    container.delete();
    assert!(!container.run_dir().join("shim.sock").exists());
    assert!(!container.cgroup_exists());
}

#[test]
fn holds_no_foreign_descriptors_and_little_memory() {
    let daemon = Daemon::start();
    let mut first = daemon.spawn("sleep 1000");
    first.create();
    first.start();
    let mut second = daemon.spawn("sleep 1000");
    second.create();
    second.start();
    // Kinds only: numbers of sockets differ, and so do the directories.
    let kind = |link: std::path::PathBuf| {
        let text = link.to_string_lossy().into_owned();
        let name = link
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        text.split_once(':')
            .map_or(name.unwrap_or_default(), |(kind, _)| kind.to_owned())
    };
    let fds = |pid: i32| {
        let mut all: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(kind)
            .collect();
        all.sort();
        all
    };
    let want = [
        "anon_inode",
        "anon_inode",
        "anon_inode",
        "c-json.log",
        "null",
        "null",
        "null",
        "pipe",
        "pipe",
        "run",
        "socket",
        "socket",
    ];
    for supervisor in [first.supervisor, second.supervisor] {
        assert_eq!(fds(supervisor), want);
    }
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", first.supervisor)).unwrap();
    assert_eq!(comm, "corten-shim\n");
    let exe = std::fs::read_link(format!("/proc/{}/exe", first.supervisor)).unwrap();
    assert!(
        exe.to_string_lossy().starts_with("/memfd:"),
        "{}",
        exe.display()
    );
    // Idle for the 200 ms after which buffers are given back.
    wait_until(|| private_kb(second.supervisor) <= 256);
    println!(
        "private memory of a supervisor: {} kB",
        private_kb(second.supervisor)
    );
    for container in [&mut first, &mut second] {
        container.signal(Signal::KILL);
        assert_eq!(container.wait_exit().code, 137);
        container.delete();
    }
}

fn private_kb(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    lines
        .map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

#[test]
fn input_reaches_the_process_and_its_end_closes_it() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("cat; echo done");
    container.stdin = StdinPolicy::Once;
    container.create();
    let stream = container.attach(None, ALL);
    container.start();
    // More than the pipe and the socket hold together, both ways.
    let input = "0123456789abcdef\n".repeat(100_000);
    let writer = stream.try_clone().unwrap();
    let copy = input.clone();
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        (&writer).write_all(copy.as_bytes()).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let got = frames(&stream);
    feeder.join().unwrap();
    assert!(text(&got, STDOUT) == format!("{input}done\n"));
    assert_eq!(container.wait_exit().code, 0);
    container.delete();
}

#[test]
fn a_slow_client_holds_the_process_back_and_a_gone_one_does_not() {
    let daemon = Daemon::start();
    let mut container =
        daemon.spawn("i=0; while [ $i -lt 200000 ]; do echo line $i; i=$((i+1)); done");
    container.create();
    let slow = container.attach(None, OUT);
    let gone = container.attach(None, OUT);
    container.start();
    drop(gone);
    // It reads nothing: the log stops growing while far from complete.
    let size = || std::fs::metadata(container.log_path()).map_or(0, |m| m.len());
    wait_until(|| size() > 0);
    container.wait_until_still();
    assert!(size() < 10_000_000, "{}", size());
    let got = frames(&slow);
    assert_eq!(text(&got, STDOUT).lines().count(), 200_000);
    assert_eq!(container.wait_exit().code, 0);
    assert_eq!(log_text(&container).lines().count(), 200_000);
    container.delete();
}

#[test]
fn a_terminal_is_raw_and_can_be_resized() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("stty size; read x; stty size; echo got $x; tty; exit 4");
    container.terminal = true;
    container.stdin = StdinPolicy::Once;
    container.create();
    let stream = container.attach(None, ALL);
    container.start();
    container.expect_on(&stream, "24 80");
    container.resize(132, 43);
    container.write_to(&stream, "hello\n");
    // All of it may come at once, so it is waited for only once.
    container.expect_on(&stream, "got hello");
    assert_eq!(container.wait_exit().code, 4);
    assert!(log_text(&container).contains("o:43 132\r\n"));
    assert!(log_text(&container).contains("o:got hello\r\n"));
    container.delete();
}

#[test]
fn several_execs_at_once() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("sleep 1000");
    container.create();
    container.start();
    let one = container.exec("cat; exit 5", Some(ALL), false);
    let two = container.exec("echo two; echo err >&2; exit 6", Some(OUT), false);
    let quiet = container.exec("exit 7", None, false);
    let tty = container.exec("tty; stty size", Some(ALL), true);
    let got = frames(two.stream.as_ref().unwrap());
    assert_eq!(
        (text(&got, STDOUT), text(&got, STDERR)),
        ("two\n".into(), "err\n".into())
    );
    assert_eq!(container.wait_exec(&two), 6);
    assert_eq!(container.wait_exec(&quiet), 7);
    assert_eq!(container.wait_exec(&tty), 0);
    container.expect_on(tty.stream.as_ref().unwrap(), "/dev/pts/");
    container.write_to(one.stream.as_ref().unwrap(), "to cat\n");
    one.stream
        .as_ref()
        .unwrap()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let got = frames(one.stream.as_ref().unwrap());
    assert_eq!(text(&got, STDOUT), "to cat\n");
    assert_eq!(container.wait_exec(&one), 5);
    // One that leaves a child which holds its output.
    let left = container.exec("echo first; sleep 1000 & exit 0", Some(OUT), false);
    let begin = Instant::now();
    assert_eq!(container.wait_exec(&left), 0);
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(
        text(&frames(left.stream.as_ref().unwrap()), STDOUT),
        "first\n"
    );
    let missing = container.try_exec("/nonexistent", None).unwrap_err();
    assert_eq!(missing.exit_code, Some(127), "{missing:?}");
    // An exec that lives when the container ends is reported before the container is.
    let last = container.exec("sleep 1000", Some(OUT), false);
    container.signal(Signal::KILL);
    assert_eq!(container.wait_exit().code, 137);
    assert_eq!(container.wait_exec(&last), 137);
    container.delete();
}

#[test]
fn a_program_that_cannot_run_is_told_with_its_exit_code() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("");
    container.args = vec!["/no/such/program".to_owned()];
    // What can be known before is told by `create`, the rest by `start`.
    let error = container.try_create().unwrap_err();
    assert_eq!(error.exit_code, Some(127), "{error:?}");
    assert!(read_task(container.run_dir()).unwrap().is_none());
    assert!(!container.cgroup_exists());
    container.delete();

    let mut container = daemon.spawn("");
    container.args = vec!["/bin/broken".to_owned()];
    container.write_program("bin/broken", b"\x7fELF is not enough");
    container.create();
    let error = container.call(Request::Start, Vec::new()).unwrap_err();
    assert_eq!(error.exit_code, Some(126), "{error:?}");
    assert_eq!(read_exit(container.run_dir()).unwrap().unwrap().code, 126);
    assert!(!container.cgroup_exists());
    container.delete();
}

#[test]
fn pause_stops_and_resume_goes_on() {
    let daemon = Daemon::start();
    // It never rests by itself.
    let mut container = daemon.spawn("while :; do echo x; done");
    container.create();
    container.start();
    let size = || std::fs::metadata(container.log_path()).map_or(0, |m| m.len());
    wait_until(|| size() > 0);
    let (log, run_dir) = (container.log_path(), container.run_dir().to_owned());
    container.call(Request::Pause, Vec::new()).unwrap();
    let refused = container.call(Request::Pause, Vec::new()).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    let size = || std::fs::metadata(&log).unwrap().len();
    // What was in the pipe still arrives.
    container.wait_until_still();
    let paused = size();
    container.call(Request::Resume, Vec::new()).unwrap();
    wait_until(|| size() > paused);
    container.call(Request::Pause, Vec::new()).unwrap();
    container.signal(Signal::KILL);
    assert_eq!(container.wait_exit().code, 137);
    assert!(read_exit(&run_dir).unwrap().is_some());
    container.delete();
}

#[test]
fn lives_without_a_daemon_and_answers_the_next_one() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn(
        "i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); sleep 0.02; done; read x; exit 9",
    );
    container.stdin = StdinPolicy::Open;
    container.create();
    container.start();
    let pid = container.init;
    drop(daemon);
    container.disconnect();
    let state = container.reconnect();
    assert_eq!((state.status, state.pid), (Status::Running, Some(pid)));
    assert!(state.started_at.is_some());
    let stream = container.attach(None, ALL);
    container.expect_in_log("49\n");
    container.write_to(&stream, "go\n");
    assert_eq!(container.wait_exit().code, 9);
    let want: String = (0..50).map(|n| format!("o:{n}\n")).collect();
    assert_eq!(log_text(&container), want);
    container.delete();
}

#[test]
fn an_exit_without_a_daemon_is_kept() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("read x; echo $x; exit 12");
    container.stdin = StdinPolicy::Open;
    container.create();
    let stream = container.attach(None, ALL);
    container.start();
    container.write_to(&stream, "word\n");
    drop(stream);
    drop(daemon);
    container.disconnect();
    container.wait_supervisor_gone();
    assert_eq!(read_exit(container.run_dir()).unwrap().unwrap().code, 12);
    assert_eq!(log_text(&container), "o:word\n");
    assert!(!container.run_dir().join("shim.sock").exists());
    assert!(!container.cgroup_exists());
}

#[test]
fn what_was_not_started_is_undone_with_its_daemon() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("sleep 1000");
    container.create();
    assert!(container.cgroup_exists());
    container.disconnect();
    container.wait_supervisor_gone();
    assert!(!container.cgroup_exists());
    assert!(read_task(container.run_dir()).unwrap().is_none());
    assert!(read_exit(container.run_dir()).unwrap().is_none());
}

#[test]
fn a_killed_supervisor_takes_the_container_with_it() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("trap '' TERM; while :; do sleep 1; done");
    container.create();
    container.start();
    let task = read_task(container.run_dir()).unwrap().unwrap();
    let init = task.init.unwrap();
    assert_eq!(init.pid, container.init);
    assert!(init.exists());
    assert!(task.cgroup.is_some());
    container.kill_supervisor();
    wait_until(|| !init.exists());
    assert!(read_exit(container.run_dir()).unwrap().is_none());
    container.remove_cgroup();
}

#[test]
fn out_of_memory_is_noticed() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("tail /dev/zero");
    container.memory = Some(16 * 1024 * 1024);
    container.create();
    container.start();
    let exit = container.wait_exit();
    // busybox's shell reports its killed child; or the shell itself was killed.
    assert!(exit.oom_killed, "{exit:?}");
    assert!(container.events.contains(&Event::Oom));
    container.delete();
}

#[test]
fn requests_out_of_order_are_refused() {
    let daemon = Daemon::start();
    let mut container = daemon.spawn("sleep 1000");
    for request in [Request::Start, Request::Pause, Request::Resume] {
        let error = container.call(request, Vec::new()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
    }
    container.send_raw(b"not json");
    container.create();
    container.start();
    assert_eq!(
        container
            .call(Request::Delete, Vec::new())
            .unwrap_err()
            .kind,
        ErrorKind::Conflict
    );
    assert_eq!(
        container.call(Request::Start, Vec::new()).unwrap_err().kind,
        ErrorKind::Conflict
    );
    let state = container
        .call(Request::Hello { version: 99 }, Vec::new())
        .unwrap();
    assert!(matches!(state, Reply::State(state) if state.version == shim::protocol::VERSION));
    container.signal(Signal::KILL);
    container.wait_exit();
    container.delete();
}
