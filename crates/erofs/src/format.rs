//! The bytes of superblock, inodes, attributes and directories. Pure.
//!
//! Names are those of `fs/erofs/erofs_fs.h`; all numbers are little-endian.

/// Bytes of a block.
pub(crate) const BLOCK: u64 = 4096;
/// The same for lengths in memory.
pub(crate) const BLOCK_LEN: usize = 4096;
const BLOCK_BITS: u8 = 12;
/// Where the superblock is.
pub(crate) const SUPER_OFFSET: usize = 1024;
const SUPER_LEN: usize = 128;
/// Where the first inode is.
pub(crate) const FIRST_INODE: u64 = (SUPER_OFFSET + SUPER_LEN) as u64;
/// Inodes begin at multiples of it and are numbered in it.
pub(crate) const SLOT: u64 = 32;
/// Bytes of an extended inode.
pub(crate) const INODE_LEN: usize = 64;
/// Bytes of a directory entry without its name.
const DIRENT_LEN: usize = 12;
/// "No block".
pub(crate) const NO_BLOCK: u32 = u32::MAX;

const MAGIC: u32 = 0xE0F5_E1E2;
const COMPAT_SB_CHKSUM: u32 = 1;
const COMPAT_MTIME: u32 = 2;
/// `EROFS_INODE_LAYOUT_EXTENDED`.
const EXTENDED: u16 = 1;
const XATTR_HEADER: usize = 12;

/// How an inode's data is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `EROFS_INODE_FLAT_PLAIN`: in blocks.
    Plain,
    /// `EROFS_INODE_FLAT_INLINE`: the last, partial block follows the inode.
    Inline,
}

/// What the superblock says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Super {
    pub(crate) root: u16,
    pub(crate) inodes: u64,
    pub(crate) blocks: u32,
    pub(crate) uuid: [u8; 16],
}

impl Super {
    /// Writes it into the first block, with the checksum of all that follows it there.
    pub(crate) fn put(&self, block: &mut [u8; BLOCK_LEN]) {
        let bytes = &mut block[SUPER_OFFSET..];
        bytes[..SUPER_LEN].fill(0);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_le_bytes());
        put(8, &(COMPAT_SB_CHKSUM | COMPAT_MTIME).to_le_bytes());
        put(12, &[BLOCK_BITS]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(48, &self.uuid);
        let checksum = crc32c(bytes);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// What an inode says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inode {
    pub(crate) layout: Layout,
    /// Length of its attributes, as [`attributes`] made them.
    pub(crate) attributes: usize,
    /// Type and permissions.
    pub(crate) mode: u16,
    pub(crate) size: u64,
    /// First block of its data, or the number of a device.
    pub(crate) place: u32,
    pub(crate) number: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) mtime_nanos: u32,
    pub(crate) links: u32,
}

