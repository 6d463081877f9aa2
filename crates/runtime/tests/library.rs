//! The library, called by a process of one thread: a test program without the usual harness, which
//! makes threads. Needs root.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "root/bundle.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line")]
mod bundle;
#[path = "root/probe.rs"]
mod probe;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use runtime::{Create, Exec, Gate, Orphan, Seccomp, Stdio};
use spec::Rootfs;

use bundle::Bundle;

fn main() {
    if probe::report_if_asked() {
        return;
    }
    // Threads come last: there is no way back to one.
    let tests: [(&str, fn()); 4] = [
        ("overlay_of_many_layers", overlay_of_many_layers),
        (
            "failures_carry_exit_codes_and_leave_nothing",
            failures_carry_exit_codes_and_leave_nothing,
        ),
        (
            "executed_processes_are_children_of_the_caller",
            executed_processes_are_children_of_the_caller,
        ),
        (
            "a_process_with_threads_is_refused",
            a_process_with_threads_is_refused,
        ),
    ];
    for (name, test) in tests {
        println!("test library::{name} ...");
        test();
    }
    println!("test result: ok. {} passed", tests.len());
}

fn null() -> Stdio {
    let open = || {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap()
            .into()
    };
    Stdio::Files {
        stdin: open(),
        stdout: open(),
        stderr: open(),
    }
}

fn request<'a>(bundle: &'a Bundle, rootfs: &'a Rootfs) -> Create<'a> {
    Create {
        id: &bundle.id,
        bundle: bundle.dir.path(),
        spec: &bundle.spec,
        rootfs,
        stdio: null(),
        netns: None,
        seccomp: Seccomp::Default,
        gate: Gate::Caller,
        orphan: Orphan::Kill,
    }
}

/// Layers that each hold a file of their own, under a path that is too long for one option.
fn layers(dir: &Path, count: usize) -> Vec<PathBuf> {
    let deep = dir.join("x".repeat(200)).join("y".repeat(100));
    let make = |number: usize| {
        let layer = deep.join(format!("layer{number}"));
        bundle::file(&layer, &format!("made/by{number}"), "x");
        layer
    };
    (0..count).map(make).collect()
}

fn overlay_of_many_layers() {
    let mut bundle = Bundle::new();
    let dir = bundle.dir.path().to_owned();
    let mut lowers = layers(&dir, 150);
    lowers.push(bundle.rootfs());
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    std::fs::create_dir(&upper).unwrap();
    std::fs::create_dir(&work).unwrap();
    let rootfs = Rootfs::Overlay {
        lowers,
        upper: upper.clone(),
        work,
        volatile: true,
        images: Vec::new(),
    };
    bundle.env("PROBE_PATHS=/made");
    for _ in 0..2 {
        let mut request = request(&bundle, &rootfs);
        let out = std::fs::File::create(dir.join("out")).unwrap();
        if let Stdio::Files { stdout, .. } = &mut request.stdio {
            *stdout = out.into();
        }
        let started = runtime::create(request).unwrap().start().unwrap();
        assert_eq!(sys::process::reap(started.pidfd.as_fd()).unwrap().code(), 0);
        started.cgroup.remove().unwrap();
        let out = std::fs::read_to_string(dir.join("out")).unwrap();
        assert!(out.contains("\"read\":150"), "{out}");
    }
    bundle.assert_nothing_left();
}

fn failures_carry_exit_codes_and_leave_nothing() {
    let mut bundle = Bundle::new();
    let rootfs = Rootfs::Directory {
        path: bundle.rootfs(),
    };
    bundle::file(&bundle.rootfs(), "bin/script", "#!/no/interpreter\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.rootfs().join("bin/script"), mode).unwrap();
    for (program, code, early) in [
        ("/bin/none", 127, true),
        ("/bin", 126, true),
        ("/bin/script", 127, false),
    ] {
        bundle.spec.process.as_mut().unwrap().args = vec![program.to_owned()];
        let result = runtime::create(request(&bundle, &rootfs));
        assert_eq!(result.is_err(), early, "{program}");
        let error = match result {
            Ok(created) => created.start().unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.exit_code(), Some(code), "{program}");
        let wire = error.to_wire();
        assert_eq!(wire.exit_code, Some(code));
        assert!(spec::error::chain(&wire).starts_with("unable to start container process: "));
        bundle.assert_nothing_left();
    }
}

fn executed_processes_are_children_of_the_caller() {
    let mut bundle = Bundle::new();
    bundle.env("PROBE_SLEEP=600");
    let rootfs = Rootfs::Directory {
        path: bundle.rootfs(),
    };
    let started = runtime::create(request(&bundle, &rootfs))
        .unwrap()
        .start()
        .unwrap();
    let mut process = bundle.spec.process.clone().unwrap();
    process.env.push("PROBE_SLEEP=0".to_owned());
    let exec = |process: &spec::runtime::Process, stdio| {
        runtime::exec(Exec {
            target: started.pidfd.as_fd(),
            cgroup: &started.cgroup,
            process,
            stdio,
            seccomp: Seccomp::Default,
            profile: None,
            bounding: None,
            orphan: Orphan::Kill,
        })
    };
    let added = exec(&process, null()).unwrap();
    assert!(
        started
            .cgroup
            .pids()
            .unwrap()
            .contains(&started.pid.as_raw_nonzero().get())
    );
    assert_eq!(sys::process::reap(added.pidfd.as_fd()).unwrap().code(), 0);
    // With a terminal.
    process.terminal = true;
    let added = exec(&process, Stdio::Terminal).unwrap();
    let console = std::fs::File::from(added.console.unwrap());
    let mut text = Vec::new();
    let _ = std::io::Read::read_to_end(&mut &console, &mut text);
    assert!(String::from_utf8_lossy(&text).contains("\"tty\":true"));
    assert_eq!(sys::process::reap(added.pidfd.as_fd()).unwrap().code(), 0);
    // What cannot run is told, and nothing stays behind.
    process.args = vec!["nosuch".to_owned()];
    assert_eq!(exec(&process, null()).unwrap_err().exit_code(), Some(127));
    started.cgroup.kill().unwrap();
    assert_eq!(
        sys::process::reap(started.pidfd.as_fd()).unwrap().code(),
        137
    );
    assert!(
        rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_err(),
        "no child is left"
    );
    started.cgroup.remove().unwrap();
    bundle.assert_nothing_left();
}

fn a_process_with_threads_is_refused() {
    let bundle = Bundle::new();
    let rootfs = Rootfs::Directory {
        path: bundle.rootfs(),
    };
    let (quit, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let error = runtime::create(request(&bundle, &rootfs)).unwrap_err();
    assert!(spec::error::chain(&error).contains("threads"), "{error:?}");
    drop(quit);
    assert!(other.join().unwrap().is_err());
}
