//! A writer of tar archives in which every field can be wrong on purpose.
//!
//! The format is POSIX ustar: a header block of 512 bytes, the data padded to blocks, two zero
//! blocks at the end. Nothing is checked: hostile archives are written with it.

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    SymLink,
    CharDevice(u32, u32),
    Directory,
    Fifo,
    /// Records about the next entry.
    Extended,
}

/// An archive being written.
#[derive(Debug, Default)]
pub struct Tarball {
    bytes: Vec<u8>,
}

impl Tarball {
    /// Adds a directory.
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(path, Kind::Directory, mode, "", b"")
    }

    /// Adds a regular file.
    pub fn file(self, path: &str, mode: u32, data: &[u8]) -> Self {
        self.entry(path, Kind::File, mode, "", data)
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Kind::SymLink, 0o777, target, b"")
    }

    /// Adds a hard link.
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Kind::HardLink, 0o644, target, b"")
    }

    /// Adds any entry.
    pub fn entry(mut self, path: &str, kind: Kind, mode: u32, link: &str, data: &[u8]) -> Self {
        let mut header = [0u8; 512];
        put(&mut header[..100], path.as_bytes());
        octal(&mut header[100..108], mode.into());
        octal(&mut header[108..116], 0);
        octal(&mut header[116..124], 0);
        octal(&mut header[124..136], data.len() as u64);
        octal(&mut header[136..148], 1_700_000_000);
        header[156] = match kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::SymLink => b'2',
            Kind::CharDevice(..) => b'3',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
            Kind::Extended => b'x',
        };
        put(&mut header[157..257], link.as_bytes());
        put(&mut header[257..265], b"ustar\x0000");
        if let Kind::CharDevice(major, minor) = kind {
            octal(&mut header[329..337], major.into());
            octal(&mut header[337..345], minor.into());
        }
        seal(&mut header);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(data);
        self.pad();
        self
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    fn pad(&mut self) {
        let size = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(size, 0);
    }
}

/// Writes the checksum of a header block.
pub fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    put(&mut header[148..156], format!("{sum:06o}\0 ").as_bytes());
}

fn put(field: &mut [u8], value: &[u8]) {
    let count = value.len().min(field.len());
    field[..count].copy_from_slice(&value[..count]);
}

fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    put(field, format!("{value:0width$o}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_whole_blocks_and_the_checksum_holds() {
        let bytes = Tarball::default().dir("a/", 0o755).file("a/b", 0o644, b"xyz").finish();
        assert_eq!(bytes.len(), 512 * (1 + 2 + 2));
        let mut header: [u8; 512] = bytes[..512].try_into().expect("a block");
        let stored = header;
        seal(&mut header);
        assert_eq!(stored, header);
        assert_eq!(&bytes[1024..1027], b"xyz");
    }
}
