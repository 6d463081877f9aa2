//! `corten-runtime`: the runtime as an OCI command line, with runc's commands and flags.
#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
