//! `cargo xtask install`: the binaries and the systemd unit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;

/// The unit, with a mark where the prefix goes.
const UNIT: &str = include_str!("../../packaging/corten.service");

/// Every program that is installed.
const BINARIES: &[&str] = &[
    "corten",
    "cortend",
    "corten-shim",
    "corten-runtime",
    "corten-init",
];

/// Builds for release and copies.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let prefix: PathBuf = match args {
        [] => "/usr/local".into(),
        ["--prefix", prefix] => prefix.into(),
        [flag] if flag.starts_with("--prefix=") => flag["--prefix=".len()..].into(),
        _ => bail!("usage: cargo xtask install [--prefix DIR]"),
    };
    run::build(&["cli", "daemon", "runtime", "shim"], true)?;
    let from = run::bin_dir(true)?;
    let bin = prefix.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("making {}", bin.display()))?;
    for name in BINARIES {
        place(&from.join(name), &bin.join(name), 0o755)?;
    }
    let units = prefix.join("lib/systemd/system");
    fs::create_dir_all(&units).with_context(|| format!("making {}", units.display()))?;
    let unit = units.join("corten.service");
    fs::write(&unit, UNIT.replace("@BIN@", &bin.display().to_string()))?;
    run::say(&format!(
        "installed {} in {}\n",
        BINARIES.join(" "),
        bin.display()
    ));
    run::say(&format!("installed {}\n", unit.display()));
    run::say("start it: systemctl daemon-reload && systemctl enable --now corten\n");
    Ok(())
}

/// Replaces a file in one step: the old one may be running.
fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let temporary = to.with_extension("new");
    fs::copy(from, &temporary).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
    fs::rename(&temporary, to).with_context(|| format!("replacing {}", to.display()))
}
