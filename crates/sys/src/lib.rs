//! The kernel: files, mounts, namespaces, control groups, netlink, processes, terminals.
//!
//! Exists for its dependency budget (B): the only crate with `unsafe`. Synchronous; knows nothing
//! of containers, images or policy. Every wrapper sets close-on-exec, returns owned descriptors,
//! and names the call and its arguments when it fails.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod activation;
#[allow(unsafe_code)]
pub mod bpf;
#[allow(unsafe_code)]
pub mod btrfs;
pub mod caps;
pub mod cgroup;
#[allow(unsafe_code)]
pub mod command;
pub mod conntrack;
pub mod copy;
pub mod error;
pub mod fdpass;
pub mod fs;
#[allow(unsafe_code)]
pub mod iptables;
#[allow(unsafe_code)]
pub mod keyring;
#[allow(unsafe_code)]
pub mod loopdev;
pub mod memfd;
#[allow(unsafe_code)]
pub mod mntns;
#[allow(unsafe_code)]
pub mod mount;
pub mod netlink;
#[allow(unsafe_code)]
pub mod netns;
pub mod nft;
#[allow(unsafe_code)]
pub mod packet;
pub mod poll;
#[allow(unsafe_code)]
pub mod power;
#[allow(unsafe_code)]
pub mod process;
pub mod pty;
#[allow(unsafe_code)]
pub mod quota;
pub mod rlimit;
pub mod root;
#[allow(unsafe_code)]
pub mod seccomp;
#[allow(unsafe_code)]
pub mod signal;
#[allow(unsafe_code)]
pub mod userns;
pub mod xattr;

#[allow(unsafe_code)]
pub mod sigwait;

pub use error::{Error, Result};
