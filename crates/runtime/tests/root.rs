//! Containers on the real kernel, through the command line and through the library. Needs root.
//!
//! The program that runs inside is this test binary itself, copied into the root file system: it is
//! static, and its test `probe` prints what it sees when the environment asks for it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "root/bundle.rs"]
mod bundle;
#[path = "root/isolation.rs"]
mod isolation;
#[path = "root/life.rs"]
mod life;
#[path = "root/mounts.rs"]
mod mounts;
#[path = "root/probe.rs"]
mod probe;
