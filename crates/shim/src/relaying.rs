//! The relay as a process: takes over its socket, and is as small and as weak as can be.

use std::ffi::OsStr;
use std::process::ExitCode;

use relay::protocol::LISTENER_FD;
use relay::server::{Limits, Settings, serve};
use sys::caps::Sets;

/// Blocks of this size go back to the kernel when they are freed.
const LARGE_BLOCK: i32 = 16 * 1024;

/// Runs until nothing is left to carry.
pub fn main(build: &OsStr) -> ExitCode {
    match run(build) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::say(&format!("corten-shim: {}", spec::error::chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn run(build: &OsStr) -> Result<(), Box<dyn std::error::Error>> {
    sys::signal::lean_heap(sys::signal::Heap {
        arenas: 1,
        large_block: LARGE_BLOCK,
        slack: 64 * 1024,
    });
    let listener = sys::signal::inherited(LISTENER_FD)?;
    sys::signal::close_from(u32::try_from(LISTENER_FD).unwrap_or(0) + 1)?;
    // It outlives the daemon; failing means it leads a session already.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let _ = rustix::thread::set_name(c"corten-relay");
    let descriptors = raise_descriptors();
    // Its sockets are bound by others: it needs no capability at all.
    sys::caps::apply(&Sets::default())?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| sys::Error::new("prctl(PR_SET_NO_NEW_PRIVS)", e))?;
    serve(Settings {
        listener,
        build: build.to_string_lossy().into_owned(),
        limits: Limits::of(descriptors),
        say: crate::say,
    })?;
    Ok(())
}

/// Allows itself as many descriptors as it may have; tells how many.
fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, wanted);
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX))
}
