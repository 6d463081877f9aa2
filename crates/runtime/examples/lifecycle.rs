//! Measures how long a container's life takes: create, start, exit, reap, remove.
//!
//! Prints minimum, median and 95th percentile of each part in microseconds, back to back and with a
//! pause before each (after which the kernel is slower to move processes between control groups).
//! Needs root.

use std::path::Path;
use std::time::{Duration, Instant};

use runtime::{Create, Gate, Orphan, Seccomp, Stdio};
use rustix::process::WaitOptions;
use std::os::fd::AsFd;

const ROUNDS: usize = 100;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("true") => return,
        Some("sleep") => return std::thread::sleep(Duration::from_secs(600)),
        _ => {}
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
    added(&dir);
    memory(&dir);
    std::fs::remove_dir_all(&dir).expect("the temporary directory can be removed");
}

/// Prints the private memory of a process that was forked to make and start one container.
fn memory(rootfs: &Path) {
    match sys::signal::fork().expect("the process has one thread") {
        sys::signal::Fork::Parent(_) => drop(rustix::process::wait(WaitOptions::empty())),
        sys::signal::Fork::Child => {
            once(rootfs, ROUNDS);
            sys::signal::trim_heap();
            let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
            for line in text.lines().filter(|line| line.starts_with("Private")) {
                println!("supervisor: {line}");
            }
            sys::process::exit(0);
        }
    }
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
    for (name, times) in ["create", "start", "exit", "remove", "total"]
        .into_iter()
        .zip(parts)
    {
        print(name, times);
    }
}

/// Measures processes added to a running container.
fn added(rootfs: &Path) {
    let started = container(rootfs, ROUNDS + 1, "sleep")
        .start()
        .unwrap_or_else(|e| fail("start", &e));
    let mut process = spec_of("true").process.expect("the example has a process");
    process.args = vec!["/bin/true".to_owned(), "true".to_owned()];
    for (title, pause) in [("exec, back to back", 0), ("exec, spaced 100 ms", 100)] {
        println!("-- {title}");
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            std::thread::sleep(Duration::from_millis(pause));
            let begin = Instant::now();
            let executed = runtime::exec(runtime::Exec {
                target: started.pidfd.as_fd(),
                cgroup: &started.cgroup,
                process: &process,
                stdio: Stdio::Inherit,
                seccomp: Seccomp::Default,
                profile: None,
                bounding: None,
                orphan: Orphan::Kill,
            })
            .unwrap_or_else(|e| fail("exec", &e));
            let ended = sys::process::reap(executed.pidfd.as_fd()).expect("a child can be reaped");
            times.push(begin.elapsed().as_micros());
            assert_eq!(ended.code(), 0, "{ended}");
        }
        print("exec and exit", times);
    }
    started.cgroup.kill().expect("the container can be killed");
    sys::process::reap(started.pidfd.as_fd()).expect("the child can be reaped");
    started
        .cgroup
        .remove()
        .expect("the control group can be removed");
}

fn print(name: &str, mut times: Vec<u128>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{name:<14} {:>8} {:>8} {:>8}", at(0), at(50), at(95));
}

fn fail(what: &str, error: &runtime::Error) -> ! {
    panic!("{what}: {}", spec::error::chain(error))
}

fn spec_of(argument: &str) -> spec::runtime::Spec {
    let mut spec = runtime::example_spec();
    let process = spec.process.as_mut().expect("the example has a process");
    process.terminal = false;
    process.args = vec!["/bin/true".to_owned(), argument.to_owned()];
    spec
}

fn container(rootfs: &Path, round: usize, argument: &str) -> runtime::Created {
    let id = format!("lifecycle-{}-{round}", std::process::id());
    runtime::create(Create {
        id: &id,
        bundle: Path::new("/"),
        spec: &spec_of(argument),
        rootfs: &spec::Rootfs::Directory {
            path: rootfs.to_owned(),
        },
        stdio: Stdio::Inherit,
        netns: None,
        seccomp: Seccomp::Default,
        gate: Gate::Caller,
        orphan: Orphan::Kill,
    })
    .unwrap_or_else(|e| fail("create", &e))
}

fn once(rootfs: &Path, round: usize) -> [Duration; 5] {
    let begin = Instant::now();
    let created = container(rootfs, round, "true");
    let made = Instant::now();
    let started = created.start().unwrap_or_else(|e| fail("start", &e));
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
