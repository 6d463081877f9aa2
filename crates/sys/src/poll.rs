//! Waiting for many descriptors at once.
//!
//! A level-triggered epoll(7) set whose members are known by a number of the caller's choice.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use crate::{Error, Result};

/// Events fetched by one [`Poll::wait`].
const BATCH: usize = 32;

/// A set of watched descriptors.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

/// What a descriptor is watched for; errors and hang-ups are always told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// There is something to read, or an end of file.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// There is something out of band (the files of a control group).
    pub priority: bool,
}

impl Interest {
    /// Only errors and hang-ups.
    pub const NONE: Self = Self {
        readable: false,
        writable: false,
        priority: false,
    };
    /// Something to read.
    pub const READ: Self = Self {
        readable: true,
        ..Self::NONE
    };
    /// Room to write.
    pub const WRITE: Self = Self {
        writable: true,
        ..Self::NONE
    };
    /// Something out of band.
    pub const PRIORITY: Self = Self {
        priority: true,
        ..Self::NONE
    };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.readable);
        flags.set(epoll::EventFlags::OUT, self.writable);
        flags.set(epoll::EventFlags::PRI, self.priority);
        flags
    }
}

/// What became of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number given to [`Poll::add`].
    pub token: u64,
    /// Reading would not block.
    pub readable: bool,
    /// Writing would not block.
    pub writable: bool,
    /// Something is out of band.
    pub priority: bool,
    /// The other side is gone, or an error is pending.
    pub hangup: bool,
}

impl Poll {
    /// Makes an empty set.
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|e| Error::new("epoll_create1(EPOLL_CLOEXEC)", e))?;
        Ok(Self { epoll })
    }

    /// Watches a descriptor, which must not be in the set.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<()> {
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )
        .map_err(|e| Error::new(format!("epoll_ctl(ADD, `{}`)", fd.as_raw_fd()), e))
    }

    /// Changes what a descriptor in the set is watched for.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )
        .map_err(|e| Error::new(format!("epoll_ctl(MOD, `{}`)", fd.as_raw_fd()), e))
    }

    /// Stops watching a descriptor; to be called before it is closed.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> Result<()> {
        epoll::delete(&self.epoll, fd)
            .map_err(|e| Error::new(format!("epoll_ctl(DEL, `{}`)", fd.as_raw_fd()), e))
    }

    /// Waits until something is ready or the time is over; an interrupted wait yields nothing.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<impl Iterator<Item = Ready> + use<>> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
        let events = match epoll::wait(&self.epoll, &mut space, timeout.as_ref()) {
            Ok((events, _)) => &*events,
            Err(rustix::io::Errno::INTR) => &[],
            Err(e) => return Err(Error::new("epoll_wait", e)),
        };
        let mut ready = [None; BATCH];
        for (slot, event) in ready.iter_mut().zip(events) {
            *slot = Some(describe(event));
        }
        Ok(ready.into_iter().flatten())
    }
}

fn describe(event: &epoll::Event) -> Ready {
    use epoll::EventFlags as Flags;
    // The event is packed: its fields are copied, never borrowed.
    let (flags, data) = (event.flags, event.data);
    Ready {
        token: data.u64(),
        readable: flags.contains(Flags::IN),
        writable: flags.contains(Flags::OUT),
        priority: flags.contains(Flags::PRI),
        hangup: flags.intersects(Flags::HUP | Flags::ERR),
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_ready_until_it_is_removed() {
        let poll = Poll::new().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        poll.add(reader.as_fd(), 7, Interest::READ).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        rustix::io::write(&writer, b"x").unwrap();
        let ready: Vec<_> = poll.wait(Some(Duration::from_secs(5))).unwrap().collect();
        assert_eq!(
            (ready.len(), ready[0].token, ready[0].readable),
            (1, 7, true)
        );
        poll.modify(reader.as_fd(), 7, Interest::NONE).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        drop(writer);
        assert!(poll.wait(None).unwrap().next().unwrap().hangup);
        poll.remove(reader.as_fd()).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }
}
