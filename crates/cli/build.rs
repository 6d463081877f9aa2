//! How the program is linked.
//!
//! The addresses that are filled in at every start are written in the packed form: with the
//! libraries for TLS there are twenty thousand of them, and reading the long form would take as
//! long as the rest of the start.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
