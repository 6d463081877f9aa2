//! Bounds against archives that are small to send and large to unpack.

use crate::{Error, Result};

/// What an archive may cost. The defaults fit every image seen; a caller may set others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one layer.
    pub entries: u64,
    /// Bytes of one layer, unpacked, holes included.
    pub bytes: u64,
    /// Unpacked bytes per compressed byte, once a layer exceeds `free_bytes`.
    pub ratio: u64,
    /// Unpacked bytes of one layer up to which the ratio does not count.
    pub free_bytes: u64,
    /// Names in one path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The largest images in use have about one million files.
            entries: 4_000_000,
            bytes: 256 << 30,
            // Real layers compress 2 to 20 times; gzip cannot exceed 1032.
            ratio: 200,
            free_bytes: 4 << 30,
            depth: 1024,
        }
    }
}

impl Limits {
    pub(crate) fn check_stream(&self, bytes: u64, consumed: u64) -> Result<()> {
        self.check_bytes(bytes)?;
        if bytes > self.free_bytes && bytes / self.ratio.max(1) > consumed {
            return Err(Error::LimitExceeded {
                what: format!(
                    "the archive expands to more than {} times its size: {bytes} bytes of {consumed}",
                    self.ratio
                ),
            });
        }
        Ok(())
    }

    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            return Err(Error::LimitExceeded {
                what: format!("the layer has more than {} bytes", self.bytes),
            });
        }
        Ok(())
    }

    pub(crate) fn check_entries(&self, entries: u64) -> Result<()> {
        if entries > self.entries {
            return Err(Error::LimitExceeded {
                what: format!("the layer has more than {} entries", self.entries),
            });
        }
        Ok(())
    }

    pub(crate) fn check_depth(&self, depth: usize, path: &dyn std::fmt::Display) -> Result<()> {
        if depth > self.depth {
            let path: String = path.to_string().chars().take(80).collect();
            return Err(Error::LimitExceeded {
                what: format!(
                    "path `{path}…` has {depth} names, at most {} are read",
                    self.depth
                ),
            });
        }
        Ok(())
    }
}
