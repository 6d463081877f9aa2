//! Reading a container's log for a client: its past, and what comes while it runs.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use shim::log::{Entry, Options, Reader, Stream, Watch};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::container::{Container, State};
use crate::containers::LogsOptions;
use crate::{Error, Result, clock};

/// Bytes that are handed on at once.
const CHUNK: usize = 256 * 1024;

/// How often a log is looked at where the kernel gives no more watches, and at the latest.
const POLL: Duration = Duration::from_millis(250);

/// A log being read.
pub struct LogStream {
    /// Whether chunks are raw lines rather than framed as Docker's multiplexed stream.
    pub tty: bool,
    blocking: Blocking,
    reading: Reading,
    follow: Option<Follow>,
}

/// Where the reader is: here, or at work on another thread.
enum Reading {
    Idle(Box<Formatter>),
    Busy(BoxFuture<'static, Result<(Box<Formatter>, Chunk)>>),
    Done,
}

struct Chunk {
    bytes: Vec<u8>,
    /// There is nothing more now.
    drained: bool,
    /// There never will be.
    ended: bool,
}

struct Follow {
    watch: Option<Watched>,
    view: watch::Receiver<Arc<Container>>,
    deadline: Option<Instant>,
    /// The container did not run before the last reading: that was all.
    last: bool,
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

impl LogStream {
    /// Begins to read; follows as long as the container runs, if that is asked.
    pub(crate) fn open(
        path: PathBuf,
        options: &LogsOptions,
        view: watch::Receiver<Arc<Container>>,
        blocking: Blocking,
    ) -> Result<Self> {
        let (tty, running) = {
            let container = view.borrow();
            (container.config.tty, runs(&container.state))
        };
        let follow = match options.follow && running {
            false => None,
            // Made before reading begins, so that nothing is missed in between.
            true => Some(Follow {
                watch: match Watched::new(&path) {
                    Ok(watch) => Some(watch),
                    Err(error) => {
                        tracing::debug!(%error, "no watch for the log: it is polled");
                        None
                    }
                },
                view,
                deadline: options.until.map(|until| {
                    let left = until.unix_nanos().saturating_sub(clock::now().unix_nanos());
                    Instant::now() + Duration::from_nanos(u64::try_from(left).unwrap_or(0))
                }),
                last: false,
            }),
        };
        Ok(Self {
            tty,
            blocking,
            reading: Reading::Idle(Box::new(Formatter::new(path, options, tty))),
            follow,
        })
    }

    /// The next bytes to send, framed where the container has no terminal; `None` at the end.
    ///
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let chunk = match self.read().await? {
                Ok(chunk) => chunk,
                Err(error) => return Some(Err(error)),
            };
            let over = chunk.drained && self.follow.as_ref().is_none_or(|f| f.last);
            if chunk.ended || over {
                self.reading = Reading::Done;
            }
            if !chunk.bytes.is_empty() {
                return Some(Ok(Bytes::from(chunk.bytes)));
            }
            if chunk.ended || over {
                return None;
            }
            if chunk.drained
                && let Some(follow) = &mut self.follow
            {
                follow.wait().await;
            }
        }
    }

    /// Reads on another thread; the work goes on there when this is dropped and taken up again.
    async fn read(&mut self) -> Option<Result<Chunk>> {
        if let Reading::Idle(_) = self.reading {
            let Reading::Idle(mut formatter) = std::mem::replace(&mut self.reading, Reading::Done)
            else {
                return None;
            };
            if let Some(follow) = &mut self.follow {
                follow.look();
            }
            let blocking = self.blocking.clone();
            self.reading = Reading::Busy(Box::pin(async move {
                let read = move || formatter.fill().map(|chunk| (formatter, chunk));
                blocking.quick(read).await
            }));
        }
        let Reading::Busy(job) = &mut self.reading else {
            return None;
        };
        match job.await {
            Ok((formatter, chunk)) => {
                self.reading = Reading::Idle(formatter);
                Some(Ok(chunk))
            }
            Err(error) => {
                self.reading = Reading::Done;
                Some(Err(error))
            }
        }
    }
}

fn runs(state: &State) -> bool {
    matches!(state, State::Running(_) | State::Paused(_))
}

impl Follow {
    /// Notes, before reading, whether anything can come after it.
    fn look(&mut self) {
        let running = runs(&self.view.borrow_and_update().state);
        let late = self.deadline.is_some_and(|d| Instant::now() >= d);
        // The supervisor writes its last line before it reports the end.
        self.last = !running || late || self.view.has_changed().is_err();
        if let Some(watch) = &self.watch
            && let Err(error) = watch.watch.clear()
        {
            tracing::debug!(%error, "failed to read a watch");
        }
    }

    /// Waits until there may be more. Cancel-safe.
    async fn wait(&mut self) {
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + 4 * POLL);
        let grown = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => tokio::time::sleep(POLL).await,
            }
        };
        tokio::select! {
            () = grown => {}
            // An error means that the container is gone, which the next look finds out.
            _ = self.view.changed() => {}
            () = tokio::time::sleep_until(deadline.min(Instant::now() + 4 * POLL)) => {}
        }
    }
}

