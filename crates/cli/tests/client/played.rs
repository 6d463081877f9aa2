//! A daemon or a registry that is played: answers by rule, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query without the version.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) media_type: String,
    /// Further lines of the head.
    pub(crate) head: String,
    /// Whether the connection ends in the middle of the body.
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn ok(body: &str) -> Self {
        Self::of(200, body)
    }

    pub(crate) fn of(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
            media_type: "application/json".to_owned(),
            head: String::new(),
            cut: false,
        }
    }

    pub(crate) fn refusal(status: u16, message: &str) -> Self {
        Self::of(status, &format!("{{\"message\":\"{message}\"}}"))
    }
}

type Rule = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// The daemon; its thread ends with the test program.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Daemon {
    /// Plays a daemon by a rule, which is told the request and how many came before it.
    pub(crate) fn play(rule: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (rule, log): (Arc<Rule>, _) = (Arc::new(rule), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, rule, log) = (stream.unwrap(), Arc::clone(&rule), Arc::clone(&log));
                let reader = stream.try_clone().unwrap();
                std::thread::spawn(move || serve(reader, stream, &*rule, &log));
            }
        });
        Self { dir, asked }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("s").display())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// A registry on a port of its own; its thread ends with the test program.
pub(crate) struct Registry {
    /// `127.0.0.1:port`
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Registry {
    pub(crate) fn play(rule: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (rule, log): (Arc<Rule>, _) = (Arc::new(rule), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, rule, log) = (stream.unwrap(), Arc::clone(&rule), Arc::clone(&log));
                let reader = stream.try_clone().unwrap();
                std::thread::spawn(move || serve(reader, stream, &*rule, &log));
            }
        });
        Self { host, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(reader: impl Read, mut writer: impl Write, rule: &Rule, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(reader);
    while let Some(asked) = read(&mut reader) {
        if asked.path == "/_ping" {
            let pong = "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n";
            writer.write_all(pong.as_bytes()).unwrap();
            continue;
        }
        let before = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        let answer = rule(&asked, before);
        let length = answer.body.len() + usize::from(answer.cut);
        let head = format!(
            "HTTP/1.1 {} X\r\nContent-Type: {}\r\n{}Content-Length: {length}\r\n\r\n",
            answer.status, answer.media_type, answer.head
        );
        let body = if asked.method == "HEAD" {
            ""
        } else {
            &answer.body
        };
        // The program may have seen enough.
        let _ = writer.write_all((head + body).as_bytes());
        if answer.cut {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let path = match path.strip_prefix("/v1.") {
        Some(rest) => rest[rest.find('/')?..].to_owned(),
        None => path,
    };
    let mut asked = Asked {
        method,
        path,
        ..Asked::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        asked.headers.push((name.to_owned(), value.to_owned()));
    }
    let length = asked.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Some(asked)
}
