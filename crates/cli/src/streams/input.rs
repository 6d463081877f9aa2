//! Our stdin, read without a thread and without changing its mode.
//!
//! Its mode belongs to the open file, which other processes share: making it non-blocking would
//! break a shell. So it is read after epoll says that there is something. What epoll cannot watch
//! (plain files, `/dev/null`) never blocks for long.

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(super) enum Input {
    Watched(AsyncFd<io::Stdin>),
    Plain,
}

impl Input {
    pub(super) fn stdin() -> Self {
        #[expect(
            deprecated,
            reason = "the safe form; stdin stays open as long as the program runs"
        )]
        match AsyncFd::with_interest(io::stdin(), Interest::READABLE) {
            Ok(watched) => Self::Watched(watched),
            Err(_) => Self::Plain,
        }
    }

    /// Reads some bytes; 0 at the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = match self {
                Self::Watched(watched) => Some(watched.readable().await?),
                // Lets the other side of the conversation have its turn.
                Self::Plain => {
                    tokio::task::yield_now().await;
                    None
                }
            };
            match rustix::io::read(io::stdin(), &mut *buffer) {
                Ok(count) => {
                    // Epoll reports edges: a full buffer may mean that there is more.
                    if let (Some(ready), true) = (&mut ready, count < buffer.len()) {
                        ready.clear_ready();
                    }
                    return Ok(count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if let Some(ready) = &mut ready {
                        ready.clear_ready();
                    }
                }
                // The terminal has gone.
                Err(rustix::io::Errno::IO) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
