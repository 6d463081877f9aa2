//! The tar writer: the bytes that Go's `archive/tar` writes, so that Docker's and ours are the same.
//!
//! ustar where it fits, else PAX records before the header, as Go chooses. Exports and layers made
//! here have the digests that Docker's daemon would give them.
//!
//! ```text
//! [x header, records, padding]? header [payload, padding]? … two zero blocks
//! ```

use std::io::{self, Write};

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// What an entry makes; the numbers are the type flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    File = b'0' as isize,
    HardLink = b'1' as isize,
    Symlink = b'2' as isize,
    CharDevice = b'3' as isize,
    BlockDevice = b'4' as isize,
    Directory = b'5' as isize,
    Fifo = b'6' as isize,
}

/// One entry to be written.
#[derive(Debug, Clone)]
pub(crate) struct Header<'h> {
    /// Path without a leading slash; a directory's ends with one.
    pub(crate) path: &'h [u8],
    pub(crate) flag: Flag,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Bytes of payload; only files have one.
    pub(crate) size: u64,
    /// Unix seconds.
    pub(crate) mtime: i64,
    pub(crate) link: &'h [u8],
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: &'h [(Vec<u8>, Vec<u8>)],
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self {
            path: b"",
            flag: Flag::File,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: b"",
            device: (0, 0),
            xattrs: &[],
        }
    }
}

/// Writes an archive.
#[derive(Debug)]
pub(crate) struct TarWriter<W> {
    out: W,
    payload: u64,
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            payload: 0,
            padding: 0,
        }
    }

    /// Begins an entry; what the one before promised must have been written.
    pub(crate) fn begin(&mut self, header: &Header<'_>) -> io::Result<()> {
        self.end()?;
        let records = records(header);
        if !records.is_empty() {
            let mut block = Block::new(b'x');
            block.text(0, NAME, &pax_name(header.path));
            block.numbers([0, 0, 0], records.len() as u64, 0);
            self.out.write_all(&block.finish())?;
            self.out.write_all(&records)?;
            self.out
                .write_all(&[0; BLOCK][..padding(records.len() as u64)])?;
        }
        let mut block = Block::new(header.flag as u8);
        match (records.is_empty(), split(header.path)) {
            (true, Some((prefix, name))) => {
                block.text(345, PREFIX, prefix);
                block.text(0, NAME, name);
            }
            (true, None) => block.text(0, NAME, header.path),
            (false, _) => block.text(0, NAME, &ascii(header.path)),
        }
        block.text(157, NAME, &ascii(header.link));
        let ids = [header.mode, header.uid, header.gid].map(u64::from);
        block.numbers(ids, header.size, header.mtime);
        block.octal(329, 8, u64::from(header.device.0));
        block.octal(337, 8, u64::from(header.device.1));
        self.out.write_all(&block.finish())?;
        self.payload = header.size;
        self.padding = padding(header.size);
        Ok(())
    }

    /// Writes payload of the current entry; what exceeds its size is an error.
    pub(crate) fn payload(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.payload = self
            .payload
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("more payload than the entry's size"))?;
        self.out.write_all(bytes)
    }

    /// Bytes of payload that the current entry still has to get.
    pub(crate) fn missing(&self) -> u64 {
        self.payload
    }

    /// Fills the rest of the current entry with zeros: its file became shorter meanwhile.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        let zeros = [0; 4096];
        while self.payload > 0 {
            let len = usize::try_from(self.payload)
                .unwrap_or(usize::MAX)
                .min(zeros.len());
            self.payload(&zeros[..len])?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.payload > 0 {
            return Err(io::Error::other("an entry did not get all of its payload"));
        }
        self.out
            .write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }

    /// Ends the archive and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }
}

