//! Turns the process being made into the user's: limits, ids, capabilities, filter, `execve`.
//!
//! Shared by the first process of a container and by added ones, so that their rights never differ.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use spec::runtime::Process;
use spec::{ErrorKind, WireError};
use sys::caps::{CapSet, Sets};
use sys::cgroup::Cgroup;
use sys::root::Root;

use crate::create::Orphan;
use crate::filter::Filter;
use crate::step::{Stage, Step, invalid};
use crate::{dev, launch, user};

/// File mode creation mask when the specification has none.
const UMASK: u32 = 0o022;

/// A process ready for `execve`.
#[derive(Debug)]
pub(crate) struct Prepared {
    name: String,
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    sets: Sets,
    no_new_privileges: bool,
}

/// What the process gets besides its specification.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub orphan: Orphan,
    /// The terminal, if it has one.
    pub terminal: Option<&'a OwnedFd>,
    /// Whether the standard files were made for this process.
    pub own_stdio: bool,
}

/// Becomes the user, keeping every capability that the last steps need.
///
/// To be called with the container's root in force and the standard files in place.
pub(crate) fn prepare(
    process: &Process,
    setting: &Setting<'_>,
    warnings: &mut Vec<String>,
) -> Step<Prepared> {
    let Some(name) = process.args.first() else {
        return Err(invalid("no command specified"));
    };
    let root = Root::open(Path::new("/")).stage(|| "failed to open the root")?;
    let who = user::resolve(&root, &process.user)?;
    let sets = capabilities(process, warnings)?;
    limits(process, warnings)?;
    rustix::process::umask(Mode::from_raw_mode(
        process.user.umask.unwrap_or(UMASK) & 0o777,
    ));
    if setting.own_stdio || setting.terminal.is_some() {
        dev::own_stdio(who.uid);
    }
    // With root's rights first: a directory of another user must be enterable by --workdir.
    let entered = enter(&process.cwd);
    become_user(&who, sets.bounding)?;
    entered.or_else(|_| enter(&process.cwd))?;
    verify_cwd()?;
    // Both were undone by the change of user.
    if setting.orphan == Orphan::Kill {
        sys::process::die_with_parent().stage(|| "failed to tie the process to its supervisor")?;
    }
    sys::process::hide_from_tracers().stage(|| "failed to hide from tracers")?;
    let mut env = last_of_each(&process.env);
    if !env
        .iter()
        .any(|v| v.strip_prefix("HOME=").is_some_and(|home| !home.is_empty()))
    {
        env.retain(|v| v != "HOME=");
        env.push(format!("HOME={}", who.home));
    }
    let strings = |list: &[String], what: &str| -> Step<Vec<CString>> {
        let convert = |s: &String| {
            CString::new(s.as_bytes()).map_err(|_| invalid(format!("{what} contains a zero byte")))
        };
        list.iter().map(convert).collect()
    };
    Ok(Prepared {
        name: name.clone(),
        path: launch::find(name, &env)?,
        args: strings(&process.args, "an argument")?,
        env: strings(&env, "an environment variable")?,
        sets,
        no_new_privileges: process.no_new_privileges,
    })
}

/// Leaves the keys of whoever started the daemon for a keyring of the container, which all of its
/// processes share. It is called like the last part of the group's path, as runc calls it.
pub(crate) fn join_keyring(cgroup: &Cgroup, warnings: &mut Vec<String>) -> Step<()> {
    let id = cgroup.path().rsplit('/').next().unwrap_or("");
    let name = CString::new(format!("_ses.{id}"))
        .map_err(|_| invalid("the path of the control group contains a zero byte"))?;
    match sys::keyring::join_session(&name) {
        // No keys to reach for the container either.
        Err(e) if matches!(e.errno(), Errno::NOSYS | Errno::PERM) => {
            warnings.push(format!("the container has no keyring of its own: {e}"));
            Ok(())
        }
        other => other.stage(|| "failed to make a keyring"),
    }
}

