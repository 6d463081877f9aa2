//! The name server as a process: takes over its socket, and is as small and as weak as can be.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use resolver::protocol::LISTENER_FD;
use resolver::server::{Settings, serve};

/// The host's name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Blocks of this size go back to the kernel when they are freed.
const LARGE_BLOCK: i32 = 16 * 1024;

/// Runs until nobody needs names any more.
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
    let _ = rustix::thread::set_name(c"corten-resolver");
    // Every question to others has a descriptor of its own.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    serve(Settings {
        listener,
        build: build.to_string_lossy().into_owned(),
        resolv_conf: PathBuf::from(RESOLV_CONF),
        say: crate::say,
    })?;
    Ok(())
}
