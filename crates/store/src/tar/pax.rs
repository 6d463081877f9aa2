//! Records of a PAX extended header: `length key=value\n`.

use super::sparse::PaxSparse;

/// Most attributes of one entry that are kept; Linux file systems hold far fewer.
const MAX_XATTRS: usize = 1024;

/// What a PAX header says about the entry behind it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
    records: usize,
}

impl Pax {
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or("malformed PAX record")?;
            pax.apply(key, value)?;
            pax.records += 1;
            data = rest;
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if self.xattrs.len() >= MAX_XATTRS {
                return Err("too many extended attributes");
            }
            if name.is_empty() || name.contains(&0) {
                return Err("malformed name of an extended attribute");
            }
            self.xattrs.retain(|(known, _)| known != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.apply(key, value);
        }
        // An empty value takes the record back: the header's own field counts again.
        let given = !value.is_empty();
        match key {
            b"path" | b"linkpath" => {
                if value.contains(&0) {
                    return Err("a NUL byte in a PAX path");
                }
                let text = given.then(|| value.to_vec());
                match key {
                    b"path" => self.path = text,
                    _ => self.linkpath = text,
                }
            }
            b"size" => self.size = optional(given, value, decimal, "malformed PAX size")?,
            b"uid" => self.uid = optional(given, value, decimal, "malformed PAX uid")?,
            b"gid" => self.gid = optional(given, value, decimal, "malformed PAX gid")?,
            b"mtime" => self.mtime = optional(given, value, time, "malformed PAX mtime")?,
            _ => {}
        }
        Ok(())
    }
}

fn optional<T>(
    given: bool,
    value: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
    what: &'static str,
) -> Result<Option<T>, &'static str> {
    if !given {
        return Ok(None);
    }
    read(value).map(Some).ok_or(what)
}

/// Splits off one record: key, value, what follows.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|c| *c == b' ')?;
    let len = usize::try_from(decimal(&data[..space])?).ok()?;
    if len > data.len() || len < space + 2 {
        return None;
    }
    let (record, rest) = data.split_at(len);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|c| *c == b'=')?;
    let key = &record[..equals];
    (!key.is_empty() && !key.contains(&0)).then_some((key, &record[equals + 1..], rest))
}

/// Reads decimal digits, nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let value = text.iter().try_fold(0u64, |value, c| {
        c.is_ascii_digit().then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(c - b'0'))
    })?;
    i64::try_from(value).ok()?;
    Some(value)
}

/// Reads `[-]seconds[.fraction]`; digits beyond nanoseconds are dropped.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |c| *c == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for i in 0..9 {
            nanos = nanos * 10 + fraction.get(i).map_or(0, |c| u32::from(c - b'0'));
        }
    }
    Some(match (negative, nanos) {
        (false, nanos) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_nanoseconds_on_both_sides_of_the_epoch() {
        assert_eq!(
            time(b"1700000000.123456789123"),
            Some((1_700_000_000, 123_456_789))
        );
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-2166000000"), Some((-2_166_000_000, 0)));
        for bad in [&b""[..], b"-", b"1e9", b"1.x", b"9223372036854775808"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn malformed_records_are_errors() {
        let pax = Pax::parse(b"12 path=a/b\n11 path=xy\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"xy"[..]));
        let taken_back = Pax::parse(b"12 path=a/b\n8 path=\n").unwrap();
        assert_eq!(taken_back.path, None);
        for bad in [
            &b"12 path=a/bX"[..],
            b"99 path=a\n",
            b"0 path=a\n",
            b"x path=a\n",
            b"-1 path=a\n",
            b"7 path\n",
            b"10 path=\0a\n",
            b"99999999999999999999999 a=b\n",
            b"5 =a\n\n",
            b"10 size=-1\n",
            b"27 size=9223372036854775808\n",
        ] {
            assert!(
                Pax::parse(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
    }
}
