//! `cargo xtask tidy`: the rules that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{layers, run, words};

/// A file longer than this fails; tables may be listed in [`LONG_TABLES`].
const HARD_LINES: usize = 1000;

/// A file longer than this is mentioned.
const SOFT_LINES: usize = 500;

/// Tables that may be as long as they are.
const LONG_TABLES: &[&str] = &[];

/// A shorter justification of `unsafe` says nothing.
const MIN_SAFETY: usize = 25;

/// What has to be there.
const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "SHORTCOMINGS.md",
    "STYLE.md",
    "docs/adr/0001-layout.md",
    "docs/adr/0002-persistence.md",
    "docs/adr/0003-process-model.md",
    "docs/adr/0004-async-split.md",
    "docs/adr/0005-wire-domain-record.md",
    "docs/compat.md",
    "docs/glossary.md",
    "docs/on-disk.md",
    "docs/run-lifecycle.md",
    "docs/shim-protocol.md",
    "docs/testing.md",
];

/// The headings that a release of the changelog may have.
const CHANGES: &[&str] = &[
    "Added",
    "Changed",
    "Deprecated",
    "Fixed",
    "Removed",
    "Security",
];

/// One source file.
struct Source {
    path: String,
    text: String,
}

/// Checks everything; `--fast` leaves out what has to compile.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let mut problems = layers::check()?;
    let sources = sources(Path::new("."))?;
    for source in &sources {
        problems.extend(check_source(source));
    }
    problems.extend(check_manifests()?);
    problems.extend(check_documents());
    if run::must(run::cargo(&["fmt", "--all", "--check"]).stdout(std::process::Stdio::null()))
        .is_err()
    {
        problems.push("the format is not that of `cargo fmt`".into());
    }
    if !args.contains(&"--fast") {
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        if run::must(&mut run::cargo(&clippy)).is_err() {
            problems.push("clippy has something to say".into());
        }
    }
    for source in sources
        .iter()
        .filter(|source| source.text.lines().count() > SOFT_LINES)
    {
        run::say(&format!(
            "note: {} has {} lines\n",
            source.path,
            source.text.lines().count()
        ));
    }
    if !problems.is_empty() {
        bail!("{} problems:\n  {}", problems.len(), problems.join("\n  "));
    }
    run::say(&format!(
        "tidy: {} source files, all in order\n",
        sources.len()
    ));
    Ok(())
}

/// Every Rust file of the project.
fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut pending: Vec<PathBuf> = ["crates", "examples", "fuzz", "tests", "xtask"]
        .iter()
        .map(|dir| root.join(dir))
        .collect();
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("target") {
                pending.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path)?;
                let path = path
                    .strip_prefix(root)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn check_source(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut problems = Vec::new();
    let mut complain = |line: usize, what: String| problems.push(format!("{path}:{line}: {what}"));
    if !text.starts_with("//!") {
        complain(1, "the file does not begin with `//!`".into());
    }
    let count = text.lines().count();
    if count > HARD_LINES && !LONG_TABLES.contains(&path.as_str()) {
        complain(count, format!("{count} lines are more than {HARD_LINES}"));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if words::FILES.contains(&name) {
        complain(1, format!("`{name}` names nothing"));
    }
    let in_sys = path.starts_with("crates/sys/");
    let alone_in_bin = path
        .rsplit_once('/')
        .is_some_and(|(dir, _)| dir.ends_with("/src/bin"));
    let is_root = alone_in_bin || path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    if is_root && !in_sys && !path.starts_with("fuzz/") && !text.contains("#![forbid(unsafe_code)]")
    {
        complain(1, "a crate root without `#![forbid(unsafe_code)]`".into());
    }
    let own_words = path == "xtask/src/words.rs";
    for (number, line) in text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
    {
        if !in_sys && words::identifiers(line).any(|word| word == "unsafe") {
            complain(number, "`unsafe` outside of `sys`".into());
        }
        if let Some(reason) = line.trim_start().strip_prefix("// SAFETY:")
            && reason.trim().len() < MIN_SAFETY
            && !text
                .lines()
                .nth(number)
                .is_some_and(|next| next.trim_start().starts_with("//"))
        {
            complain(number, "a SAFETY comment that gives no reason".into());
        }
        if own_words {
            continue;
        }
        if let Some(word) = words::TEXT.iter().find(|word| line.contains(*word)) {
            complain(number, format!("`{word}`"));
        }
        for (word, instead) in words::IDENTIFIERS {
            if words::identifiers(line).any(|found| found == *word) {
                complain(number, format!("`{word}`: say `{instead}`"));
            }
        }
    }
    problems
}

/// Every crate takes the lints of the workspace.
fn check_manifests() -> Result<Vec<String>> {
    let mut dirs: Vec<PathBuf> = fs::read_dir("crates")?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    dirs.extend(["examples/hello", "tests", "xtask"].map(PathBuf::from));
    let mut problems = Vec::new();
    for manifest in dirs.iter().map(|dir| dir.join("Cargo.toml")) {
        let text = fs::read_to_string(&manifest).unwrap_or_default();
        if !text.contains("[lints]\nworkspace = true") {
            problems.push(format!(
                "{}: no `[lints] workspace = true`",
                manifest.display()
            ));
        }
    }
    Ok(problems)
}

fn check_documents() -> Vec<String> {
    let mut problems: Vec<String> = DOCUMENTS
        .iter()
        .filter(|path| fs::read_to_string(path).map_or(0, |text| text.len()) < 200)
        .map(|path| format!("{path} is missing or empty"))
        .collect();
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap_or_default();
    let headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    problems.extend(
        headings
            .filter(|heading| !CHANGES.contains(heading))
            .map(|heading| format!("CHANGELOG.md: `{heading}` is no heading of Keep a Changelog")),
    );
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        check_source(&Source {
            path: path.into(),
            text: text.into(),
        })
    }

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(
            check("crates/spec/src/id.rs", "//! Ids.\npub struct Id;\n"),
            [""; 0]
        );
    }

    #[test]
    fn each_rule_finds_its_offence() {
        let one = |path: &str, text: &str, part: &str| {
            let found = check(path, text);
            assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        };
        one("crates/spec/src/id.rs", "pub struct Id;\n", "begin with");
        one("crates/spec/src/utils.rs", "//! Things.\n", "names nothing");
        one("crates/spec/src/lib.rs", "//! Words.\n", "forbid");
        let block = "//! A.\nfn f() { unsafe { g() } }\n";
        one("crates/spec/src/id.rs", block, "outside of `sys`");
        assert_eq!(check("crates/sys/src/id.rs", block), [""; 0]);
        one(
            "crates/sys/src/id.rs",
            "//! A.\n// SAFETY: valid.\nfn f() {}\n",
            "no reason",
        );
        one(
            "crates/spec/src/id.rs",
            "//! A.\nlet layer_hash = 1;\n",
            "diff_id",
        );
        let mark = ["TO", "DO"].concat();
        one(
            "crates/spec/src/id.rs",
            &format!("//! A.\n// {mark} later\n"),
            &mark,
        );
        one(
            "crates/spec/src/id.rs",
            &format!("//! A.\n{}", "\n".repeat(1000)),
            "more than",
        );
    }
}
