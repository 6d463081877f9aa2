//! Files in memory that can be sealed against every change.
//!
//! See memfd_create(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};

use crate::{Error, Result};

const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Makes an empty, executable, sealable file in memory.
pub fn create(name: &str) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 there was no such flag and every memfd was executable.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(|e| Error::new(format!("memfd_create(`{name}`)"), e))
}

/// Forbids every further change of content and size.
pub fn seal(memfd: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fcntl_add_seals(memfd, SEALS)
        .map_err(|e| Error::new(format!("fcntl(`{}`, F_ADD_SEALS)", memfd.as_raw_fd()), e))
}

/// Fails unless the descriptor is a file in memory sealed by [`seal`].
pub fn check_sealed(memfd: BorrowedFd<'_>) -> Result<()> {
    let call = || format!("fcntl(`{}`, F_GET_SEALS)", memfd.as_raw_fd());
    let seals = rustix::fs::fcntl_get_seals(memfd).map_err(|e| Error::new(call(), e))?;
    if seals.contains(SEALS) {
        Ok(())
    } else {
        Err(Error::new(call(), rustix::io::Errno::PERM))
    }
}

/// Whether the running program was started from a sealed file in memory.
pub fn running_sealed() -> io::Result<bool> {
    let own = std::fs::File::open("/proc/self/exe")?;
    Ok(check_sealed(own.as_fd()).is_ok())
}

/// Copies the running program into a sealed file in memory.
pub fn copy_of_self(name: &str) -> io::Result<OwnedFd> {
    let mut own = std::fs::File::open("/proc/self/exe")?;
    let mut copy = std::fs::File::from(create(name)?);
    io::copy(&mut own, &mut copy)?;
    let copy = OwnedFd::from(copy);
    seal(copy.as_fd())?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_sealed_file_cannot_be_written() {
        assert!(!running_sealed().unwrap());
        let copy = copy_of_self("corten-test").unwrap();
        check_sealed(copy.as_fd()).unwrap();
        assert!(std::fs::File::from(copy).write_all(b"x").is_err());
    }
}
