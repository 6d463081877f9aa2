//! Unpacking one layer: a stream of a tar archive, compressed or not, into a directory.
//!
//! Two threads per layer: one decompresses and hashes, one reads headers and writes files. The
//! directory is a temporary one that nobody else sees; what is unsafe in the archive is refused
//! there ([`apply`]), and a failed unpacking leaves a directory that its owner deletes.

pub(crate) mod apply;
mod limits;

use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use spec::DiffId;

pub use limits::Limits;

pub(crate) use apply::attributes;
pub(crate) use apply::{OPAQUE, RootEntry, Tree};

use crate::record::ArchiveRecord;
use crate::stream::{self, ChunkReader, Counting, Hashing};
use crate::tar::Entries;
use crate::tarmap::Recorder;
use crate::{Error, Result};

/// A layer on disk, not yet published.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    /// Digest of the uncompressed archive; `None` when the caller hashes it.
    pub(crate) diff_id: Option<DiffId>,
    /// Bytes of its files, hard links counted once.
    pub(crate) size: u64,
    /// Number of entries applied.
    pub(crate) entries: u64,
    /// The layer hides everything below it.
    pub(crate) opaque_root: bool,
    /// What the archive says about the root directory.
    pub(crate) root: Option<RootEntry>,
    /// What the directory holds; `None` where the archive replaced whole directories of its own.
    pub(crate) tree: Option<Tree>,
    /// Its uncompressed archive, once that is known.
    pub(crate) archive: Option<ArchiveRecord>,
}

/// Unpacks an archive into `diff/`, which exists and is empty, of a layer's directory, and writes
/// its tar map beside it.
///
/// # Errors
///
/// [`Error::BadArchive`], [`Error::LimitExceeded`], [`Error::Unsupported`], or the disk failed.
pub(crate) fn unpack(
    source: impl Read + Send,
    hashing: Hashing,
    directory: &Path,
    limits: &Limits,
) -> Result<Unpacked> {
    let consumed = AtomicU64::new(0);
    let mut source = Counting::new(source, &consumed);
    let head = stream::read_head(&mut source).map_err(|source| Error::BadArchive {
        what: "failed to read the archive".to_owned(),
        source: Some(Box::new(source)),
    })?;
    let mut decoded = stream::decoder(head, source)?;
    let (sender, chunks) = stream::pipe();
    std::thread::scope(|scope| {
        let pump = scope.spawn(|| sender.pump(&mut decoded, hashing, limits, &consumed));
        let applied = apply_all(chunks, directory, limits);
        let pumped = pump.join().map_err(|_| Error::BadArchive {
            what: "the decoder crashed".to_owned(),
            source: None,
        })?;
        match (applied, pumped) {
            // Whoever failed first has the cause; the other one only noticed.
            (Err(error), Err(Error::Cancelled)) => Err(error),
            (_, Err(error)) | (Err(error), _) => Err(error),
            (Ok(applied), Ok(pumped)) => Ok(Unpacked {
                diff_id: pumped.digest.map(DiffId::new),
                ..applied
            }),
        }
    })
}

fn apply_all(chunks: ChunkReader, directory: &Path, limits: &Limits) -> Result<Unpacked> {
    let mut applier = apply::Applier::new(&directory.join("diff"), limits)?;
    let mut entries = Entries::new(Recorder::create(chunks, directory)?);
    let applied = (|| {
        while let Some(entry) = entries.next().map_err(bad_tar)? {
            applier.apply(&entry, &mut entries)?;
        }
        // The digest is over the whole stream, padding behind the archive's end included.
        stream::drain(entries.source_mut()).map_err(|source| Error::BadArchive {
            what: "failed to read the archive".to_owned(),
            source: Some(Box::new(source)),
        })
    })();
    if let Err(error) = applied {
        // That the map could not be written looks like a stream that fails.
        return Err(entries.source_mut().take_failure().unwrap_or(error));
    }
    let archive = entries.into_inner().finish()?;
    Ok(Unpacked {
        archive: Some(archive),
        ..applier.finish()?
    })
}

fn bad_tar(error: crate::tar::TarError) -> Error {
    Error::BadArchive {
        what: "failed to read the tar archive".to_owned(),
        source: Some(Box::new(error)),
    }
}
