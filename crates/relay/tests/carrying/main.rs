//! The relay in network namespaces of its own: what it carries, and what it is told.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod control;
mod datagrams;
mod harness;
mod streams;
