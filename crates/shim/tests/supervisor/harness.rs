//! A daemon as small as possible: starts the zygote, talks to supervisors, cleans up.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shim::protocol::*;
use spec::runtime as oci;
use spec::{ContainerId, ExecId, Rootfs, Signal, WireError};

pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
const DEADLINE: Duration = Duration::from_secs(20);
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Waits for a condition, with a deadline.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < DEADLINE,
            "the condition did not come true"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_readable(fd: impl AsFd) {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: DEADLINE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    assert_eq!(
        poll(&mut fds, Some(&timeout)).unwrap(),
        1,
        "nothing came in time"
    );
}

/// Reads a stream to its end and takes the stdcopy frames apart.
pub fn frames(stream: &UnixStream) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    (&*stream).read_to_end(&mut bytes).unwrap();
    let mut rest = bytes.as_slice();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
        assert_eq!(rest[1..4], [0; 3]);
        all.push((rest[0], rest[8..8 + len].to_vec()));
        rest = &rest[8 + len..];
    }
    all
}

/// Joins the frames of one stream.
pub fn text(frames: &[(u8, Vec<u8>)], stream: u8) -> String {
    let parts = frames
        .iter()
        .filter(|(s, _)| *s == stream)
        .flat_map(|(_, b)| b.iter().copied());
    String::from_utf8(parts.collect()).unwrap()
}

/// The zygote and its socket.
pub struct Daemon {
    zygote: Child,
    socket: Option<OwnedFd>,
}

impl Daemon {
    pub fn start() -> Self {
        let (ours, theirs) = sys::fdpass::seqpacket_pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_corten-shim"));
        command.arg("zygote");
        sys::command::pass_fd(&mut command, theirs, ZYGOTE_FD);
        let zygote = command.spawn().unwrap();
        Self {
            zygote,
            socket: Some(ours),
        }
    }

    /// Forks a supervisor for a container that will run a shell script.
    pub fn spawn(&self, script: &str) -> Container {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{:08x}{number:08x}", std::process::id());
        let id: ContainerId = unique.repeat(4).parse().unwrap();
        let base = std::env::temp_dir().join(format!("corten-shim-test-{unique}"));
        let run_dir = base.join("run");
        std::fs::create_dir_all(&run_dir).unwrap();
        make_rootfs(&base.join("rootfs"));
        let (control, theirs) = sys::fdpass::seqpacket_pair().unwrap();
        let spawn = Spawn {
            id: 1,
            container: id,
            run_dir: run_dir.clone(),
        };
        let packet = Packet::encode(&spawn, Vec::new()).unwrap();
        let socket = self.socket.as_ref().unwrap();
        sys::fdpass::send(socket.as_fd(), &packet.bytes, &[theirs.as_fd()]).unwrap();
        drop(theirs);
        let (reply, _) = receive::<SpawnReply>(socket).expect("the zygote answers");
        let Outcome::Ok(Spawned { pid }) = reply.result else {
            panic!("{reply:?}")
        };
        Container {
            base,
            id,
            control: Some(control),
            supervisor: pid,
            init: 0,
            next_call: 0,
            events: Vec::new(),
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            terminal: false,
            stdin: StdinPolicy::Closed,
            memory: None,
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The end of its socket is the end of the zygote.
        drop(self.socket.take());
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            if self.zygote.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.zygote.kill();
        panic!("the zygote outlived its daemon");
    }
}

/// How often a process was put on a processor; `None` while it is on one, or wants to be.
fn switches(pid: i32) -> Option<Vec<String>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let with = |name: &'static str| status.lines().filter(move |line| line.contains(name));
    if with("State:").any(|line| line.contains("R (running)")) {
        return None;
    }
    Some(with("ctxt_switches").map(str::to_owned).collect())
}

fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "proc", "sys", "etc", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    let busybox = root.join("bin/busybox");
    std::fs::copy("/bin/busybox", &busybox).expect("busybox-static is installed");
    for applet in [
        "sh", "cat", "echo", "sleep", "stty", "tty", "tail", "printf",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
}

fn receive<T: serde::de::DeserializeOwned>(socket: &OwnedFd) -> Option<(T, Vec<OwnedFd>)> {
    wait_readable(socket);
    let mut buffer = vec![0; MAX_MESSAGE + 1];
    let received = sys::fdpass::recv(socket.as_fd(), &mut buffer).ok()?;
    if received.len == 0 {
        return None;
    }
    buffer.truncate(received.len);
    Some(
        Packet {
            bytes: buffer,
            fds: received.fds,
        }
        .decode()
        .unwrap(),
    )
}

/// A container and the connection to its supervisor.
pub struct Container {
    base: PathBuf,
    id: ContainerId,
    control: Option<OwnedFd>,
    pub supervisor: i32,
    pub init: i32,
    next_call: u64,
    pub events: Vec<Event>,
    pub args: Vec<String>,
    pub terminal: bool,
    pub stdin: StdinPolicy,
    pub memory: Option<i64>,
}

