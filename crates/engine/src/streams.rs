//! Streams between a client and a container: attached standard streams and logs.

pub mod attach;
pub mod detach;
pub mod logs;

pub use attach::{Attached, Ended};
pub use logs::LogStream;
