//! Seccomp profiles of users in Docker's form, and what they come to for one container.
//!
//! Docker's form is the runtime specification's with conditions on rules (`includes`, `excludes`:
//! capabilities, architectures, kernel) and a table of the calling conventions that go together.

use serde::Deserialize;
use spec::runtime::{LinuxSeccomp, SeccompRule};

use crate::{Error, Result};

/// The name that profiles have for this architecture, and that of its calling convention.
const NATIVE: (&str, &str) = if cfg!(target_arch = "aarch64") {
    ("arm64", "SCMP_ARCH_AARCH64")
} else {
    ("amd64", "SCMP_ARCH_X86_64")
};

/// A profile as it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Together>>,
    flags: Option<Vec<String>>,
    listener_path: String,
    syscalls: Option<Vec<Rule>>,
}

/// Calling conventions that a filter for the first has to know too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Together {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Rule {
    /// The older way to name one call.
    name: String,
    #[serde(flatten)]
    rule: SeccompRule,
    includes: Option<Conditions>,
    excludes: Option<Conditions>,
}

/// Where a rule holds, or does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// What the conditions of a profile are compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Capabilities that the container's processes may have, with `CAP_`.
    pub(crate) capabilities: &'a [String],
    /// Version and patch level of the kernel.
    pub(crate) kernel: (u32, u32),
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// No JSON of this form, or one that says a thing twice, in Docker's words.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::invalid(format!("Decoding seccomp profile failed: {why}"));
        let profile: Self = serde_json::from_str(text).map_err(|e| refuse(&e.to_string()))?;
        let is_some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|l| !l.is_empty());
        if is_some(&profile.architectures)
            && profile.arch_map.as_ref().is_some_and(|m| !m.is_empty())
        {
            return Err(Error::invalid(
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
            ));
        }
        for rule in profile.rules() {
            if !rule.name.is_empty() && !rule.rule.names.is_empty() {
                return Err(Error::invalid(
                    "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
                ));
            }
            for conditions in [&rule.includes, &rule.excludes].into_iter().flatten() {
                if let Some(kernel) = &conditions.min_kernel {
                    version(kernel)
                        .ok_or_else(|| refuse(&format!("invalid kernel version: {kernel}")))?;
                }
            }
        }
        Ok(profile)
    }

    /// Whether it filters nothing: neither a default action nor a rule.
    pub(crate) fn is_empty(&self) -> bool {
        self.default_action.is_empty() && self.rules().is_empty()
    }

    /// What it comes to for one container.
    pub(crate) fn resolve(&self, around: Surroundings<'_>) -> LinuxSeccomp {
        let rules = self.rules().iter().filter(|rule| rule.holds(around));
        let syscalls = rules.map(|rule| {
            let mut plain = rule.rule.clone();
            if !rule.name.is_empty() {
                plain.names = vec![rule.name.clone()];
            }
            plain
        });
        LinuxSeccomp {
            default_action: self.default_action.clone(),
            default_errno_ret: self.default_errno_ret,
            architectures: self.architectures(),
            flags: self.flags.clone().unwrap_or_default(),
            listener_path: self.listener_path.clone(),
            syscalls: syscalls.collect(),
        }
    }

    fn rules(&self) -> &[Rule] {
        self.syscalls.as_deref().unwrap_or_default()
    }

    fn architectures(&self) -> Vec<String> {
        let native = self
            .arch_map
            .iter()
            .flatten()
            .find(|together| together.architecture == NATIVE.1);
        match native {
            Some(together) => std::iter::once(&together.architecture)
                .chain(together.sub_architectures.iter().flatten())
                .cloned()
                .collect(),
            None => self.architectures.clone().unwrap_or_default(),
        }
    }
}

impl Rule {
    fn holds(&self, around: Surroundings<'_>) -> bool {
        let has = |cap: &String| around.capabilities.contains(cap);
        let here = |arch: &String| arch == NATIVE.0;
        let newer = |kernel: &String| version(kernel).is_some_and(|least| around.kernel >= least);
        if let Some(not) = &self.excludes
            && (not.arches.iter().flatten().any(here)
                || not.caps.iter().flatten().any(has)
                || not.min_kernel.as_ref().is_some_and(newer))
        {
            return false;
        }
        let Some(only) = &self.includes else {
            return true;
        };
        let arches = only.arches.as_deref().unwrap_or_default();
        (arches.is_empty() || arches.iter().any(here))
            && only.caps.iter().flatten().all(has)
            && only.min_kernel.as_ref().is_none_or(newer)
    }
}

/// The first two numbers of a kernel's version.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that a profile of these rules allows.
    fn allowed(rules: &str, caps: &[&str], kernel: (u32, u32)) -> Vec<String> {
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rules}]}}"#);
        let capabilities: Vec<String> = caps.iter().map(|c| (*c).to_owned()).collect();
        let around = Surroundings {
            capabilities: &capabilities,
            kernel,
        };
        let plain = Profile::parse(&text).unwrap().resolve(around);
        plain.syscalls.into_iter().flat_map(|r| r.names).collect()
    }

    #[test]
    fn rules_hold_under_their_conditions() {
        let rules = r#"
            {"names":["always"],"action":"SCMP_ACT_ALLOW","comment":"","includes":{},"excludes":null},
            {"name":"old","action":"SCMP_ACT_ALLOW"},
            {"names":["admin"],"includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["both"],"includes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}},
            {"names":["others"],"excludes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}},
            {"names":["new"],"includes":{"minKernel":"4.8"}},
            {"names":["elsewhere"],"includes":{"arches":["s390","s390x"]}},
            {"names":["here"],"includes":{"arches":["amd64","arm64"]}},
            {"names":["nothere"],"excludes":{"arches":["amd64","arm64"]}}"#;
        let plain = ["always", "old"];
        let with = |more: &[&str]| -> Vec<String> {
            plain.iter().chain(more).map(|n| (*n).to_owned()).collect()
        };
        assert_eq!(
            allowed(rules, &[], (6, 1)),
            with(&["others", "new", "here"])
        );
        assert_eq!(allowed(rules, &[], (4, 7)), with(&["others", "here"]));
        assert_eq!(
            allowed(rules, &["CAP_SYS_ADMIN"], (4, 18)),
            with(&["admin", "new", "here"])
        );
        assert_eq!(
            allowed(rules, &["CAP_BPF", "CAP_SYS_ADMIN"], (4, 7)),
            with(&["admin", "both", "here"])
        );
    }

    #[test]
    fn calling_conventions_that_go_together_are_taken_together() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[
            {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
            {"architecture":"SCMP_ARCH_RISCV64","subArchitectures":null}]}"#;
        let around = Surroundings {
            capabilities: &[],
            kernel: (6, 1),
        };
        let plain = Profile::parse(text).unwrap().resolve(around);
        assert_eq!(plain.architectures.len(), 2);
        assert_eq!(plain.architectures[0], NATIVE.1);
    }

    #[test]
    fn what_says_a_thing_twice_is_refused() {
        for (text, why) in [
            (
                r#"{"syscalls":[{"name":"a","names":["b"]}]}"#,
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
            ),
            (
                r#"{"architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#,
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
            ),
            (
                r#"{"syscalls":[{"names":["b"],"includes":{"minKernel":"new"}}]}"#,
                "Decoding seccomp profile failed: invalid kernel version: new",
            ),
        ] {
            assert_eq!(Profile::parse(text).unwrap_err().to_string(), why);
        }
        assert!(Profile::parse("{}").unwrap().is_empty());
    }
}
