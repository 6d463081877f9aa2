//! Running one CNI program, within a time and a size.
//!
//! Its input and its answers are files in memory rather than pipes: nothing of ours waits for it but
//! for its end, even if it leaves processes behind that keep them open.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use serde_json::Value;

use crate::driver::DriverFailure;

/// Largest answer.
const MAX_ANSWER: u64 = 1 << 20;
/// How often a program that writes is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Directories in which CNI programs look for others (`iptables`).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the environment of a program says.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// `ADD`, `DEL` or `CHECK`.
    pub command: &'static str,
    pub container: &'a str,
    pub interface: &'a str,
    pub args: &'a str,
    /// Path of the namespace, empty where it is gone.
    pub netns: String,
    pub bin_dirs: &'a [PathBuf],
    pub patience: Duration,
}

/// How programs say that they failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u64,
    msg: String,
    details: String,
}

impl Call<'_> {
    /// Runs a program and returns what it answers, `null` where that is nothing.
    pub(super) fn run(&self, program: &Path, input: &Value) -> Result<Value, DriverFailure> {
        let failed = |what: String| DriverFailure::CniProgram {
            program: program.display().to_string(),
            command: self.command,
            what: plugin::shortened(&what),
        };
        let io = |error: std::io::Error| failed(error.to_string());
        let mut stdin = memory("cni-input").map_err(io)?;
        stdin.write_all(input.to_string().as_bytes()).map_err(io)?;
        stdin.rewind().map_err(io)?;
        let (mut stdout, mut stderr) = (
            memory("cni-answer").map_err(io)?,
            memory("cni-errors").map_err(io)?,
        );
        let mut child = self
            .command(program)
            .stdin(stdin)
            .stdout(stdout.try_clone().map_err(io)?)
            .stderr(stderr.try_clone().map_err(io)?)
            .spawn()
            .map_err(io)?;
        let ended = wait(&child, &[&stdout, &stderr], self.patience);
        let status = end(&mut child).map_err(io)?;
        ended.map_err(failed)?;
        let answer = read(&mut stdout).map_err(io)?;
        if status.success() {
            let text = answer.trim();
            if text.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_str(text)
                .map_err(|error| failed(format!("its answer is no JSON: {error}")));
        }
        let said = read(&mut stderr).map_err(io)?;
        Err(failed(reason(&answer, &said, status)))
    }

    fn command(&self, program: &Path) -> Command {
        let dirs: Vec<_> = self.bin_dirs.iter().map(|dir| dir.as_os_str()).collect();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("CNI_COMMAND", self.command)
            .env("CNI_CONTAINERID", self.container)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_IFNAME", self.interface)
            .env("CNI_PATH", dirs.join(std::ffi::OsStr::new(":")))
            .current_dir("/")
            .process_group(0);
        if !self.args.is_empty() {
            command.env("CNI_ARGS", self.args);
        }
        command
    }
}

fn memory(name: &str) -> std::io::Result<File> {
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(fd.into())
}

/// Waits for the end of a program, as long as it keeps within time and size.
fn wait(child: &Child, answers: &[&File], patience: Duration) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| error.to_string())?;
    loop {
        let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        let pause = Timespec::try_from(LOOK).unwrap_or_default();
        let ready = match poll(&mut fds, Some(&pause)) {
            Err(rustix::io::Errno::INTR) => 0,
            other => other.map_err(|error| error.to_string())?,
        };
        if ready > 0 {
            return Ok(());
        }
        let size = |file: &&File| file.metadata().map_or(0, |metadata| metadata.len());
        if answers.iter().any(|file| size(file) > MAX_ANSWER) {
            return Err("its answer is too large".to_owned());
        }
        if Instant::now() >= deadline {
            return Err(format!("it took longer than {patience:?} and was ended"));
        }
    }
}

/// Ends a program, and with it what it started for itself, also when all went well.
fn end(child: &mut Child) -> std::io::Result<ExitStatus> {
    // The child is not waited for yet, so nobody else can have the number of its group.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    child.wait()
}

fn read(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX_ANSWER).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn reason(answer: &str, said: &str, status: ExitStatus) -> String {
    let refusal: Refusal = serde_json::from_str(answer.trim()).unwrap_or_default();
    let code = match refusal.code {
        0 => String::new(),
        code => format!(" (code {code})"),
    };
    match (refusal.msg.as_str(), refusal.details.as_str(), said.trim()) {
        ("", "", "") => format!("no reason given: {status}"),
        ("", "", said) => said.to_owned(),
        (msg, "", _) => format!("{msg}{code}"),
        ("", details, _) => format!("{details}{code}"),
        (msg, details, _) => format!("{msg}; {details}{code}"),
    }
}