fn padding(size: u64) -> usize {
    // Less than a block.
    (size.wrapping_neg() % BLOCK as u64) as usize
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(flag: u8) -> Self {
        let mut block = [0; BLOCK];
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block)
    }

    fn text(&mut self, at: usize, len: usize, text: &[u8]) {
        let field = &mut self.0[at..at + len];
        let kept = text.len().min(len);
        field[..kept].copy_from_slice(&text[..kept]);
        // A file's name that is cut at a slash would look like a directory's.
        if text.len() > len && field[len - 1] == b'/' {
            let end = field
                .iter()
                .rposition(|c| *c != b'/')
                .map_or(0, |at| at + 1);
            field[end] = 0;
        }
    }

    /// Octal digits and a NUL; what does not fit is 0 and has its PAX record.
    fn octal(&mut self, at: usize, len: usize, number: u64) {
        let digits = match fits(len, number) {
            true => format!("{number:0width$o}", width = len - 1),
            false => "0".repeat(len - 1),
        };
        self.text(at, len - 1, digits.as_bytes());
    }

    fn numbers(&mut self, [mode, uid, gid]: [u64; 3], size: u64, mtime: i64) {
        self.octal(100, 8, mode);
        self.octal(108, 8, uid);
        self.octal(116, 8, gid);
        self.octal(124, 12, size);
        self.octal(136, 12, u64::try_from(mtime).unwrap_or(u64::MAX));
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148, 7, sum);
        self.0[154] = 0;
        self.0
    }
}

fn fits(len: usize, number: u64) -> bool {
    number < 1 << ((len - 1) * 3)
}

/// Splits a long path into prefix and name, where the field of 100 bytes does not hold it.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME || !path.is_ascii() {
        return None;
    }
    let end = match path.len() {
        len if len > PREFIX + 1 => PREFIX + 1,
        len if path[len - 1] == b'/' => len - 1,
        len => len,
    };
    let at = path[..end].iter().rposition(|c| *c == b'/')?;
    let name = &path[at + 1..];
    let good = at > 0 && at <= PREFIX && !name.is_empty() && name.len() <= NAME;
    good.then(|| (&path[..at], name))
}

/// PAX records that an entry needs, sorted by key; empty where ustar holds it.
fn records(header: &Header<'_>) -> Vec<u8> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut ustar = true;
    let mut need = |key: &str, value: Vec<u8>| found.push((key.into(), value));
    if header.path.len() > NAME || !header.path.is_ascii() {
        ustar &= split(header.path).is_some();
        need("path", header.path.to_vec());
    }
    if header.link.len() > NAME || !header.link.is_ascii() {
        ustar = false;
        need("linkpath", header.link.to_vec());
    }
    for (key, id) in [("uid", header.uid), ("gid", header.gid)] {
        if !fits(8, u64::from(id)) {
            ustar = false;
            need(key, id.to_string().into_bytes());
        }
    }
    if !fits(12, header.size) {
        ustar = false;
        need("size", header.size.to_string().into_bytes());
    }
    if !u64::try_from(header.mtime).is_ok_and(|mtime| fits(12, mtime)) {
        ustar = false;
        need("mtime", header.mtime.to_string().into_bytes());
    }
    for (name, value) in header.xattrs {
        ustar = false;
        let key = [b"SCHILY.xattr.", name.as_slice()].concat();
        found.push((key, value.clone()));
    }
    if ustar {
        return Vec::new();
    }
    found.sort();
    found
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect()
}

/// `length key=value\n`, where the length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut size = rest + rest.to_string().len();
    if size.to_string().len() + rest != size {
        size = size.to_string().len() + rest;
    }
    [size.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Name of the header that holds the records of a path.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let at = path.iter().rposition(|c| *c == b'/').map_or(0, |at| at + 1);
    let (dir, file) = path.split_at(at);
    let mut name = ascii(&[dir, b"PaxHeaders.0/", file].concat());
    name.truncate(NAME);
    while name.last() == Some(&b'/') {
        name.pop();
    }
    name
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|c| c.is_ascii()).copied().collect()
}

#[cfg(test)]
mod tests {
    use spec::Digest;

    use super::*;

    const TIME: i64 = 1_700_000_000;