impl Inode {
    pub(crate) fn bytes(&self) -> [u8; INODE_LEN] {
        let mut bytes = [0; INODE_LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let layout: u16 = match self.layout {
            Layout::Plain => 0,
            Layout::Inline => 2,
        };
        put(0, &(EXTENDED | layout << 1).to_le_bytes());
        put(2, &attribute_count(self.attributes).to_le_bytes());
        put(4, &self.mode.to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &self.place.to_le_bytes());
        put(20, &self.number.to_le_bytes());
        put(24, &self.uid.to_le_bytes());
        put(28, &self.gid.to_le_bytes());
        put(32, &self.mtime.to_le_bytes());
        put(40, &self.mtime_nanos.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        bytes
    }
}

/// `i_xattr_icount`: 0 for none, else the length in words beyond the header, plus one.
fn attribute_count(length: usize) -> u16 {
    match length {
        0 => 0,
        // Bounded by `attributes`.
        length => u16::try_from((length - XATTR_HEADER) / 4 + 1).unwrap_or(u16::MAX),
    }
}

/// Attributes as they follow an inode; empty for none, `None` where they are too many.
///
/// Names without a place in the format are left out; none of them is in a layer.
pub(crate) fn attributes(all: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; XATTR_HEADER];
    for (name, value) in all {
        let Some((index, rest)) = name_index(name) else {
            continue;
        };
        bytes.push(u8::try_from(rest.len()).ok()?);
        bytes.push(index);
        bytes.extend(u16::try_from(value.len()).ok()?.to_le_bytes());
        bytes.extend(rest);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    match bytes.len() {
        XATTR_HEADER => Some(Vec::new()),
        length if (length - XATTR_HEADER) / 4 + 1 > usize::from(u16::MAX) => None,
        _ => Some(bytes),
    }
}

/// `EROFS_XATTR_INDEX_*` of a name, and what of it is written.
fn name_index(name: &[u8]) -> Option<(u8, &[u8])> {
    match name {
        b"system.posix_acl_access" => return Some((2, b"")),
        b"system.posix_acl_default" => return Some((3, b"")),
        _ => {}
    }
    [(1, &b"user."[..]), (4, b"trusted."), (6, b"security.")]
        .into_iter()
        .find_map(|(index, prefix)| Some((index, name.strip_prefix(prefix)?)))
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dirent<'n> {
    pub(crate) name: &'n [u8],
    /// Number of the inode.
    pub(crate) nid: u64,
    /// `EROFS_FT_*`.
    pub(crate) kind: u8,
}

/// Bytes of a directory with these names, in order.
pub(crate) fn directory_size<'n>(names: impl Iterator<Item = &'n [u8]>) -> u64 {
    let (mut full, mut used) = (0, 0);
    for name in names {
        let needed = DIRENT_LEN + name.len();
        if used + needed > BLOCK_LEN {
            full += 1;
            used = 0;
        }
        used += needed;
    }
    full * BLOCK + used as u64
}

/// A directory's bytes; entries in order of their names' bytes, `.` and `..` among them.
pub(crate) fn directory(entries: &[Dirent<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut used = 0;
        let fits = |entry: &&Dirent<'_>| {
            used += DIRENT_LEN + entry.name.len();
            used <= BLOCK_LEN
        };
        let count = rest.iter().take_while(fits).count();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
        let mut offset = count * DIRENT_LEN;
        for entry in &rest[..count] {
            bytes.extend(entry.nid.to_le_bytes());
            // A block has 4096 bytes.
            bytes.extend(u16::try_from(offset).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend([entry.kind, 0]);
            offset += entry.name.len();
        }
        for entry in &rest[..count] {
            bytes.extend(entry.name);
        }
        rest = &rest[count..];
    }
    bytes
}

/// `new_encode_dev` of Linux: 12 bits of major, 20 of minor; `None` for a number that has more.
pub(crate) fn device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20)
        .then_some((minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12)
}

/// CRC-32C as the kernel's `crc32c(~0, …)`: not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0x82F6_3B78,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C, before the inversion.
        assert_eq!(!crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn devices_are_packed_as_the_kernel_does() {
        assert_eq!(device(0, 0), Some(0));
        assert_eq!(device(1, 3), Some(0x103));
        assert_eq!(device(0xabc, 0x1_2345), Some(0x123a_bc45));
        assert_eq!(device(1 << 12, 0), None);
        assert_eq!(device(0, 1 << 20), None);
    }

    #[test]
    fn attributes_are_padded_and_counted() {
        let one = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        assert_eq!(attributes(&[]).unwrap(), Vec::<u8>::new());
        assert_eq!(
            attributes(&[one("system.sockprotoname", b"x")]).unwrap(),
            b""
        );
        let opaque = attributes(&[one("trusted.overlay.opaque", b"y")]).unwrap();
        let mut golden = vec![0; 12];
        golden.extend([14, 4, 1, 0]);
        golden.extend(b"overlay.opaquey");
        golden.push(0);
        assert_eq!(opaque, golden);
        assert_eq!(attribute_count(opaque.len()), 6);
        assert_eq!(attribute_count(0), 0);
        let acl = attributes(&[one("system.posix_acl_access", b"abcd")]).unwrap();
        assert_eq!(acl[12..], [0, 2, 4, 0, b'a', b'b', b'c', b'd']);
        let huge = vec![0; 65_000];
        let many: Vec<_> = (0..5).map(|n| one(&format!("user.{n}"), &huge)).collect();
        assert_eq!(attributes(&many), None);
    }

    #[test]
    fn directories_begin_a_new_block_with_the_name_that_does_not_fit() {
        let names: Vec<String> = (0..100).map(|n| format!("{n:0>100}")).collect();
        let entries: Vec<Dirent<'_>> = names
            .iter()
            .map(|name| Dirent {
                name: name.as_bytes(),
                nid: 1,
                kind: 1,
            })
            .collect();
        let bytes = directory(&entries);
        // 36 of 112 bytes fit in a block.
        assert_eq!(bytes.len(), 2 * 4096 + 28 * 112);
        let sized = directory_size(names.iter().map(|name| name.as_bytes()));
        assert_eq!(sized, bytes.len() as u64);
        assert_eq!(bytes[8..10], (36 * 12u16).to_le_bytes());
        assert_eq!(bytes[8192 + 8..8192 + 10], (28 * 12u16).to_le_bytes());
        assert_eq!(bytes[36 * 12..36 * 12 + 100], *names[0].as_bytes());
    }
}
