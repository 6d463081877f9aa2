//! The supervisor of one container: its protocol, and the log file it writes.
//!
//! Exists because it is its own process (P): `corten-shim`, forked once per task from a small
//! zygote, outliving the daemon. This library half is shared with the daemon and needs no tokio:
//! [`protocol`] is what the two say to each other, [`log`] is the format of the log file and both
//! its writer and its reader.
#![forbid(unsafe_code)]

pub mod log;
pub mod protocol;
