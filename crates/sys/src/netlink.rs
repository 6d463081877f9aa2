//! Netlink: messages, attributes and a socket that waits for the kernel's verdicts.
//!
//! Owns the encoding of [netlink(7)](https://man7.org/linux/man-pages/man7/netlink.7.html). Typed
//! requests of rtnetlink are in [`route`], of nf_tables in [`crate::nft`]. Everything is safe code:
//! messages are byte vectors, answers are read with bounds checks.
//!
//! ```text
//!  message   = length:u32 type:u16 flags:u16 sequence:u32 port:u32  body
//!  body      = family header, attributes
//!  attribute = length:u16 type:u16 value, padded to 4 bytes; values nest
//! ```

mod around;
mod interface;
mod listing;
mod route;
mod stacked;
mod traffic;
mod wire;

pub use route::{Address, Link, Neighbour, NewVeth, Route, SetLink};
pub use stacked::{Endless, IpvlanFlag, IpvlanMode, MacvlanMode, NewStacked, Stacked};
pub use traffic::Bucket;
pub use wire::{Attribute, Attributes, Messages};
pub(crate) use wire::{NLM_F_APPEND as FLAG_APPEND, NLM_F_CREATE as FLAG_CREATE};
pub(crate) use wire::{Reader, Received};

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, netlink, recv, send,
    socket_with, sockopt,
};

use crate::{Error, Result};
use wire::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables.
    Netfilter,
}

/// Room for one answer: the kernel fills at most 32 KiB of a dump into one read.
const READ_BYTES: usize = 32 * 1024;
/// Messages so small fit into every socket.
const SMALL_BYTES: usize = 64 * 1024;
/// The kernel answers at once; only a lock held by others (seconds, on a bad day) delays it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A dump that changed under way is begun anew this often before it is taken as it is.
const DUMP_ATTEMPTS: usize = 5;

/// A connection to the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One answer of the kernel: its type and what follows the message header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Message type, e.g. `RTM_NEWLINK`.
    pub kind: u16,
    /// Family header and attributes.
    pub body: Vec<u8>,
}

