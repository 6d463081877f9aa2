//! `corten-init` as the first process of a pid namespace and outside of one.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

fn init(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten-init"));
    command.args(args);
    command
}

fn code(args: &[&str]) -> Option<i32> {
    init(args).stderr(Stdio::null()).status().unwrap().code()
}

#[test]
fn ends_as_the_program_ends() {
    assert_eq!(code(&["--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["/no/such"]), Some(127));
    assert_eq!(code(&["no-such-program"]), Some(127));
    assert_eq!(code(&["/etc/passwd"]), Some(126));
    assert_eq!(code(&[]), Some(125));
}

/// Starts a shell script under init and waits for its first line.
fn started(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line.trim().to_owned())
}

fn signal(child: &mut Child, number: i32) -> ExitStatus {
    sys::process::signal(i32::try_from(child.id()).unwrap(), number).unwrap();
    child.wait().unwrap()
}

#[test]
fn signals_reach_the_program() {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut child, line) = started(&mut init(&["sh", "-c", script]));
    assert_eq!(line, "ready");
    assert_eq!(signal(&mut child, 15).code(), Some(9));
    // The default action works, too: nothing is left blocked or ignored.
    let (mut child, _) = started(&mut init(&["sh", "-c", "echo ready; exec sleep 600"]));
    assert_eq!(signal(&mut child, 2).code(), Some(130));
}

#[test]
fn orphans_are_reaped_by_the_first_process() {
    // The inner shell ends before its child: the child becomes that of the first process.
    let script = "(sleep 0.01 &) ; sleep 0.3; for d in /proc/[0-9]*/stat; do read -r l < $d && \
                  case $l in *\\ Z\\ *) echo zombie ;; esac; done; echo $$";
    let output = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            env!("CARGO_BIN_EXE_corten-init"),
        ])
        .args(["sh", "-c", script])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "2",
        "{output:?}"
    );
}
