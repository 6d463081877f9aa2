//! Finding the last records without reading the whole log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Read backwards in blocks of this size.
const BLOCK: usize = 64 * 1024;

/// Where the last `wanted` records of a file begin, and how many it has of them.
///
/// A last record without its newline is still being written: it does not count, and reading from
/// the returned offset comes to it.
pub(super) fn start_of_last(file: &File, wanted: u64) -> io::Result<(u64, u64)> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    let mut newlines = 0;
    while end > 0 {
        let len = BLOCK.min(usize::try_from(end).unwrap_or(BLOCK));
        let start = end - len as u64;
        let part = &mut block[..len];
        file.read_exact_at(part, start)?;
        for at in memchr::memrchr_iter(b'\n', part) {
            if newlines == wanted {
                return Ok((start + at as u64 + 1, wanted));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}
