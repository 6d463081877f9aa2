//! The socket to another name server: sending a question, reading an answer.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::wire;

/// Wrong answers to one question that are read before others have their turn.
const MAX_STRAY: usize = 16;

/// The socket to the server.
#[derive(Debug)]
pub(super) enum Io {
    Datagram(OwnedFd),
    Stream {
        socket: OwnedFd,
        output: Vec<u8>,
        written: usize,
        input: Vec<u8>,
    },
}

impl Io {
    pub(super) fn socket(&self) -> &OwnedFd {
        match self {
            Self::Datagram(socket) | Self::Stream { socket, .. } => socket,
        }
    }
}

/// What became of waiting for an answer.
pub(super) enum Heard {
    Nothing,
    Answer(usize),
    Failure,
}

/// Sends the rest of a question; tells whether all of it is sent.
pub(super) fn flush(socket: &OwnedFd, output: &[u8], written: &mut usize) -> Result<bool, ()> {
    while *written < output.len() {
        match rustix::net::send(socket, &output[*written..], SendFlags::NOSIGNAL) {
            Ok(sent) => *written += sent,
            Err(Errno::AGAIN | Errno::INPROGRESS) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(_) => return Err(()),
        }
    }
    Ok(true)
}

pub(super) fn hear_datagram(
    socket: &OwnedFd,
    query: &[u8],
    end: usize,
    buffer: &mut [u8],
) -> Heard {
    for _ in 0..MAX_STRAY {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
            // What is no answer to the question may come from anybody: the answer may follow.
            Ok((length, _)) if !wire::matches(query, end, &buffer[..length]) => {}
            Ok((length, _)) => return Heard::Answer(length),
            Err(Errno::AGAIN) => return Heard::Nothing,
            Err(Errno::INTR) => {}
            Err(_) => return Heard::Failure,
        }
    }
    Heard::Nothing
}

/// Reads on; a whole answer is put into the buffer.
pub(super) fn hear_stream(socket: &OwnedFd, input: &mut Vec<u8>, buffer: &mut [u8]) -> Heard {
    loop {
        let wanted = match input.first_chunk::<2>() {
            None => 2,
            Some(length) => 2 + usize::from(u16::from_be_bytes(*length)),
        };
        if input.len() >= 2 && input.len() >= wanted {
            let answer = &input[2..wanted];
            buffer[..answer.len()].copy_from_slice(answer);
            return Heard::Answer(answer.len());
        }
        let missing = wanted - input.len();
        match rustix::net::recv(socket, &mut buffer[..missing], RecvFlags::empty()) {
            Ok((0, _)) => return Heard::Failure,
            Ok((length, _)) => input.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => return Heard::Nothing,
            Err(Errno::INTR) => {}
            Err(_) => return Heard::Failure,
        }
    }
}
