//! Capabilities by name and as sets, and how a process gets exactly those it should have.

use std::fmt;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::{Error, Result};

/// Names without `CAP_`, by number. See capabilities(7).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// `CAP_SYS_ADMIN`.
    pub const SYS_ADMIN: Self = Self(1 << 21);

    /// A set of raw bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The raw bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Adds a capability by name, with or without `CAP_`, in any case; `false` if it is unknown.
    pub fn add_name(&mut self, name: &str) -> bool {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|n| *n == bare) {
            Some(number) => {
                self.0 |= 1 << number;
                true
            }
            None => false,
        }
    }

    /// Makes a set of names and returns those that are unknown.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> (Self, Vec<String>) {
        let mut set = Self::EMPTY;
        let mut unknown = Vec::new();
        for name in names {
            if !set.add_name(name.as_ref()) {
                unknown.push(name.as_ref().to_owned());
            }
        }
        (set, unknown)
    }

    /// Names with `CAP_`, by number.
    pub fn names(self) -> Vec<String> {
        let has = |(number, _): &(usize, &&str)| self.0 & (1 << number) != 0;
        NAMES
            .iter()
            .enumerate()
            .filter(has)
            .map(|(_, name)| format!("CAP_{name}"))
            .collect()
    }

    /// Those in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other set are in this one.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The five sets of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    /// The most that any descendant can ever have.
    pub bounding: CapSet,
    /// In force.
    pub effective: CapSet,
    /// May be brought into force.
    pub permitted: CapSet,
    /// Kept over `execve` of programs that ask for it.
    pub inheritable: CapSet,
    /// Kept over `execve` of any program.
    pub ambient: CapSet,
}

/// Every capability that this process may have.
pub fn permitted() -> Result<CapSet> {
    rustix::thread::capabilities(None)
        .map(|sets| CapSet(sets.permitted.bits()))
        .map_err(|e| Error::new("capget()", e))
}

/// Drops from the bounding set what is not in `keep`.
pub fn limit_bounding(keep: CapSet) -> Result<()> {
    for number in 0..64u32 {
        let bit = CapabilitySet::from_bits_retain(1 << number);
        if keep.0 & bit.bits() != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(bit) {
            Ok(()) => {}
            // The first number that the kernel does not know ends the list.
            Err(Errno::INVAL) => break,
            Err(e) => return Err(Error::new(format!("prctl(PR_CAPBSET_DROP, {number})"), e)),
        }
    }
    Ok(())
}

/// Keeps permitted capabilities when the user ids change next.
pub fn keep_over_user_change() -> Result<()> {
    rustix::thread::set_keep_capabilities(true).map_err(|e| Error::new("prctl(PR_SET_KEEPCAPS)", e))
}

/// Brings everything permitted into force.
pub fn raise_all() -> Result<()> {
    let now = rustix::thread::capabilities(None).map_err(|e| Error::new("capget()", e))?;
    let sets = CapabilitySets {
        effective: now.permitted,
        ..now
    };
    rustix::thread::set_capabilities(None, sets).map_err(|e| Error::new("capset(raise)", e))
}

/// Sets effective, permitted, inheritable and ambient sets exactly; what this process does not have
/// cannot be given.
pub fn apply(sets: &Sets) -> Result<()> {
    let convert = |set: CapSet| CapabilitySet::from_bits_retain(set.0);
    let new = CapabilitySets {
        effective: convert(sets.effective),
        permitted: convert(sets.permitted),
        inheritable: convert(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, new)
        .map_err(|e| Error::new(format!("capset({}, {})", sets.effective, sets.permitted), e))?;
    rustix::thread::clear_ambient_capability_set()
        .map_err(|e| Error::new("prctl(PR_CAP_AMBIENT_CLEAR_ALL)", e))?;
    for number in 0..64u32 {
        let bit = 1u64 << number;
        if sets.ambient.0 & bit != 0 {
            let capability = CapabilitySet::from_bits_retain(bit);
            rustix::thread::configure_capability_in_ambient_set(capability, true)
                .map_err(|e| Error::new(format!("prctl(PR_CAP_AMBIENT_RAISE, {number})"), e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_default_set_has_dockers_bits() {
        let names = [
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FSETID",
            "CAP_FOWNER",
            "CAP_MKNOD",
            "CAP_NET_RAW",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_SETFCAP",
            "CAP_SETPCAP",
            "CAP_NET_BIND_SERVICE",
            "CAP_SYS_CHROOT",
            "CAP_KILL",
            "CAP_AUDIT_WRITE",
        ];
        let (set, unknown) = CapSet::from_names(&names);
        assert_eq!(set.to_string(), "00000000a80425fb");
        assert!(unknown.is_empty());
        let mut again = set.names();
        again.sort();
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        assert_eq!(again, sorted);
    }

    #[test]
    fn spellings_and_unknown_names() {
        let (set, unknown) = CapSet::from_names(&["sys_admin", "Cap_Bpf", "CAP_NOPE", ""]);
        assert_eq!(set.bits(), 1 << 21 | 1 << 39);
        assert_eq!(unknown, ["CAP_NOPE", ""]);
        assert!(set.contains(CapSet::SYS_ADMIN));
    }
}
