//! One HTTP/1.1 request to a plugin, within a time and a size.
//!
//! A connection each: plugins are asked rarely, and one that was restarted meanwhile is no surprise.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Largest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Largest body of an answer: a list of all volumes may be long.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// Pause before a socket whose queue is full is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Version of the protocol.
const ACCEPT: &str = "application/vnd.docker.plugins.v1.2+json";
/// Name that Docker calls all plugins on unix sockets by.
const HOST: &str = "plugin.moby.localhost";
/// Go's text for time that is over.
pub(crate) const LATE: &str = "context deadline exceeded";

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket.
    Unix(PathBuf),
    /// Host and port, in plain HTTP.
    Tcp(String),
}

impl Address {
    /// Reads the address of a spec file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", _)) => Err("the path of its socket must be absolute".to_owned()),
            Some(("tcp" | "http", rest)) => {
                let host = rest.trim_end_matches('/');
                match host.rsplit_once(':') {
                    Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => {
                        Ok(Self::Tcp(host.to_owned()))
                    }
                    _ => Err("its address has no host and port".to_owned()),
                }
            }
            Some(("https", _)) => Err(crate::discovery::TLS.to_owned()),
            _ => Err("Unknown protocol".to_owned()),
        }
    }

    /// The host in URLs and heads.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => HOST,
            Self::Tcp(host) => host,
        }
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// No answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer {
    pub(crate) what: String,
    /// Nothing was sent.
    pub(crate) unreached: bool,
}

fn broken(what: impl Into<String>) -> NoAnswer {
    NoAnswer {
        what: what.into(),
        unreached: false,
    }
}

/// Posts a body to a method and reads the answer, all of it within the time.
pub(crate) fn post(
    address: &Address,
    method: &str,
    body: &[u8],
    limit: Duration,
) -> Result<Answer, NoAnswer> {
    let deadline = Instant::now() + limit;
    let mut stream = connect(address, deadline).map_err(|what| NoAnswer {
        what,
        unreached: true,
    })?;
    let head = format!(
        "POST /{method} HTTP/1.1\r\nHost: {}\r\nUser-Agent: corten\r\nAccept: {ACCEPT}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        address.host(),
        body.len()
    );
    // A plugin may answer, and hang up, without having read everything.
    let sent = [head.as_bytes(), body].concat();
    let written = write(&mut stream, &sent, deadline);
    let mut incoming = Incoming {
        stream,
        deadline,
        buffer: Vec::new(),
    };
    let answer = incoming.answer();
    match (written, answer) {
        (_, Ok(answer)) => Ok(answer),
        (Err(error), Err(_)) => Err(error),
        (Ok(()), Err(error)) => Err(error),
    }
}

/// A connection of either kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn limit(&self, deadline: Instant) -> Result<(), NoAnswer> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(broken(LATE));
        }
        let left = Some(left);
        let set = match self {
            Self::Unix(stream) => stream
                .set_read_timeout(left)
                .and_then(|()| stream.set_write_timeout(left)),
            Self::Tcp(stream) => stream
                .set_read_timeout(left)
                .and_then(|()| stream.set_write_timeout(left)),
        };
        set.map_err(|error| broken(error.to_string()))
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }
}

fn connect(address: &Address, deadline: Instant) -> Result<Stream, String> {
    match address {
        Address::Unix(path) => connect_unix(path, deadline).map(Stream::Unix),
        Address::Tcp(host) => {
            let failed = |what: String| format!("dial tcp {host}: {what}");
            let target = host
                .to_socket_addrs()
                .map_err(|error| failed(error.to_string()))?
                .next()
                .ok_or_else(|| failed("no such host".to_owned()))?;
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            TcpStream::connect_timeout(&target, left)
                .map(Stream::Tcp)
                .map_err(|error| match error.kind() {
                    ErrorKind::TimedOut => LATE.to_owned(),
                    _ => failed(format!(
                        "connect: {}",
                        in_words(error.raw_os_error(), &error)
                    )),
                })
        }
    }
}

