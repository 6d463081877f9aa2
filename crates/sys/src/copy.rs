//! Copying files: bytes shared where the file system can, else copied in the kernel; and whole objects
//! with their owners, modes, attributes and times.
//!
//! See `FICLONE` in ioctl_ficlone(2), copy_file_range(2), and `SEEK_DATA` in lseek(2).

mod object;

pub use object::{dress, special};

use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::{Error, Result};

/// Bytes copied by one call.
const STEP: usize = 1 << 30;

/// Copies the first bytes of a file to a place in another one, where a hole is; holes stay holes.
///
/// # Errors
///
/// No space, or a disk failed; the target then holds a part.
pub fn data_at(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    place: u64,
    size: u64,
) -> Result<()> {
    let mut at = 0;
    while at < size {
        let Some((from, to)) = extent(source, at) else {
            break;
        };
        range(source, target, place, from, to.min(size))?;
        at = to;
    }
    Ok(())
}

/// Copies file after file, and tries no call twice that these file systems do not know.
#[derive(Debug, Default)]
pub struct Copier {
    buffer: Vec<u8>,
    cannot_share: bool,
}

/// Largest file that is copied by reading and writing, which is then the fewest calls.
const SMALL: u64 = 256 * 1024;

impl Copier {
    /// Makes an empty file hold the bytes and the holes of another one; `allocated` are the bytes
    /// that the source has on its disk.
    ///
    /// # Errors
    ///
    /// No space, or a disk failed; the target then holds a part.
    pub fn data(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        size: u64,
        allocated: u64,
    ) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        if !self.cannot_share {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => return Ok(()),
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOTTY) => self.cannot_share = true,
                Err(_) => {}
            }
        }
        // What has all its bytes on the disk has no holes.
        if size > SMALL || allocated < size {
            data_at(source, target, 0, size)?;
            return rustix::fs::ftruncate(target, size)
                .map_err(|errno| Error::new("ftruncate", errno));
        }
        self.buffer.resize(SMALL as usize, 0);
        loop {
            let length = rustix::io::read(source, &mut self.buffer[..])
                .map_err(|errno| Error::new("read", errno))?;
            let mut rest = &self.buffer[..length];
            while !rest.is_empty() {
                let written =
                    rustix::io::write(target, rest).map_err(|errno| Error::new("write", errno))?;
                rest = &rest[written..];
            }
            // A short read of a file is its end.
            if length < self.buffer.len() {
                return Ok(());
            }
        }
    }
}

/// The next bytes that are data; `None` when only a hole is left.
fn extent(source: BorrowedFd<'_>, at: u64) -> Option<(u64, u64)> {
    match rustix::fs::seek(source, SeekFrom::Data(at)) {
        Ok(from) => {
            let to = rustix::fs::seek(source, SeekFrom::Hole(from)).unwrap_or(u64::MAX);
            Some((from, to.max(from + 1)))
        }
        Err(Errno::NXIO) => None,
        // A file system without holes: all is data.
        Err(_) => Some((at, u64::MAX)),
    }
}

fn range(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    place: u64,
    from: u64,
    to: u64,
) -> Result<()> {
    let (mut input, mut output) = (from, place + from);
    while input < to {
        let wanted = usize::try_from(to - input).unwrap_or(STEP).min(STEP);
        let copied = rustix::fs::copy_file_range(
            source,
            Some(&mut input),
            target,
            Some(&mut output),
            wanted,
        );
        match copied {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return by_hand(source, target, place, input, to);
            }
            Err(errno) => return Err(Error::new("copy_file_range", errno)),
        }
    }
    Ok(())
}

/// What the kernel cannot copy by itself.
fn by_hand(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    place: u64,
    from: u64,
    to: u64,
) -> Result<()> {
    let mut buffer = vec![0u8; 256 * 1024];
    let mut at = from;
    while at < to {
        let wanted = usize::try_from(to - at)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let length = rustix::io::pread(source, &mut buffer[..wanted], at)
            .map_err(|errno| Error::new("pread", errno))?;
        if length == 0 {
            break;
        }
        let mut written = 0;
        while written < length {
            let offset = place + at + written as u64;
            written += rustix::io::pwrite(target, &buffer[written..length], offset)
                .map_err(|errno| Error::new("pwrite", errno))?;
        }
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn bytes_and_holes_arrive_anywhere_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            std::fs::File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(dir.path().join(name))
                .unwrap()
        };
        let source = open("source");
        source.write_all_at(b"head", 0).unwrap();
        source.write_all_at(b"middle", 32 << 20).unwrap();
        source.set_len(64 << 20).unwrap();
        let whole = open("whole");
        let allocated = source.metadata().unwrap().blocks() * 512;
        let mut copier = Copier::default();
        copier
            .data(source.as_fd(), whole.as_fd(), 64 << 20, allocated)
            .unwrap();
        let part = open("part");
        data_at(source.as_fd(), part.as_fd(), 8192, 64 << 20).unwrap();
        for (file, place) in [(whole, 0), (part, 8192)] {
            let mut bytes = [0; 6];
            file.read_exact_at(&mut bytes, place + (32 << 20)).unwrap();
            assert_eq!(&bytes, b"middle");
            file.read_exact_at(&mut bytes[..4], place).unwrap();
            assert_eq!(&bytes[..4], b"head");
            let blocks = file.metadata().unwrap().blocks();
            assert!(blocks < 2048, "{blocks} blocks");
        }
    }
}
