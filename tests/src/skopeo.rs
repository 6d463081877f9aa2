//! `skopeo`: the other side of every image, and no part of ours.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::exit_code;

/// What it left.
#[derive(Debug)]
pub struct Copied {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Whether the program is there; says so when not.
pub fn is_there() -> bool {
    let there = Path::new("/usr/bin/skopeo").exists();
    if !there {
        eprintln!("not run: it needs the Debian package skopeo");
    }
    there
}

/// Runs it with nothing of the caller's environment; `home` holds its files.
pub fn run(home: &Path, args: &[&str]) -> Copied {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("XDG_RUNTIME_DIR", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("the Debian package skopeo is installed");
    Copied {
        code: exit_code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Copies an image between places, registries without TLS among them; panics when it fails.
#[track_caller]
pub fn copy(home: &Path, flags: &[&str], from: &str, to: &str) {
    let mut args = vec!["copy", "--quiet"];
    for (place, flag) in [(from, "--src-tls-verify=false"), (to, "--dest-tls-verify=false")] {
        if place.starts_with("docker://") {
            args.push(flag);
        }
    }
    args.extend_from_slice(flags);
    args.extend([from, to]);
    let copied = run(home, &args);
    assert_eq!(copied.code, 0, "skopeo {args:?}: {}", copied.stderr);
}

/// The exact manifest of an image in some place.
#[track_caller]
pub fn raw_manifest(home: &Path, place: &str) -> Vec<u8> {
    let mut args = vec!["inspect", "--raw"];
    if place.starts_with("docker://") {
        args.push("--tls-verify=false");
    }
    args.push(place);
    let answer = run(home, &args);
    assert_eq!(answer.code, 0, "skopeo {args:?}: {}", answer.stderr);
    answer.stdout.into_bytes()
}
