//! An attached stream: one end of a byte stream socket, the other is the daemon's.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use shim::log::Stream;
use shim::protocol::Streams;
use sys::poll::{Interest, Poll};

use super::watched::{Kind, Token, Watched};

/// A reader and writer of some standard streams.
#[derive(Debug)]
pub struct Client {
    pub id: u32,
    stream: Watched,
    wants: Streams,
    /// Output the peer did not take yet.
    pending: Vec<u8>,
    sent: usize,
    /// The peer has closed both directions: nothing can be written to it any more.
    gone: bool,
    /// To be dropped as soon as nothing is pending.
    closing: bool,
}

/// What came from a client's input.
pub enum Input {
    /// So many bytes, in the buffer.
    Data,
    /// Nothing now.
    Nothing,
    /// The end.
    End,
}

impl Client {
    /// Takes over a stream.
    pub fn new(owner: u32, id: u32, stream: OwnedFd, wants: Streams) -> Self {
        let token = Token {
            owner,
            kind: Kind::Client,
            member: id,
        };
        Self {
            id,
            stream: Watched::new(stream, token),
            wants,
            pending: Vec::new(),
            sent: 0,
            gone: false,
            closing: false,
        }
    }

    /// Hands output to the peer, as far as it takes it; the rest is kept.
    pub fn push(&mut self, stream: Stream, data: &[u8], framed: bool) {
        let wanted = match stream {
            Stream::Stdout => self.wants.stdout,
            Stream::Stderr => self.wants.stderr,
        };
        if !wanted || self.gone || self.closing || data.is_empty() {
            return;
        }
        let header = header(stream, data.len());
        let header: &[u8] = if framed { &header } else { &[] };
        let mut done = 0;
        if !self.is_slow() {
            done = self.send(&[IoSlice::new(header), IoSlice::new(data)]);
        }
        if !self.gone {
            self.pending
                .extend_from_slice(header.get(done..).unwrap_or_default());
            self.pending
                .extend_from_slice(&data[done.saturating_sub(header.len())..]);
        }
    }

    /// Hands on what was kept.
    pub fn flush(&mut self) {
        while self.is_slow() && !self.gone {
            let pending = std::mem::take(&mut self.pending);
            let sent = self.send(&[IoSlice::new(&pending[self.sent..])]);
            self.pending = pending;
            if sent == 0 {
                break;
            }
            self.sent += sent;
        }
        if self.gone || !self.is_slow() {
            self.pending = Vec::new();
            self.sent = 0;
        }
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let mut control = SendAncillaryBuffer::default();
        match rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(self.stream.as_fd(), slices, &mut control, flags)
        }) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::NOBUFS) => 0,
            Err(_) => {
                self.gone = true;
                0
            }
        }
    }

    /// Reads input into the spare room of the (empty) buffer.
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> Input {
        let spare = rustix::buffer::spare_capacity(buffer);
        match rustix::net::recv(self.stream.as_fd(), spare, rustix::net::RecvFlags::DONTWAIT) {
            Ok(_) if buffer.is_empty() => Input::End,
            Ok(_) => Input::Data,
            Err(Errno::AGAIN | Errno::INTR) => Input::Nothing,
            Err(_) => Input::End,
        }
    }

    /// The peer has closed both directions; what it had written before can still be read.
    pub fn hang_up(&mut self) {
        self.gone = true;
        self.flush();
    }

    /// Input is over: no more of it is read.
    pub fn end_input(&mut self) {
        self.wants.stdin = false;
    }

    /// Drops the client once it has taken what is pending.
    pub fn close_soon(&mut self) {
        self.wants = Streams::default();
        self.closing = true;
    }

    /// Whether output is waiting for the peer.
    pub fn is_slow(&self) -> bool {
        self.sent < self.pending.len()
    }

    /// Whether its input is (still) wanted.
    pub fn has_input(&self) -> bool {
        self.wants.stdin
    }

    /// Whether the peer has hung up while its input is still being read.
    pub fn is_hung(&self) -> bool {
        self.gone && self.has_input()
    }

    /// Whether nothing can come of it any more.
    pub fn is_done(&self) -> bool {
        (self.gone && !self.has_input()) || (self.closing && !self.is_slow())
    }

    /// Watches for what makes sense now.
    pub fn watch(&mut self, poll: &Poll, input_possible: bool) {
        let interest = Interest {
            readable: self.has_input() && input_possible,
            writable: self.is_slow(),
            priority: false,
        };
        // A hung up stream reports so without end; its rest is read when the input takes more.
        self.stream.want(poll, (!self.gone).then_some(interest));
    }

    /// Closes the stream.
    pub fn close(self, poll: &Poll) {
        self.stream.close(poll);
    }
}

/// Docker's stdcopy header: stream, three zeros, length in big endian.
fn header(stream: Stream, len: usize) -> [u8; 8] {
    let kind = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    let [a, b, c, d] = u32::try_from(len)
        .expect("reads are far below 4 GiB")
        .to_be_bytes();
    [kind, 0, 0, 0, a, b, c, d]
}
