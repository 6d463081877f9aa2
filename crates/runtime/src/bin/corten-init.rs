//! The first process of a container started with `--init`.
//!
//! Starts the program, hands it every signal, reaps whatever is orphaned to it, and ends as the
//! program ended. The engine mounts this binary read-only at `/sbin/docker-init`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "its only way to say why it could not start the program")]

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// `SIGCHLD`.
const CHILD_ENDED: i32 = 17;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == "--") {
        args.remove(0);
    }
    let Some((program, rest)) = args.split_first() else {
        eprintln!("corten-init: no program to start");
        return ExitCode::from(125);
    };
    // An ignored SIGCHLD would be inherited, and no child could ever be waited for.
    sys::signal::reset_dispositions();
    if let Err(error) = sys::signal::block_all() {
        eprintln!("corten-init: {error}");
        return ExitCode::from(125);
    }
    // A group of its own lets a terminal's keys reach the program and its children only.
    let child = match Command::new(program).args(rest).process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("corten-init: exec {} failed: {error}", program.to_string_lossy());
            return ExitCode::from(if error.kind() == ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return ExitCode::from(125);
    };
    // Without a terminal there is nothing to hand over.
    let _ = rustix::termios::tcsetpgrp(std::io::stdin(), pid);
    serve(pid)
}

/// Forwards signals until the program has ended.
fn serve(program: Pid) -> ExitCode {
    loop {
        match sys::sigwait::next() {
            Ok(CHILD_ENDED) => {
                if let Some(code) = reap(program) {
                    return ExitCode::from(code);
                }
            }
            // The program may have ended meanwhile; its SIGCHLD follows.
            Ok(signal) => drop(sys::sigwait::send(program.as_raw_nonzero().get(), signal)),
            Err(error) => {
                eprintln!("corten-init: {error}");
                return ExitCode::from(125);
            }
        }
    }
}

/// Reaps every child that has ended; tells the program's exit code if it was among them.
fn reap(program: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == program {
            code = Some(exit_code(status));
        }
    }
    code
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 125,
    };
    u8::try_from(code & 0xff).unwrap_or(125)
}
