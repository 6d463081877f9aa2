//! The tasks that build the workspace and run something of it.

use std::path::{Path, PathBuf};
use std::process::Command;

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
    let mut command = cargo(&kinds);
    command.args(args);
    command.env("CORTEN_E2E_DOCKER", docker);
    command.env("CORTEN_E2E_REGISTRY", registry);
    command.env("CORTEN_E2E_SERVERS", packages::servers()?);
    must(&mut command)
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
