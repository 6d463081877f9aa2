//! The first process of a container started with `--init`.
//!
//! Starts the program, hands it every signal, reaps whatever is orphaned to it, and ends as the
//! program ended. The engine mounts this binary read-only at `/sbin/docker-init`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stderr,
    reason = "its only way to say why it could not start the program"
)]

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use sys::signal::Fork;

/// `SIGCHLD`.
const CHILD_ENDED: i32 = 17;

/// Where programs are looked for when the environment does not tell.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == "--") {
        args.remove(0);
    }
    if args.is_empty() {
        eprintln!("corten-init: no program to start");
        return ExitCode::from(125);
    }
    match start(&args) {
        Ok(pid) => serve(pid),
        Err(error) => {
            eprintln!("corten-init: {error}: {}", error.errno());
            ExitCode::from(125)
        }
    }
}

/// Starts the program.
fn start(args: &[OsString]) -> sys::Result<Pid> {
    // An ignored SIGCHLD would be inherited, and no child could ever be waited for. Blocked signals
    // are kept for the loop below, also those that the kernel hides from a first process.
    sys::signal::reset_dispositions();
    sys::signal::block_all()?;
    // Not clone3, which the default filter of system calls hides.
    match sys::signal::fork()? {
        Fork::Parent(pid) => {
            Ok(Pid::from_raw(pid).expect("the kernel returns positive process ids"))
        }
        Fork::Child => {
            // A group of its own lets a terminal's keys reach the program and its children only.
            // Without a terminal there is nothing to hand over.
            let _ = rustix::process::setpgid(None, None);
            let _ = rustix::termios::tcsetpgrp(std::io::stdin(), rustix::process::getpid());
            let _ = sys::signal::unblock_all();
            let errno = execute(args);
            eprintln!(
                "corten-init: exec {} failed: {errno}",
                args[0].to_string_lossy()
            );
            sys::process::exit(if errno == Errno::NOENT { 127 } else { 126 })
        }
    }
}

/// Becomes the program, found as a shell would find it; returns the failure.
fn execute(args: &[OsString]) -> Errno {
    let strings = |list: Vec<Vec<u8>>| -> Vec<CString> {
        // None has a zero byte: they came from strings that end with one.
        list.into_iter().flat_map(CString::new).collect()
    };
    let argv = strings(args.iter().map(|arg| arg.as_bytes().to_vec()).collect());
    let variable =
        |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    let env = strings(std::env::vars_os().map(variable).collect());
    let name = args[0].as_bytes();
    if name.contains(&b'/') {
        return sys::process::execute(&argv[0], &argv, &env);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut result = Errno::NOENT;
    for dir in path.as_bytes().split(|c| *c == b':') {
        let candidate = strings(vec![[dir, b"/", name].concat()]);
        match candidate
            .first()
            .map(|path| sys::process::execute(path, &argv, &env))
        {
            None | Some(Errno::NOENT | Errno::NOTDIR) => {}
            Some(errno) => result = errno,
        }
    }
    result
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
