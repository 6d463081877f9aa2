//! A descriptor and what it is watched for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::poll::{Interest, Poll};

/// Who an event is for: 32 bits of owner, 8 of kind, 24 of member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// 0 is the init process and the supervisor itself, others are exec processes.
    pub owner: u32,
    /// Which of the owner's descriptors.
    pub kind: Kind,
    /// Which connection or client.
    pub member: u32,
}

/// What a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `shim.sock`.
    Listener,
    /// A daemon.
    Connection,
    /// A process.
    Process,
    /// The writing end of a standard input.
    Stdin,
    /// The reading end of a standard output, or a terminal.
    Stdout,
    /// The reading end of a standard error.
    Stderr,
    /// An attached stream.
    Client,
    /// The kernel's report of processes killed for want of memory.
    Oom,
}

const KINDS: [Kind; 8] = [
    Kind::Listener,
    Kind::Connection,
    Kind::Process,
    Kind::Stdin,
    Kind::Stdout,
    Kind::Stderr,
    Kind::Client,
    Kind::Oom,
];

/// Largest member number.
pub const MAX_MEMBER: u32 = (1 << 24) - 1;

impl Token {
    /// Packs the parts.
    pub fn pack(self) -> u64 {
        u64::from(self.owner) << 32 | u64::from(self.kind as u8) << 24 | u64::from(self.member)
    }

    /// Takes them apart; `None` for a number that [`Token::pack`] never makes.
    pub fn unpack(packed: u64) -> Option<Self> {
        let owner = u32::try_from(packed >> 32).ok()?;
        let kind = *KINDS.get(usize::try_from(packed >> 24 & 0xff).ok()?)?;
        let member = u32::try_from(packed & u64::from(MAX_MEMBER)).ok()?;
        Some(Self {
            owner,
            kind,
            member,
        })
    }
}

/// A descriptor that may be in the epoll set.
///
/// It must leave the set before it is closed: a child between fork and exec holds a copy, and the
/// set would go on reporting a descriptor that no longer exists here.
#[derive(Debug)]
pub struct Watched {
    fd: OwnedFd,
    token: Token,
    interest: Option<Interest>,
}

impl Watched {
    /// Wraps a descriptor that is not watched yet.
    pub fn new(fd: OwnedFd, token: Token) -> Self {
        Self {
            fd,
            token,
            interest: None,
        }
    }

    /// Changes what it is watched for; `None` takes it out of the set.
    pub fn want(&mut self, poll: &Poll, interest: Option<Interest>) {
        if self.interest == interest {
            return;
        }
        let token = self.token.pack();
        let changed = match (self.interest, interest) {
            (None, Some(new)) => poll.add(self.fd.as_fd(), token, new),
            (Some(_), Some(new)) => poll.modify(self.fd.as_fd(), token, new),
            (_, None) => poll.remove(self.fd.as_fd()),
        };
        // What is not a stream (a regular file as stdout) cannot be watched; it is drained at the end.
        self.interest = if changed.is_ok() { interest } else { None };
    }

    /// Takes it out of the set and closes it.
    pub fn close(mut self, poll: &Poll) {
        self.want(poll, None);
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for kind in KINDS {
            for (owner, member) in [(0, 0), (1, MAX_MEMBER), (u32::MAX, 7)] {
                let token = Token {
                    owner,
                    kind,
                    member,
                };
                assert_eq!(Token::unpack(token.pack()), Some(token));
            }
        }
        assert_eq!(Token::unpack(0xff << 24), None);
    }
}
