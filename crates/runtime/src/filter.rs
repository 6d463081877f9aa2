//! Compiled system call filters ready to load, Docker's default ones kept by capability set.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use spec::runtime::LinuxSeccomp;
use sys::caps::CapSet;
use sys::seccomp::Instruction;

use crate::seccomp::{SeccompError, compile};

/// A filter and how to load it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    program: Vec<Instruction>,
    flags: u32,
}

impl Filter {
    /// Compiles a profile.
    pub(crate) fn new(profile: &LinuxSeccomp) -> Result<Self, SeccompError> {
        let mut flags = 0;
        for name in &profile.flags {
            flags |= match name.as_str() {
                "SECCOMP_FILTER_FLAG_LOG" => sys::seccomp::FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => sys::seccomp::FLAG_SPEC_ALLOW,
                // The process has one thread when it loads the filter.
                "SECCOMP_FILTER_FLAG_TSYNC" => 0,
                other => {
                    let name = other.to_owned();
                    return Err(SeccompError::Unknown { what: "flag", name });
                }
            };
        }
        Ok(Self {
            program: compile(profile)?,
            flags,
        })
    }

    /// Loads it into the kernel for the calling thread, for ever.
    pub(crate) fn load(&self) -> Result<(), sys::Error> {
        sys::seccomp::load(&self.program, self.flags)
    }
}

thread_local! {
    // The library runs in processes of one thread; processes forked from one that has compiled a
    // filter share its memory.
    static DEFAULTS: RefCell<BTreeMap<CapSet, Rc<Filter>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Docker's default filter for a bounding set if it has been compiled before.
pub(crate) fn cached_default(bounding: CapSet) -> Option<Rc<Filter>> {
    DEFAULTS.with_borrow(|all| all.get(&bounding).cloned())
}

/// Docker's default filter for a bounding set, compiled once per set.
pub(crate) fn default(bounding: CapSet) -> Result<Rc<Filter>, SeccompError> {
    if let Some(filter) = cached_default(bounding) {
        return Ok(filter);
    }
    let profile = spec::seccomp::default_profile(&bounding.names());
    let filter = Rc::new(Filter::new(&profile)?);
    DEFAULTS.with_borrow_mut(|all| all.insert(bounding, filter.clone()));
    Ok(filter)
}

/// Compiles Docker's default filter for these capabilities now, so that no start has to.
///
/// # Errors
/// Never with the profile of this build.
pub fn precompile_default<S: AsRef<str>>(bounding: &[S]) -> Result<(), SeccompError> {
    let (bounding, _) = CapSet::from_names(bounding);
    default(bounding).map(drop)
}
