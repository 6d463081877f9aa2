//! The standard streams of one process: pipes or a terminal on one side, the log and the attached
//! clients on the other.
//!
//! Rules: output is read only while no client is slow (that is the back-pressure); everything read
//! goes to the log first; a client's input is read only while the process takes it; a client that
//! is gone is dropped and never missed.

use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use rustix::io::Errno;
use shim::log::{LogWriter, Stream};
use shim::protocol::Streams;
use spec::Timestamp;
use sys::poll::{Interest, Poll, Ready};

use super::client::{Client, Input};
use super::watched::{Kind, MAX_MEMBER, Token, Watched};

/// Bytes read at once; a pipe holds no more.
const READ_BYTES: usize = 64 * 1024;

/// Most clients of one process.
const MAX_CLIENTS: usize = 256;

/// What the pumps need besides the streams.
#[derive(Debug)]
pub struct Context<'a> {
    pub poll: &'a Poll,
    /// Room for one read, kept while the supervisor is busy.
    pub scratch: &'a mut Vec<u8>,
    /// Where the output is recorded.
    pub log: Option<&'a mut LogWriter>,
}

/// The standard streams of one process.
#[derive(Debug)]
pub struct Stdio {
    owner: u32,
    terminal: bool,
    /// The first client whose input ends closes the standard input.
    once: bool,
    stdin: Stdin,
    outputs: [Option<Output>; 2],
    clients: Vec<Client>,
    next_client: u32,
}

#[derive(Debug)]
enum Stdin {
    /// The process is not made yet: input waits.
    Later,
    Open(Sink),
    /// Input is thrown away.
    Closed,
}

#[derive(Debug)]
struct Sink {
    pipe: Watched,
    pending: Vec<u8>,
    sent: usize,
    closing: bool,
}

#[derive(Debug)]
struct Output {
    source: Watched,
    /// A terminal that no process has open; it may be opened again.
    parked: bool,
}

/// Our ends of a process's standard streams.
#[derive(Debug)]
pub enum Ends {
    /// The master of its terminal.
    Terminal { console: OwnedFd, input: bool },
    /// The other ends of its pipes.
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    },
}

/// What one attempt to read output gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Data,
    Nothing,
    End,
}

impl Stdio {
    /// The streams of a process that is not made yet.
    pub fn new(owner: u32) -> Self {
        Self {
            owner,
            terminal: false,
            once: false,
            stdin: Stdin::Later,
            outputs: [None, None],
            clients: Vec::new(),
            next_client: 0,
        }
    }

    /// Takes over our ends; `once` says whether the end of a client's input closes a pipe.
    pub fn connect(&mut self, cx: &mut Context<'_>, ends: Ends, once: bool) -> sys::Result<()> {
        self.once = once;
        let (stdin, outputs) = match ends {
            Ends::Terminal { console, input } => {
                self.terminal = true;
                let copy = |fd: &OwnedFd| {
                    rustix::io::fcntl_dupfd_cloexec(fd, 3)
                        .map_err(|e| sys::Error::new("fcntl(F_DUPFD_CLOEXEC)", e))
                };
                let stdin = if input { Some(copy(&console)?) } else { None };
                (stdin, [Some(console), None])
            }
            Ends::Pipes {
                stdin,
                stdout,
                stderr,
            } => (stdin, [stdout, stderr]),
        };
        let token = |kind| Token {
            owner: self.owner,
            kind,
            member: 0,
        };
        self.stdin = Stdin::Closed;
        if let Some(fd) = stdin {
            sys::fdpass::set_nonblocking(fd.as_fd())?;
            let pipe = Watched::new(fd, token(Kind::Stdin));
            self.stdin = Stdin::Open(Sink {
                pipe,
                pending: Vec::new(),
                sent: 0,
                closing: false,
            });
        } else {
            self.clients.iter_mut().for_each(Client::end_input);
        }
        for (index, fd) in outputs.into_iter().enumerate() {
            if let Some(fd) = fd {
                sys::fdpass::set_nonblocking(fd.as_fd())?;
                let kind = if index == 0 {
                    Kind::Stdout
                } else {
                    Kind::Stderr
                };
                let source = Watched::new(fd, token(kind));
                self.outputs[index] = Some(Output {
                    source,
                    parked: false,
                });
            }
        }
        self.feed_hung(cx);
        self.sweep(cx.poll);
        self.watch(cx.poll);
        Ok(())
    }

