//! Placeholder, being written.
pub struct Reference;
