//! The kernel: files, mounts, namespaces, control groups, netlink, processes, terminals.
//!
//! Exists for its dependency budget (B): the only crate with `unsafe`. Synchronous; knows nothing
//! of containers, images or policy. Every wrapper sets close-on-exec, returns owned descriptors,
//! and names the call and its arguments when it fails.
#![deny(unsafe_code)]

pub mod error;
// runtime owns: process (clone3, exec, reap), mount, caps, cgroup, seccomp, rlimit
// shim owns: fdpass (SCM_RIGHTS over seqpacket), poll (epoll), pty, memfd
// store owns: root (openat2), fs (atomic replace, sync), xattr
// network owns: netlink, nft, netns

pub use error::{Error, Result};