    /// Adds a client; false if there are too many.
    pub fn attach(&mut self, poll: &Poll, stream: OwnedFd, mut wants: Streams) -> bool {
        if self.clients.len() >= MAX_CLIENTS {
            return false;
        }
        if matches!(self.stdin, Stdin::Closed) {
            wants.stdin = false;
        }
        self.next_client = if self.next_client == MAX_MEMBER {
            1
        } else {
            self.next_client + 1
        };
        self.clients
            .push(Client::new(self.owner, self.next_client, stream, wants));
        self.unpark();
        self.watch(poll);
        true
    }

    /// Sets the size of the terminal.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if the process has none.
    pub fn resize(&mut self, poll: &Poll, width: u16, height: u16) -> sys::Result<()> {
        let (true, Some(output)) = (self.terminal, &self.outputs[0]) else {
            return Err(sys::Error::new("resize", Errno::NOTTY));
        };
        sys::pty::resize(output.source.as_fd(), width, height)?;
        self.unpark();
        self.watch(poll);
        Ok(())
    }

    /// Closes the standard input once it has taken what is pending.
    pub fn close_stdin(&mut self, poll: &Poll) {
        self.end_stdin(poll);
        self.watch(poll);
    }

    /// Handles an event of one of the streams.
    pub fn on_ready(&mut self, token: Token, ready: Ready, cx: &mut Context<'_>) {
        match token.kind {
            Kind::Stdin if ready.hangup && !ready.writable => self.drop_stdin(cx.poll),
            Kind::Stdin => self.feed_pending(cx),
            Kind::Stdout => self.on_output(0, cx),
            Kind::Stderr => self.on_output(1, cx),
            Kind::Client => self.on_client(token.member, ready, cx),
            Kind::Listener | Kind::Connection | Kind::Process | Kind::Oom => {}
        }
        self.sweep(cx.poll);
        self.watch(cx.poll);
    }