/// Of variables that are set twice, the later one counts; the kernel would pass both.
fn last_of_each(env: &[String]) -> Vec<String> {
    let name = |variable: &str| {
        variable
            .split_once('=')
            .map_or(variable, |(name, _)| name)
            .to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut kept: Vec<String> = env
        .iter()
        .rev()
        .filter(|variable| seen.insert(name(variable)))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

fn capabilities(process: &Process, warnings: &mut Vec<String>) -> Step<Sets> {
    let wanted = process.capabilities.clone().unwrap_or_default();
    let mine = sys::caps::permitted().stage(|| "failed to read the capabilities")?;
    let mut missing = CapSet::EMPTY;
    let mut set = |names: &[String]| {
        let (set, unknown) = CapSet::from_names(names);
        for name in unknown {
            warnings.push(format!("unknown capability `{name}` ignored"));
        }
        missing = missing.or(CapSet::from_bits(set.bits() & !mine.bits()));
        set.and(mine)
    };
    let sets = Sets {
        bounding: set(&wanted.bounding),
        effective: set(&wanted.effective),
        permitted: set(&wanted.permitted),
        inheritable: set(&wanted.inheritable),
        ambient: set(&wanted.ambient),
    };
    if missing != CapSet::EMPTY {
        let names = missing.names().join(", ");
        warnings.push(format!(
            "capabilities that this machine does not grant were left out: {names}"
        ));
    }
    // The kernel wants what is in force and what is ambient to be permitted, too.
    Ok(Sets {
        effective: sets.effective.and(sets.permitted),
        ambient: sets.ambient.and(sets.permitted).and(sets.inheritable),
        ..sets
    })
}

fn limits(process: &Process, warnings: &mut Vec<String>) -> Step<()> {
    for limit in &process.rlimits {
        let text = || format!("failed to set `{}`", limit.kind);
        let Some(resource) = sys::rlimit::by_name(&limit.kind) else {
            return Err(invalid(format!("unknown resource limit `{}`", limit.kind)));
        };
        if limit.soft > limit.hard {
            return Err(invalid("the soft limit is above the hard limit")).stage(text);
        }
        let outcome = sys::rlimit::set(resource, limit.soft, limit.hard).stage(text)?;
        if let sys::rlimit::Outcome::Clamped(most) = outcome {
            let most = most.map_or("unlimited".to_owned(), |n| n.to_string());
            let kind = &limit.kind;
            warnings.push(format!(
                "`{kind}` was lowered to {most}: it may not be raised here"
            ));
        }
    }
    Ok(())
}

/// Enters a directory, never through a link of /proc to somebody's descriptor, root or directory:
/// some of them lead out of the container.
fn enter(cwd: &str) -> Step<()> {
    let path = if cwd.is_empty() { "/" } else { cwd };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)
        .and_then(|dir| rustix::process::fchdir(&dir))
        .map_err(|errno| launch::cannot_enter(path, errno))
}

/// A descriptor of the host among those inherited could have been entered by name; the kernel tells.
fn verify_cwd() -> Step<()> {
    let text = || "current working directory is outside of container mount namespace root";
    let cwd = rustix::process::getcwd(Vec::new()).stage(text)?;
    if cwd.to_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(WireError::new(ErrorKind::Forbidden, text()))
    }
}

fn become_user(who: &user::Identity, bounding: CapSet) -> Step<()> {
    let text = || format!("failed to become user {}:{}", who.uid, who.gid);
    sys::caps::limit_bounding(bounding).stage(|| "failed to limit the bounding set")?;
    sys::caps::keep_over_user_change().stage(text)?;
    let groups: Vec<Gid> = who.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).stage(text)?;
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).stage(text)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).stage(text)?;
    sys::caps::raise_all().stage(text)
}

impl Prepared {
    /// The bounding set, which the default filter depends on.
    pub(crate) fn bounding(&self) -> CapSet {
        self.sets.bounding
    }

    /// Gives up the last rights and executes the program; returns only the failure.
    pub(crate) fn execute(&self, filter: Option<&Filter>) -> WireError {
        if let Err(error) = self.confine(filter) {
            return error;
        }
        let errno = sys::process::execute(&self.path, &self.args, &self.env);
        let path = String::from_utf8_lossy(self.path.to_bytes()).into_owned();
        launch::explain(&self.name, Path::new(&path), errno)
    }

    fn confine(&self, filter: Option<&Filter>) -> Step<()> {
        sys::process::close_on_exec_from(3).stage(|| "failed to close descriptors")?;
        let load = || match filter {
            Some(filter) => filter.load().stage(|| "failed to load the seccomp filter"),
            None => Ok(()),
        };
        let drop_rights =
            || sys::caps::apply(&self.sets).stage(|| "failed to set the capabilities");
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).stage(|| "failed to set no_new_privs")?;
            drop_rights()?;
            load()
        } else {
            // Loading needs CAP_SYS_ADMIN then, so the filter sees the dropping of it.
            load()?;
            drop_rights()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_win() {
        let env = ["A=1", "B=2", "A=3", "C", "C=4"].map(str::to_owned);
        assert_eq!(last_of_each(&env), ["B=2", "A=3", "C=4"]);
    }
}
