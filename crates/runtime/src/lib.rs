//! Starts processes in containers, from an OCI specification, as a library.
//!
//! Exists for its process rule: the only crate that clones processes and changes namespaces. The
//! caller must have a single thread. `corten-runtime` offers the same as an OCI command line.
//!
//! ```text
//! caller                                     init (pid 1 of the container)
//! create ── clone3 ────────────────────────► new namespaces
//!   cgroups: mkdir, limits                   root file system, mounts, /dev   (at the same time)
//!   ── "cgroups are ready" ────────────────► joins them, cgroup namespace, cgroup mounts
//!                                            masks, pivot_root, user, capabilities
//!   ◄─ "ready" (+ pty master) or the error ─ waits
//! start ── "go" ───────────────────────────► seccomp, execve
//!   ◄─ end of stream: execve was done, or the error
//! ```
#![forbid(unsafe_code)]

mod cgroups;
mod copy;
mod create;
mod dev;
mod error;
mod example;
mod exec;
mod filter;
mod init;
mod launch;
mod mounts;
mod process;
mod rootfs;
pub mod seccomp;
mod step;
mod sync;
mod sysctl;
mod user;

pub use cgroups::limits_of;
pub use create::{Create, Created, Gate, Orphan, Seccomp, Started, Stdio, create, start_through};
pub use error::Error;
pub use example::example_spec;
pub use exec::{Exec, Executed, exec};
pub use filter::precompile_default;
