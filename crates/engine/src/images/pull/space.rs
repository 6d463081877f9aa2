//! Whether a pull can fit, asked before it begins.

use std::path::Path;

use spec::ErrorKind;

use crate::{Error, Result};

/// Refuses a download of so many compressed bytes that cannot fit.
///
/// # Errors
///
/// Names what is needed and what is free; of the class "exhausted".
pub(super) fn check(root: &Path, compressed: u64, name: &str) -> Result<()> {
    let stat = rustix::fs::statvfs(root).map_err(|source| {
        Error::io(
            format!("failed to look for free space in `{}`", root.display()),
            source.into(),
        )
    })?;
    judge(
        compressed,
        stat.f_bavail.saturating_mul(stat.f_frsize),
        name,
        root,
    )
}

/// An archive is hardly ever smaller than its compressed form, so what is unpacked needs that much
/// at the very least; what is downloaded besides goes away and may be here already.
fn judge(compressed: u64, free: u64, name: &str, root: &Path) -> Result<()> {
    if compressed <= free {
        return Ok(());
    }
    Err(Error::refused(
        ErrorKind::Exhausted,
        format!(
            "not enough space to pull {name}: its missing layers have {} compressed, {} is free in `{}`: no space left on device",
            human(compressed),
            human(free),
            root.display()
        ),
    ))
}

/// Bytes for people, in Docker's units.
fn human(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let (mut whole, mut tenths) = (bytes, 0);
    while whole >= 1000 && unit + 1 < units.len() {
        tenths = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    match unit {
        0 => format!("{whole}B"),
        _ => format!("{whole}.{tenths}{}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_with_both_numbers() {
        let root = Path::new("/data");
        assert!(judge(100, 100, "x:1", root).is_ok());
        let error = judge(1_200_000_000, 300_000_000, "x:1", root).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not enough space to pull x:1: its missing layers have 1.2GB compressed, 300.0MB is free in `/data`: no space left on device"
        );
        assert_eq!(spec::Classify::kind(&error), ErrorKind::Exhausted);
    }
}
