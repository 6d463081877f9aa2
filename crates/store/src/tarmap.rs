//! The tar map: what a layer's archive has beside the content of its files.
//!
//! A layer lies unpacked in `diff/`, and an archive made of that tree anew would have another
//! digest. So while an archive is unpacked everything of it is written down that is not the content
//! of a file: header blocks, extended headers, padding, order, whatever stands behind the end. From
//! this and from the files the very same bytes are put together again.
//!
//! ```text
//! archive  │ header │ content of bin/sh │ padding │ header │ …
//! tar-map  │ Raw    │ Stored bin/sh     │ Raw ……………………………│ … │ End
//! diff/                 bin/sh
//! ```
//!
//! Nothing is parsed here, and no dialect of tar can be unknown: what the unpacker did not put into
//! a file is raw. An object that a later entry of the same archive replaces is moved to `kept/<n>`,
//! and `kept/moved` says from where and after how many stored pieces.
//!
//! # Form
//!
//! `tar-map` is one zstd frame. Numbers are LEB128, least significant first; positions count the
//! stored pieces before.
//!
//! ```text
//! tar-map     "corten-tar-map 1\n"  op*  End
//! Raw         0x01  length  bytes
//! Stored      0x02  length of path  path  offset in the file  length
//! End         0x00  length of the archive
//! kept/moved  (position  length of path  path)*       not compressed; the n-th is kept/<n>
//! ```

mod rebuild;
mod record;

pub(crate) use rebuild::Rebuild;
pub(crate) use record::Recorder;

/// Name of the map in a layer's directory.
pub(crate) const MAP: &str = "tar-map";
/// Name of the directory for replaced objects, beside the map.
pub(crate) const KEPT: &str = "kept";
/// Name of the list of them, within [`KEPT`].
const MOVED: &str = "moved";

const MAGIC: &[u8] = b"corten-tar-map 1\n";
const END: u8 = 0;
const RAW: u8 = 1;
const STORED: u8 = 2;

/// Longest path in a map; the kernel's bound.
const MAX_PATH: usize = 4096;
/// Replaced objects of one layer that are kept: the list of them is read into memory.
const MAX_MOVED: u64 = 65_536;
/// Bytes of that list.
const MAX_MOVED_BYTES: u64 = 8 << 20;

/// Appends a number.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number whose bytes come one by one.
fn take_number(mut next: impl FnMut() -> std::io::Result<u8>) -> std::io::Result<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged("a number in it is out of range"))
}

fn damaged(what: &str) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        format!("the layer's tar map is damaged: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_bad_ones_are_refused() {
        for number in [0, 1, 127, 128, 300, 1 << 32, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut bytes = bytes.into_iter();
            let next = || Ok(bytes.next().unwrap());
            assert_eq!(take_number(next).unwrap(), number);
            assert_eq!(bytes.next(), None);
        }
        for bad in [[0x80u8; 12], [0xff; 12]] {
            let mut bytes = bad.into_iter();
            assert!(take_number(|| Ok(bytes.next().unwrap())).is_err());
        }
    }
}
