//! A 512-byte header block and the numbers in it.

/// Size of every block.
pub(super) const BLOCK: usize = 512;

/// A block whose sum is right.
#[derive(Debug)]
pub(super) struct Header {
    block: [u8; BLOCK],
}

#[derive(PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Header {
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self, String> {
        let header = Self { block };
        let stored = header.number(148, 8, "checksum")?;
        // Some writers summed signed bytes; both are in use.
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (i, byte) in header.block.iter().enumerate() {
            let byte = if (148..156).contains(&i) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored != unsigned && stored != signed {
            return Err(format!("checksum is {stored}, not {unsigned}"));
        }
        Ok(header)
    }

    pub(super) fn kind(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        let prefix = match self.dialect() {
            Dialect::Ustar => self.text(345, 155),
            Dialect::Star => self.text(345, 131),
            Dialect::V7 | Dialect::Gnu => &[],
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn linkname(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, String> {
        // Only permission, set-id and sticky bits: old writers put the type above them.
        let mode = self.number(100, 8, "mode")?;
        u32::try_from(mode & 0o7777).map_err(|_| "mode is out of range".to_owned())
    }

    pub(super) fn uid(&self) -> Result<u64, String> {
        self.unsigned(108, 8, "uid")
    }

    pub(super) fn gid(&self) -> Result<u64, String> {
        self.unsigned(116, 8, "gid")
    }

    pub(super) fn size(&self) -> Result<u64, String> {
        self.unsigned(124, 12, "size")
    }

    pub(super) fn mtime(&self) -> Result<(i64, u32), String> {
        self.number(136, 12, "mtime").map(|seconds| (seconds, 0))
    }

    pub(super) fn device(&self) -> Result<(u32, u32), String> {
        if self.dialect() == Dialect::V7 {
            return Err("a device in an archive that cannot hold its numbers".to_owned());
        }
        let part = |at, what| {
            u32::try_from(self.unsigned(at, 8, what)?).map_err(|_| format!("{what} out of range"))
        };
        Ok((
            part(329, "major device number")?,
            part(337, "minor device number")?,
        ))
    }

    /// The four sparse pieces of an old GNU header: offset, length, each as 12 bytes.
    pub(super) fn sparse_pieces(&self) -> &[u8] {
        &self.block[386..482]
    }

    pub(super) fn sparse_continues(&self) -> bool {
        self.block[482] != 0
    }

    pub(super) fn sparse_size(&self) -> Result<u64, String> {
        self.unsigned(483, 12, "real size")
    }

    fn dialect(&self) -> Dialect {
        match &self.block[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            b"ustar\x0000" if &self.block[508..512] == b"tar\0" => Dialect::Star,
            magic if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    fn text(&self, at: usize, len: usize) -> &[u8] {
        let field = &self.block[at..at + len];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        &field[..end]
    }

    fn unsigned(&self, at: usize, len: usize, what: &str) -> Result<u64, String> {
        u64::try_from(self.number(at, len, what)?).map_err(|_| format!("{what} is negative"))
    }

    fn number(&self, at: usize, len: usize, what: &str) -> Result<i64, String> {
        number(&self.block[at..at + len]).ok_or_else(|| format!("{what} is not a number"))
    }
}

/// Reads a numeric field: octal text, or base-256 when the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Two's complement of the remaining bits, big-endian.
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, byte) in field.iter().enumerate() {
            let bits = match (i, negative) {
                (0, false) => i128::from(byte & 0x7f),
                (0, true) => i128::from(*byte | 0x80),
                _ => i128::from(*byte),
            };
            value = value << 8 | bits;
            if i > 0 && (value > i128::from(i64::MAX) || value < i128::from(i64::MIN)) {
                return None;
            }
        }
        return i64::try_from(value).ok();
    }
    let start = field
        .iter()
        .position(|c| !matches!(c, b' ' | 0))
        .unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits
        .iter()
        .position(|c| matches!(c, b' ' | 0))
        .unwrap_or(digits.len());
    if digits[end..].iter().any(|c| !matches!(c, b' ' | 0)) {
        return None;
    }
    digits[..end].iter().try_fold(0i64, |value, c| match c {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(c - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, want) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"  644 \0 ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"12345670", Some(0o12345670)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\x00", Some(-256)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"644\0junk", None),
        ] {
            assert_eq!(number(field), want, "{field:?}");
        }
    }
}
