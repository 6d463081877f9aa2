//! Placeholder, being written.
pub struct Platform;
