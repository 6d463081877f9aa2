//! The process that supervisors are forked from.
//!
//! 1. Copies the program into a sealed memfd and executes that: whatever a container does to
//!    `/proc/<pid>/exe` of any of us, it cannot change a file of the host (CVE-2019-5736).
//! 2. Leaves the daemon's session. It stays in the host's mount namespace: a copy would pin mounts
//!    that the host has taken away and never see those it adds.
//! 3. Forks a supervisor per `Spawn`, until its socket ends.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use shim::protocol::{Outcome, Packet, Spawn, SpawnReply, Spawned, ZYGOTE_FD};
use spec::{Classify, ErrorKind, WireError};
use sys::signal::Fork;

use crate::supervisor;

/// A `Spawn` is an id and a path of at most 4096 bytes, which JSON may double.
const BUFFER: usize = 16 * 1024;

/// Blocks of this size go back to the kernel when they are freed.
const LARGE_BLOCK: i32 = 32 * 1024;

/// Docker's default capabilities: nearly every container's filter is compiled for this set, once.
const COMMON_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Why the zygote gave up.
#[derive(Debug, thiserror::Error)]
enum ZygoteError {
    #[error("failed to copy the program into memory")]
    Copy { source: std::io::Error },
    #[error("failed to execute the copy in memory")]
    Execute { source: std::io::Error },
    #[error("failed to {action}")]
    Kernel {
        action: &'static str,
        source: sys::Error,
    },
    #[error("lost the daemon's socket")]
    Socket { source: std::io::Error },
}

/// Runs the zygote; returns in the zygote and in every supervisor it forked.
pub fn main() -> ExitCode {
    match run() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(job)) => supervisor::main(job),
        Err(error) => {
            crate::say(&format!("corten-shim: {}", spec::error::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Serves until the daemon is gone (`None`), or returns in a forked child with its task.
fn run() -> Result<Option<supervisor::Job>, ZygoteError> {
    if !sys::memfd::running_sealed().map_err(|source| ZygoteError::Copy { source })? {
        return Err(execute_copy());
    }
    sys::signal::lean_heap(sys::signal::Heap {
        arenas: 1,
        large_block: LARGE_BLOCK,
        slack: 64 * 1024,
    });
    let kernel = |action| move |source| ZygoteError::Kernel { action, source };
    let socket = sys::signal::inherited(ZYGOTE_FD).map_err(kernel("take over the socket"))?;
    sys::signal::close_from(u32::try_from(ZYGOTE_FD).unwrap_or(0) + 1)
        .map_err(kernel("close inherited descriptors"))?;
    // A Ctrl-C for a daemon in the foreground is not for us; failing means we lead a session already.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let _ = rustix::thread::set_name(c"corten-zygote");
    sys::signal::ignore_children().map_err(kernel("ignore the death of children"))?;
    // A filter that cannot be compiled is the error of the container that asks for it.
    let _ = runtime::precompile_default(&COMMON_CAPABILITIES);
    sys::signal::trim_heap();
    serve(socket)
}

fn execute_copy() -> ZygoteError {
    match sys::memfd::copy_of_self("corten-shim") {
        Err(source) => ZygoteError::Copy { source },
        Ok(copy) => {
            let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
            let source = Command::new(path)
                .arg0("corten-shim")
                .args(std::env::args_os().skip(1))
                .exec();
            ZygoteError::Execute { source }
        }
    }
}

fn serve(socket: OwnedFd) -> Result<Option<supervisor::Job>, ZygoteError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let message = sys::fdpass::recv(socket.as_fd(), &mut buffer)
            .map_err(|source| ZygoteError::Socket { source })?;
        if message.len == 0 {
            return Ok(None);
        }
        let truncated = message.truncated;
        let packet = Packet {
            bytes: buffer[..message.len].to_vec(),
            fds: message.fds,
        };
        match packet.decode::<Spawn>() {
            Ok((spawn, mut fds)) if !truncated && fds.len() == 1 => {
                let control = fds.remove(0);
                match sys::signal::fork() {
                    Ok(Fork::Child) => {
                        drop(socket);
                        let Spawn {
                            container, run_dir, ..
                        } = spawn;
                        return Ok(Some(supervisor::Job {
                            container,
                            run_dir,
                            control,
                        }));
                    }
                    Ok(Fork::Parent(pid)) => {
                        reply(socket.as_fd(), spawn.id, Outcome::Ok(Spawned { pid }))?;
                    }
                    Err(error) => {
                        let error = WireError::from_error(ErrorKind::Exhausted, &error);
                        reply(socket.as_fd(), spawn.id, Outcome::Error(error))?;
                    }
                }
            }
            Ok((spawn, _)) => {
                let error = WireError::new(
                    ErrorKind::InvalidArgument,
                    "a spawn request carries exactly one descriptor",
                );
                reply(socket.as_fd(), spawn.id, Outcome::Error(error))?;
            }
            Err(error) => {
                let error = WireError::from_error(error.kind(), &error);
                reply(socket.as_fd(), 0, Outcome::Error(error))?;
            }
        }
    }
}

fn reply(socket: BorrowedFd<'_>, id: u64, result: Outcome<Spawned>) -> Result<(), ZygoteError> {
    let socket_error = |source| ZygoteError::Socket { source };
    let packet = Packet::encode(&SpawnReply { id, result }, Vec::new())
        .map_err(|error| socket_error(std::io::Error::other(error)))?;
    sys::fdpass::send(socket, &packet.bytes, &[]).map_err(socket_error)
}
