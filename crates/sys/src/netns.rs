//! Network namespaces: made and entered on throw-away threads, held by descriptor.
//!
//! Only a thread that ends right afterwards ever changes its namespace, so no early return or panic
//! can leave a thread of the program in the wrong place. Nothing is mounted: a namespace dies with
//! its last descriptor, socket or process.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::{Error, Result};

/// Stack of a throw-away thread: netlink messages and short paths.
const STACK_BYTES: usize = 256 * 1024;

/// Makes an empty namespace and runs `f` inside it, handing it the namespace's descriptor.
///
/// [unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html); needs `CAP_SYS_ADMIN`.
pub fn create<T: Send, E: Send + From<Error>>(
    f: impl FnOnce(&OwnedFd) -> std::result::Result<T, E> + Send,
) -> std::result::Result<(OwnedFd, T), E> {
    throw_away(|| {
        // SAFETY: unsharing the network namespace shares or splits no memory, descriptor table or
        // file-system context; only this thread's view of the network changes, and it ends below.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|e| Error::new("unshare(CLONE_NEWNET)", e))?;
        let netns = current()?;
        let value = f(&netns)?;
        Ok((netns, value))
    })
}

/// Runs `f` in a namespace.
///
/// [setns(2)](https://man7.org/linux/man-pages/man2/setns.2.html); needs `CAP_SYS_ADMIN`.
pub fn with<T: Send, E: Send + From<Error>>(
    netns: impl AsFd + Sync,
    f: impl FnOnce() -> std::result::Result<T, E> + Send,
) -> std::result::Result<T, E> {
    throw_away(|| {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| Error::new("setns(CLONE_NEWNET)", e))?;
        f()
    })
}

/// Opens the calling thread's namespace.
pub fn current() -> Result<OwnedFd> {
    let path = "/proc/thread-self/ns/net";
    match File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(e) => Err(Error::new(format!("open(`{path}`)"), errno_of(&e))),
    }
}

fn throw_away<T: Send, E: Send + From<Error>>(
    f: impl FnOnce() -> std::result::Result<T, E> + Send,
) -> std::result::Result<T, E> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, f)
            .map_err(|e| Error::new("clone(thread)", errno_of(&e)))?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_stays_where_it_is() {
        use std::os::unix::fs::MetadataExt as _;
        let inode = |fd: OwnedFd| File::from(fd).metadata().unwrap().ino();
        let home = inode(current().unwrap());
        let (netns, inside) =
            create(|_| Ok::<_, Error>(inode(current()?))).expect("this test needs root");
        assert_ne!(inside, home);
        assert_eq!(inode(current().unwrap()), home);
        let entered = with(&netns, || Ok::<_, Error>(inode(current()?))).unwrap();
        assert_eq!(entered, inside);
        assert_eq!(inode(netns), inside);
    }
}
