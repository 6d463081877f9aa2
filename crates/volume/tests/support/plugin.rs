//! A volume plugin of our own: a thread with a socket that does what it is told to.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Good,
    /// Is a plugin of something else.
    OtherKind,
    /// Says no to every change.
    Refuse,
    /// Says no by a status.
    Status500,
    /// Hangs up on every change.
    Die,
    /// Answers every change with something that is not HTTP.
    Garbage,
    /// Answers every change with something that is not JSON.
    NotJson,
    /// Answers every change without end.
    Endless,
    /// Never answers.
    Hang,
    /// Says that everything is mounted there.
    Mountpoint(&'static str),
}

struct State {
    mode: Mode,
    log: Vec<String>,
    volumes: BTreeSet<String>,
    closing: bool,
}

/// The plugin; ends when dropped, its socket stays as that of a program that was killed.
pub struct TestPlugin {
    socket: PathBuf,
    data: tempfile::TempDir,
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestPlugin {
    /// Listens.
    pub fn listen(socket: &Path, mode: Mode) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let data = tempfile::tempdir().unwrap();
        let state = State {
            mode,
            log: Vec::new(),
            volumes: BTreeSet::new(),
            closing: false,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let thread = {
            let (shared, data) = (Arc::clone(&shared), data.path().to_owned());
            std::thread::spawn(move || {
                let mut workers = Vec::new();
                for stream in listener.incoming() {
                    let (shared, data) = (Arc::clone(&shared), data.clone());
                    if shared.0.lock().unwrap().closing {
                        break;
                    }
                    workers.push(std::thread::spawn(move || {
                        serve(stream.unwrap(), &shared, &data)
                    }));
                }
                drop(listener);
                for worker in workers {
                    worker.join().unwrap();
                }
            })
        };
        Self {
            socket: socket.to_owned(),
            data,
            shared,
            thread: Some(thread),
        }
    }

    /// Changes how it answers.
    pub fn set(&self, mode: Mode) {
        self.shared.0.lock().unwrap().mode = mode;
    }

    /// Lets it have a volume that nobody asked for.
    pub fn add(&self, name: &str) {
        self.shared
            .0
            .lock()
            .unwrap()
            .volumes
            .insert(name.to_owned());
    }

    /// The volumes it has.
    pub fn volumes(&self) -> Vec<String> {
        self.shared
            .0
            .lock()
            .unwrap()
            .volumes
            .iter()
            .cloned()
            .collect()
    }

    /// Where it keeps them.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Whether it got a call, `Method body`.
    pub fn heard(&self, call: &str) -> bool {
        self.shared
            .0
            .lock()
            .unwrap()
            .log
            .iter()
            .any(|line| line == call)
    }

    /// How often a method was called.
    pub fn count(&self, method: &str) -> usize {
        let state = self.shared.0.lock().unwrap();
        count(&state, method)
    }

    /// Waits until a method was called so often.
    pub fn wait_for(&self, method: &str, times: usize) {
        let (state, changed) = &*self.shared;
        let guard = state.lock().unwrap();
        let limit = Duration::from_secs(60);
        let (_guard, waited) = changed
            .wait_timeout_while(guard, limit, |state| count(state, method) < times)
            .unwrap();
        assert!(!waited.timed_out(), "{method} was not called {times} times");
    }
}

fn count(state: &State, method: &str) -> usize {
    let begins = format!("{method} ");
    state
        .log
        .iter()
        .filter(|line| line.starts_with(&begins))
        .count()
}

impl Drop for TestPlugin {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap().closing = true;
        self.shared.1.notify_all();
        // Wakes the thread.
        drop(UnixStream::connect(&self.socket));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(stream: UnixStream, shared: &(Mutex<State>, Condvar), data: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let method = head[0]
        .split(' ')
        .nth(1)
        .unwrap()
        .trim_start_matches('/')
        .to_owned();
    let body = String::from_utf8(body).unwrap();
    let (state, changed) = shared;
    let mut state = state.lock().unwrap();
    state.log.push(format!("{method} {body}"));
    changed.notify_all();
    let mut stream = stream;
    let changes = ["Create", "Remove", "Mount"]
        .iter()
        .any(|verb| method == format!("VolumeDriver.{verb}"));
    let bytes = match state.mode {
        Mode::Hang => {
            // Until the test is over, or the one who asked has gone.
            drop(changed.wait_while(state, |state| !state.closing));
            return;
        }
        Mode::Die if changes => return,
        Mode::Garbage if changes => b"garbage here\r\n\r\n".to_vec(),
        Mode::NotJson if changes => framed("200 OK", "nope"),
        Mode::Refuse if changes => framed("200 OK", r#"{"Err":"I refuse"}"#),
        Mode::Status500 if changes => {
            framed("500 Internal Server Error", r#"{"Err":"five hundred"}"#)
        }
        Mode::Endless if changes => {
            drop(state);
            let chunk = vec![b' '; 1 << 20];
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while sent.is_ok() {
                sent = stream.write_all(&chunk);
            }
            return;
        }
        _ => framed(
            "200 OK",
            &answer(&mut state, &method, &body, data).to_string(),
        ),
    };
    // Who asked may have gone.
    let _gone = stream.write_all(&bytes);
}

fn framed(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn answer(state: &mut State, method: &str, body: &str, data: &Path) -> Value {
    let request: Value = serde_json::from_str(body).unwrap_or_default();
    let name = request["Name"].as_str().unwrap_or_default().to_owned();
    let volume = |name: &str| json!({"Name": name, "CreatedAt": "2020-01-01T00:00:00Z", "Status": {"color": "red"}});
    match method.trim_start_matches("VolumeDriver.") {
        "Plugin.Activate" if state.mode == Mode::OtherKind => {
            json!({"Implements": ["NetworkDriver"]})
        }
        "Plugin.Activate" => json!({"Implements": ["NetworkDriver", "VolumeDriver"]}),
        "Capabilities" => json!({"Capabilities": {"Scope": "global"}}),
        "List" => {
            let all: Vec<Value> = state.volumes.iter().map(|name| volume(name)).collect();
            json!({"Volumes": all, "Err": ""})
        }
        "Create" => {
            state.volumes.insert(name);
            json!({"Err": ""})
        }
        _ if !state.volumes.contains(&name) => json!({"Err": "no such volume"}),
        "Get" => json!({"Volume": volume(&name), "Err": ""}),
        "Path" => json!({"Mountpoint": ""}),
        "Remove" => {
            state.volumes.remove(&name);
            json!({})
        }
        "Mount" => match state.mode {
            Mode::Mountpoint(lie) => json!({"Mountpoint": lie}),
            _ => {
                let place = data.join(&name);
                std::fs::create_dir_all(&place).unwrap();
                json!({"Mountpoint": place})
            }
        },
        "Unmount" => json!({"Err": null}),
        other => json!({"Err": format!("no such method: {other}")}),
    }
}
