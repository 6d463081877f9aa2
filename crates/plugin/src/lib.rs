//! Docker's plugins, protocol version 1: finding them, activating them, calling them.
//!
//! Exists because volumes and networks both speak with plugins (C). Knows the way, not what is said
//! on it: methods, requests and answers belong to whoever calls. Synchronous.
//!
//! ```text
//! <dir>/<name>.sock, <dir>/<name>/<name>.sock    a unix socket
//! <dir>/<name>.spec, <dir>/<name>/<name>.spec    a file with an address
//! <dir>/<name>.json, <dir>/<name>/<name>.json    {"Name": …, "Addr": …}
//! ```
//!
//! A plugin is somebody else's program: it may hang, lie, die or answer garbage. Whatever it does
//! ends within a bounded time, costs bounded memory, and is told in Docker's words.
#![forbid(unsafe_code)]

mod client;
mod discovery;
mod failure;
mod http;
mod plugins;

pub use client::{Limits, Plugin, nothing, read, shortened};
pub use failure::PluginFailure;
pub use http::Address;
pub use plugins::{Kind, PluginSettings, Plugins};
