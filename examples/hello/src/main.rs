//! The program of the demo image: static, alone in its root file system, it says who it is.
#![forbid(unsafe_code)]

fn main() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    println!("Hello from Corten!");
    println!(
        "I am process {} in container {}.",
        std::process::id(),
        host.trim()
    );
    println!("There is nothing in my file system but me.");
}