/// Without blocking: the queue of a plugin that hangs may be full.
fn connect_unix(path: &Path, deadline: Instant) -> Result<UnixStream, String> {
    let failed = |errno: Errno| {
        let error = std::io::Error::from(errno);
        let what = in_words(error.raw_os_error(), &error);
        format!("dial unix {}: connect: {what}", path.display())
    };
    let target = SocketAddrUnix::new(path).map_err(failed)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    loop {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(failed)?;
        match rustix::net::connect(&socket, &target) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                let blocking = stream.set_nonblocking(false);
                return blocking.map(|()| stream).map_err(|error| error.to_string());
            }
            Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(FULL_PAUSE),
            Err(Errno::AGAIN) => return Err(LATE.to_owned()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Go's texts for what Rust says with a number behind it.
fn in_words(code: Option<i32>, error: &std::io::Error) -> String {
    match code.map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "no such file or directory".to_owned(),
        Some(Errno::CONNREFUSED) => "connection refused".to_owned(),
        Some(Errno::CONNRESET) => "connection reset by peer".to_owned(),
        Some(Errno::ACCESS) => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn write(stream: &mut Stream, mut bytes: &[u8], deadline: Instant) -> Result<(), NoAnswer> {
    while !bytes.is_empty() {
        stream.limit(deadline)?;
        match stream.write(bytes) {
            Ok(0) => return Err(broken("write: broken pipe")),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) => again(&error)?,
        }
    }
    Ok(())
}

/// Lets interrupted calls pass; the end of the time is told as Go does.
fn again(error: &std::io::Error) -> Result<(), NoAnswer> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(broken(LATE)),
        _ => Err(broken(in_words(error.raw_os_error(), error))),
    }
}

/// An answer on its way.
struct Incoming {
    stream: Stream,
    deadline: Instant,
    /// Read, but not yet taken.
    buffer: Vec<u8>,
}

impl Incoming {
    fn answer(&mut self) -> Result<Answer, NoAnswer> {
        loop {
            let head = Head::parse(&self.head()?)?;
            // `100 Continue` and its like come before the answer.
            if (100..200).contains(&head.status) {
                continue;
            }
            let body = match head.length {
                _ if head.status == 204 => Vec::new(),
                Length::Chunked => self.chunks()?,
                Length::Known(length) => self.exactly(length)?,
                Length::UntilEnd => self.rest()?,
            };
            return Ok(Answer {
                status: head.status,
                body,
            });
        }
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> Result<bool, NoAnswer> {
        let mut chunk = [0; 16 * 1024];
        loop {
            self.stream.limit(self.deadline)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.buffer
                        .extend_from_slice(chunk.get(..count).unwrap_or_default());
                    return Ok(true);
                }
                Err(error) => again(&error)?,
            }
        }
    }

    fn head(&mut self) -> Result<String, NoAnswer> {
        let mut begun = false;
        loop {
            // What does not begin like an answer is told as soon as it is seen.
            let start: &[u8] = b"HTTP/1.";
            let seen = self.buffer.len().min(start.len());
            if self.buffer.get(..seen) != start.get(..seen) {
                let line = self.buffer.split(|c| b"\r\n".contains(c)).next();
                let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
                return Err(malformed(&format!(
                    "malformed HTTP response {:?}",
                    line.chars().take(60).collect::<String>()
                )));
            }
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.buffer.split_off(at + 4);
                let mut head = std::mem::replace(&mut self.buffer, rest);
                head.truncate(at);
                return String::from_utf8(head).map_err(|_| malformed("its head is no text"));
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(malformed("its head is too long"));
            }
            if !self.more()? {
                return Err(broken(if begun { "unexpected EOF" } else { "EOF" }));
            }
            begun = true;
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, NoAnswer> {
        while self.buffer.len() < length {
            if !self.more()? {
                return Err(broken("unexpected EOF"));
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn rest(&mut self) -> Result<Vec<u8>, NoAnswer> {
        while self.more()? {
            bounded(self.buffer.len())?;
        }
        bounded(self.buffer.len())?;
        Ok(std::mem::take(&mut self.buffer))
    }

    fn line(&mut self) -> Result<String, NoAnswer> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.exactly(at + 2)?;
                let text = line.get(..at).unwrap_or_default();
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(malformed("a line of its body is too long"));
            }
            if !self.more()? {
                return Err(broken("unexpected EOF"));
            }
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'))
                .ok_or_else(|| malformed("invalid byte in chunk length"))?;
            bounded(body.len().saturating_add(length))?;
            if length == 0 {
                // What may follow, up to an empty line, says nothing; the connection ends anyway.
                return Ok(body);
            }
            body.extend(self.exactly(length)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(malformed("malformed chunked encoding"));
            }
        }
    }
}

