//! The command line: flags, dispatch, and how failures are told.
//!
//! Each call is a process of its own. What lives between calls is in `<root>/<id>/`:
//!
//! ```text
//! state.json    what the container is (written to a temporary name, synced, renamed)
//! start.sock    the container's first process waits here until `start` connects
//! ```

mod commands;
mod exec;
mod features;
mod relay;
mod state;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

/// Where states are kept by default.
const ROOT: &str = "/run/corten-runtime";

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The library refused.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// A kernel call failed.
    #[error("failed to {action}")]
    Kernel {
        /// What was being done.
        action: &'static str,
        /// The call.
        source: sys::Error,
    },
    /// A file could not be read or written.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has the wrong form.
    #[error("failed to read `{}`", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no such container.
    #[error("container does not exist")]
    NotFound,
    /// There is one already.
    #[error("container with given ID already exists")]
    Exists,
    /// The container's state does not allow it.
    #[error("{0}")]
    Conflict(String),
}

/// Flags before the command.
#[derive(Debug)]
pub(crate) struct Global {
    /// Directory of the states.
    pub root: PathBuf,
    log: Option<PathBuf>,
    json_log: bool,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let mut global = Global {
        root: PathBuf::from(ROOT),
        log: None,
        json_log: false,
    };
    match dispatch(&mut global) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            global.complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(global: &mut Global) -> Result<u8, CliError> {
    let mut parser = lexopt::Parser::from_env();
    let usage = |e: lexopt::Error| CliError::Usage(e.to_string());
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("root") => global.root = parser.value().map_err(usage)?.into(),
            Long("log") => global.log = Some(parser.value().map_err(usage)?.into()),
            Long("log-format") => {
                global.json_log = match parser.value().map_err(usage)?.to_str() {
                    Some("json") => true,
                    Some("text") => false,
                    _ => return Err(CliError::Usage("log-format is `text` or `json`".to_owned())),
                };
            }
            Long("debug") => {}
            Long("systemd-cgroup") => {
                return Err(CliError::Usage(
                    "systemd cgroups are not supported".to_owned(),
                ));
            }
            Long("rootless") => {
                let _ = parser.optional_value();
            }
            Long("version") | Short('v') => {
                print(&format!(
                    "corten-runtime version {}\nspec: {}\n",
                    env!("CARGO_PKG_VERSION"),
                    spec::runtime::VERSION
                ));
                return Ok(0);
            }
            Long("help") | Short('h') => {
                print(HELP);
                return Ok(0);
            }
            Value(command) => {
                let name = command.to_string_lossy().into_owned();
                if matches!(name.as_str(), "create" | "run" | "exec") {
                    run_from_memory()?;
                }
                return commands::run(global, &name, &mut parser);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    print(HELP);
    Ok(0)
}

/// Goes on in a sealed copy of this program: a process born in a container shows its program as
/// /proc/self/exe until `execve`, and an image could have the original overwritten through it
/// (CVE-2019-5736).
fn run_from_memory() -> Result<(), CliError> {
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    let fail = |source| CliError::File {
        action: "copy into memory",
        path: PathBuf::from("/proc/self/exe"),
        source,
    };
    if sys::memfd::running_sealed().map_err(fail)? {
        return Ok(());
    }
    let copy = sys::memfd::copy_of_self("corten-runtime").map_err(fail)?;
    let mut args = std::env::args_os();
    let mut command = std::process::Command::new(format!("/proc/self/fd/{}", copy.as_raw_fd()));
    if let Some(own) = args.next() {
        command.arg0(own);
    }
    Err(fail(command.args(args).exec()))
}

impl Global {
    /// Tells a failure to the user and to the log that the caller asked for.
    fn complain(&self, error: &CliError) {
        let text = spec::error::chain(error);
        let _ = writeln!(std::io::stderr(), "{text}");
        let Some(path) = &self.log else {
            return;
        };
        let line = if self.json_log {
            let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let seconds = time.map_or(0, |t| t.as_secs());
            let time = spec::Timestamp::from_unix(seconds.cast_signed(), 0).to_string();
            serde_json::json!({ "level": "error", "msg": text, "time": time }).to_string()
        } else {
            format!("level=error msg={text:?}")
        };
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path);
        // The message is on stderr already.
        let _ = log.and_then(|mut log| writeln!(log, "{line}"));
    }
}

/// Writes to stdout; a closed one is nobody who would miss it.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What `--help` prints.
const HELP: &str = "\
corten-runtime starts containers from OCI bundles.

Usage: corten-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND

Commands:
  create [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] ID
  start ID
  run [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] [--detach] ID
  exec [--process FILE] [--tty] [--cwd DIR] [--user USER] [--env VAR] [--detach]
       [--pid-file FILE] [--console-socket SOCKET] ID [COMMAND...]
  state ID
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  pause ID
  resume ID
  ps ID
  list [--quiet]
  spec
  features
";
