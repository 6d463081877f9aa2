//! The end-to-end harness: private daemons on temporary roots, both clients, and the leak audit.
//!
//! Exists as a crate because its users are several (C): the end-to-end tests, the crash tests,
//! the demo and the benchmarks. The same tests run against a `dockerd`: set
//! `CORTEN_E2E_AGAINST=unix:///path/docker.sock` (or `cargo xtask e2e --against PATH`).
//!
//! Reading order: [`case`] is what a test sees; [`target`] is the engine it talks to;
//! [`daemon`] starts one; [`audit`] says what it left behind.
#![forbid(unsafe_code)]

pub mod audit;
pub mod case;
pub mod command;
pub mod content;
pub mod daemon;
pub mod disk;
pub mod failure;
pub mod host;
pub mod hostile;
pub mod http;
pub mod image;
pub mod neighbour;
pub mod own;
pub mod proxy;
pub mod registry;
pub mod skopeo;
pub mod tarball;
pub mod target;
pub mod terminal;
pub mod tls;
pub mod tracer;
pub mod wait;

pub use case::Case;
pub use command::{Client, Output, Spawned};
pub use daemon::Daemon;
pub use disk::Disk;
pub use hostile::{Hostile, Reply, base64};
pub use image::IMAGE;
pub use neighbour::{Host, Neighbour};
pub use own::Own;
pub use registry::Registry;
pub use terminal::Terminal;
pub use tracer::Tracer;
pub use wait::{poll, wait_for};

/// Makes one test per client from each function: `name::docker` and `name::corten`.
#[macro_export]
macro_rules! clients {
    ($( $(#[$meta:meta])* fn $name:ident($case:ident) $body:block )*) => { $(
        mod $name {
            #[allow(unused_imports, reason = "not every test needs what its neighbours import")]
            use super::*;
            $(#[$meta])*
            fn check($case: &$crate::Case) $body
            #[test]
            fn docker() {
                $crate::Case::run($crate::Client::Docker, stringify!($name), check);
            }
            #[test]
            fn corten() {
                $crate::Case::run($crate::Client::Corten, stringify!($name), check);
            }
        }
    )* };
}

/// Makes one test from each function; for what is asked over the socket, without a client.
#[macro_export]
macro_rules! api {
    ($( $(#[$meta:meta])* fn $name:ident($case:ident) $body:block )*) => { $(
        #[test]
        fn $name() {
            $(#[$meta])*
            fn check($case: &$crate::Case) $body
            $crate::Case::run($crate::Client::Docker, stringify!($name), check);
        }
    )* };
}
