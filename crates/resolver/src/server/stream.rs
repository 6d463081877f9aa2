//! Questions over TCP: any number of them one after the other, answered as the answers come.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use sys::poll::{Interest, Ready};

use super::slots::{Key, Kind};
use super::{Client, MAX_QUERY, Server};
use crate::wire::{self, Code, HEADER};

/// Connections of one sandbox.
const MAX_STREAMS: usize = 128;
/// Questions of one connection that are under way; then no more are read.
const MAX_PENDING: usize = 64;
/// Answers of one connection that nobody reads; then it is closed.
const MAX_OUTPUT: usize = 256 * 1024;
/// How long a connection may say and take nothing.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes read at once.
const CHUNK: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    sandbox: Key,
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    pending: usize,
    /// Nothing more is read; it is closed when everything is answered.
    ended: bool,
    last: Instant,
    interest: Interest,
}

/// What is in the input.
enum Frame {
    Nothing,
    Query(Vec<u8>),
    TooLong(Vec<u8>),
}

impl Stream {
    fn next_frame(&mut self) -> Frame {
        let Some(length) = self.input.first_chunk::<2>() else {
            return Frame::Nothing;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let present = self.input.len() - 2;
        if length > MAX_QUERY && present >= HEADER {
            return Frame::TooLong(self.input[2..2 + HEADER].to_vec());
        }
        if length > MAX_QUERY || present < length {
            return Frame::Nothing;
        }
        let query = self.input[2..2 + length].to_vec();
        self.input.drain(..2 + length);
        Frame::Query(query)
    }

    fn wanted(&self) -> Interest {
        Interest {
            readable: !self.ended && self.pending < MAX_PENDING,
            writable: self.written < self.output.len(),
            priority: false,
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.pending == 0 && self.written == self.output.len()
    }

    /// Reads what is there; an error is the end.
    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(length) => {
                self.input.extend_from_slice(&chunk[..length]);
                self.last = Instant::now();
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(sent) => {
                    self.written += sent;
                    self.last = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.output = Vec::new();
        self.written = 0;
        Ok(())
    }
}

impl Server {
    pub(super) fn accept_stream(&mut self, at: Key) {
        let Some(sandbox) = self.sandboxes.get_mut(at) else {
            return;
        };
        let Ok((socket, _)) = sandbox.tcp.accept() else {
            return;
        };
        if sandbox.streams >= MAX_STREAMS || socket.set_nonblocking(true).is_err() {
            return;
        }
        sandbox.streams += 1;
        self.busy = true;
        let key = self.streams.insert(|_| Stream {
            sandbox: at,
            socket,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            pending: 0,
            ended: false,
            last: Instant::now(),
            interest: Interest::READ,
        });
        let token = key.token(Kind::Stream);
        let watched = self.streams.get(key).map(|stream| {
            let socket = stream.socket.as_fd();
            self.poll.add(socket, token, Interest::READ)
        });
        if !matches!(watched, Some(Ok(()))) {
            self.close_stream(key);
        }
    }

    pub(super) fn stream_ready(&mut self, key: Key, ready: Ready) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let mut done = stream.flush();
        if done.is_ok() && (ready.readable || ready.hangup) && stream.wanted().readable {
            done = stream.fill();
        }
        // With a reset there is nobody to answer.
        let reset = ready.hangup && !ready.readable && !ready.writable;
        if done.is_err() || reset {
            return self.close_stream(key);
        }
        self.take_frames(key);
        self.settle_stream(key);
    }

    fn take_frames(&mut self, key: Key) {
        while let Some(stream) = self.streams.get_mut(key)
            && stream.pending < MAX_PENDING
        {
            match stream.next_frame() {
                Frame::Nothing => return,
                Frame::Query(query) => {
                    stream.pending += 1;
                    let at = stream.sandbox;
                    // What is ignored over UDP ends a connection: no answer will come.
                    if matches!(wire::Question::read(&query), Err(wire::Refusal::Ignore)) {
                        return self.close_stream(key);
                    }
                    self.ask(at, Client::Stream(key), &query);
                }
                Frame::TooLong(header) => {
                    stream.pending += 1;
                    stream.ended = true;
                    stream.input = Vec::new();
                    let answer = wire::header_only(&header, Code::FormatError);
                    return self.stream_reply(key, &answer);
                }
            }
        }
    }

    /// Sends an answer, or keeps it until there is room.
    pub(super) fn stream_reply(&mut self, key: Key, message: &[u8]) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let Ok(length) = u16::try_from(message.len()) else {
            return self.close_stream(key);
        };
        if stream.pending == MAX_PENDING {
            // What was read already need not wait for more to come.
            self.resumed.push(key);
        }
        stream.pending = stream.pending.saturating_sub(1);
        stream.output.extend_from_slice(&length.to_be_bytes());
        stream.output.extend_from_slice(message);
        let failed = stream.flush().is_err();
        if failed || stream.output.len() - stream.written > MAX_OUTPUT {
            return self.close_stream(key);
        }
        self.settle_stream(key);
    }

    /// Closes a connection that is over; otherwise watches it for what it waits for.
    fn settle_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.is_over() {
            return self.close_stream(key);
        }
        let wanted = stream.wanted();
        if wanted != stream.interest {
            stream.interest = wanted;
            let token = key.token(Kind::Stream);
            if self
                .poll
                .modify(stream.socket.as_fd(), token, wanted)
                .is_err()
            {
                self.close_stream(key);
            }
        }
    }

    /// Goes on with connections that had too many questions under way.
    pub(super) fn resume_streams(&mut self) {
        while let Some(key) = self.resumed.pop() {
            self.take_frames(key);
            self.settle_stream(key);
        }
    }

    pub(super) fn expire_streams(&mut self, now: Instant) {
        let idle = |stream: &Stream| stream.pending == 0 && now.duration_since(stream.last) >= IDLE;
        for key in self.streams.keys(idle) {
            self.close_stream(key);
        }
    }

    pub(super) fn drop_streams(&mut self, sandbox: Key) {
        for key in self.streams.keys(|stream| stream.sandbox == sandbox) {
            self.close_stream(key);
        }
    }

    fn close_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.remove(key) else {
            return;
        };
        let _ = self.poll.remove(stream.socket.as_fd());
        if let Some(sandbox) = self.sandboxes.get_mut(stream.sandbox) {
            sandbox.streams -= 1;
        }
    }
}
