//! The blob of a layer as it arrives: a named file that one thread writes and another follows.
//!
//! The file is what makes a download resumable: it stays when the download is suspended or the
//! process dies, and the next attempt goes on at its end. Nobody trusts it: all of it is hashed again
//! when it is followed from its beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spec::{Classify, Digest, ErrorKind};

use crate::growing::{Follower, Growing, grow};
use crate::store::{Inner, io as io_failed};
use crate::{Error, Result};

/// The right to a partial file; nobody else receives the same blob, and none collects it.
///
/// When it ends and the disk was full meanwhile, the file goes: what failed for want of space must
/// give back all that it took.
#[derive(Debug)]
pub(crate) struct Claim {
    inner: Arc<Inner>,
    digest: Digest,
    /// How often the disk had been full when it began.
    full: u64,
}

impl Claim {
    pub(crate) fn take(inner: &Arc<Inner>, digest: Digest) -> Result<Self> {
        match inner.state().receiving.insert(digest) {
            true => Ok(Self {
                inner: Arc::clone(inner),
                digest,
                full: inner.full.load(Ordering::Relaxed),
            }),
            false => Err(Error::LayerBusy { digest }),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.inner.layout.partial(self.digest)
    }

    /// Notes a failure of whoever receives or publishes.
    pub(crate) fn note(&self, error: &Error) {
        note(&self.inner, error);
    }

    /// Removes the file, whose bytes are of no use.
    pub(crate) fn discard(&self) {
        remove(&self.path());
    }
}

/// Remembers that the disk was full, if that was the failure.
pub(crate) fn note(inner: &Inner, error: &Error) {
    if error.kind() == ErrorKind::Exhausted {
        inner.full.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.inner.full.load(Ordering::Relaxed) != self.full {
            self.discard();
        }
        self.inner.state().receiving.remove(&self.digest);
    }
}

/// Removes a partial file; what stays is collected by age.
pub(crate) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "left a partial download");
        }
        _ => {}
    }
}

/// The end that writes; dropped before [`PartialWriter::complete`], it ends its follower.
#[derive(Debug)]
pub(crate) struct PartialWriter {
    growing: Growing,
    path: PathBuf,
}

/// Opens the file of a claim, or makes it; a file that is longer than `most` is begun anew.
pub(crate) fn open(claim: &Claim, most: u64) -> Result<(PartialWriter, Follower)> {
    let path = claim.path();
    let open = || {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut len = metadata.len();
        if len > most {
            file.set_len(0)?;
            len = 0;
        }
        Ok((file, len))
    };
    let (file, len) = open().map_err(io_failed("open", &path))?;
    let (growing, follower) = grow(file, len);
    Ok((PartialWriter { growing, path }, follower))
}

impl PartialWriter {
    /// Bytes in the file.
    pub(crate) fn len(&self) -> u64 {
        self.growing.len()
    }

    /// Counts the bytes that were followed, for whoever wants to watch.
    pub(crate) fn followed(&self) -> Arc<AtomicU64> {
        self.growing.followed()
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.growing.write(bytes);
        written.map_err(io_failed("write", &self.path))
    }

    /// Says that all bytes are there.
    pub(crate) fn complete(self) {
        self.growing.complete();
    }
}
