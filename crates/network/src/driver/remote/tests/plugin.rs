//! A plugin of our own: a thread with a socket that does what a test tells it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

/// What it does with a call.
pub(super) enum Reply {
    Json(Value),
    Status(u16, &'static str),
    /// Answers with something that is no answer.
    Raw(&'static str),
    /// Hangs up.
    Die,
    /// Never answers.
    Hang,
}

type Answers = Arc<dyn Fn(&str, &Value) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    log: Vec<(String, Value)>,
    closing: bool,
}

/// The plugin; its socket stays as that of a program that was killed.
pub(super) struct TestPlugin {
    socket: PathBuf,
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestPlugin {
    /// Listens as `name` in a directory, in the network namespace of the calling thread.
    pub(super) fn listen(
        dir: &Path,
        name: &str,
        answers: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let socket = dir.join(format!("{name}.sock"));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let answers: Answers = Arc::new(answers);
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut workers = Vec::new();
                for stream in listener.incoming() {
                    if shared.0.lock().unwrap().closing {
                        break;
                    }
                    let (shared, answers) = (Arc::clone(&shared), Arc::clone(&answers));
                    workers.push(std::thread::spawn(move || {
                        serve(&stream.unwrap(), &shared, &*answers);
                    }));
                }
                for worker in workers {
                    worker.join().unwrap();
                }
            })
        };
        Self {
            socket,
            shared,
            thread: Some(thread),
        }
    }

    /// The methods that were called, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        let log = &self.shared.0.lock().unwrap().log;
        log.iter().map(|(method, _)| method.clone()).collect()
    }

    /// What a method was called with, the last time.
    pub(super) fn heard(&self, method: &str) -> Value {
        let log = &self.shared.0.lock().unwrap().log;
        let call = log.iter().rev().find(|(called, _)| called == method);
        call.unwrap_or_else(|| panic!("{method} was not called"))
            .1
            .clone()
    }
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

fn serve(
    stream: &UnixStream,
    shared: &(Mutex<State>, Condvar),
    answers: &(dyn Fn(&str, &Value) -> Reply + Send + Sync),
) {
    let mut reader = BufReader::new(stream);
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
    let method = head[0].split(' ').nth(1).unwrap().trim_start_matches('/');
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (state, changed) = shared;
    let mut guard = state.lock().unwrap();
    guard.log.push((method.to_owned(), body.clone()));
    changed.notify_all();
    drop(guard);
    let framed = |status: u16, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let bytes = match answers(method, &body) {
        Reply::Json(value) => framed(200, &value.to_string()),
        Reply::Status(status, text) => framed(status, text),
        Reply::Raw(text) => text.to_owned(),
        Reply::Die => return,
        Reply::Hang => {
            let guard = state.lock().unwrap();
            drop(changed.wait_while(guard, |state| !state.closing));
            return;
        }
    };
    // Who asked may have gone.
    let mut stream = stream;
    let _gone = stream.write_all(bytes.as_bytes());
}
