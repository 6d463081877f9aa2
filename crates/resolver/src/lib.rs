//! Names inside of networks: the name server that containers of user networks find at 127.0.0.11.
//!
//! Exists because it is a process of its own (P): `corten-shim resolver` serves every sandbox of a
//! data root, goes on while the daemon is away, and is as small as that. Synchronous, one thread,
//! one epoll set. It never decides anything about containers: the daemon pushes whole values
//! ([`names`]) through [`client`], and they are kept in memory only.
//!
//! ```text
//! container ── 127.0.0.11:53 ──► (ports rewritten) ──► server ──► lookup: an answer from memory
//!                                                        │
//!                                                        └──► forward: the host's name servers, or
//!                                                             those of `--dns`; relayed byte by byte
//! daemon ── client ── resolver.sock (protocol) ──► server: networks, sandboxes + namespaces
//! ```
#![forbid(unsafe_code)]

pub mod client;
pub mod lookup;
pub mod names;
pub mod protocol;
pub mod server;
pub mod wire;

use std::net::Ipv4Addr;

/// Where every container finds its name server, as in Docker.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
