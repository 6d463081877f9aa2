//! Published ports of the host's IPv6 addresses that lead to containers with IPv4 alone.
//!
//! Exists because it is a process of its own (P): `corten-shim relay` carries bytes for every port of
//! a daemon, goes on while the daemon is away, and has no capability. Synchronous, one thread, one
//! epoll set; what a connection carries never enters its memory. Translation (`network`) carries all
//! other ports: this is for what no translation can do, from one IP version to the other.
//!
//! ```text
//! client ── [::]:8080 ──► socket of the daemon's, listening here ──► 172.17.0.2:80 ── container
//!                           TCP: splice(2) through a pipe, both directions, half-closed as told
//!                           UDP: a socket per flow, which says by which address it was asked
//! daemon ── client ── relay.sock (protocol) ──► server: ports, with the sockets that hold them
//! ```
//!
//! The daemon reserves a port by a bound socket and passes it on. Both hold it then: when one of them
//! dies, the other still has it.
#![forbid(unsafe_code)]

pub mod client;
pub mod protocol;
pub mod server;