    /// Reads all output there is now, slow clients or not; true if none can come any more.
    pub fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        for index in 0..2 {
            while self.outputs[index].is_some() {
                match self.pump(index, cx) {
                    Progress::Data => {}
                    Progress::Nothing => break,
                    Progress::End => self.close_output(index, cx.poll),
                }
            }
        }
        self.sweep(cx.poll);
        self.watch(cx.poll);
        self.has_no_output()
    }

    /// Ends everything but the clients that have yet to take something: the process has ended.
    pub fn finish(&mut self, poll: &Poll) {
        self.drop_stdin(poll);
        self.clients.iter_mut().for_each(Client::close_soon);
        self.sweep(poll);
        self.watch(poll);
    }

    /// Stops reading output that nobody of the process's own can write any more.
    pub fn close_outputs(&mut self, poll: &Poll) {
        for index in 0..2 {
            self.close_output(index, poll);
        }
    }

    /// Whether a client has yet to take something.
    pub fn has_slow_client(&self) -> bool {
        self.clients.iter().any(Client::is_slow)
    }

    /// Whether no output can come any more.
    pub fn has_no_output(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Whether nothing is left: no output to read, no client to serve.
    pub fn is_over(&self) -> bool {
        self.clients.is_empty() && self.has_no_output()
    }

    fn on_output(&mut self, index: usize, cx: &mut Context<'_>) {
        if self.outputs[index].is_some() && self.pump(index, cx) == Progress::End {
            if self.terminal {
                if let Some(output) = &mut self.outputs[index] {
                    output.parked = true;
                }
            } else {
                self.close_output(index, cx.poll);
            }
        }
    }

    fn pump(&mut self, index: usize, cx: &mut Context<'_>) -> Progress {
        let Some(output) = &self.outputs[index] else {
            return Progress::End;
        };
        cx.scratch.clear();
        cx.scratch.reserve(READ_BYTES);
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::read(&output.source, rustix::buffer::spare_capacity(cx.scratch))
        });
        match read {
            Ok(0) => return Progress::End,
            Ok(_) => {}
            Err(Errno::AGAIN) => return Progress::Nothing,
            // A terminal that nobody has open answers EIO.
            Err(_) => return Progress::End,
        }
        let stream = if index == 0 {
            Stream::Stdout
        } else {
            Stream::Stderr
        };
        if let Some(log) = &mut cx.log {
            log.write(stream, cx.scratch, Timestamp::from(SystemTime::now()));
        }
        for client in &mut self.clients {
            client.push(stream, cx.scratch, !self.terminal);
        }
        Progress::Data
    }

    fn close_output(&mut self, index: usize, poll: &Poll) {
        if let Some(output) = self.outputs[index].take() {
            output.source.close(poll);
        }
    }

    fn on_client(&mut self, id: u32, ready: Ready, cx: &mut Context<'_>) {
        let Some(index) = self.clients.iter().position(|client| client.id == id) else {
            return;
        };
        let client = &mut self.clients[index];
        if ready.hangup {
            client.hang_up();
        } else if ready.writable {
            client.flush();
        }
        if ready.readable || ready.hangup {
            self.feed_from(index, cx);
        }
    }

    /// Whether the process takes input now (or never will: then it is thrown away).
    fn takes_input(&self) -> bool {
        match &self.stdin {
            Stdin::Later => false,
            Stdin::Open(sink) => sink.pending.is_empty(),
            Stdin::Closed => true,
        }
    }

    /// Moves input of one client to the process; all there is if the client has hung up.
    fn feed_from(&mut self, index: usize, cx: &mut Context<'_>) {
        while self.takes_input() && self.clients[index].has_input() {
            cx.scratch.clear();
            cx.scratch.reserve(READ_BYTES);
            match self.clients[index].read(cx.scratch) {
                Input::Data => self.feed(cx.scratch, cx.poll),
                Input::Nothing => return,
                Input::End => {
                    self.clients[index].end_input();
                    if self.once && !self.terminal {
                        self.end_stdin(cx.poll);
                    } else {
                        // As Docker does: whoever ends an input that stays open has detached.
                        self.clients[index].close_soon();
                    }
                }
            }
            if !self.clients[index].is_hung() {
                return;
            }
        }
    }

    fn feed(&mut self, data: &[u8], poll: &Poll) {
        self.unpark();
        let Stdin::Open(sink) = &mut self.stdin else {
            return;
        };
        match write(&sink.pipe, data) {
            Some(done) => sink.pending.extend_from_slice(&data[done..]),
            None => self.drop_stdin(poll),
        }
    }

    /// The pipe has room again: hands on what is pending, then what hung up clients left.
    fn feed_pending(&mut self, cx: &mut Context<'_>) {
        let Stdin::Open(sink) = &mut self.stdin else {
            return;
        };
        match write(&sink.pipe, &sink.pending[sink.sent..]) {
            Some(done) => sink.sent += done,
            None => return self.drop_stdin(cx.poll),
        }
        if sink.sent < sink.pending.len() {
            return;
        }
        sink.pending = Vec::new();
        sink.sent = 0;
        if sink.closing {
            return self.drop_stdin(cx.poll);
        }
        self.feed_hung(cx);
    }

    fn feed_hung(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.clients.len() {
            if self.clients[index].is_hung() {
                self.feed_from(index, cx);
            }
        }
    }

    fn end_stdin(&mut self, poll: &Poll) {
        match &mut self.stdin {
            Stdin::Open(sink) if !sink.pending.is_empty() => sink.closing = true,
            Stdin::Open(_) => self.drop_stdin(poll),
            Stdin::Later | Stdin::Closed => {}
        }
    }

    fn drop_stdin(&mut self, poll: &Poll) {
        if let Stdin::Open(sink) = std::mem::replace(&mut self.stdin, Stdin::Closed) {
            sink.pipe.close(poll);
        }
    }

    fn unpark(&mut self) {
        self.outputs
            .iter_mut()
            .flatten()
            .for_each(|output| output.parked = false);
    }

    fn sweep(&mut self, poll: &Poll) {
        let mut index = 0;
        while index < self.clients.len() {
            if self.clients[index].is_done() {
                self.clients.swap_remove(index).close(poll);
            } else {
                index += 1;
            }
        }
    }

    /// Watches every descriptor for what the rules allow now.
    fn watch(&mut self, poll: &Poll) {
        let slow = self.has_slow_client();
        for output in self.outputs.iter_mut().flatten() {
            let readable = !slow && !output.parked;
            // Out of the set, not merely uninterested: a hang-up would be told without end.
            output.source.want(poll, readable.then_some(Interest::READ));
        }
        let input = self.takes_input();
        for client in &mut self.clients {
            client.watch(poll, input);
        }
        if let Stdin::Open(sink) = &mut self.stdin {
            let full = !sink.pending.is_empty();
            sink.pipe.want(poll, full.then_some(Interest::WRITE));
        }
    }
}

/// Writes what fits; `None` if nobody reads any more.
fn write(pipe: &Watched, data: &[u8]) -> Option<usize> {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::retry_on_intr(|| rustix::io::write(pipe, &data[done..])) {
            Ok(n) => done += n,
            Err(Errno::AGAIN) => break,
            Err(_) => return None,
        }
    }
    Some(done)
}

#[cfg(test)]
mod tests;
