//! The Docker API by hand: HTTP/1.1 over a unix socket, blocking, with every byte in our control.
//!
//! The tests of bad input and the benchmarks need exactly this: no library mends a request before
//! it is sent, and nothing is measured but the daemon.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// No answer of a test takes longer; a daemon that hangs fails the test instead of the run.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics when it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("status {}, not JSON ({error}): {}", self.status, self.text()),
        }
    }

    /// The text of an error body, `{"message": …}`; panics when the body has another form.
    #[track_caller]
    pub fn message(&self) -> String {
        match self.json().get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => panic!("status {} without a message: {}", self.status, self.text()),
        }
    }
}

/// A kept connection.
#[derive(Debug)]
pub struct Connection<S = UnixStream> {
    reader: BufReader<S>,
}

impl Connection<TcpStream> {
    /// Connects to a server on the network.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, stream),
        })
    }
}

impl Connection {
    /// Connects to the socket.
    pub fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, stream),
        })
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) -> io::Result<()> {
        self.reader.get_mut().shutdown(std::net::Shutdown::Write)
    }

    /// The bytes after the header of an upgraded connection.
    pub fn into_stream(self) -> BufReader<UnixStream> {
        self.reader
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a request with header fields and a body of its own, and reads the answer.
    pub fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut fields = String::new();
        for (name, value) in headers {
            fields += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            fields += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send(head(method, path, &fields).as_bytes())?;
        self.send(body)?;
        self.answer(method)
    }

    /// Sends a request with a body of JSON (or none) and reads the answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Response> {
        match body {
            None => self.send(head(method, path, "").as_bytes())?,
            Some(value) => {
                let text = value.to_string();
                let fields =
                    format!("Content-Type: application/json\r\nContent-Length: {}\r\n", text.len());
                self.send((head(method, path, &fields) + &text).as_bytes())?;
            }
        }
        self.answer(method)
    }

    /// Sends a request whose body comes from a reader, in chunks, and reads the answer.
    pub fn upload(
        &mut self,
        method: &str,
        path: &str,
        mut body: impl Read,
    ) -> io::Result<Response> {
        let fields = "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n";
        self.send(head(method, path, fields).as_bytes())?;
        // Size, bytes and end of a chunk go at once: an engine that is woken for the size alone would
        // be measured for the client's sake.
        const SIZE: usize = "00000000\r\n".len();
        const MOST: usize = 256 << 10;
        let mut buffer = vec![0; SIZE + MOST + 2];
        loop {
            let count = body.read(&mut buffer[SIZE..SIZE + MOST])?;
            buffer[..SIZE].copy_from_slice(format!("{count:08x}\r\n").as_bytes());
            buffer[SIZE + count..][..2].copy_from_slice(b"\r\n");
            // An engine that refuses the archive answers before it has read all of it.
            if self.send(&buffer[..SIZE + count + 2]).is_err() || count == 0 {
                break;
            }
        }
        self.answer(method)
    }

    /// Reads one answer.
    pub fn answer(&mut self, method: &str) -> io::Result<Response> {
        let (status, headers) = self.read_head()?;
        self.body(method, status, headers)
    }

    /// Reads what follows a head.
    pub fn body(
        &mut self,
        method: &str,
        status: u16,
        headers: Vec<(String, String)>,
    ) -> io::Result<Response> {
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while self.read_chunk(&mut response.body)? {}
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            response.body.resize(length, 0);
            self.reader.read_exact(&mut response.body)?;
        } else {
            self.reader.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads the status line and the header fields.
    pub fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status line: `{status_line}`")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((key, value)) => {
                    headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => return Ok((status, headers)),
            }
        }
    }

    /// Appends the next chunk to `body`; false after the last.
    pub fn read_chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        self.reader.read_exact(&mut body[start..])?;
        self.line()?;
        Ok(size > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// Sends one request on a connection of its own.
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Response> {
    Connection::open(socket)?.request(method, path, body)
}

fn head(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: engine\r\n{fields}\r\n")
}
