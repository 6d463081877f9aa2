//! Client programs as child processes: always with a deadline, output collected while they run.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::poll;

/// How long a client command may take; dockerd on a busy machine needs several seconds.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Which program is the client of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The `docker` of the machine, or `CORTEN_E2E_DOCKER`.
    Docker,
    /// Our `corten`.
    Corten,
}

impl Client {
    /// The program to run.
    pub fn program(self) -> PathBuf {
        match self {
            Client::Docker => {
                std::env::var_os("CORTEN_E2E_DOCKER").map_or("docker".into(), Into::into)
            }
            Client::Corten => bin_dir().join("corten"),
        }
    }
}

/// Where our binaries are: `CORTEN_E2E_BIN_DIR`, or the target directory of the test binary.
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CORTEN_E2E_BIN_DIR") {
        return dir.into();
    }
    let exe = std::env::current_exe().expect("a running program has a path");
    let dir = exe.parent().expect("a program lies in a directory");
    if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir).into()
    } else {
        dir.into()
    }
}

/// What a command left: its exit code and both streams.
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
            line,
        } = self;
        write!(f, "`{line}` exited with {code}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

impl Output {
    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}: {self:?}");
        self
    }

    /// Asserts the whole standard output, without white space at its ends.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.trim() == text, "expected `{text}`: {self:?}");
        self
    }

    /// Asserts a part of the standard output.
    #[track_caller]
    pub fn shows(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "expected `{part}`: {self:?}");
        self
    }

    /// Asserts that standard output has no such part.
    #[track_caller]
    pub fn hides(self, part: &str) -> Self {
        assert!(!self.stdout.contains(part), "expected no `{part}`: {self:?}");
        self
    }

    /// Asserts a part of the standard error.
    #[track_caller]
    pub fn complains(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "expected the error `{part}`: {self:?}");
        self
    }

    /// The standard output without white space at its ends.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// The lines of the standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// One stream of a running command.
#[derive(Debug)]
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Collector {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                locked(&sink).extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&locked(&self.bytes)).into_owned()
    }
}

fn locked(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().expect("no panic happens while it is held")
}

/// A client command that is still running. Dropping it kills it.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Collector,
    stderr: Collector,
    line: String,
}

impl Spawned {
    /// Starts a command with all three streams piped.
    pub fn start(mut command: Command) -> Self {
        let line = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let stdin = child.stdin.take();
        let stdout = Collector::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Collector::of(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            stdin,
            stdout,
            stderr,
            line,
        }
    }

    /// Writes to its standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the command reads its input");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until it has printed `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let seen = poll(DEADLINE, || self.stdout().contains(text).then_some(()));
        let (out, err) = (self.stdout(), self.stderr.text());
        assert!(seen.is_some(), "{} never printed `{text}`; it printed\n{out}{err}", self.line);
    }

    /// Sends a signal to the client process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the client is alive");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(self) -> Output {
        self.finish_within(DEADLINE)
    }

    /// Waits for its end, at most so long.
    #[track_caller]
    pub fn finish_within(mut self, deadline: Duration) -> Output {
        self.stdin = None;
        let status = poll(deadline, || self.child.try_wait().ok().flatten());
        let Some(status) = status else {
            let (out, err) = (self.stdout(), self.stderr.text());
            panic!("{} still runs after {deadline:?}; it printed\n{out}{err}", self.line);
        };
        // A grandchild may keep the pipes; what the client wrote itself is there by now.
        poll(Duration::from_secs(2), || {
            (self.stdout.thread.is_finished() && self.stderr.thread.is_finished()).then_some(())
        });
        Output {
            code: exit_code(status),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            line: self.line.clone(),
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Both fail when it has ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code as a shell would tell it.
pub fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// A command of `client` towards `socket`, in an environment that holds nothing of the caller's.
pub fn client_command(client: Client, socket: &Path, home: &Path) -> Command {
    let mut command = Command::new(client.program());
    isolate(&mut command, socket, home);
    command
}

/// Gives a command the environment of a test.
pub fn isolate(command: &mut Command, socket: &Path, home: &Path) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TERM", "xterm")
        .env("DOCKER_CONFIG", home.join(".docker"))
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .current_dir(home);
}
