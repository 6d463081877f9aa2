//! The container's first process and its execs.

use spec::runtime::{Capabilities, ConsoleSize, Process, Rlimit, User};

use super::{Input, Security, Source, caps};
use crate::Result;
use crate::container::Ulimit;
use crate::execs::ExecConfig;

/// Where programs are looked for when an image says nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the init program is seen in the container.
pub(super) const INIT: &str = "/sbin/docker-init";

/// Whether the container runs an init program: it cannot be pid 1 of somebody else's namespace.
pub(super) fn has_init(input: &Input<'_>) -> bool {
    input.host.init.unwrap_or(input.defaults.init) && input.joined.pid == Source::New
}

/// The first process, for those who need nothing else of the specification.
///
/// # Errors
///
/// As [`super::generate`].
pub(crate) fn first_process(input: &Input<'_>) -> Result<Process> {
    first(input, &Security::parse(&input.host.security_opt)?)
}

/// The first process.
pub(super) fn first(input: &Input<'_>, security: &Security) -> Result<Process> {
    let (config, host) = (input.config, input.host);
    let chosen = caps::select(
        &host.cap_add,
        &host.cap_drop,
        host.privileged,
        &input.facts.capabilities,
    )?;
    let mut args = input.command.clone();
    if has_init(input) {
        args.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
    Ok(Process {
        terminal: config.tty,
        console_size: host.console_size.filter(|_| config.tty).map(console_size),
        user: user(&config.user, &host.group_add),
        args,
        env: environment(input),
        cwd: if config.working_dir.is_empty() {
            "/".to_owned()
        } else {
            config.working_dir.clone()
        },
        capabilities: Some(capabilities(chosen)),
        rlimits: rlimits(&input.defaults.ulimits, &host.resources.ulimits),
        no_new_privileges: security
            .no_new_privileges
            .unwrap_or(input.defaults.no_new_privileges),
        oom_score_adj: Some(i32::try_from(host.oom_score_adj).unwrap_or(0)),
        ..Process::default()
    })
}

/// A further process in a container whose first process was `first`.
pub(crate) fn exec_process(first: &Process, exec: &ExecConfig, available: &[String]) -> Process {
    let mut env = first.env.clone();
    if exec.tty && !env.iter().any(|e| e.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    // Docker gives the home of the exec's own user.
    if !exec.user.is_empty() {
        env.retain(|e| !e.starts_with("HOME="));
    }
    override_with(&mut env, &exec.env);
    Process {
        terminal: exec.tty,
        console_size: exec.console_size.filter(|_| exec.tty).map(console_size),
        user: if exec.user.is_empty() {
            first.user.clone()
        } else {
            user(&exec.user, &[])
        },
        args: exec.cmd.clone(),
        env,
        cwd: if exec.working_dir.is_empty() {
            first.cwd.clone()
        } else {
            exec.working_dir.clone()
        },
        capabilities: if exec.privileged {
            Some(capabilities(available.to_vec()))
        } else {
            first.capabilities.clone()
        },
        ..first.clone()
    }
}

fn console_size([height, width]: [u32; 2]) -> ConsoleSize {
    let cut = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    ConsoleSize {
        height: cut(height),
        width: cut(width),
    }
}

fn user(text: &str, groups: &[String]) -> User {
    User {
        // The empty text would mean uid 0 by number; by name its groups are found as well.
        username: if text.is_empty() {
            "0".to_owned()
        } else {
            text.to_owned()
        },
        additional_group_names: groups.to_vec(),
        ..User::default()
    }
}

fn capabilities(chosen: Vec<String>) -> Capabilities {
    Capabilities {
        bounding: chosen.clone(),
        effective: chosen.clone(),
        permitted: chosen,
        ..Capabilities::default()
    }
}

fn environment(input: &Input<'_>) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if !input.config.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", input.config.hostname));
    }
    if input.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    env.extend_from_slice(input.links);
    override_with(&mut env, &input.config.env);
    env
}

/// Replaces variables of the same name in place, removes those given without a value.
fn override_with(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let name = change.split('=').next().unwrap_or(change);
        let position = env
            .iter()
            .position(|have| have.split('=').next() == Some(name));
        match (position, change.contains('=')) {
            (Some(at), true) => env[at].clone_from(change),
            (Some(at), false) => {
                env.remove(at);
            }
            (None, true) => env.push(change.clone()),
            (None, false) => {}
        }
    }
}

fn rlimits(defaults: &[Ulimit], own: &[Ulimit]) -> Vec<Rlimit> {
    let number = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    let missing = |d: &&Ulimit| !own.iter().any(|o| o.name == d.name);
    own.iter()
        .chain(defaults.iter().filter(missing))
        .map(|limit| Rlimit {
            kind: format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
            soft: number(limit.soft),
            hard: number(limit.hard),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_variables_replace_in_place_and_bare_names_remove() {
        let mut env: Vec<String> = ["PATH=/bin", "A=1", "B=2"].map(str::to_owned).to_vec();
        override_with(
            &mut env,
            &[
                "A=3".to_owned(),
                "B".to_owned(),
                "C".to_owned(),
                "D=".to_owned(),
            ],
        );
        assert_eq!(env, ["PATH=/bin", "A=3", "D="]);
    }

    #[test]
    fn execs_inherit_and_override() {
        let first = Process {
            env: vec!["PATH=/bin".to_owned(), "HOME=/root".to_owned()],
            cwd: "/srv".to_owned(),
            capabilities: Some(capabilities(vec!["CAP_CHOWN".to_owned()])),
            ..Process::default()
        };
        let exec = ExecConfig {
            cmd: vec!["id".to_owned()],
            user: "www".to_owned(),
            tty: true,
            env: vec!["A=1".to_owned()],
            ..ExecConfig::default()
        };
        let process = exec_process(&first, &exec, &[]);
        assert_eq!(process.env, ["PATH=/bin", "TERM=xterm", "A=1"]);
        assert_eq!((process.cwd.as_str(), process.terminal), ("/srv", true));
        assert_eq!(process.user.username, "www");
        assert_eq!(process.capabilities, first.capabilities);
    }
}