/// A watch and its readiness.
struct Watched {
    watch: Watch,
    // The same kernel object as a type that tokio watches without unsafe code; it is read from, so
    // that its readiness is forgotten.
    ready: pipe::Receiver,
}

impl Watched {
    fn new(path: &std::path::Path) -> std::io::Result<Self> {
        let watch = Watch::new(path)?;
        let ready = pipe::Receiver::from_owned_fd_unchecked(watch.as_fd().try_clone_to_owned()?)?;
        Ok(Self { watch, ready })
    }

    /// Waits for a change. Cancel-safe.
    async fn changed(&self) {
        let mut events = [0; 1024];
        while self.ready.readable().await.is_ok() {
            match self.ready.try_read(&mut events) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

/// Turns records into what clients get.
struct Formatter {
    path: PathBuf,
    options: Options,
    reader: Option<Reader>,
    framed: bool,
    timestamps: bool,
    details: bool,
    line: Vec<u8>,
}

impl Formatter {
    fn new(path: PathBuf, options: &LogsOptions, tty: bool) -> Self {
        Self {
            path,
            options: Options {
                tail: options.tail,
                since: options.since,
                until: options.until,
                stdout: options.stdout,
                stderr: options.stderr,
            },
            reader: None,
            framed: !tty,
            timestamps: options.timestamps,
            details: options.details,
            line: Vec::new(),
        }
    }

    /// Reads a chunk. Blocking.
    fn fill(&mut self) -> Result<Chunk> {
        let failed = |error: shim::log::ReadError| {
            let what = error.to_string();
            Error::io(what, error.source)
        };
        if self.reader.is_none() {
            self.reader = Some(Reader::open(&self.path, self.options).map_err(failed)?);
        }
        let Some(reader) = &mut self.reader else {
            return Err(Error::internal("the log is not open"));
        };
        let mut bytes = Vec::new();
        while bytes.len() < CHUNK {
            let Some(entry) = reader.next_entry().map_err(failed)? else {
                let ended = reader.ended();
                return Ok(Chunk {
                    bytes,
                    drained: true,
                    ended,
                });
            };
            self.line.clear();
            prefix(&mut self.line, &entry, self.timestamps, self.details);
            if self.framed {
                frame(&mut bytes, entry.stream, self.line.len() + entry.log.len());
            }
            bytes.extend_from_slice(&self.line);
            bytes.extend_from_slice(entry.log);
        }
        Ok(Chunk {
            bytes,
            drained: false,
            ended: false,
        })
    }
}

/// Head of a frame: stream, three zeros, length in network order.
fn frame(bytes: &mut Vec<u8>, stream: Stream, length: usize) {
    let kind = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    bytes.extend_from_slice(&[kind, 0, 0, 0]);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn prefix(line: &mut Vec<u8>, entry: &Entry<'_>, timestamps: bool, details: bool) {
    if timestamps {
        line.extend_from_slice(entry.time().fixed_nanos().as_bytes());
        line.push(b' ');
    }
    if details {
        let attributes: std::collections::BTreeMap<String, String> = entry
            .attrs
            .and_then(|json| serde_json::from_slice(json).ok())
            .unwrap_or_default();
        let pairs: Vec<String> = attributes
            .iter()
            .map(|(k, v)| format!("{}={}", escape(k), escape(v)))
            .collect();
        line.extend_from_slice(pairs.join(",").as_bytes());
        line.push(b' ');
    }
}

/// Escapes as in the query of a URL, which is how Docker writes attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::sample;

    const LOG: &str = "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2024-05-06T07:08:09.1Z\"}\n\
        {\"log\":\"two\\n\",\"stream\":\"stderr\",\"attrs\":{\"a b\":\"1\"},\"time\":\"2024-05-06T07:08:10Z\"}\n";

    async fn read(options: LogsOptions, tty: bool) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        std::fs::write(&path, LOG).unwrap();
        let mut container = sample();
        Arc::make_mut(&mut container.config).tty = tty;
        let (_keep, view) = watch::channel(Arc::new(container));
        let mut stream = LogStream::open(path, &options, view, Blocking::new()).unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = stream.next().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        all
    }

    fn both() -> LogsOptions {
        LogsOptions {
            stdout: true,
            stderr: true,
            follow: true,
            ..LogsOptions::default()
        }
    }

    #[tokio::test]
    async fn lines_are_framed_unless_there_is_a_terminal() {
        assert_eq!(read(both(), true).await, b"one\ntwo\n");
        assert_eq!(
            read(both(), false).await,
            b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n"
        );
    }

    #[tokio::test]
    async fn times_and_details_stand_before_lines() {
        let options = LogsOptions {
            timestamps: true,
            details: true,
            ..both()
        };
        let text = String::from_utf8(read(options, true).await).unwrap();
        assert_eq!(
            text,
            "2024-05-06T07:08:09.100000000Z  one\n2024-05-06T07:08:10.000000000Z a+b=1 two\n"
        );
    }

    #[tokio::test]
    async fn tail_and_streams_are_chosen() {
        let options = LogsOptions {
            tail: Some(1),
            ..both()
        };
        assert_eq!(read(options, true).await, b"two\n");
        let options = LogsOptions {
            stderr: false,
            ..both()
        };
        assert_eq!(read(options, true).await, b"one\n");
    }
}
