//! The Docker Engine API as types on the wire, and a client for it.
//!
//! Wire types say nothing about what is right: they are Docker's JSON, field by field, in the order
//! in which dockerd 28.5 prints them. Whoever serves or uses the API converts them to and from
//! types of its own. [`gojson`] reads and writes them with Go's manners.
#![forbid(unsafe_code)]

pub mod auth;
pub mod client;
pub mod container;
pub mod event;
pub mod exec;
pub mod gojson;
pub mod image;
pub mod message;
pub mod network;
pub mod oci;
pub mod registry;
pub mod stats;
pub mod system;
pub mod volume;

/// The newest API version that is spoken here.
pub const MAX_VERSION: &str = "1.51";
/// The oldest API version that is spoken here.
pub const MIN_VERSION: &str = "1.24";
