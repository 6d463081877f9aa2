//! The name server in real network namespaces, asked by a client of our own.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod harness;

mod answering;
mod control;
mod forwarding;
