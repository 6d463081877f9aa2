//! Placeholder.
fn main() { println!("Hello from Corten!"); }
