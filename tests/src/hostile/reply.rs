//! What is answered, and how badly.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Request, Shared};

/// How much is sent at a time.
const BLOCK: usize = 32 << 10;

/// An answer, or a change of the one that a good registry would give.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) is_blob: bool,
    claim: Option<u64>,
    chunked: bool,
    endless: bool,
    cut_after: Option<u64>,
    stall_after: Option<u64>,
    rate: Option<u64>,
    ignore_range: bool,
}

impl Reply {
    /// What a good registry answers; to be changed by the methods below.
    pub fn real() -> Self {
        Self::default()
    }

    /// This status and body.
    pub fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: Some(status),
            body: Some(body.into()),
            ..Self::default()
        }
    }

    /// Sends the client on to another place.
    pub fn redirect(url: &str) -> Self {
        Self::of(307, "").header("Location", url)
    }

    /// An error as registries write it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::of(status, body.to_string()).header("Content-Type", "application/json")
    }

    /// With a header field, in place of the usual one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another body, the rest as usual.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        self
    }

    /// Breaks the connection off after so many bytes of the body.
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Sends nothing more after so many bytes of the body, and keeps the connection.
    pub fn stall_after(mut self, bytes: u64) -> Self {
        self.stall_after = Some(bytes);
        self
    }

    /// At most so many bytes in a second.
    pub fn rate(mut self, bytes: u64) -> Self {
        self.rate = Some(bytes);
        self
    }

    /// Claims another length.
    pub fn claim(mut self, length: u64) -> Self {
        self.claim = Some(length);
        self
    }

    /// In chunks, without a length.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// In chunks, and zeros without end after the body.
    pub fn endless(mut self) -> Self {
        self.chunked = true;
        self.endless = true;
        self
    }

    /// From the beginning, whatever range is asked for.
    pub fn ignore_range(mut self) -> Self {
        self.ignore_range = true;
        self
    }

    /// This, over what a good registry answers.
    pub(super) fn over(self, usual: Reply) -> Reply {
        let mut headers = usual.headers;
        for (name, value) in self.headers {
            headers.retain(|(key, _)| !key.eq_ignore_ascii_case(&name));
            headers.push((name, value));
        }
        Reply {
            status: self.status.or(usual.status),
            headers,
            body: self.body.or(usual.body),
            is_blob: usual.is_blob,
            ..self
        }
    }

    /// Writes it; false when the connection cannot be used any more.
    pub(super) fn send(
        &self,
        request: &Request,
        stream: &mut TcpStream,
        shared: &Shared,
    ) -> io::Result<bool> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut status = self.status.unwrap_or(200);
        let mut head = String::new();
        let mut from = 0;
        let start = range(request).filter(|_| self.is_blob && status == 200 && !self.ignore_range);
        if let Some(start) = start.filter(|start| *start < body.len()) {
            status = 206;
            from = start;
            let last = body.len() - 1;
            head += &format!("Content-Range: bytes {start}-{last}/{}\r\n", body.len());
        }
        let body = &body[from..];
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.chunked {
            head += "Transfer-Encoding: chunked\r\n";
        } else {
            head += &format!("Content-Length: {}\r\n", self.claim.unwrap_or(body.len() as u64));
        }
        stream.write_all(format!("HTTP/1.1 {status} Told\r\n{head}\r\n").as_bytes())?;
        if request.method == "HEAD" {
            return Ok(true);
        }
        self.send_body(body, from as u64, stream, shared)
    }

    fn send_body(
        &self,
        body: &[u8],
        from: u64,
        stream: &mut TcpStream,
        shared: &Shared,
    ) -> io::Result<bool> {
        let begin = Instant::now();
        let mut sent = 0u64;
        let zeros = [0; BLOCK];
        loop {
            let place = usize::try_from(sent).unwrap_or(usize::MAX).min(body.len());
            let mut block = &body[place..(place + BLOCK).min(body.len())];
            if block.is_empty() {
                if !self.endless {
                    break;
                }
                block = &zeros;
            }
            // A limit counts from the beginning of the blob, wherever this answer begins.
            for limit in [self.cut_after, self.stall_after].into_iter().flatten() {
                let left = limit.saturating_sub(from + sent);
                block = &block[..block.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            }
            if block.is_empty() {
                if self.stall_after.is_some() {
                    stall(stream, shared);
                }
                return Ok(false);
            }
            if self.chunked {
                stream.write_all(format!("{:x}\r\n", block.len()).as_bytes())?;
            }
            stream.write_all(block)?;
            if self.chunked {
                stream.write_all(b"\r\n")?;
            }
            sent += block.len() as u64;
            if self.is_blob {
                shared.sent.fetch_add(block.len() as u64, Ordering::Relaxed);
            }
            if shared.stopped() {
                return Ok(false);
            }
            self.keep_pace(begin, sent);
        }
        if self.chunked {
            stream.write_all(b"0\r\n\r\n")?;
        }
        // A length that was claimed and not kept leaves nothing that could follow.
        Ok(self.claim.is_none_or(|claim| claim == sent))
    }

    fn keep_pace(&self, begin: Instant, sent: u64) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
        }
    }
}

/// Waits until the client has hung up or the server ends.
fn stall(stream: &mut TcpStream, shared: &Shared) {
    use std::io::Read;
    let mut byte = [0];
    // A client that waits sends nothing; an error or an end means that it waits no more.
    let mut gone = || !matches!(stream.read(&mut byte), Ok(1..));
    shared.stalled.fetch_add(1, Ordering::Relaxed);
    while !shared.stopped() && !gone() {}
    shared.stalled.fetch_sub(1, Ordering::Relaxed);
}

/// The first byte that is asked for.
fn range(request: &Request) -> Option<usize> {
    let value = request.header("range")?.strip_prefix("bytes=")?;
    value.split('-').next()?.parse().ok()
}
