//! `cortend`: the engine behind Docker's command line, configuration file and HTTP API.
//!
//! Only this crate knows HTTP statuses and Docker's JSON. A request takes the path
//! [`server`] → [`service`] → [`routes`] → `convert` → engine; streams of containers leave HTTP
//! behind in [`hijack`] and [`websocket`].
#![forbid(unsafe_code)]

pub mod body;
pub mod call;
pub mod config_file;
pub mod convert;
pub mod daemon;
pub mod error;
pub mod flags;
pub mod hijack;
pub mod lenient;
pub mod listen;
pub mod lock;
pub mod logging;
pub mod platform;
pub mod progress;
pub mod query;
pub mod reply;
pub mod router;
pub mod routes;
pub mod server;
pub mod service;
pub mod settings;
pub mod slices;
pub mod upload;
pub mod websocket;