/// A started exec process.
#[derive(Debug)]
pub struct Started {
    pub id: ExecId,
    pub stream: Option<UnixStream>,
}

impl Container {
    pub fn run_dir(&self) -> &Path {
        // A directory of its own below the one that holds everything of the test.
        Box::leak(self.base.join("run").into_boxed_path())
    }

    pub fn log_path(&self) -> PathBuf {
        self.base.join("c-json.log")
    }

    fn cgroup_path(&self) -> String {
        format!("/corten-shim-test-{}", self.id)
    }

    fn spec(&self) -> oci::Spec {
        let namespaces = ["pid", "ipc", "uts", "mount", "network"];
        let mount = |kind: &str, at: &str, options: &[&str]| oci::Mount {
            destination: at.into(),
            kind: kind.to_owned(),
            source: kind.into(),
            options: options.iter().map(|&o| o.to_owned()).collect(),
            ..oci::Mount::default()
        };
        let mut spec = oci::Spec {
            oci_version: oci::VERSION.to_owned(),
            process: Some(self.process(self.args.clone())),
            mounts: vec![
                mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
                mount(
                    "tmpfs",
                    "/dev",
                    &["nosuid", "strictatime", "mode=755", "size=65536k"],
                ),
                mount(
                    "devpts",
                    "/dev/pts",
                    &[
                        "nosuid",
                        "noexec",
                        "newinstance",
                        "ptmxmode=0666",
                        "mode=0620",
                    ],
                ),
            ],
            linux: Some(oci::Linux {
                cgroups_path: self.cgroup_path(),
                namespaces: namespaces
                    .iter()
                    .map(|&kind| {
                        serde_json::from_value(serde_json::json!({ "type": kind })).unwrap()
                    })
                    .collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        if let (Some(limit), Some(linux)) = (self.memory, &mut spec.linux) {
            linux.resources = serde_json::from_value(
                serde_json::json!({ "memory": { "limit": limit, "swap": limit } }),
            )
            .unwrap();
        }
        spec
    }

    fn process(&self, args: Vec<String>) -> oci::Process {
        oci::Process {
            args,
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            ..Default::default()
        }
    }

    pub fn write_program(&self, path: &str, bytes: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.base.join("rootfs").join(path);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn create(&mut self) {
        self.try_create().unwrap();
    }

    pub fn try_create(&mut self) -> Result<(), WireError> {
        let spec = serde_json::to_vec(&self.spec()).unwrap();
        std::fs::write(self.base.join("run/config.json"), spec).unwrap();
        let create = Create {
            bundle: self.base.join("run"),
            rootfs: Rootfs::Directory {
                path: self.base.join("rootfs"),
            },
            terminal: self.terminal,
            stdin: self.stdin,
            console_size: self.terminal.then_some(ConsoleSize {
                width: 80,
                height: 24,
            }),
            log: LogConfig::JsonFile {
                path: self.log_path(),
                max_size_bytes: 0,
                max_files: 1,
                attrs: BTreeMap::new(),
            },
            seccomp: Seccomp::Unconfined,
            netns: false,
        };
        match self.call(Request::Create(create), Vec::new())? {
            Reply::Created { pid, .. } => self.init = pid,
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    pub fn start(&mut self) {
        let reply = self.call(Request::Start, Vec::new());
        assert!(matches!(reply, Ok(Reply::Started { .. })), "{reply:?}");
    }

    pub fn signal(&mut self, signal: Signal) {
        self.call(Request::Signal { exec: None, signal }, Vec::new())
            .unwrap();
    }

    pub fn resize(&mut self, width: u16, height: u16) {
        let size = ConsoleSize { width, height };
        self.call(Request::Resize { exec: None, size }, Vec::new())
            .unwrap();
    }

    pub fn attach(&mut self, exec: Option<ExecId>, streams: Streams) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let attach = Attach { exec, streams };
        self.call(Request::Attach(attach), vec![theirs.into()])
            .unwrap();
        ours
    }

    pub fn exec(&mut self, script: &str, attach: Option<Streams>, terminal: bool) -> Started {
        let mut process = self.process(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        process.terminal = terminal;
        self.exec_process(process, attach).unwrap()
    }

    pub fn try_exec(
        &mut self,
        program: &str,
        attach: Option<Streams>,
    ) -> Result<Started, WireError> {
        self.exec_process(self.process(vec![program.to_owned()]), attach)
    }

    fn exec_process(
        &mut self,
        process: oci::Process,
        attach: Option<Streams>,
    ) -> Result<Started, WireError> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id: ExecId = format!("{number:064x}").parse().unwrap();
        let (stream, fds) = if attach.is_some() {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (Some(ours), vec![OwnedFd::from(theirs)])
        } else {
            (None, Vec::new())
        };
        let exec = Exec {
            id,
            process: Box::new(process),
            attach,
        };
        match self.call(Request::Exec(exec), fds)? {
            Reply::ExecStarted { pid } => assert!(pid > 0),
            other => panic!("{other:?}"),
        }
        Ok(Started { id, stream })
    }

    pub fn call(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<Reply, WireError> {
        self.next_call += 1;
        let packet = Packet::encode(
            &Call {
                id: self.next_call,
                request,
            },
            fds,
        )
        .unwrap();
        let fds: Vec<_> = packet.fds.iter().map(AsFd::as_fd).collect();
        let control = self.control.as_ref().unwrap();
        sys::fdpass::send(control.as_fd(), &packet.bytes, &fds).unwrap();
        loop {
            match self.receive().expect("the supervisor answers") {
                Message::Reply { id, result } if id == self.next_call => return result.into(),
                Message::Reply { .. } => {}
                Message::Event(event) => self.events.push(event),
            }
        }
    }

    pub fn send_raw(&self, bytes: &[u8]) {
        sys::fdpass::send(self.control.as_ref().unwrap().as_fd(), bytes, &[]).unwrap();
    }

    fn receive(&self) -> Option<Message> {
        receive(self.control.as_ref().unwrap()).map(|(message, _)| message)
    }

    fn wait_event<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.events.iter().find_map(&pick) {
                return found;
            }
            match self.receive().expect("the supervisor lives") {
                Message::Event(event) => self.events.push(event),
                Message::Reply { id, result } => panic!("reply {id} unasked: {result:?}"),
            }
        }
    }

    pub fn wait_exit(&mut self) -> Exit {
        self.wait_event(|event| match event {
            Event::Exited(exit) => Some(exit.clone()),
            _ => None,
        })
    }

    pub fn wait_exec(&mut self, started: &Started) -> i32 {
        self.wait_event(|event| match event {
            Event::ExecExited { exec, code, .. } if *exec == started.id => Some(*code),
            _ => None,
        })
    }

    pub fn delete(&mut self) {
        assert_eq!(self.call(Request::Delete, Vec::new()).unwrap(), Reply::Done);
        assert!(self.receive().is_none());
        self.wait_supervisor_gone();
    }

    pub fn disconnect(&mut self) {
        self.control = None;
    }

    pub fn reconnect(&mut self) -> State {
        let control = sys::fdpass::connect(self.run_dir(), SOCKET_FILE).unwrap();
        self.control = Some(control);
        let early = self.call(Request::Pause, Vec::new());
        assert!(early.is_err(), "a request before `hello` was served");
        match self.call(Request::Hello { version: VERSION }, Vec::new()) {
            Ok(Reply::State(state)) => *state,
            other => panic!("{other:?}"),
        }
    }

    pub fn wait_supervisor_gone(&self) {
        wait_until(|| !Path::new(&format!("/proc/{}", self.supervisor)).exists());
    }

    /// Waits until neither the supervisor nor the container's process runs, and neither has run
    /// between two looks: nothing moves any more.
    pub fn wait_until_still(&self) {
        let mut before = None;
        wait_until(|| {
            let now = switches(self.supervisor).zip(switches(self.init));
            let still = now.is_some() && now == before;
            before = now;
            still
        });
    }

    pub fn kill_supervisor(&self) {
        let pid = rustix::process::Pid::from_raw(self.supervisor).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    pub fn write_to(&self, stream: &UnixStream, text: &str) {
        (&*stream).write_all(text.as_bytes()).unwrap();
    }

    pub fn expect_on(&self, stream: &UnixStream, want: &str) {
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&got).contains(want) {
            wait_readable(stream);
            let n = (&*stream).read(&mut buffer).unwrap();
            assert!(
                n > 0,
                "the stream ended: {:?}",
                String::from_utf8_lossy(&got)
            );
            got.extend_from_slice(&buffer[..n]);
        }
    }

    pub fn expect_in_log(&self, want: &str) {
        let want = format!("\"{}\"", want.escape_default());
        wait_until(|| {
            std::fs::read_to_string(self.log_path()).is_ok_and(|log| log.contains(&want))
        });
    }

    pub fn cgroup_exists(&self) -> bool {
        let cgroups = sys::cgroup::Cgroups::detect().unwrap();
        cgroups.open(&self.cgroup_path()).unwrap().is_some()
    }

    pub fn remove_cgroup(&self) {
        let cgroups = sys::cgroup::Cgroups::detect().unwrap();
        if let Some(group) = cgroups.open(&self.cgroup_path()).unwrap() {
            group.kill().unwrap();
            group.remove().unwrap();
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill_supervisor();
            self.remove_cgroup();
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}