fn bounded(length: usize) -> Result<(), NoAnswer> {
    if length > MAX_BODY {
        return Err(malformed("its answer is too large"));
    }
    Ok(())
}

fn malformed(what: &str) -> NoAnswer {
    broken(format!(
        "net/http: HTTP/1.x transport connection broken: {what}"
    ))
}

/// What the head of an answer says about the rest.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
}

#[derive(Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilEnd,
}

impl Head {
    fn parse(text: &str) -> Result<Self, NoAnswer> {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first
            .split(' ')
            .nth(1)
            .filter(|code| code.len() == 3)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| malformed(&format!("malformed HTTP status code {first:?}")))?;
        let mut length = Length::UntilEnd;
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed("malformed MIME header line"))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(malformed(&format!(
                        "unsupported transfer encoding {value:?}"
                    )));
                }
                length = Length::Chunked;
            } else if name.eq_ignore_ascii_case("content-length") && length != Length::Chunked {
                let bytes = value
                    .parse()
                    .ok()
                    .filter(|_| value.bytes().all(|c| c.is_ascii_digit()))
                    .ok_or_else(|| malformed(&format!("bad Content-Length {value:?}")))?;
                bounded(bytes)?;
                length = Length::Known(bytes);
            }
        }
        Ok(Self { status, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Result<(u16, String), String> {
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(bytes).unwrap();
        drop(there);
        let mut incoming = Incoming {
            stream: Stream::Unix(here),
            deadline: Instant::now() + Duration::from_secs(20),
            buffer: Vec::new(),
        };
        let answer = incoming.answer().map_err(|error| error.what)?;
        Ok((answer.status, String::from_utf8(answer.body).unwrap()))
    }

    #[test]
    fn bodies_end_where_the_head_says() {
        let ok = |body: &str| Ok((200, body.to_owned()));
        assert_eq!(
            told(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore"),
            ok("ok")
        );
        assert_eq!(
            told(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
            ok("until the end")
        );
        assert_eq!(
            told(b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"),
            ok("abcd")
        );
        assert_eq!(
            told(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ok("")
        );
        assert_eq!(
            told(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Ok((204, String::new()))
        );
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (bytes, want) in [
            (&b""[..], "EOF"),
            (b"HTTP/1.1 200", "unexpected EOF"),
            (
                b"garbage here\r\n\r\n",
                "malformed HTTP response \"garbage here\"",
            ),
            (b"HTTP/1.1 abc OK\r\n\r\n", "malformed HTTP status code"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
                "unexpected EOF",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "bad Content-Length",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
                "too large",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
                "too large",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n",
                "chunk length",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "unsupported transfer encoding",
            ),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "MIME header"),
        ] {
            let error = told(bytes).unwrap_err();
            assert!(error.contains(want), "{want}: {error}");
        }
        let long = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 40_000]].concat();
        assert!(told(&long).unwrap_err().contains("too long"));
    }

    #[test]
    fn time_ends_a_connection_that_nobody_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let deadline = Instant::now() + Duration::from_millis(50);
        // The queue fills up: the last ones are not even connected.
        let mut kept = Vec::new();
        let error = loop {
            match connect_unix(&path, deadline) {
                Ok(stream) => kept.push(stream),
                Err(error) => break error,
            }
            assert!(kept.len() < 100_000);
        };
        assert_eq!(error, LATE);
        drop(listener);
        let error = connect_unix(&path, deadline).unwrap_err();
        assert!(error.ends_with("connect: connection refused"), "{error}");
    }
}
