//! The tasks that build the workspace and run something of it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages;

/// The crates whose binaries make up a running Corten.
pub(crate) const PRODUCT: &[&str] = &["cli", "daemon", "runtime", "shim"];

/// The root directory of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Writes to standard output; a reader that went away is none of our business.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A command of the cargo that runs this task.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs a command and fails when it fails.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot start {line}"))?;
    if !output.status.success() {
        bail!(
            "{line}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Builds the binaries of the given crates.
pub(crate) fn build(crates: &[&str], release: bool) -> Result<()> {
    let mut command = cargo(&["build", "--bins"]);
    for name in crates {
        command.args(["--package", name]);
    }
    if release {
        command.arg("--release");
    }
    must(&mut command)
}

/// Where cargo puts the binaries.
pub(crate) fn bin_dir(release: bool) -> Result<PathBuf> {
    let metadata = read(&mut cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata without target")?;
    let version = read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc -vV names no host")?;
    Ok(Path::new(target)
        .join(host)
        .join(if release { "release" } else { "debug" }))
}

fn harness(program: &str, release: bool, registry: Option<PathBuf>, args: &[&str]) -> Result<()> {
    build(&[PRODUCT, &["hello", "tests"]].concat(), release)?;
    let mut command = Command::new(bin_dir(release)?.join(program));
    if let Some(registry) = registry {
        command.env("CORTEN_E2E_REGISTRY", registry);
    }
    must(command.args(args))
}

/// Builds everything, starts a private daemon, runs the example in it, cleans up.
pub(crate) fn demo(args: &[&str]) -> Result<()> {
    harness("demo", !args.contains(&"--debug"), None, &[])
}

/// Measures; the arguments are those of the benchmark itself.
pub(crate) fn bench(args: &[&str]) -> Result<()> {
    packages::install(packages::BENCH)?;
    harness("bench", true, Some(packages::registry()?), args)
}

/// More tests than this that fail are no matter of chance.
const MOST_AGAIN: usize = 4;

/// Runs tests and passes on what they print; tells which failed.
fn failures(command: &mut Command, tell: &dyn Fn(&str)) -> Result<Vec<String>> {
    let line = format!("{command:?}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {line}"))?;
    let output = child.stdout.take().context("the output is a pipe")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        // Nobody listens when something of the tests lives on and holds the pipe.
        lines.all(|line| sender.send(line).is_ok())
    });
    let (mut failed, mut ended) = (Vec::new(), false);
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                let text = String::from_utf8_lossy(&line);
                tell(&format!("{text}\n"));
                failed.extend(name_of_failed(&text).map(str::to_owned));
            }
            Err(RecvTimeoutError::Timeout) if !ended => ended = child.try_wait()?.is_some(),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    if !status.success() && failed.is_empty() {
        bail!("{line}: {status}");
    }
    Ok(failed)
}

/// The test of a line `test NAME ... FAILED`.
fn name_of_failed(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Runs all tests that a command runs. The few that fail are run once more, one at a time: on a machine
/// with little time to give, a test may find something late that it looks for at once. Those that
/// fail again fail the run; the others are named before it, because each is a defect, here or there.
fn run_tests(command: impl Fn() -> Command, tell: &dyn Fn(&str)) -> Result<()> {
    let failed = failures(&mut command(), tell)?;
    if failed.is_empty() {
        return Ok(());
    }
    if failed.len() > MOST_AGAIN {
        bail!("{} tests failed: {}", failed.len(), failed.join(", "));
    }
    tell(&format!("\nonce more, alone: {}\n", failed.join(", ")));
    let mut again = command();
    again.args(["--", "--test-threads=1", "--exact"]);
    again.args(&failed);
    let failed_again = failures(&mut again, tell)?;
    if !failed_again.is_empty() {
        bail!("tests failed twice: {}", failed_again.join(", "));
    }
    Ok(())
}

/// Installs what the tests need and runs all of them.
pub(crate) fn test(args: &[&str]) -> Result<()> {
    packages::install(packages::TESTS)?;
    let docker = packages::docker_client()?;
    let registry = packages::registry()?;
    must(&mut cargo(&["build", "--workspace", "--bins"]))?;
    must(&mut cargo(&["test", "--workspace", "--doc"]))?;
    let kinds = [
        "test",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--no-fail-fast",
    ];
    let servers = packages::servers()?;
    let command = || {
        let mut command = cargo(&kinds);
        command.args(args);
        command.env("CORTEN_E2E_DOCKER", &docker);
        command.env("CORTEN_E2E_REGISTRY", &registry);
        command.env("CORTEN_E2E_SERVERS", &servers);
        command
    };
    run_tests(command, &say)
}

/// Runs the end-to-end tests alone, on our daemon or on a given dockerd.
pub(crate) fn e2e(args: &[&str]) -> Result<()> {
    packages::install(packages::TESTS)?;
    let docker = packages::docker_client()?;
    must(&mut cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = cargo(&["test", "--package", "tests", "--test", "e2e", "--"]);
    command.env("CORTEN_E2E_DOCKER", docker);
    command.env("CORTEN_E2E_REGISTRY", packages::registry()?);
    command.env("CORTEN_E2E_SERVERS", packages::servers()?);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if *arg == "--against" {
            let socket = rest
                .next()
                .context("--against needs the socket of a dockerd")?;
            command.env("CORTEN_E2E_AGAINST", socket);
        } else {
            command.arg(arg);
        }
    }
    must(&mut command)
}

/// Builds the fuzz targets and runs each for a short time.
pub(crate) fn fuzz() -> Result<()> {
    if cargo(&["fuzz", "--version"])
        .output()
        .is_ok_and(|output| !output.status.success())
    {
        bail!("cargo-fuzz is not installed: `cargo install cargo-fuzz`, with a nightly toolchain");
    }
    for target in ["reference", "image_config", "archive"] {
        let args = [
            "+nightly",
            "fuzz",
            "run",
            target,
            "--",
            "-max_total_time=20",
        ];
        must(Command::new("cargo").args(args))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_run_once_more_and_fails_then() {
        assert_eq!(name_of_failed("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(name_of_failed("test a::b ... ok"), None);
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]);
            command
        };
        let fails = "echo 'test a ... FAILED'; exit 1";
        assert!(run_tests(|| shell(fails), &|_| {}).is_err());
        let once = "test \"$*\" = '-- --test-threads=1 --exact a' || { echo 'test a ... FAILED'; exit 1; }";
        assert!(run_tests(|| shell(once), &|_| {}).is_ok());
        assert!(
            run_tests(|| shell("exit 1"), &|_| {}).is_err(),
            "not a test"
        );
        let many = "for i in 1 2 3 4 5; do echo \"test $i ... FAILED\"; done; exit 1";
        assert!(run_tests(|| shell(many), &|_| {}).is_err());
    }
}
