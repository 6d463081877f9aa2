//! Measures how long a container's life takes: create, start, exit, reap, remove.
//!
//! Prints minimum, median and 95th percentile of each part in microseconds, back to back and with a
//! pause before each (after which the kernel is slower to move processes between control groups).
//! Needs root.

use std::path::Path;
use std::time::{Duration, Instant};

use runtime::{Create, Gate, Orphan, Seccomp, Stdio};
use std::os::fd::AsFd;

const ROUNDS: usize = 100;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("true") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("corten-lifecycle-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("bin")).expect("a temporary directory can be made");
    let own = std::env::current_exe().expect("the kernel tells the program's path");
    std::fs::copy(own, dir.join("bin/true")).expect("the program can be copied");
    let caps = runtime::example_spec()
        .process
        .and_then(|p| p.capabilities)
        .unwrap_or_default();
    runtime::precompile_default(&caps.bounding).expect("the default profile compiles");
    println!(
        "{:<14} {:>8} {:>8} {:>8}",
        "microseconds", "min", "p50", "p95"
    );
    measure("back to back", &dir, Duration::ZERO);
    measure("spaced 100 ms", &dir, Duration::from_millis(100));
    let memory = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    for line in memory
        .lines()
        .filter(|l| l.starts_with("Private") || l.starts_with("Rss"))
    {
        println!("{line}");
    }
    std::fs::remove_dir_all(&dir).expect("the temporary directory can be removed");
}

fn measure(title: &str, rootfs: &Path, pause: Duration) {
    println!("-- {title}");
    let mut parts: [Vec<u128>; 5] = Default::default();
    for round in 0..ROUNDS {
        std::thread::sleep(pause);
        for (part, time) in parts.iter_mut().zip(once(rootfs, round)) {
            part.push(time.as_micros());
        }
    }
    for (name, mut times) in ["create", "start", "exit", "remove", "total"]
        .into_iter()
        .zip(parts)
    {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        println!("{name:<14} {:>8} {:>8} {:>8}", at(0), at(50), at(95));
    }
}

fn once(rootfs: &Path, round: usize) -> [Duration; 5] {
    let mut spec = runtime::example_spec();
    let process = spec.process.as_mut().expect("the example has a process");
    process.terminal = false;
    process.args = vec!["/bin/true".to_owned(), "true".to_owned()];
    let id = format!("lifecycle-{}-{round}", std::process::id());
    let begin = Instant::now();
    let created = runtime::create(Create {
        id: &id,
        bundle: Path::new("/"),
        spec: &spec,
        rootfs: &spec::Rootfs::Directory {
            path: rootfs.to_owned(),
        },
        stdio: Stdio::Inherit,
        netns: None,
        seccomp: Seccomp::Default,
        gate: Gate::Caller,
        orphan: Orphan::Kill,
    })
    .unwrap_or_else(|e| panic!("create: {}", spec::error::chain(&e)));
    let made = Instant::now();
    let started = created
        .start()
        .unwrap_or_else(|e| panic!("start: {}", spec::error::chain(&e)));
    let running = Instant::now();
    let ended = sys::process::reap(started.pidfd.as_fd()).expect("the child can be reaped");
    assert_eq!(ended.code(), 0, "{ended}");
    let gone = Instant::now();
    started
        .cgroup
        .remove()
        .expect("the control group can be removed");
    let end = Instant::now();
    [
        made - begin,
        running - made,
        gone - running,
        end - gone,
        end - begin,
    ]
}