    fn header(path: &[u8], flag: Flag, mode: u32) -> Header<'_> {
        Header {
            path,
            flag,
            mode,
            mtime: TIME,
            ..Header::default()
        }
    }

    fn put(tar: &mut TarWriter<Vec<u8>>, header: Header<'_>, data: &[u8]) {
        let size = data.len() as u64;
        tar.begin(&Header { size, ..header }).unwrap();
        tar.payload(data).unwrap();
    }

    fn repeated(parts: &[(&str, usize)]) -> Vec<u8> {
        let repeat = |(text, times): &(&str, usize)| text.repeat(*times);
        parts.iter().map(repeat).collect::<String>().into_bytes()
    }

    fn every_kind(tar: &mut TarWriter<Vec<u8>>) {
        let (uid, gid) = (5, 6);
        let dir = header(b"dir/", Flag::Directory, 0o1777);
        put(tar, Header { uid, gid, ..dir }, b"");
        put(tar, header(b"dir/file", Flag::File, 0o4755), b"hello");
        let link = b"dir/file";
        let hard = header(b"dir/link", Flag::HardLink, 0o644);
        put(tar, Header { link, ..hard }, b"");
        let sym = header(b"sym", Flag::Symlink, 0o777);
        put(tar, Header { link, ..sym }, b"");
        let device = (1, 3);
        let null = header(b"null", Flag::CharDevice, 0o666);
        put(tar, Header { device, ..null }, b"");
        let device = (259, 1_048_575);
        let block = header(b"blk", Flag::BlockDevice, 0o600);
        put(tar, Header { device, ..block }, b"");
        put(tar, header(b"fifo", Flag::Fifo, 0o600), b"");
    }

    /// Of each field a value that its place in the header cannot hold.
    fn every_excess(tar: &mut TarWriter<Vec<u8>>) {
        let path = repeated(&[("a", 60), ("/", 1), ("b", 60)]);
        put(tar, header(&path, Flag::File, 0o644), b"split");
        let path = repeated(&[("c", 60), ("/", 1), ("d", 60), ("/", 1)]);
        put(tar, header(&path, Flag::Directory, 0o755), b"");
        let path = repeated(&[("e", 101)]);
        put(tar, header(&path, Flag::File, 0o644), b"long");
        let path = repeated(&[("f/", 140), ("g", 1)]);
        put(tar, header(&path, Flag::File, 0o644), b"deep");
        put(tar, header("ä/ö/".as_bytes(), Flag::Directory, 0o755), b"");
        let link = &repeated(&[("x", 150)])[..];
        let sym = header(b"long-link", Flag::Symlink, 0o777);
        put(tar, Header { link, ..sym }, b"");
        let (uid, gid) = (2_097_152, 4_294_967_294);
        let ids = header(b"big-ids", Flag::File, 0o644);
        put(tar, Header { uid, gid, ..ids }, b"");
        for (path, mtime) in [(b"old".as_slice(), -5), (b"late", 8_589_934_592)] {
            let file = header(path, Flag::File, 0o644);
            put(tar, Header { mtime, ..file }, b"");
        }
        let path = repeated(&[("h", 98), ("/i/", 1)]);
        let dir = header(&path, Flag::Directory, 0o644);
        put(tar, Header { mtime: -1, ..dir }, b"");
        let mut capability = [0; 20];
        capability[..6].copy_from_slice(&[1, 0, 0, 2, 0, 0x20]);
        let xattrs = &[
            (b"security.capability".to_vec(), capability.to_vec()),
            (b"user.a".to_vec(), b"1".to_vec()),
        ];
        let file = header(b"caps", Flag::File, 0o755);
        put(tar, Header { xattrs, ..file }, &[b'z'; 513]);
    }

    #[test]
    fn every_byte_is_that_of_gos_writer() {
        let mut tar = TarWriter::new(Vec::new());
        every_kind(&mut tar);
        every_excess(&mut tar);
        let archive = tar.finish().unwrap();
        assert_eq!(archive.len(), GO_LEN);
        assert_eq!(Digest::of(&archive).hex(), GO_SHA256);
    }

    const GO_LEN: usize = 22528;
    const GO_SHA256: &str = "e62fb8d07a02f253e62e4c7b4f0a484b95150fc5acd3363b91023d3d86803d4d";

    #[test]
    fn payload_is_exactly_what_was_promised() {
        let mut tar = TarWriter::new(Vec::new());
        let file = Header {
            size: 5,
            ..header(b"f", Flag::File, 0o644)
        };
        tar.begin(&file).unwrap();
        tar.payload(b"four").unwrap();
        assert_eq!(tar.missing(), 1);
        assert!(tar.payload(b"12").is_err());
        let mut tar = TarWriter::new(Vec::new());
        tar.begin(&file).unwrap();
        assert!(tar.begin(&file).is_err());
        let mut tar = TarWriter::new(Vec::new());
        tar.begin(&file).unwrap();
        tar.payload(b"ab").unwrap();
        tar.fill().unwrap();
        let archive = tar.finish().unwrap();
        assert_eq!(&archive[512..518], b"ab\0\0\0\0");
        assert_eq!(archive.len(), 4 * 512);
    }
}
