//! Options of file systems in memory.

use crate::{Error, Result};

/// Options that contradict each other; the later one wins.
const PAIRS: [[&str; 2]; 11] = [
    ["ro", "rw"],
    ["exec", "noexec"],
    ["suid", "nosuid"],
    ["dev", "nodev"],
    ["sync", "async"],
    ["atime", "noatime"],
    ["diratime", "nodiratime"],
    ["relatime", "norelatime"],
    ["strictatime", "nostrictatime"],
    ["mand", "nomand"],
    ["dirsync", "nodirsync"],
];

/// Options with a value.
const VALUES: [&str; 7] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];

/// Docker's defaults with the user's comma-separated options.
///
/// # Errors
///
/// An unknown option, in Docker's words.
pub(crate) fn options(text: &str) -> Result<Vec<String>> {
    let mut all: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in text.split(',').filter(|o| !o.is_empty()) {
        let name = option.split('=').next().unwrap_or(option);
        let pair = PAIRS.iter().find(|pair| pair.contains(&option));
        let travels = crate::mounts::PROPAGATIONS.contains(&option)
            || matches!(option, "unbindable" | "runbindable");
        let valued = VALUES.contains(&name) && option.len() > name.len() + 1;
        let known = pair.is_some() || valued || travels;
        if !known && !matches!(option, "defaults" | "bind" | "rbind") {
            return Err(Error::invalid(format!("invalid tmpfs option \"{name}\"")));
        }
        all.retain(|have| match pair {
            Some(pair) => !pair.contains(&have.as_str()),
            None => have.split('=').next() != Some(name),
        });
        if option != "defaults" {
            all.push(option.to_owned());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_options_win_and_unknown_ones_are_refused() {
        assert_eq!(options("").unwrap(), ["noexec", "nosuid", "nodev"]);
        assert_eq!(
            options("exec,size=64m,size=1g,mode=1777").unwrap(),
            ["nosuid", "nodev", "exec", "size=1g", "mode=1777"]
        );
        assert_eq!(
            options("rshared,ro").unwrap(),
            ["noexec", "nosuid", "nodev", "rshared", "ro"]
        );
        for bad in ["size", "size=", "foo", "lowerdir=/"] {
            assert!(options(bad).is_err(), "{bad}");
        }
    }
}