impl Socket {
    /// Opens a socket of the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Self> {
        let number = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
        };
        let call = |name: &str| format!("{name}(`{protocol:?}`)");
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            number,
        )
        .map_err(|e| Error::new(call("socket(AF_NETLINK)"), e))?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(|e| Error::new(call("setsockopt(SO_RCVTIMEO)"), e))?;
        // A connected socket takes messages from the kernel alone.
        connect(&fd, &netlink::SocketAddrNetlink::new(0, 0))
            .map_err(|e| Error::new(call("connect(AF_NETLINK)"), e))?;
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// The number by which the kernel knows the socket.
    pub(crate) fn port(&self) -> Result<u32> {
        let call = |errno| Error::new("getsockname(AF_NETLINK)", errno);
        let address = rustix::net::getsockname(&self.fd).map_err(call)?;
        let address = netlink::SocketAddrNetlink::try_from(address).map_err(call)?;
        Ok(address.pid())
    }

    /// Lets messages of so many bytes be sent at once.
    pub(crate) fn make_room(&self, bytes: usize) -> Result<()> {
        if bytes <= SMALL_BYTES {
            return Ok(());
        }
        let call = |errno| Error::new(format!("setsockopt(SO_SNDBUFFORCE, {bytes})"), errno);
        // The kernel doubles the number, and takes its own bookkeeping off it.
        rustix::net::sockopt::set_socket_send_buffer_size_force(&self.fd, bytes).map_err(call)
    }

    /// Sends all requests in one go and waits for each verdict; the first refusal is the error.
    ///
    /// The kernel goes on after a refused request, so the others may have taken effect.
    pub fn execute(&mut self, mut requests: Messages) -> Result<()> {
        let count = requests.len();
        if count == 0 {
            return Ok(());
        }
        let first = self.sequence.wrapping_add(1);
        self.sequence = requests.number_from(first, NLM_F_ACK);
        self.send(&requests)?;
        let mut refused: Option<(usize, Errno)> = None;
        let mut open = count;
        while open > 0 {
            let length = self.receive()?;
            for message in Reader::new(&self.buffer[..length]) {
                let index = message.sequence.wrapping_sub(first) as usize;
                if message.kind != NLMSG_ERROR || index >= count {
                    continue;
                }
                open = open.saturating_sub(1);
                if let (Some(errno), None) = (message.errno(), refused) {
                    refused = Some((index, errno));
                }
            }
        }
        match refused {
            Some((index, errno)) => Err(Error::new(requests.label(index), errno)),
            None => Ok(()),
        }
    }

    /// Sends a transaction of which only the last message but one asks for a verdict.
    ///
    /// nf_tables reports every refused message of a batch, and carries out all or nothing.
    pub(crate) fn transact(&mut self, mut batch: Messages) -> Result<()> {
        let count = batch.len();
        let first = self.sequence.wrapping_add(1);
        self.sequence = batch.number_from(first, 0);
        let asked = count.saturating_sub(2);
        batch.add_flags(asked, NLM_F_ACK);
        self.send(&batch)?;
        let mut refused: Option<(usize, Errno)> = None;
        loop {
            let length = self.receive()?;
            let mut done = false;
            for message in Reader::new(&self.buffer[..length]) {
                let index = message.sequence.wrapping_sub(first) as usize;
                if message.kind != NLMSG_ERROR || index >= count {
                    continue;
                }
                if let (Some(errno), None) = (message.errno(), refused) {
                    refused = Some((index, errno));
                }
                // A verdict on the opening message is one on the batch as a whole.
                done |= index == asked || index == 0;
            }
            if done {
                break;
            }
        }
        match refused {
            Some((index, errno)) => Err(Error::new(batch.label(index), errno)),
            None => Ok(()),
        }
    }

    /// Asks for one object; `None` when there is no such thing.
    pub fn get(&mut self, mut request: Messages) -> Result<Option<Answer>> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = request.number_from(first, 0);
        self.send(&request)?;
        loop {
            let length = self.receive()?;
            for message in Reader::new(&self.buffer[..length]) {
                if message.sequence != first {
                    continue;
                }
                if message.kind != NLMSG_ERROR {
                    let body = message.body.to_vec();
                    let kind = message.kind;
                    return Ok(Some(Answer { kind, body }));
                }
                match message.errno() {
                    Some(Errno::NODEV | Errno::NOENT | Errno::SRCH) => return Ok(None),
                    Some(errno) => return Err(Error::new(request.label(0), errno)),
                    None => return Ok(None),
                }
            }
        }
    }

    /// Asks for all objects of a kind.
    pub fn dump(&mut self, request: &Messages) -> Result<Vec<Answer>> {
        for _ in 1..DUMP_ATTEMPTS {
            if let (answers, true) = self.dump_once(request.clone())? {
                return Ok(answers);
            }
        }
        Ok(self.dump_once(request.clone())?.0)
    }

    /// Dumps once; the flag tells whether nothing changed meanwhile.
    fn dump_once(&mut self, mut request: Messages) -> Result<(Vec<Answer>, bool)> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = request.number_from(first, NLM_F_DUMP);
        self.send(&request)?;
        let mut answers = Vec::new();
        let mut consistent = true;
        loop {
            let length = self.receive()?;
            for message in Reader::new(&self.buffer[..length]) {
                if message.sequence != first {
                    continue;
                }
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match message.errno() {
                            Some(errno) => Err(Error::new(request.label(0), errno)),
                            None => Ok((answers, consistent)),
                        };
                    }
                    kind => answers.push(Answer {
                        kind,
                        body: message.body.to_vec(),
                    }),
                }
            }
        }
    }

    fn send(&self, messages: &Messages) -> Result<()> {
        let bytes = messages.bytes();
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(_) => return Err(Error::new(messages.label(0), Errno::MSGSIZE)),
                Err(errno) => return Err(Error::new(messages.label(0), errno)),
            }
        }
    }

    /// Reads one datagram into the buffer and returns its length.
    fn receive(&mut self) -> Result<usize> {
        loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Ok((_, whole)) if whole > self.buffer.len() => {
                    return Err(Error::new("recv(AF_NETLINK)", Errno::MSGSIZE));
                }
                Ok((length, _)) => return Ok(length),
                Err(errno) => return Err(Error::new("recv(AF_NETLINK)", errno)),
            }
        }
    }
}
