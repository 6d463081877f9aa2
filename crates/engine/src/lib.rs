//! The engine: containers, images, execs, events, networks and the host, without any transport.
//!
//! Exists because it is the one place where store, network and supervisors meet (F: the supervisor
//! has a fake). [`Engine::open`] builds the services once; each owns its state. Nothing here knows
//! HTTP, JSON shapes of the API, or a command line.
//!
//! One task per container ([`containers`]) changes it; everybody else reads its latest snapshot.
#![forbid(unsafe_code)]

mod blocking;
mod clock;
mod collector;
pub mod config;
pub mod container;
pub mod containers;
pub mod engine;
pub mod error;
pub mod events;
pub mod execs;
pub mod filters;
pub mod images;
mod mounts;
mod names;
pub mod networks;
mod oci;
mod pieces;
mod shim_client;
pub mod streams;
pub mod system;
pub mod volumes;

pub use config::EngineConfig;
pub use engine::Engine;
pub use error::Error;
pub use filters::Filters;

/// Result of an operation of the engine.
pub type Result<T> = std::result::Result<T, Error>;
