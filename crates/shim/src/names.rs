//! The name server as a process: takes over its socket, and is as small and as weak as can be.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use resolver::protocol::LISTENER_FD;
use resolver::server::{Settings, serve};
use sys::caps::{CapSet, Sets};

/// The host's name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// To enter namespaces, to make tables in them, and to see which of them have processes.
const CAPABILITIES: [&str; 4] = [
    "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_DAC_READ_SEARCH",
];

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
    weaken()?;
    serve(Settings {
        listener,
        build: build.to_string_lossy().into_owned(),
        resolv_conf: PathBuf::from(RESOLV_CONF),
        say: crate::say,
    })?;
    Ok(())
}

/// Gives away for good what a reader of strangers' packets does not need.
fn weaken() -> sys::Result<()> {
    let (wanted, _) = CapSet::from_names(&CAPABILITIES);
    let kept = sys::caps::permitted()?.and(wanted);
    sys::caps::apply(&Sets {
        effective: kept,
        permitted: kept,
        ..Sets::default()
    })?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| sys::Error::new("prctl(PR_SET_NO_NEW_PRIVS)", e))
}
