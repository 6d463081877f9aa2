//! The name server in real network namespaces, asked by a client of our own.

mod harness;

mod answering;
mod control;
mod forwarding;
