//! The kernel: files, mounts, namespaces, control groups, netlink, processes, terminals.
//!
//! Exists for its dependency budget (B): the only crate with `unsafe`. Synchronous; knows nothing
//! of containers, images or policy. Every wrapper sets close-on-exec, returns owned descriptors,
//! and names the call and its arguments when it fails.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod activation;
#[allow(unsafe_code)]
pub mod command;
pub mod error;
#[allow(unsafe_code)]
pub mod bpf;
pub mod caps;
pub mod cgroup;
pub mod fdpass;
#[allow(unsafe_code)]
pub mod keyring;
pub mod memfd;
#[allow(unsafe_code)]
pub mod mount;
pub mod poll;
#[allow(unsafe_code)]
pub mod power;
#[allow(unsafe_code)]
pub mod process;
pub mod pty;
pub mod rlimit;
#[allow(unsafe_code)]
pub mod seccomp;
#[allow(unsafe_code)]
pub mod signal;
pub mod fs;
pub mod root;
pub mod xattr;
pub mod netlink;
#[allow(unsafe_code)]
pub mod netns;
pub mod nft;


#[allow(unsafe_code)]
pub mod sigwait;

pub use error::{Error, Result};
