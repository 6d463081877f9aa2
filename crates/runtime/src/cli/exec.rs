//! The `exec` command.

use std::os::fd::AsFd;

use runtime::{Exec, Orphan, Seccomp};
use rustix::process::{Pid, PidfdFlags};
use spec::runtime::{Process, Spec, Status};

use super::commands::{Flags, group, kernel, load_spec, send_console, stdio, write_pid};
use super::state::Dir;
use super::{CliError, Global, relay};

/// `exec`: adds a process to a running container.
pub(super) fn exec(global: &Global, flags: &Flags) -> Result<u8, CliError> {
    let Some((id, command)) = flags.rest.split_first() else {
        return Err(CliError::Usage(
            "exec: a container ID is required".to_owned(),
        ));
    };
    let dir = Dir::new(&global.root, id)?;
    let record = dir.load()?;
    if !matches!(dir.status(&record), Status::Running | Status::Created) {
        return Err(CliError::Conflict(
            "cannot exec in a stopped container".to_owned(),
        ));
    }
    let spec = load_spec(&record.bundle)?;
    let process = exec_process(flags, &spec, command)?;
    let pid = Pid::from_raw(record.pid).ok_or(CliError::NotFound)?;
    let target = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|e| kernel("find the container's process")(sys::Error::new("pidfd_open", e)))?;
    let group = group(&record)?;
    let orphan = if flags.detach {
        Orphan::Keep
    } else {
        Orphan::Kill
    };
    let executed = runtime::exec(Exec {
        target: target.as_fd(),
        cgroup: &group,
        process: &process,
        stdio: stdio(&process),
        seccomp: Seccomp::Spec,
        profile: spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()),
        bounding: None,
        orphan,
    })?;
    write_pid(flags, executed.pid.as_raw_nonzero().get())?;
    if let (Some(master), Some(socket)) = (&executed.console, &flags.console_socket) {
        send_console(socket, master)?;
    }
    if flags.detach {
        return Ok(0);
    }
    let ended = relay::wait(executed.pid, &executed.pidfd, executed.console.as_ref())
        .map_err(kernel("wait for the process"))?;
    Ok(u8::try_from(ended.code() & 0xff).unwrap_or(255))
}

/// The process to add: from a file, or the container's own with another command.
fn exec_process(flags: &Flags, spec: &Spec, command: &[String]) -> Result<Process, CliError> {
    if let Some(path) = &flags.process {
        let bytes = std::fs::read(path).map_err(|source| CliError::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        return serde_json::from_slice(&bytes).map_err(|source| CliError::Json {
            path: path.clone(),
            source,
        });
    }
    if command.is_empty() {
        return Err(CliError::Usage("exec: a command is required".to_owned()));
    }
    let mut process = spec.process.clone().unwrap_or_default();
    process.args = command.to_vec();
    process.terminal = flags.tty;
    process.env.extend(flags.env.iter().cloned());
    if let Some(cwd) = &flags.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = &flags.user {
        process.user.username.clone_from(user);
    }
    Ok(process)
}
