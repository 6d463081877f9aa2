//! The commands of the OCI command line.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lexopt::prelude::*;
use runtime::{Create, Created, Gate, Orphan, Seccomp, Stdio};
use spec::runtime::{Process, Spec, Status};
use spec::{Rootfs, Signal};
use sys::cgroup::{Cgroup, Cgroups};

use super::state::{Dir, Record, START_SOCKET, process_stat};
use super::{CliError, Global, print};

/// Flags of a command; each command looks at those that it has.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) bundle: Option<PathBuf>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) console_socket: Option<PathBuf>,
    pub(super) process: Option<PathBuf>,
    pub(super) detach: bool,
    pub(super) force: bool,
    pub(super) all: bool,
    pub(super) quiet: bool,
    pub(super) tty: bool,
    pub(super) cwd: Option<String>,
    pub(super) user: Option<String>,
    pub(super) env: Vec<String>,
    pub(super) rest: Vec<String>,
}

/// Runs one command and returns the exit status.
pub(crate) fn run(
    global: &Global,
    name: &str,
    parser: &mut lexopt::Parser,
) -> Result<u8, CliError> {
    let flags = parse(name, parser).map_err(|e| CliError::Usage(e.to_string()))?;
    let one_id = || match flags.rest.as_slice() {
        [id] => Ok(id.as_str()),
        _ => Err(CliError::Usage(format!(
            "{name}: exactly one container ID is required"
        ))),
    };
    match name {
        "create" => create(global, &flags, one_id()?),
        "start" => start(global, one_id()?),
        "run" => run_container(global, &flags, one_id()?),
        "exec" => super::exec::exec(global, &flags),
        "state" => {
            let dir = Dir::new(&global.root, one_id()?)?;
            print(&pretty(&dir.state(&dir.load()?)));
            Ok(0)
        }
        "kill" => kill(global, &flags),
        "delete" => delete(global, &flags, one_id()?),
        "pause" => change(global, one_id()?, Status::Running, Cgroup::freeze),
        "resume" => change(global, one_id()?, Status::Paused, Cgroup::thaw),
        "ps" => {
            let record = Dir::new(&global.root, one_id()?)?.load()?;
            let pids = group(&record)?
                .pids()
                .map_err(kernel("list the processes"))?;
            print(&pretty(&pids));
            Ok(0)
        }
        "list" => list(global, &flags),
        "spec" => write_example(&flags),
        "features" => {
            print(&pretty(&super::features::features()));
            Ok(0)
        }
        other => Err(CliError::Usage(format!("unknown command `{other}`"))),
    }
}

