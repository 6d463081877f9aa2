//! The end-to-end tests: one module per area of the command line, the same for both clients.
//!
//! Run them with `cargo xtask test`, or `cargo test -p tests` once everything is built; against
//! a dockerd with `cargo xtask e2e --against unix:///path/docker.sock`.
#![forbid(unsafe_code)]

mod archives;
mod attach;
mod bad_input;
mod bombs;
mod clients_compat;
mod compat_api;
mod copy;
mod crash;
mod damage;
mod disk_full;
mod drivers;
mod errors;
mod escape;
mod events;
mod exec;
mod faults;
mod firewall;
mod hostile_registry;
mod hostile_sizes;
mod images;
mod isolation;
mod kill_points;
mod lifecycle;
mod limits;
mod login;
mod logs;
mod mirrors;
mod mounts;
mod names;
mod network;
mod network_bad_input;
mod networks;
mod platforms;
mod plugins;
mod ports;
mod power;
mod ps;
mod pull_faults;
mod registry;
mod removals;
mod resources;
mod resume;
mod run;
mod servers;
mod space;
mod stats;
mod syscalls;
mod system;
mod transfer;
mod trust;
mod volumes;
