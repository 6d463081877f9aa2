//! A helper as a process: takes over its socket, and is as small and as weak as can be.

use std::error::Error;
use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use helper::protocol::LISTENER_FD;
use helper::server::Settings;
use relay::server::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sys::caps::{CapSet, Sets};

/// The host's name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// To enter namespaces, to make tables in them, and to see which of them have processes.
const OF_RESOLVER: [&str; 4] = [
    "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_DAC_READ_SEARCH",
];

/// Its sockets are bound by others: it needs no capability at all.
const OF_RELAY: [&str; 0] = [];

/// Blocks of this size go back to the kernel when they are freed.
const LARGE_BLOCK: i32 = 16 * 1024;

/// Runs until nobody needs names any more.
pub fn resolver(build: &OsStr) -> ExitCode {
    run(build, c"corten-resolver", &OF_RESOLVER, |settings| {
        Ok(resolver::server::serve(
            settings,
            PathBuf::from(RESOLV_CONF),
        )?)
    })
}

/// Runs until nothing is left to carry.
pub fn relay(build: &OsStr) -> ExitCode {
    run(build, c"corten-relay", &OF_RELAY, |settings| {
        let descriptors = getrlimit(Resource::Nofile).current;
        let descriptors = descriptors.and_then(|number| usize::try_from(number).ok());
        let limits = Limits::of(descriptors.unwrap_or(usize::MAX));
        Ok(relay::server::serve(settings, limits)?)
    })
}

fn run(
    build: &OsStr,
    name: &CStr,
    capabilities: &[&str],
    serve: impl FnOnce(Settings) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let served = prepare(name, capabilities).and_then(|listener| {
        serve(Settings {
            listener,
            build: build.to_string_lossy().into_owned(),
            say: crate::say,
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::say(&format!("corten-shim: {}", spec::error::chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

/// Makes the process what a helper is; gives the socket where daemons connect.
fn prepare(name: &CStr, capabilities: &[&str]) -> Result<OwnedFd, Box<dyn Error>> {
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
    let _ = rustix::thread::set_name(name);
    // Everything that it does for somebody has descriptors of its own.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, wanted);
    weaken(capabilities)?;
    Ok(listener)
}

/// Gives away for good what a reader of strangers' bytes does not need.
fn weaken(capabilities: &[&str]) -> sys::Result<()> {
    let (wanted, _) = CapSet::from_names(capabilities);
    let kept = sys::caps::permitted()?.and(wanted);
    sys::caps::apply(&Sets {
        effective: kept,
        permitted: kept,
        ..Sets::default()
    })?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| sys::Error::new("prctl(PR_SET_NO_NEW_PRIVS)", e))
}
