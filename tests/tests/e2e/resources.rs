//! Limits as they are felt from inside, and what is left of processes that nobody waits for.

use std::time::{Duration, Instant};

use tests::{Case, IMAGE, clients, host, wait_for};

/// Allocates until somebody stops it.
const HOG: &str = "x=0123456789abcdef; while :; do x=$x$x; done";

const SOON: Duration = Duration::from_secs(10);

/// Processes of the host whose command line has this word.
fn running_with(word: &str) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let has = |path: std::path::PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|c| *c == 0).any(|argument| argument == word.as_bytes())
    };
    entries.flatten().filter(|entry| has(entry.path())).count()
}

/// A number of seconds to sleep that no other process of the host sleeps.
fn own_seconds(case: &Case) -> String {
    let digits: String = case.name("").bytes().map(|c| char::from(b'0' + c % 10)).collect();
    format!("9{}", &digits[digits.len().saturating_sub(8)..])
}

clients! {
    fn a_fork_bomb_is_contained(case) {
        let name = case.name("a");
        let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; while :; do sleep 1; done";
        let args = ["run", "-d", "--name", &name, "--pids-limit", "64", IMAGE, "sh", "-c", bomb];
        case.cmd(&args).ok();
        let state = case.inspect(&name);
        let pid = state["State"]["Pid"].as_i64().expect("it runs");
        let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // Whatever happens inside, the host can still make processes and the container is ended.
        std::process::Command::new("true").status().expect("the host can fork");
        for path in table.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
            for dir in host::cgroups_at(path.trim_start_matches('/')) {
                let count = host::cgroup_pids(&dir).len();
                // The group of all other processes is not meant.
                assert!(path == "/" || count <= 64, "{count} processes in {}", dir.display());
            }
        }
        let begin = Instant::now();
        case.cmd(&["rm", "-f", &name]).ok();
        assert!(begin.elapsed() < SOON, "it took {:?}", begin.elapsed());
    }

    fn cpus_are_rationed(case) {
        // Two that never rest get half a processor for a second and a half.
        let script = "for i in 1 2; do while :; do :; done & done; sleep 1.5; kill %1 %2; \
            wait; times";
        let output = case.cmd(&["run", "--rm", "--cpus", "0.5", IMAGE, "sh", "-c", script]).ok();
        let last = output.lines().last().map(|line| line.to_string()).unwrap_or_default();
        let seconds: f64 = last
            .split_whitespace()
            .filter_map(|word| {
                let (minutes, rest) = word.trim_end_matches('s').split_once('m')?;
                Some(minutes.parse::<f64>().ok()? * 60.0 + rest.parse::<f64>().ok()?)
            })
            .sum();
        // On a busy machine they get less.
        assert!(seconds > 0.0 && seconds < 1.2, "they got {seconds} s: {output:?}");
    }

    fn a_child_without_memory_is_killed_and_the_rest_goes_on(case) {
        let name = case.name("a");
        let script = format!("sh -c '{HOG}'; echo child $?; sleep 0.5; exit 3");
        let args = [
            "run", "--name", &name, "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", &script,
        ];
        case.cmd(&args).exits(3).shows("child 137");
        assert_eq!(case.inspect(&name)["State"]["OOMKilled"], true);
    }

    fn another_kill_is_not_for_want_of_memory(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, "-m", "64m", IMAGE, "sh", "-c", "kill -9 $$"]);
        assert_eq!(case.inspect(&name)["State"]["OOMKilled"], false);
    }

    fn block_devices_are_rationed(case) {
        let Ok(metadata) = std::fs::metadata("/dev/loop0") else {
            eprintln!("no loop device: nothing to ration");
            return;
        };
        let number = std::os::unix::fs::MetadataExt::rdev(&metadata);
        let device = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let flags = ["--device-read-bps", "/dev/loop0:1mb", "--device-write-iops", "/dev/loop0:7"];
        let script = "cd /sys/fs/cgroup; if [ -d blkio ]; then cd blkio; \
            cat blkio.throttle.read_bps_device blkio.throttle.write_iops_device; else cat io.max; fi";
        let args = [&["run", "--rm"], &flags[..], &[IMAGE, "sh", "-c", script]].concat();
        let output = case.cmd(&args).ok().shows(&device);
        output.shows("1048576").shows("7");
        case.cmd(&["run", "--rm", "--device-read-bps", "/dev/no-such:1mb", IMAGE, "true"])
            .exits(127)
            .complains("stat /dev/no-such: no such file or directory");
    }

    fn children_of_nobody_are_collected(case) {
        let name = case.name("a");
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        // The first process never waits, so what an exec leaves behind becomes its zombie.
        for _ in 0..3 {
            case.cmd(&["exec", &name, "sh", "-c", "(sleep 0.1 &)"]).ok();
        }
        let zombies = || case.cmd(&["exec", &name, "ps"]).ok().stdout.matches("[sleep]").count();
        wait_for("zombies appear", SOON, || zombies() == 3);
        let pid = case.inspect(&name)["State"]["Pid"].as_i64().expect("it runs");
        case.cmd(&["rm", "-f", &name]).ok();
        wait_for("all are gone", SOON, || {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        });
    }

    fn daemons_end_with_their_container(case) {
        let (name, seconds) = (case.name("a"), own_seconds(case));
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let daemon = format!("setsid sh -c 'trap \"\" TERM HUP; sleep {seconds} & sleep {seconds}' &");
        case.cmd(&["exec", "-d", &name, "sh", "-c", &daemon]).ok();
        wait_for("they run", SOON, || running_with(&seconds) == 2);
        case.cmd(&["rm", "-f", &name]).ok();
        wait_for("all are gone", SOON, || running_with(&seconds) == 0);
        // The same when the first process ends by itself.
        let script = format!("setsid sleep {seconds} & sleep 0.2");
        case.cmd(&["run", "--rm", IMAGE, "sh", "-c", &script]).ok();
        wait_for("all are gone", SOON, || running_with(&seconds) == 0);
    }
}
