//! Helpers as processes: they outlive their daemon, are found again, and are replaced.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod names;
mod ports;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use helper::Helper;
use helper::client::{Link, Settings};
use helper::protocol::About;

const DEADLINE: Duration = Duration::from_secs(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_corten-shim");

fn settings(dir: &Path, program: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        program: program.to_owned(),
    }
}

/// What the helper that is found there says about itself.
fn about<H: Helper>(dir: &Path) -> Option<About<H::Load>> {
    Link::<H>::find(dir).ok().map(|(_, about)| about)
}

fn kill(pid: i32) {
    sys::process::signal(pid, 9).unwrap();
}

/// An upgrade: the same program in another file.
fn upgraded(dir: &Path) -> PathBuf {
    let upgraded = dir.join("corten-shim");
    std::fs::copy(PROGRAM, &upgraded).unwrap();
    upgraded
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn is_gone(pid: i32) -> bool {
    !PathBuf::from(format!("/proc/{pid}")).exists()
}