fn parse(command: &str, parser: &mut lexopt::Parser) -> Result<Flags, lexopt::Error> {
    let mut flags = Flags::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("bundle") | Short('b') => flags.bundle = Some(parser.value()?.into()),
            Long("pid-file") => flags.pid_file = Some(parser.value()?.into()),
            Long("console-socket") => flags.console_socket = Some(parser.value()?.into()),
            Long("process") | Short('p') if command == "exec" => {
                flags.process = Some(parser.value()?.into());
            }
            Long("detach") | Short('d') => flags.detach = true,
            Long("force") | Short('f') => flags.force = true,
            Long("all") | Short('a') => flags.all = true,
            Long("quiet") | Short('q') => flags.quiet = true,
            Long("tty") | Short('t') => flags.tty = true,
            Long("cwd") => flags.cwd = Some(parser.value()?.string()?),
            Long("user") | Short('u') => flags.user = Some(parser.value()?.string()?),
            Long("env") | Short('e') => flags.env.push(parser.value()?.string()?),
            Long("no-pivot" | "no-new-keyring") => {}
            Value(value) => {
                flags.rest.push(value.string()?);
                // What follows the id is the program's.
                if command == "exec" {
                    for more in parser.raw_args()? {
                        flags.rest.push(more.string()?);
                    }
                }
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(flags)
}

pub(super) fn kernel(action: &'static str) -> impl Fn(sys::Error) -> CliError {
    move |source| CliError::Kernel { action, source }
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain values have a JSON form");
    format!("{text}\n")
}

/// The control group of a container.
pub(crate) fn group(record: &Record) -> Result<Cgroup, CliError> {
    Cgroups::detect()
        .and_then(|found| found.group(&record.cgroup))
        .map_err(kernel("find the control group"))
}

pub(super) fn load_spec(bundle: &Path) -> Result<Spec, CliError> {
    let path = bundle.join("config.json");
    let bytes = std::fs::read(&path).map_err(|source| CliError::File {
        action: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| CliError::Json { path, source })
}

fn read_bundle(flags: &Flags) -> Result<(PathBuf, Spec, Rootfs), CliError> {
    let given = flags.bundle.clone().unwrap_or_else(|| PathBuf::from("."));
    let bundle = given.canonicalize().map_err(|source| CliError::File {
        action: "find",
        path: given,
        source,
    })?;
    let spec = load_spec(&bundle)?;
    let root = spec.root.clone().unwrap_or_default();
    let rootfs = Rootfs::Directory {
        path: bundle.join(root.path),
    };
    Ok((bundle, spec, rootfs))
}

pub(super) fn stdio(process: &Process) -> Stdio {
    if process.terminal {
        Stdio::Terminal
    } else {
        Stdio::Inherit
    }
}

/// Makes a container and its record.
fn make(
    global: &Global,
    flags: &Flags,
    id: &str,
    orphan: Orphan,
) -> Result<(Dir, Created), CliError> {
    let (bundle, spec, rootfs) = read_bundle(flags)?;
    let process = spec.process.clone().unwrap_or_default();
    if process.terminal && orphan == Orphan::Keep && flags.console_socket.is_none() {
        let text = "a terminal needs --console-socket when the runtime does not stay";
        return Err(CliError::Usage(text.to_owned()));
    }
    let dir = Dir::new(&global.root, id)?;
    dir.create()?;
    let made = (|| {
        let gate = match orphan {
            Orphan::Kill => Gate::Caller,
            Orphan::Keep => {
                let place = sys::mount::open_path(dir.path()).map_err(kernel("open the state"))?;
                let socket = sys::fdpass::listen(place.as_fd(), START_SOCKET)
                    .map_err(kernel("listen for the start"))?;
                Gate::Listener(socket)
            }
        };
        let created = runtime::create(Create {
            id,
            bundle: &bundle,
            spec: &spec,
            rootfs: &rootfs,
            stdio: stdio(&process),
            netns: None,
            seccomp: Seccomp::Spec,
            gate,
            orphan,
        })?;
        let pid = created.pid.as_raw_nonzero().get();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let record = Record {
            id: id.to_owned(),
            pid,
            pid_start: process_stat(pid).map_or(0, |(_, start)| start),
            bundle,
            cgroup: created.cgroup.path().to_owned(),
            created: now.map_or(0, |t| t.as_secs().cast_signed()),
            annotations: spec.annotations.clone(),
        };
        let finish = || -> Result<(), CliError> {
            dir.save(&record)?;
            write_pid(flags, pid)?;
            match (&created.console, &flags.console_socket) {
                (Some(master), Some(socket)) => send_console(socket, master),
                _ => Ok(()),
            }
        };
        if let Err(error) = finish() {
            let _ = created.cgroup.kill();
            let _ = sys::process::reap(created.pidfd.as_fd());
            let _ = created.cgroup.remove();
            return Err(error);
        }
        Ok(created)
    })();
    match made {
        Ok(created) => Ok((dir, created)),
        Err(error) => {
            let _ = dir.remove();
            Err(error)
        }
    }
}

pub(super) fn write_pid(flags: &Flags, pid: i32) -> Result<(), CliError> {
    let Some(path) = &flags.pid_file else {
        return Ok(());
    };
    // Atomically, as runc: readers poll for the file.
    let temporary = path.with_extension("pid-tmp");
    std::fs::write(&temporary, pid.to_string())
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|source| CliError::File {
            action: "write",
            path: path.clone(),
            source,
        })
}

/// Hands the master end to whoever listens, as runc does.
pub(super) fn send_console(path: &Path, master: &OwnedFd) -> Result<(), CliError> {
    let fail = |source| CliError::File {
        action: "connect to",
        path: path.to_owned(),
        source,
    };
    let socket = std::os::unix::net::UnixStream::connect(path).map_err(fail)?;
    sys::fdpass::send(socket.as_fd(), b"/dev/ptmx", &[master.as_fd()]).map_err(fail)
}

fn create(global: &Global, flags: &Flags, id: &str) -> Result<u8, CliError> {
    make(global, flags, id, Orphan::Keep)?;
    Ok(0)
}

fn start(global: &Global, id: &str) -> Result<u8, CliError> {
    let dir = Dir::new(&global.root, id)?;
    let record = dir.load()?;
    match dir.status(&record) {
        Status::Created => {}
        Status::Stopped => {
            return Err(CliError::Conflict(
                "cannot start a container that has stopped".to_owned(),
            ));
        }
        _ => {
            let text = "cannot start an already running container";
            return Err(CliError::Conflict(text.to_owned()));
        }
    }
    let result = runtime::start_through(dir.path(), START_SOCKET);
    // Whatever came of it, nobody waits there any more.
    let _ = std::fs::remove_file(dir.path().join(START_SOCKET));
    result?;
    Ok(0)
}

fn run_container(global: &Global, flags: &Flags, id: &str) -> Result<u8, CliError> {
    if flags.detach {
        let (dir, _) = make(global, flags, id, Orphan::Keep)?;
        let started = start(global, id);
        if started.is_err() {
            let _ = delete_stopped(&dir, &dir.load()?, true);
        }
        return started;
    }
    // From now on: a signal that ended this process would leave the record behind.
    sys::signal::block_all().map_err(kernel("block signals"))?;
    let (dir, created) = make(global, flags, id, Orphan::Kill)?;
    let record = dir.load()?;
    let status = created.start().map_err(CliError::from).and_then(|started| {
        let ended = super::relay::wait(started.pid, &started.pidfd, started.console.as_ref())
            .map_err(kernel("wait for the container"))?;
        Ok(u8::try_from(ended.code() & 0xff).unwrap_or(255))
    });
    delete_stopped(&dir, &record, true)?;
    status
}

fn kill(global: &Global, flags: &Flags) -> Result<u8, CliError> {
    let (id, signal) = match flags.rest.as_slice() {
        [id] => (id, Signal::TERM),
        [id, signal] => (
            id,
            signal
                .parse::<Signal>()
                .map_err(|e| CliError::Usage(e.to_string()))?,
        ),
        _ => {
            return Err(CliError::Usage(
                "kill: a container ID is required".to_owned(),
            ));
        }
    };
    let dir = Dir::new(&global.root, id)?;
    let record = dir.load()?;
    if flags.all && signal == Signal::KILL {
        group(&record)?
            .kill()
            .map_err(kernel("kill the container"))?;
        return Ok(0);
    }
    if dir.status(&record) == Status::Stopped {
        return Err(CliError::Conflict("container not running".to_owned()));
    }
    let pids = match flags.all {
        true => group(&record)?
            .pids()
            .map_err(kernel("list the processes"))?,
        false => vec![record.pid],
    };
    for pid in pids {
        sys::process::signal(pid, signal.number()).map_err(kernel("signal the container"))?;
    }
    Ok(0)
}

fn delete(global: &Global, flags: &Flags, id: &str) -> Result<u8, CliError> {
    let dir = Dir::new(&global.root, id)?;
    let record = match dir.load() {
        Err(CliError::NotFound) if flags.force => return Ok(0),
        other => other?,
    };
    delete_stopped(&dir, &record, flags.force)?;
    Ok(0)
}

fn delete_stopped(dir: &Dir, record: &Record, force: bool) -> Result<(), CliError> {
    let status = dir.status(record);
    let group = group(record)?;
    if status != Status::Stopped {
        // A container that was never started may be deleted, as in runc.
        if !force && status != Status::Created {
            let status = format!("{status:?}").to_lowercase();
            let text = format!(
                "cannot delete container {} that is not stopped: {status}",
                record.id
            );
            return Err(CliError::Conflict(text));
        }
        group.kill().map_err(kernel("kill the container"))?;
    }
    group.remove().map_err(kernel("remove the control group"))?;
    dir.remove()
}

fn change(
    global: &Global,
    id: &str,
    wanted: Status,
    action: fn(&Cgroup) -> sys::Result<()>,
) -> Result<u8, CliError> {
    let dir = Dir::new(&global.root, id)?;
    let record = dir.load()?;
    let status = dir.status(&record);
    let same = status == wanted || (wanted == Status::Running && status == Status::Created);
    if !same {
        let text = format!("container is {}", format!("{status:?}").to_lowercase());
        return Err(CliError::Conflict(text));
    }
    action(&group(&record)?).map_err(kernel("change the container"))?;
    Ok(0)
}

fn list(global: &Global, flags: &Flags) -> Result<u8, CliError> {
    let mut states = Vec::new();
    let entries = std::fs::read_dir(&global.root)
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(dir) = Dir::new(&global.root, &name) else {
            continue;
        };
        // One that is being made or removed at this time has no state.
        if let Ok(record) = dir.load() {
            states.push(dir.state(&record));
        }
    }
    states.sort_by(|a, b| a.id.cmp(&b.id));
    if flags.quiet {
        let ids: String = states
            .iter()
            .map(|state| format!("{}\n", state.id))
            .collect();
        print(&ids);
    } else {
        print(&pretty(&states));
    }
    Ok(0)
}

fn write_example(flags: &Flags) -> Result<u8, CliError> {
    let path = flags
        .bundle
        .clone()
        .unwrap_or_else(|| PathBuf::from("."))
        .join("config.json");
    let text = pretty(&runtime::example_spec());
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(&path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|source| CliError::File {
            action: "write",
            path,
            source,
        })?;
    Ok(0)
}
