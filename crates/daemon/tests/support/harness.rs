//! The HTTP service on a temporary unix socket, over a real engine on temporary roots.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use daemon::call::Context;
use daemon::listen::{Host, bind};
use daemon::server;
use engine::engine::AtShutdown;
use engine::{Engine, EngineConfig};
use tokio_util::sync::CancellationToken;

/// A daemon without a process of its own.
pub struct Daemon {
    socket: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
    closing: CancellationToken,
    engine: Engine,
    _dir: tempfile::TempDir,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    /// Status; 0 when the connection was closed without an answer.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body, without the framing of chunks.
    pub body: Vec<u8>,
    /// How many answers came.
    pub answers: usize,
    /// Whether all of the request could be sent.
    pub sent: bool,
}

impl Daemon {
    /// Starts one.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut config = EngineConfig::new(dir.path().join("data"), dir.path().join("exec"));
        config.bridge = Some("none".to_owned());
        config.firewall = false;
        config.volume_plugin_dirs = vec![dir.path().join("plugins")];
        // Holds its end of the spawner's socket and does nothing.
        let shim = dir.path().join("shim");
        std::fs::write(&shim, "#!/bin/sh\nexec cat <&3 >/dev/null 2>&1\n").unwrap();
        std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
        config.shim_path = shim;
        let socket = dir.path().join("api.sock");
        let closing = CancellationToken::new();
        let engine = runtime.block_on(async {
            let engine = Engine::open(config).await.unwrap();
            let context = Context {
                engine: engine.clone(),
                experimental: false,
                debug: AtomicBool::new(false),
            };
            let listeners = bind(&Host::Unix(socket.clone()), Some("")).await.unwrap();
            tokio::spawn(server::run(listeners, Arc::new(context), closing.clone()));
            engine
        });
        Self {
            socket,
            runtime: Some(runtime),
            closing,
            engine,
            _dir: dir,
        }
    }

    /// Opens a connection.
    #[allow(dead_code, reason = "not every test needs one of its own")]
    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }

    /// Sends a text and reads until the daemon closes.
    pub fn ask(&self, request: &str) -> Answer {
        self.ask_bytes(request.as_bytes())
    }

    /// Sends bytes and reads until the daemon closes.
    pub fn ask_bytes(&self, request: &[u8]) -> Answer {
        self.ask_in_pieces(&[request])
    }

    /// Sends pieces with pauses between them and reads until the daemon closes.
    pub fn ask_in_pieces(&self, pieces: &[&[u8]]) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        // The daemon may answer and close before everything was sent.
        let mut sender = stream.try_clone().unwrap();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|p| p.to_vec()).collect();
        let sending = std::thread::spawn(move || {
            pieces.iter().enumerate().all(|(at, piece)| {
                if at > 0 {
                    // What is tested is that the daemon waits for the rest.
                    std::thread::sleep(Duration::from_millis(50));
                }
                sender.write_all(piece).is_ok()
            })
        });
        let mut answer = Vec::new();
        let mut chunk = [0; 64 * 1024];
        while let Ok(len @ 1..) = stream.read(&mut chunk) {
            answer.extend_from_slice(&chunk[..len]);
            if whole(&answer) {
                break;
            }
        }
        stream.shutdown(Shutdown::Both).ok();
        let sent = sending.join().unwrap();
        Answer {
            sent,
            ..take_apart(&answer)
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.closing.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.engine.shutdown(AtShutdown::Stop));
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

fn split(answer: &[u8]) -> Option<(String, &[u8])> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((
        String::from_utf8_lossy(&answer[..at]).into_owned(),
        &answer[at + 4..],
    ))
}

/// Whether the announced length has arrived; chunked answers end with the connection.
fn whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split(answer) else {
        return false;
    };
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
    !lower.contains("connection: close") && length.is_some_and(|n| body.len() >= n)
}

fn take_apart(answer: &[u8]) -> Answer {
    let Some((head, body)) = split(answer) else {
        return Answer {
            status: 0,
            head: String::new(),
            body: answer.to_vec(),
            answers: 0,
            sent: false,
        };
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let answers = answer.windows(9).filter(|w| w == b"HTTP/1.1 ").count();
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked {
        unchunk(body)
    } else {
        body.to_vec()
    };
    Answer {
        status,
        head,
        body,
        answers,
        sent: false,
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = body.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&body[..at])
            .ok()
            .and_then(|s| usize::from_str_radix(s, 16).ok())
            .unwrap_or(0);
        if size == 0 || body.len() < at + 2 + size {
            break;
        }
        out.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[(at + 4 + size).min(body.len())..];
    }
    out
}
