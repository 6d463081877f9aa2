//! Mount namespaces of one's own: made and entered on throw-away threads.
//!
//! As in [`crate::netns`], only a thread that ends right afterwards changes its namespace. What is
//! mounted inside is in no other mount table and goes with the thread, unless a descriptor of a
//! detached copy leaves it.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::mount::{Propagation, propagate_all};
use crate::{Error, Result};

/// Runs `f` in a copy of the mount namespace from which nothing gets back.
///
/// [unshare(2)](https://man7.org/linux/man-pages/man2/unshare.2.html); needs `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// No permission, too many mounts, or those of `f`.
pub fn private<T: Send, E: Send + From<Error>>(
    f: impl FnOnce() -> std::result::Result<T, E> + Send,
) -> std::result::Result<T, E> {
    throw_away(|| {
        split(UnshareFlags::NEWNS)?;
        propagate_all(Propagation::Private)?;
        f()
    })
}

/// Runs `f` in another mount namespace, with that namespace's root as root directory.
///
/// [setns(2)](https://man7.org/linux/man-pages/man2/setns.2.html); needs `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// No permission, or those of `f`.
pub fn with<T: Send, E: Send + From<Error>>(
    mntns: impl AsFd + Sync,
    f: impl FnOnce() -> std::result::Result<T, E> + Send,
) -> std::result::Result<T, E> {
    throw_away(|| {
        // The kernel wants a file-system context that no other thread shares.
        split(UnshareFlags::FS)?;
        move_into_link_name_space(mntns.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(|e| Error::new("setns(CLONE_NEWNS)", e))?;
        f()
    })
}

/// Opens the mount namespace of a process.
///
/// # Errors
///
/// It is gone.
pub fn of(process: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{process}/ns/mnt");
    std::fs::File::open(&path).map(OwnedFd::from).map_err(|e| {
        let errno = rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO);
        Error::new(format!("open(`{path}`)"), errno)
    })
}

fn split(flags: UnshareFlags) -> Result<()> {
    // SAFETY: a mount namespace or a file-system context of its own changes what this thread's
    // paths mean; it shares or splits no memory and no descriptors, and the thread ends right after.
    unsafe { unshare_unsafe(flags) }.map_err(|e| Error::new(format!("unshare({flags:?})"), e))
}

fn throw_away<T: Send, E: Send + From<Error>>(
    f: impl FnOnce() -> std::result::Result<T, E> + Send,
) -> std::result::Result<T, E> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .name("mntns".to_owned())
            .spawn_scoped(scope, f);
        match spawned {
            Ok(handle) => match handle.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            },
            Err(e) => {
                let errno =
                    rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::AGAIN);
                Err(Error::new("start a thread", errno).into())
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_private_namespace_are_seen_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inside");
        private(|| {
            let options = [("size".to_owned(), Some("64k".to_owned()))];
            let mount = crate::mount::create("tmpfs", &options, crate::mount::Attributes::empty())?;
            let target = crate::mount::open_path(dir.path())?;
            crate::mount::attach(mount.as_fd(), target.as_fd())?;
            std::fs::write(&path, b"1").unwrap();
            assert!(path.exists());
            Ok::<(), Error>(())
        })
        .unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_namespace_is_entered_and_left() {
        let here = of(rustix::process::getpid().as_raw_nonzero().get()).unwrap();
        let names = with(&here, || {
            Ok::<_, Error>(std::fs::read_dir("/proc/self").is_ok())
        });
        assert!(names.unwrap());
        assert!(of(i32::MAX).is_err());
    }
}
