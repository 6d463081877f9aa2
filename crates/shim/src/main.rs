//! `corten-shim`: the zygote of a daemon, the supervisors it forks, the name server, and the relay.
//!
//! ```text
//! cortend ── exec ──► corten-shim zygote ── fork per Spawn ──► supervisor ── clone3 ──► container
//!         ├─ exec ──► corten-shim resolver
//!         └─ exec ──► corten-shim relay
//! ```
//!
//! Invariants: one thread, always; no descriptor of one container is ever open in the supervisor of
//! another; nothing a container or a daemon does makes a supervisor wait for it.
#![forbid(unsafe_code)]

mod helping;
mod supervisor;
mod zygote;

use std::process::ExitCode;

const USAGE: &str = "usage: corten-shim zygote | resolver BUILD | relay BUILD    (started by cortend, with a socket at descriptor 3)";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(command), None, None) if command == "zygote" => zygote::main(),
        (Some(command), Some(build), None) if command == "resolver" => helping::resolver(&build),
        (Some(command), Some(build), None) if command == "relay" => helping::relay(&build),
        (Some(option), None, None) if option == "--version" => {
            say(&format!("corten-shim {}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        _ => {
            say(USAGE);
            ExitCode::from(2)
        }
    }
}

/// Tells the operator; the zygote's standard error is the daemon's.
fn say(text: &str) {
    use std::io::Write;
    // With nobody to read it there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}
