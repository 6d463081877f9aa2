//! The tasks of the house: `cargo xtask demo | test | e2e | tidy | install | bench | fuzz`.
//!
//! Depends on next to nothing, so that it starts at once: what needs the harness (the demo, the
//! benchmarks) is a binary of the `tests` crate, which the task builds and runs.
#![forbid(unsafe_code)]

mod cpio;
mod install;
mod layers;
mod packages;
mod run;
mod tidy;
mod vm;
mod words;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
Usage: cargo xtask TASK

  demo [--debug]               build, run examples/hello in a container of a private daemon, clean up
  test [FILTER]                install the Debian packages the tests need, build, run all tests
  e2e [--against SOCKET] [ARG] run the end-to-end tests, on cortend or on the given dockerd
  tidy [--fast]                check format, lints, crate edges, sizes, words, documents
  install [--prefix DIR]       build and install the binaries and a systemd unit
  bench [--dockerd PATH|unix:///SOCKET] [ARG]
                               measure cortend, and a dockerd beside it
  fuzz                         build the fuzz targets and run each for some seconds (needs nightly)
  vm-test [--debug | --bin-dir DIR] [SECTION]
                               boot the distribution's kernel with cgroup v2 in QEMU, test in it
";

fn main() -> ExitCode {
    match task() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::complain(&format!("xtask: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn task() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    std::env::set_current_dir(run::root())?;
    match args.split_first() {
        Some((&"demo", rest)) => run::demo(rest),
        Some((&"test", rest)) => run::test(rest),
        Some((&"e2e", rest)) => run::e2e(rest),
        Some((&"tidy", rest)) => tidy::run(rest),
        Some((&"install", rest)) => install::run(rest),
        Some((&"bench", rest)) => run::bench(rest),
        Some((&"fuzz", _)) => run::fuzz(),
        Some((&"vm-test", rest)) => vm::test(rest),
        Some((&("help" | "--help" | "-h"), _)) | None => {
            run::say(USAGE);
            Ok(())
        }
        Some((other, _)) => bail!("there is no task `{other}`\n\n{USAGE}"),
    }
}
