//! `cortend`, also called `dockerd`: reads flags and file, then runs the daemon.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use daemon::daemon::{Reload, run};
use daemon::flags::{self, Values};
use daemon::logging;
use daemon::settings::{Name, Settings};

/// A pull allocates much for a moment: with an arena per thread most of it would stay.
const HEAP: sys::signal::Heap = sys::signal::Heap {
    arenas: 2,
    large_block: 128 * 1024,
    slack: 1024 * 1024,
};

fn main() -> ExitCode {
    sys::signal::lean_heap(HEAP);
    let mut args = std::env::args();
    let name = Name::of(&args.next().unwrap_or_default());
    let args: Vec<String> = args.collect();
    match start(name, &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn start(name: Name, args: &[String]) -> anyhow::Result<()> {
    let program = name.text();
    let flags = flags::parse(program, args)
        .map_err(|error| anyhow::anyhow!("Status: {error}\nSee '{program} --help'."))?;
    let asked = |flag: &str| {
        flags
            .get(flag)
            .is_some_and(|v| v.last().is_some_and(|v| v == "true"))
    };
    if asked("help") {
        say(&mut std::io::stdout(), &flags::help(program));
        return Ok(());
    }
    if asked("version") {
        say(&mut std::io::stdout(), &version());
        return Ok(());
    }
    let settings = Settings::load(name, &flags)?;
    if asked("validate") {
        say(&mut std::io::stderr(), "configuration OK\n");
        return Ok(());
    }
    if asked("fsck") {
        return check(&settings);
    }
    serve(settings, name, flags)
}

/// Tells what is wrong with the data root, which no daemon may be using.
fn check(settings: &Settings) -> anyhow::Result<()> {
    let problems = engine::engine::fsck(&settings.engine.data_root)?;
    for problem in &problems {
        say(&mut std::io::stdout(), &format!("{problem}\n"));
    }
    anyhow::ensure!(problems.is_empty(), "{} problems found", problems.len());
    say(&mut std::io::stdout(), "no problems found\n");
    Ok(())
}

fn serve(settings: Settings, name: Name, flags: Values) -> anyhow::Result<()> {
    let level = logging::start(settings.level, settings.format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(settings, Reload { name, flags, level }));
    // Blocking jobs that still run belong to requests that nobody waits for.
    runtime.shutdown_background();
    result
}

fn version() -> String {
    format!(
        "Corten version {}, API {}\n",
        env!("CARGO_PKG_VERSION"),
        api::MAX_VERSION
    )
}

/// Prints; a reader that went away is no failure.
fn say(to: &mut dyn Write, text: &str) {
    to.write_all(text.as_bytes()).ok();
}
